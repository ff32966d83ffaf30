"""Compares two rows example by example, and tests whether the differences are significant.

McNemar's exact test concerns one pair of trained models, so it is applied per seed and corrected (Holm) over
the seeds of a task. Whether the methods differ is tested by the two-stage bootstrap over seeds and examples
and by the sign-flip test over runs.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from zobench.metrics import paired
from zobench.metrics.measures import GAP
from zobench.report.ranking import Ranking, Values
from zobench.report.source import Source

MOST_ROWS = 10
"""Number of leading rows whose pairs are all tested example by example."""
RESAMPLES = 600
FLIPS = 4000

RightByRow = dict[str, NDArray[np.float64]]
"""Row -> 1 correct, 0 wrong, NaN not measured, over the examples of a task in order of seed."""


def collect(source: Source, ranking: Ranking, runs: pd.DataFrame, names: list[str]) -> list[dict[str, Any]]:
    """One entry for each pair ``a``, ``o`` (indices in ``names``): ``flips``, the p-value of the sign-flip
    test over runs, and ``blocks`` with ``b``, ``seeds`` (seed, only a correct, only o correct, McNemar p
    after Holm), the ends ``low``, ``high`` of the interval over seeds and examples, and the number ``n`` of
    answers.
    """
    rows = [s.row for s in ranking.standings[:MOST_ROWS]]
    answers = _correct(source, runs, rows)
    right = [(i, *_matrix(answers.get(block))) for i, block in enumerate(ranking.blocks)]
    out = []
    for a, b in combinations(rows, 2):
        found = [(i, examples_of(seeds, told.get(a), told.get(b))) for i, seeds, told in right]
        blocks = [{"b": i, **about} for i, about in found if about]
        flips = sign_flips(ranking.values, a, b)
        if blocks or flips is not None:
            out.append({"a": names.index(a), "o": names.index(b), "flips": flips, "blocks": blocks})
    return out


def sign_flips(values: Values, a: str, b: str) -> float | None:
    """Permutation p over common tasks, if the rows have the same seeds on each of them; else ``None``."""
    common = sorted(set(values.get(a, {})) & set(values.get(b, {})))
    if not common or any(len(values[a][k]) != len(values[b][k]) for k in common):
        return None
    groups = [values[a][k] - values[b][k] for k in common]
    return float(f"{paired.permutation(groups, FLIPS):.3g}") if sum(map(len, groups)) > 1 else None


def examples_of(
    seeds: NDArray[np.int64], a: NDArray[np.float64] | None, b: NDArray[np.float64] | None
) -> dict[str, Any]:
    """Discordant examples of one task by seed, with their tests; empty if the rows share no example."""
    if a is None or b is None:
        return {}
    difference = a - b
    shared = ~np.isnan(difference)
    tests: list[list[Any]] = []
    groups = []
    for seed in np.unique(seeds[shared]):
        mine = difference[shared & (seeds == seed)]
        only_a, only_b = int((mine > 0).sum()), int((mine < 0).sum())
        tests.append([int(seed), only_a, only_b, paired.mcnemar_p(only_a, only_b)])
        groups.append(mine)
    if not groups:
        return {}
    for test, p in zip(tests, paired.holm([t[3] for t in tests]), strict=True):
        test[3] = float(f"{p:.3g}")
    interval = paired.paired_bootstrap_groups(groups, resamples=RESAMPLES).cut(GAP)
    low, high = (float(f"{v:.5g}") for v in (interval.low, interval.high))
    return {"seeds": tests, "low": low, "high": high, "n": int(shared.sum())}


def _correct(source: Source, runs: pd.DataFrame, rows: list[str]) -> dict[str, pd.DataFrame]:
    """The clean answers of the usable runs of these rows, by block."""
    mine = runs.loc[runs["usable"] & runs["row"].isin(rows), ["run_id", "row", "block", "seed"]]
    source.connection.register("compared_runs", mine)
    found = source.sql(
        """
        select r."row", r.block, r.seed, p.example_id, p.correct::int as correct
        from predictions p join compared_runs r using (run_id)
        where p.condition_kind = 'clean' and p.correct is not null
        """
    )
    return {str(block): part for block, part in found.groupby("block", sort=False)}


def _matrix(found: pd.DataFrame | None) -> tuple[NDArray[np.int64], RightByRow]:
    """The seed of every example of a task, and the answers of each row."""
    if found is None:
        return np.empty(0, dtype=np.int64), {}
    wide = found.pivot_table(index=["seed", "example_id"], columns="row", values="correct", aggfunc="first")
    seeds = wide.index.get_level_values("seed").to_numpy(dtype=np.int64)
    return seeds, {str(row): wide[row].to_numpy(dtype=np.float64) for row in wide.columns}
