"""Ranks with their uncertainty: rank sets, tie groups, mean ranks, performance profiles.

Frames are long: columns ``row`` (method), ``task``, ``seed``, ``value``. Higher is better unless stated
otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from zobench.metrics.arrays import Floats


def rank_sets(order: Sequence[str], better: Mapping[tuple[str, str], bool]) -> dict[str, tuple[int, int]]:
    """Simultaneous rank intervals from corrected pairwise tests.

    ``better[(a, b)]`` says that a was found better than b. The interval of a is [1 + #(found better than a),
    k - #(a found better than)]. If the tests' family-wise error is alpha, all true ranks are covered at once
    with probability at least 1 - alpha (Mogstad et al., Review of Economic Studies 2024).
    """
    k = len(order)
    return {
        a: (
            1 + sum(better.get((b, a), False) for b in order if b != a),
            k - sum(better.get((a, b), False) for b in order if b != a),
        )
        for a in order
    }


def tie_groups(order: Sequence[str], different: Mapping[tuple[str, str], bool]) -> list[list[str]]:
    """Maximal sets of rows of which no two were found different, best first (insert-and-absorb; Piepho 2004).

    ``order`` is best to worst; ``different[(a, b)]`` (either order) marks pairs found different. Every pair
    not marked shares at least one group, and no marked pair shares any.
    """
    groups: list[set[str]] = [set(order)]
    for i, a in enumerate(order):
        for b in order[i + 1 :]:
            if not (different.get((a, b), False) or different.get((b, a), False)):
                continue
            split = [part for g in groups for part in ((g - {a}, g - {b}) if {a, b} <= g else (g,))]
            groups = [g for j, g in enumerate(split) if not _absorbed(g, j, split)]
    place = {name: i for i, name in enumerate(order)}
    lists = [sorted(g, key=place.__getitem__) for g in groups]
    return sorted(lists, key=lambda g: [place[n] for n in g])


def _absorbed(group: set[str], index: int, groups: Sequence[set[str]]) -> bool:
    """Whether another group contains this one; of equal groups the first is kept."""
    return any(group < g or (group == g and j < index) for j, g in enumerate(groups) if j != index)


def mean_ranks(values: Mapping[str, Mapping[str, float]], *, higher: bool = True) -> dict[str, float]:
    """Mean over tasks of each row's rank by its mean over seeds, best first; tied rows share a rank.

    ``values[row][task]``; only tasks that every row has count. A seed is not a separate block: the seeds of a
    task are replicates of the same comparison.
    """
    common = sorted(set.intersection(*(set(by_task) for by_task in values.values()))) if values else []
    if len(values) < 2 or not common:
        raise ValueError(f"mean ranks: {len(values)} rows and {len(common)} common tasks, needs two rows")
    table = np.round([[values[row][task] for row in values] for task in common], 12)
    ranks = stats.rankdata((-1 if higher else 1) * table, axis=1).mean(axis=0)
    return dict(sorted(zip(values, map(float, ranks), strict=True), key=lambda item: item[1]))


def performance_profile(values: Sequence[float] | Floats, thresholds: Sequence[float] | Floats) -> Floats:
    """Share of runs with value > tau for each threshold tau (score distribution, arXiv 2108.13264)."""
    x = np.sort(np.asarray(values, dtype=float))
    return 1.0 - np.searchsorted(x, np.asarray(thresholds, dtype=float), side="right") / len(x)


def ratio_profile(times: pd.DataFrame, ratios: Sequence[float] | Floats) -> pd.DataFrame:
    """Dolan-More profile: share of blocks on which a row needs at most tau times the time of the fastest row.

    ``times`` has blocks as index and rows as columns; infinite if the target was missed, which never counts
    as reached. Blocks on which no row reached the target count for none of them.
    """
    values = times.to_numpy(dtype=float)
    best = values.min(axis=1, keepdims=True)
    relative = np.divide(
        values, best, out=np.full(values.shape, np.inf), where=np.isfinite(values) & (best > 0)
    )
    shares = {
        name: [(relative[:, j] <= tau).mean() for tau in ratios] for j, name in enumerate(times.columns)
    }
    return pd.DataFrame(shares, index=pd.Index(ratios, name="ratio"))


def kendall_tau(predicted: Sequence[float] | Floats, truth: Sequence[float] | Floats) -> float:
    """Kendall's tau-b of two orders of the same items, in [-1, 1]; 0 if one of them has a single value."""
    found = float(stats.kendalltau(np.asarray(predicted), np.asarray(truth)).statistic)
    return 0.0 if np.isnan(found) else found
