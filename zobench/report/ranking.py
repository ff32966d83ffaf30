"""The statistics of a leaderboard: comparison of every pair of comparable rows, rank intervals, tie groups.

Values per row are arrays by block over the same seeds (ensured by :mod:`.comparability`). Pairs are tested by
the stratified paired t test over seeds and judged together (:mod:`zobench.metrics.verdicts`, Holm over all
pairs of the leaderboard). Rank intervals and tie groups are derived from these tests, so that all parts of
the page are consistent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np
import pandas as pd

from zobench.metrics import paired, power, ranking, verdicts
from zobench.metrics.arrays import Floats, comparable
from zobench.metrics.intervals import Interval, iqm, stratified_groups
from zobench.metrics.measures import Bounds, gap_of
from zobench.report.leaderboard import Leaderboard

Values = dict[str, dict[str, Floats]]
MOST_PLANNED_ROWS = 40
"""Power is computed for pairs of this many leading rows, which are those that the page reports."""
MOST_TIED_ROWS = 40
"""With more rows no tie groups are computed, as their number can explode; rank intervals show the same."""


@dataclass(frozen=True, slots=True)
class RowPair:
    """Row a against row b: the comparison, its Holm-adjusted p, the verdict, and the power estimate."""

    a: str
    b: str
    comparison: paired.Comparison
    adjusted: float
    verdict: verdicts.Word
    power: power.Power | None


@dataclass(frozen=True, slots=True)
class Standing:
    """One row of the table. ``interval`` is over seeds and blocks; ``blocks`` has one for each block.
    ``over``: labels of the blocks of a baseline that has results on others than the ranked rows, else empty.
    """

    row: str
    group: str
    ranked: bool
    interval: Interval | None
    blocks: dict[str, Interval]
    iqm: float | None
    rank: tuple[int, int, int] | None = None
    ties: tuple[int, ...] = ()
    first: float | None = None
    reasons: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    over: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ranking:
    """The result of a leaderboard. ``standings``: ranked rows, best first, then baselines, then rows that are
    apart. ``mean_ranks``: mean over tasks, for the ranked rows, if there are several tasks. ``bounds``: the
    lower and upper limit of a score, if known.
    """

    board: Leaderboard
    blocks: tuple[str, ...]
    standings: tuple[Standing, ...]
    pairs: tuple[RowPair, ...] = ()
    tie_groups: tuple[tuple[str, ...], ...] = ()
    mean_ranks: Mapping[str, float] = field(default_factory=dict)
    values: Values = field(default_factory=dict)
    bounds: Bounds | None = None

    @property
    def ranked(self) -> list[Standing]:
        return [s for s in self.standings if s.ranked]

    def pair(self, a: str, b: str) -> RowPair | None:
        """The pair in either order; ``RowPair.a`` gives its direction."""
        return next((p for p in self.pairs if {p.a, p.b} == {a, b}), None)


def rank(runs: pd.DataFrame, board: Leaderboard, apart: Mapping[str, list[str]]) -> Ranking:
    """Rank scored result runs (see :func:`scores.score_runs`); ``apart``: reasons of rows that are not
    comparable.
    """
    usable = runs[runs["usable"]]
    blocks = tuple(dict.fromkeys(runs.sort_values("label")["block"]))
    values = _arrays(usable)
    bounds = board.bounds(runs["primary_metric"].dropna().unique())
    groups = runs.groupby("row")["group"].first()
    names = [r for r in values if groups[r] == "method" and r not in apart]
    sign = -1.0 if board.higher else 1.0
    # Means of different values with equal totals can differ in the last bit; rounded they share a rank.
    score = {r: sign * comparable(_mean(values[r])) for r in names}
    order = sorted(names, key=lambda r: (score[r], r))
    pairs = compare_all(values, order, board, bounds)
    better = {(w, lose): True for p in pairs for w, lose in [_winner(p)] if p.verdict in verdicts.DECIDED}
    ranks = ranking.rank_sets(order, better)
    first = first_shares(values, order, board.higher)
    ties = ranking.tie_groups(order, better) if 1 < len(order) <= MOST_TIED_ROWS else []
    about = dict(iter(runs[["row", "group", "flag"]].groupby("row", sort=False)))
    standings = [
        _standing(
            r,
            about[r],
            values,
            bounds,
            True,
            rank=(1 + sum(score[other] < score[r] for other in order), *ranks[r]),
            first=first.get(r),
            ties=tuple(j for j, g in enumerate(ties) if r in g),
        )
        for r in order
    ]
    rest = sorted(
        set(map(str, runs["row"])) - set(order),
        key=lambda r: (groups[r] != "control", sign * _mean(values[r]) if r in values else np.inf, r),
    )
    labels = dict(zip(runs["block"], runs["label"], strict=True))
    usual = set(values[order[0]]) if order else set(labels)
    for r in rest:
        made = _standing(r, about[r], values, bounds, False, reasons=tuple(apart.get(r, ())))
        standings.append(_partial(made, usual, labels))
    means = {r: {b: float(v.mean()) for b, v in values[r].items()} for r in order}
    several = len(order) > 1 and len(set.intersection(*(set(m) for m in means.values()))) > 1
    ranked = ranking.mean_ranks(means, higher=board.higher) if several else {}
    return Ranking(board, blocks, tuple(standings), pairs, tuple(map(tuple, ties)), ranked, values, bounds)


def compare_all(
    values: Values, order: list[str], board: Leaderboard, bounds: Bounds | None = None
) -> tuple[RowPair, ...]:
    """Every pair of ``order``, ``a`` ranked before ``b``. Verdicts refer to better scores, which are not
    always the larger ones.
    """
    made = [replace(c, difference=c.difference.cut(gap_of(bounds))) for c in _comparisons(values, order)]
    found = list(zip(combinations(order, 2), made, strict=True))
    judged = verdicts.judge(
        [c.difference for _, c in found],
        [c.p for _, c in found],
        margin=board.margin,
        alpha=board.alpha,
        higher=board.higher,
    )
    pairs = []
    alpha = board.alpha / max(1, len(found))
    planned = set(order[:MOST_PLANNED_ROWS])
    for ((a, b), c), said in zip(found, judged, strict=True):
        plan = None
        if said.word == "undecided" and {a, b} <= planned:
            differences = [values[a][k] - values[b][k] for k in sorted(set(values[a]) & set(values[b]))]
            if differences and min(map(len, differences)) > 1:
                plan = power.seeds_to_separate(differences, alpha=alpha)
        pairs.append(RowPair(a, b, c, said.p, said.word, plan))
    return tuple(pairs)


def _comparisons(values: Values, order: list[str]) -> list[paired.Comparison]:
    """Every pair of ``order`` on its common blocks; vectorized if all rows have the same blocks and seeds."""
    blocks = sorted(values[order[0]]) if order else []
    sizes = {len(array) for r in order for array in values[r].values()}
    if len(sizes) == 1 and all(sorted(values[r]) == blocks for r in order):
        cube = np.stack([np.stack([values[r][k] for k in blocks]) for r in order])
        first, second = np.triu_indices(len(order), 1)
        return paired.compare_many(cube[first], cube[second])
    found = []
    for a, b in combinations(order, 2):
        common = sorted(set(values[a]) & set(values[b]))
        found.append(paired.compare_groups([values[a][k] for k in common], [values[b][k] for k in common]))
    return found


def first_shares(values: Values, order: list[str], higher: bool, resamples: int = 2000) -> dict[str, float]:
    """Share of bootstrap resamples of seeds in which a row has the best mean; rows that tie divide it. The
    same seeds are drawn for all rows.
    """
    if len(order) < 2:
        return {}
    groups = [np.stack([values[r][b] for r in order], axis=1) for b in sorted(values[order[0]])]
    if any(len(g) < 2 for g in groups):
        return {}
    generator = np.random.default_rng(0)
    total = np.zeros((resamples, len(order)))
    for g in groups:
        n = len(g)
        wide = g.mean(axis=0) + (g - g.mean(axis=0)) * np.sqrt(n / (n - 1))
        total += wide[generator.integers(0, n, (resamples, n))].mean(axis=1)
    total = np.round(total / len(groups), 12)
    best = total == (total.max(axis=1, keepdims=True) if higher else total.min(axis=1, keepdims=True))
    shares = (best / best.sum(axis=1, keepdims=True)).mean(axis=0)
    return {r: float(shares[i]) for i, r in enumerate(order)}


def _standing(
    row: str, mine: pd.DataFrame, values: Values, bounds: Bounds | None, ranked: bool, **more: object
) -> Standing:
    """``mine`` are the row's runs."""
    flags = mine.loc[mine["flag"] != "", "flag"].value_counts()
    arrays = values.get(row, {})
    interval = stratified_groups(list(arrays.values())).within(bounds) if arrays else None
    return Standing(
        row=row,
        group=str(mine["group"].iloc[0]),
        ranked=ranked,
        interval=interval,
        blocks={b: stratified_groups([v]).within(bounds) for b, v in arrays.items()},
        iqm=iqm(np.concatenate(list(arrays.values()))) if arrays else None,
        flags=tuple(f"{text} ({n} of {len(mine)} runs)" for text, n in flags.items()),
        **more,  # type: ignore[arg-type]
    )


