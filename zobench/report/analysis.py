"""``analyse``: computes from results folders all that a page, a terminal table or a comparison shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from zobench.report import comparability, forgetting, tables
from zobench.report.leaderboard import Leaderboard, load
from zobench.report.ranking import Ranking, rank
from zobench.report.scores import score_runs
from zobench.report.source import GENERATION, PROXY, SCORING, Source, open_results
from zobench.store.plan_file import Entry


@dataclass(frozen=True, slots=True)
class Analysis:
    """The analysis of results for a leaderboard, for use by a page, a terminal table or a comparison."""

    source: Source
    board: Leaderboard
    runs: pd.DataFrame
    ranking: Ranking
    attacks: pd.DataFrame


def analyse(
    folders: str | Path | Sequence[str | Path],
    leaderboard: str | Path | Leaderboard | None = None,
    *,
    every: bool = False,
    suite: Sequence[Entry] | None = None,
) -> Analysis:
    """Read results and rank them; ``ValueError`` if there are no results or the leaderboard is unknown.
    ``every`` and ``suite`` select runs (:func:`zobench.report.source.open_results`)."""
    source = open_results(folders, every=every, suite=suite)
    if leaderboard is None and forgetting.is_unlearning(source):
        leaderboard = forgetting.KIND
    elif leaderboard is None:
        leaderboard = next(
            (k for k in (GENERATION, SCORING, PROXY) if forgetting.all_of_kind(source, k)), None
        )
    board = leaderboard if isinstance(leaderboard, Leaderboard) else load(leaderboard)
    runs = score_runs(source, board)
    if runs.empty:
        raise ValueError(f"no run passes the filters of leaderboard {board.name!r}: {board.where}")
    apart = comparability.not_comparable(runs[runs["group"] == "method"], board)
    ranking = rank(runs, board, apart)
    return Analysis(source, board, runs, ranking, tables.robustness(source, ranking))
