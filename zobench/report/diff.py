"""Compares two results folders: what changed, and whether the change is significant.

Rows are matched by name and block, runs by seed; the tests are paired and Holm-corrected over rows. Used by
``zobench diff A B``, whose exit code can be used in continuous integration.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from zobench.metrics import paired, verdicts
from zobench.metrics.measures import Bounds, gap_of
from zobench.report import planned
from zobench.report.leaderboard import Leaderboard, load
from zobench.report.scores import score_runs
from zobench.report.source import open_results
from zobench.store.plan_file import Entry
from zobench.store.reader import Folders
from zobench.terminal import SafeConsole

COMPARED = ("budget_forwards", "batch_size", "data_digest", "model_digest", "dtype", "method_params")


@dataclass(frozen=True, slots=True)
class Change:
    """The change of one row: B minus A over common tasks and seeds.

    ``verdict`` is ``identical`` (same weights or same value in every run), ``better``, ``worse``,
    ``equivalent``, ``undecided``, or ``not comparable`` with the reason in ``reasons``.
    """

    row: str
    verdict: str
    comparison: paired.Comparison | None
    adjusted: float
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FolderDiff:
    """``changes`` of the rows in both folders, the names of rows in only one of them, and the number of
    ``others``: runs of each folder that are not in its plan and are not compared."""

    board: Leaderboard
    changes: tuple[Change, ...]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    others: tuple[int, ...] = (0, 0)

    @property
    def exit_code(self) -> int:
        """1 if a row is significantly worse or missing in B; else 2 if a row is not comparable; else 0."""
        if self.only_a or any(c.verdict == "worse" for c in self.changes):
            return 1
        return 2 if any(c.verdict == "not comparable" for c in self.changes) else 0


def compare_folders(
    a: Folders,
    b: Folders,
    *,
    leaderboard: str | Path | None = None,
    every: bool = False,
    suite: Sequence[Entry] | None = None,
) -> FolderDiff:
    """Compare results B with results A on the score of a leaderboard; ``every`` and ``suite`` select the runs
    of both (:func:`zobench.report.source.open_results`)."""
    board = load(leaderboard)
    sources = [open_results(x, every=every, suite=suite) for x in (a, b)]
    left, right = (score_runs(source, board) for source in sources)
    common = sorted(set(left["row"]) & set(right["row"]))
    pairs = {row: _pairs(left[left["row"] == row], right[right["row"] == row]) for row in common}
    known = {board.bounds(x["primary_metric"].dropna().unique()) for x in (left, right)}
    bounds = known.pop() if len(known) == 1 else None
    found = {row: _comparison(p, bounds) for row, p in pairs.items()}
    tested = {row: c for row, c in found.items() if c is not None}
    judged = verdicts.judge(
        [c.difference for c in tested.values()],
        [c.p for c in tested.values()],
        margin=board.margin,
        alpha=board.alpha,
        higher=board.higher,
    )
    said = dict(zip(tested, judged, strict=True))
    changes = [_change(row, pairs[row], found[row], said.get(row)) for row in common]
    return FolderDiff(
        board,
        tuple(changes),
        tuple(sorted(set(left["row"]) - set(common))),
        tuple(sorted(set(right["row"]) - set(common))),
        tuple(source.others for source in sources),
    )


def _pairs(left: pd.DataFrame, right: pd.DataFrame) -> pd.DataFrame:
    columns = ["block", "label", "seed", "value", "weights_digest", *COMPARED]
    both = left.loc[left["usable"], columns].merge(
        right.loc[right["usable"], columns], on=["block", "seed"], suffixes=("_a", "_b")
    )
    return both.sort_values(["block", "seed"], ignore_index=True)


def _comparison(pairs: pd.DataFrame, bounds: Bounds | None) -> paired.Comparison | None:
    if pairs.empty:
        return None
    groups = [g for _, g in pairs.groupby("block", sort=True)]
    new, old = ([g[c].to_numpy(dtype=float) for g in groups] for c in ("value_b", "value_a"))
    found = paired.compare_groups(new, old)
    return replace(found, difference=found.difference.cut(gap_of(bounds)))


def _change(
    row: str, pairs: pd.DataFrame, found: paired.Comparison | None, said: verdicts.Verdict | None
) -> Change:
    if found is None or said is None:
        return Change(row, "not comparable", None, float("nan"), ("no run in common",))
    reasons = tuple(
        f"different {c.replace('_', ' ')}" for c in COMPARED if _differs(pairs[f"{c}_a"], pairs[f"{c}_b"])
    )
    hard = tuple(r for r in reasons if "method" not in r)
    if hard:
        return Change(row, "not comparable", found, said.p, reasons)
    if (pairs["value_a"] == pairs["value_b"]).all():
        same = (pairs["weights_digest_a"].fillna("a") == pairs["weights_digest_b"].fillna("b")).all()
        return Change(
            row, "identical", found, said.p, reasons or (() if same else ("different weights, same scores",))
        )
    return Change(row, said.word, found, said.p, reasons)


def _differs(a: pd.Series, b: pd.Series) -> bool:
    return bool((a.fillna("").astype(str) != b.fillna("").astype(str)).any())


def print_diff(diff: FolderDiff, console: Console | None = None) -> None:
    """The comparison as a table; names are printed as text, never as markup."""
    console = console or SafeConsole()
    out = Table(title=Text(f"{diff.board.title}: B minus A"), box=None, pad_edge=False, header_style="bold")
    for heading in ("row", "change", "95 % interval, uncorrected", "adjusted p", "pairs", "verdict", ""):
        out.add_column(heading, justify="right" if heading in ("change", "adjusted p", "pairs") else "left")
    styles = {"better": "green", "worse": "bold red", "not comparable": "yellow"}
    for c in diff.changes:
        cells = [c.row, "–", "–", "–", "0"]
        if c.comparison is not None:
            d = c.comparison.difference
            ends = (
                f"{diff.board.show(d.low, True)} to {diff.board.show(d.high, True)}"
                if d.low == d.low
                else "–"
            )
            p = "–" if c.adjusted != c.adjusted else f"{c.adjusted:.3f}"
            cells = [c.row, diff.board.show(d.value, True), ends, p, str(c.comparison.pairs)]
        out.add_row(
            *map(Text, cells), Text(c.verdict, style=styles.get(c.verdict, "")), Text("; ".join(c.reasons))
        )
    console.print(out)
    for name, rows in (("A", diff.only_a), ("B", diff.only_b)):
        if rows:
            console.print(Text(f"only in {name}: {', '.join(rows)}"))
    for name, others in zip("AB", diff.others, strict=True):
        for sentence in planned.sentences(others, "zobench diff --all"):
            console.print(Text(f"{name}: {sentence}"))