def _partial(standing: Standing, usual: set[str], labels: Mapping[str, str]) -> Standing:
    """A baseline with results on other blocks than the ranked rows says over which its mean is."""
    if standing.reasons or not standing.blocks or set(standing.blocks) == usual:
        return standing
    over = tuple(sorted(labels[b] for b in standing.blocks))
    return replace(standing, flags=(*standing.flags, f"mean over {', '.join(over)} alone"), over=over)


def _arrays(usable: pd.DataFrame) -> Values:
    """Values by row and block in order of seed; rows and blocks are sorted by name."""
    ordered = usable[["row", "block", "seed", "value"]].sort_values(["row", "block", "seed"], kind="stable")
    numbers = ordered["value"].to_numpy(dtype=float)
    found: Values = {}
    names = list(zip(ordered["row"].map(str), ordered["block"].map(str), strict=True))
    starts = [i for i, name in enumerate(names) if i == 0 or names[i - 1] != name]
    for start, stop in zip(starts, [*starts[1:], len(names)][: len(starts)], strict=True):
        row, block = names[start]
        found.setdefault(row, {})[block] = numbers[start:stop]
    return found


def _mean(arrays: Mapping[str, Floats]) -> float:
    return float(np.mean([a.mean() for a in arrays.values()]))


def _winner(pair: RowPair) -> tuple[str, str]:
    return (pair.a, pair.b) if pair.verdict == "better" else (pair.b, pair.a)
