"""Sentences of the page about results that a reader would otherwise take for more alike than they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from zobench.names import json_value
from zobench.report.source import Source

NO_EFFECT = {
    "weights-unmoved": "ended with every weight as it was before training",
    "predictions-unmoved": "ended with exactly the predictions of the model before training",
    "one-class": "trained on rows of one class",
    "process-state": "changed state of the process that other runs use (restored afterwards)",
}
"""Traps (``zobench.zo.sanity_checks``) that concern a whole run, as the page words them."""


@dataclass(frozen=True, slots=True)
class Folded:
    """A sentence about many runs, with one line for each below it, which the reader can unfold."""

    text: str
    lines: tuple[str, ...]


Notice = str | Folded


def no_effect(source: Source) -> tuple[Notice, ...]:
    """Rows whose runs trained without effect, or on one class: one sentence for each kind of finding, with
    rows and tasks below it where there are several."""
    runs = source.results
    found: dict[str, Counter[tuple[str, str]]] = {}
    for row, label, text in runs[["row", "label", "warnings"]].itertuples(index=False):
        traps = json_value(text) if isinstance(text, str) and text else []
        for trap in traps:
            if trap["trap"] in NO_EFFECT:
                found.setdefault(trap["trap"], Counter())[str(row), str(label)] += 1
    counts = runs.groupby(["row", "label"])["run_id"].count()
    return tuple(_folded(trap, found[trap], counts) for trap in sorted(found))


def _folded(trap: str, cells: Counter[tuple[str, str]], counts: pd.Series) -> Notice:
    lines = [f"{row} on {label}: {n} of {counts[row, label]}" for (row, label), n in sorted(cells.items())]
    if len(lines) == 1:
        return f"{lines[0]} runs {NO_EFFECT[trap]}."
    rows = len({row for row, _ in cells})
    of = f"of {rows} rows" if rows > 1 else f"of {next(iter(cells))[0]}"
    return Folded(f"{cells.total()} runs {of} {NO_EFFECT[trap]}.", tuple(f"{line} runs" for line in lines))


def spelled(notices: Iterable[Notice], most: int = 3) -> tuple[str, ...]:
    """Notices as lines of text, with at most ``most`` of the lines below a sentence."""
    out: list[str] = []
    for notice in notices:
        if isinstance(notice, str):
            out.append(notice)
            continue
        rest = len(notice.lines) - most
        more = [f"{rest} more on the page"] if rest > 0 else []
        out.append(f"{notice.text} ({'; '.join([*notice.lines[:most], *more])})")
    return tuple(out)


STATUSES = {"failed": "failed", "out_of_memory": "out of memory", "interrupted": "interrupted"}


def unfinished(source: Source) -> tuple[str, ...]:
    """How many runs have no result, by what became of them."""
    counts = source.results["status"].value_counts()
    told = [
        f"{counts[s]:,} run{'' if counts[s] == 1 else 's'} {word}"
        for s, word in STATUSES.items()
        if s in counts
    ]
    return (f"Without a result: {', '.join(told)}. The section Runs has the reasons.",) if told else ()


MOST_UNMEASURED = 8
MOST_REASON = 160


def unmeasured(source: Source) -> tuple[Notice, ...]:
    """Attacks, probes and lm-eval tasks of trained runs that could not be measured, with the reason."""
    about = source.results[["run_id", "row", "label", "seed"]]
    asked = "select run_id, measurement, reason, tries from failures order by run_id, measurement"
    found = source.sql(asked).merge(about, on="run_id").sort_values(["row", "label", "seed", "measurement"])
    lines = [
        f"{what} of {row} on {label}, seed {seed} "
        f"({tries} {'try' if tries == 1 else 'tries'}; {str(reason)[:MOST_REASON]})"
        for what, reason, tries, row, label, seed in found[
            ["measurement", "reason", "tries", "row", "label", "seed"]
        ].itertuples(index=False)
    ]
    if len(lines) < 2:
        return tuple(f"Not measured: {line}." for line in lines)
    more = len(lines) - MOST_UNMEASURED
    rest = [f"{more} more; 'zobench status' lists them"] if more > 0 else []
    of = found["row"].nunique()
    where = f"{of} rows" if of > 1 else str(found["row"].iloc[0])
    told = f"Not measured: {len(lines)} attacks, probes or tasks of runs of {where}."
    return (Folded(told, (*lines[:MOST_UNMEASURED], *rest)),)


def ties(source: Source) -> tuple[str, ...]:
    """Rows whose final test predictions had several best options, with how many."""
    finals = source.finals
    clean = (
        (finals["split"] == "test") & (finals["condition_kind"] == "clean") & (finals["purpose"] != "tuning")
    )
    tied = finals[clean & (finals["metric"] == "ties")].groupby("row")[["value", "n"]].sum()
    tied = tied[tied["value"] > 0]
    if tied.empty:
        return ()
    listed = ", ".join(f"{int(v):,} of {int(n):,} ({row})" for row, v, n in tied.itertuples())
    return (
        f"Test predictions whose best options tie: {listed}. Among tied options the answer is drawn by the "
        "example's identity, the same for every row.",
    )
