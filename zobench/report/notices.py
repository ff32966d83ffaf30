"""Sentences of the page about results that a reader would otherwise take for more alike than they are."""

from __future__ import annotations

from collections import Counter

from zobench.names import json_value
from zobench.report.source import Source

NO_EFFECT = {
    "weights-unmoved": "ended with every weight as it was before training",
    "predictions-unmoved": "ended with exactly the predictions of the model before training",
    "one-class": "trained on rows of one class",
    "process-state": "changed state of the process that other runs use (restored afterwards)",
}
"""Traps (``zobench.zo.sanity_checks``) that concern a whole run, as the page words them."""


def no_effect(source: Source) -> tuple[str, ...]:
    """Rows whose runs trained without effect, or on one class, with how many and on which task."""
    runs = source.results
    found: Counter[tuple[str, str, str]] = Counter()
    for row, label, text in runs[["row", "label", "warnings"]].itertuples(index=False):
        traps = json_value(text) if isinstance(text, str) and text else []
        found.update((str(row), str(label), t["trap"]) for t in traps if t["trap"] in NO_EFFECT)
    counts = runs.groupby(["row", "label"])["run_id"].count()
    return tuple(
        f"{row} on {label}: {n} of {counts[row, label]} runs {NO_EFFECT[trap]}."
        for (row, label, trap), n in sorted(found.items())
    )


MOST_UNMEASURED = 8
MOST_REASON = 160


def unmeasured(source: Source) -> tuple[str, ...]:
    """Attacks, probes and lm-eval tasks of trained runs that could not be measured, with the reason."""
    about = source.results[["run_id", "row", "label", "seed"]]
    asked = "select run_id, measurement, reason, tries from failures order by run_id, measurement"
    found = source.sql(asked).merge(about, on="run_id").sort_values(["row", "label", "seed", "measurement"])
    lines = [
        f"Not measured: {what} of {row} on {label}, seed {seed} "
        f"({tries} {'try' if tries == 1 else 'tries'}; {str(reason)[:MOST_REASON]})."
        for what, reason, tries, row, label, seed in found[
            ["measurement", "reason", "tries", "row", "label", "seed"]
        ].itertuples(index=False)
    ]
    more = len(lines) - MOST_UNMEASURED
    rest = f"Not measured: {more} more; 'zobench status' lists them."
    return (*lines[:MOST_UNMEASURED], *([rest] if more > 0 else []))


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
