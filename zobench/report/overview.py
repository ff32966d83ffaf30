"""The sentences at the top of the page: what was compared, what was found, what is undecided. All numbers are
from the statistical tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

import pandas as pd

from zobench.metrics import verdicts
from zobench.metrics.arrays import comparable
from zobench.metrics.verdicts import DECIDED
from zobench.report import comparability
from zobench.report.leaderboard import Leaderboard
from zobench.report.model_titles import model_sources, model_titles
from zobench.report.notices import Notice
from zobench.report.ranking import Ranking, RowPair

MOST = 6
"""Largest number of findings of a kind that are written out; the others are only counted."""


@dataclass(frozen=True, slots=True)
class Overview:
    """Sentences by heading; every list may be empty. ``warnings`` concern the whole page, ``models`` are the
    sources of its models."""

    headline: str
    compared: str
    holds: tuple[str, ...]
    open: tuple[str, ...]
    controls: tuple[str, ...]
    notes: tuple[tuple[str, str], ...]
    warnings: tuple[Notice, ...]
    models: tuple[str, ...] = ()


def describe(ranking: Ranking, runs: pd.DataFrame, more_warnings: Sequence[Notice] = ()) -> Overview:
    """Sentences about a ranking; ``runs`` are the scored result runs."""
    return Overview(
        headline=headline(ranking),
        compared=compared(ranking, runs),
        holds=findings(ranking),
        open=undecided(ranking),
        controls=controls(ranking),
        notes=tuple(notes(runs)),
        warnings=(*warnings(ranking, runs), *more_warnings),
        models=model_sources(runs),
    )


def headline(ranking: Ranking) -> str:
    """One sentence: which row is best, and whether its lead is significant."""
    rows = ranking.ranked
    if not rows:
        return f"No row can be ranked: {_unranked(ranking)}."
    best = rows[0]
    if len(rows) == 1:
        return f"{best.row} is the only comparable row, so there is no ranking."
    rivals = [p for p in ranking.pairs if best.row in (p.a, p.b)]
    beaten = [p for p in rivals if p.verdict == "better"]
    if len(beaten) == len(rivals):
        others = rivals[0].b if len(rivals) == 1 else f"all {len(rivals)} other rows"
        return f"{best.row} is better than {others}."
    told = []
    for word, said in (("equivalent", "equivalent to"), ("undecided", "undecided against")):
        rows_of = [p.b for p in rivals if p.verdict == word]
        if rows_of:
            told.append(f"{said} {_list(rows_of) if len(rows_of) <= 3 else f'{len(rows_of)} other rows'}")
    tied = [p.b for p in rivals if comparable(p.comparison.difference.value) == 0]
    if tied:
        shared = _list([best.row, *tied]) if len(tied) <= 3 else f"{best.row} and {len(tied)} other rows"
        return f"{shared} share the best mean; {best.row} is {' and '.join(told)}."
    return f"{best.row} has the best mean, but is {' and '.join(told)}."


def _unranked(ranking: Ranking) -> str:
    """Why no row is ranked: the reasons of those that are apart, or that there are only baselines."""
    apart = [s for s in ranking.standings if s.group == "method"]
    if not apart:
        return "there are only baselines (group control)"
    rows: dict[str, list[str]] = {}
    for s in apart:
        rows.setdefault(", ".join(s.reasons) or "no final score", []).append(s.row)
    told = [f"{_list(names)}: {why}" for why, names in list(rows.items())[:3]]
    more = sum(map(len, list(rows.values())[3:]))
    return "; ".join([*told, *([f"and {_count(more, 'other')}"] if more else [])])


def compared(ranking: Ranking, runs: pd.DataFrame) -> str:
    methods = sum(s.group == "method" for s in ranking.standings)
    control = len(ranking.standings) - methods
    labels = list(dict.fromkeys(runs.sort_values("label")["label"]))
    names = _list(labels) if len(labels) <= 6 else f"{', '.join(labels[:5])} and {len(labels) - 5} more"
    seeds = runs.groupby(["row", "block"])["seed"].nunique()
    seed_text = f"{seeds.min()}" if seeds.min() == seeds.max() else f"{seeds.min()} to {seeds.max()}"
    budgets = sorted(set(runs.loc[runs["group"] == "method", "budget_forwards"].dropna().astype(int)))
    budget = " or ".join(f"{b:,}" for b in budgets[:3]) + (" or more" if len(budgets) > 3 else "")
    batch = sorted(set(runs["batch_size"].dropna().astype(int)))
    models = _list(model_titles(runs))
    beside = f" and {_count(control, 'baseline')}" if control else ""
    return (
        f"{_count(methods, 'method')}{beside} on {_count(len(labels), 'task')} ({names}), "
        f"{seed_text} {'seed' if seed_text == '1' else 'seeds'} each, {budget} forward passes of "
        f"{' or '.join(map(str, batch))} example{'' if batch == [1] else 's'}, on {models}."
    )


def findings(ranking: Ranking) -> tuple[str, ...]:
    """Significant differences and equivalences."""
    board = ranking.board
    sure = [p for p in ranking.pairs if p.verdict in DECIDED]
    sure.sort(key=lambda p: -abs(p.comparison.difference.value))
    told = [f"{_winner(p)} {_difference(p, board)}" for p in sure[:MOST]]
    if len(sure) > MOST:
        told.append(f"In {len(sure) - MOST} further pairs one row is better; see the head-to-head table.")
    alike = [p for p in ranking.pairs if p.verdict == "equivalent"]
    margin = margin_of(board)
    told += [
        f"{p.a} and {p.b} are equivalent within {margin}: their difference is {_interval(p, board)}."
        for p in alike[:MOST]
    ]
    if len(alike) > MOST:
        told.append(f"{len(alike) - MOST} further pairs are equivalent within {margin}.")
    return tuple(told)


def undecided(ranking: Ranking) -> tuple[str, ...]:
    """Undecided pairs, and the number of seeds needed to separate them."""
    board = ranking.board
    pairs = [p for p in ranking.pairs if p.verdict == "undecided"]
    told = [f"{p.a} against {p.b}: {_interval(p, board)}, {_p(p)}. {plan(p)}" for p in pairs[:MOST]]
    if len(pairs) > MOST:
        told.append(f"{len(pairs) - MOST} further pairs are undecided.")
    return tuple(told)


def plan(pair: RowPair) -> str:
    """The power estimate as a sentence; empty if none is possible."""
    if pair.power is None:
        return "With one seed each, no test is possible." if pair.comparison.difference.df == 0 else ""
    if pair.power.more is None:
        return f"Not even {pair.power.limit:,} seeds would separate a difference of this size."
    more = max(1, pair.power.more)
    return (
        f"If the true difference is the one seen, {_count(more, 'more seed')} per task would separate "
        f"{'them' if more == 1 else 'these two'} (power {100 * pair.power.target:.0f} %)."
    )


def controls(ranking: Ranking) -> tuple[str, ...]:
    """Scores of the baselines; they are shown, not ranked. Differences are on the blocks of the baseline."""
    board, told = ranking.board, []
    best = ranking.ranked[0] if ranking.ranked else None
    for s in ranking.standings:
        if s.group != "control" or s.interval is None:
            continue
        text = f"{s.row}: {board.show(s.interval.value)}{_unit(board)}"
        text += f" on {_list(s.over)} alone" if s.over else ""
        if best is not None and set(s.blocks) <= set(best.blocks):
            gap = mean(best.blocks[b].value - i.value for b, i in s.blocks.items())
            told_as = f"{board.show(abs(gap))} {_points(board)} {'below' if gap > 0 else 'above'} {best.row}"
            same = board.show(gap) == board.show(0.0)
            where = " there" if s.over else ""
            text += f" ({f'equal to {best.row}' if same else told_as}{where})"
        told.append(text + ".")
    return tuple(told)


def notes(runs: pd.DataFrame) -> list[tuple[str, str]]:
    """Notes of the suite, for instance on the source of parameters; rows with the same note are listed
    together."""
    known = runs.loc[runs["note"].fillna("") != "", ["row", "note"]].drop_duplicates()
    rows: dict[str, list[str]] = {}
    for row, note in known.itertuples(index=False):
        rows.setdefault(str(note), []).append(str(row))
    return [(_list(sorted(names)), note) for note, names in rows.items()]


def warnings(ranking: Ranking, runs: pd.DataFrame) -> list[str]:
    """Limitations that a reader of the table must know."""
    told = []
    if runs["git_dirty"].fillna(False).astype(bool).all():
        told.append("All runs were made from code with uncommitted changes, so the code cannot be checked.")
    if runs["git_commit"].isna().all() and runs["zobench_version"].nunique() == 1:
        told.append(f"Made by an installed zobench {runs['zobench_version'].iloc[0]}, outside a repository.")
    ranked = [s.row for s in ranking.ranked]
    seeds = runs[runs["row"].isin(ranked)].groupby(["row", "block"])["seed"].nunique()
    if len(ranked) > 1 and seeds.min() < 5:
        can = "no difference can be tested" if seeds.max() == 1 else "only large differences can be detected"
        told.append(
            f"{_count(int(seeds.min()), 'seed')} per row: {can}; undecided is no evidence of equality."
        )
    apart = [s.row for s in ranking.standings if s.reasons]
    if apart:
        told.append(f"{_count(len(apart), 'row')} not comparable and not ranked: {_list(apart[:5])}.")
    codes = comparability.rows_by_code(runs[runs["row"].isin(ranked)])
    if len(codes) > 1:  # only where the leaderboard does not ask for the same code
        told.append(f"Made with different code: {'; '.join(f'{c} ({_list(r)})' for c, r in codes.items())}.")
    diverged = int((runs["status"] == "diverged").sum())
    if diverged:
        told.append(f"{_count(diverged, 'run')} diverged.")
    return told


def _winner(p: RowPair) -> str:
    first, second = (p.a, p.b) if p.verdict == "better" else (p.b, p.a)
    return f"{first} is better than {second}:"


def _difference(p: RowPair, board: Leaderboard) -> str:
    return f"{_interval(p, board)}, {_p(p)}."


def _interval(p: RowPair, board: Leaderboard) -> str:
    d = p.comparison.difference
    text = f"{board.show(d.value, True)} {_points(board)}"
    if d.low == d.low:
        ends = f"{board.show(d.low, True)} to {board.show(d.high, True)}"
        text += f" (uncorrected {100 * d.level:.0f} % interval {ends})"
    return text


def _p(p: RowPair) -> str:
    if p.adjusted != p.adjusted:
        return "no test possible"
    return "adjusted p < 0.001" if p.adjusted < 0.001 else f"adjusted p = {p.adjusted:.2g}"


def rule(board: Leaderboard) -> str:
    """The meaning of the verdicts of a leaderboard, for its page."""
    return verdicts.rule("all pairs of ranked rows", margin_of(board), board.alpha)


def margin_of(board: Leaderboard) -> str:
    """The margin in display units; empty if the leaderboard has none."""
    return f"{board.show(board.margin)} {_points(board)}" if board.margin else ""


def _points(board: Leaderboard) -> str:
    return {"percent": "points", "mebibytes": "MiB"}.get(board.scale, board.label)


def _unit(board: Leaderboard) -> str:
    return f" {board.unit}" if board.unit else ""


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}" + ("" if n == 1 else "s")


def _list(names: Sequence[str]) -> str:
    names = [str(n) for n in names]
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1] if names else ""
