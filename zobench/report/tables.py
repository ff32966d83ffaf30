"""Lines of the page's tables as plain values: ranking, heat map, robustness, runs."""

from __future__ import annotations

import numpy as np
import pandas as pd
from markupsafe import Markup

from zobench.metrics.intervals import Interval, iqm_interval
from zobench.report.cards import Cards, attack_name
from zobench.report.cells import Cell
from zobench.report.leaderboard import Leaderboard
from zobench.report.ranking import Ranking, Standing
from zobench.report.source import Source
from zobench.report.svg import whisker

COSTS = (
    "forwards",
    "tokens",
    "generated_tokens",
    "train_seconds",
    "peak_memory_bytes",
    "tuned_parameters",
    "tuning_forwards",
)
MOST_IQM, IQM_RESAMPLES = 20, 500
"""Number of rows whose interquartile means get intervals, and number of bootstrap resamples of each."""
MOST_DOTS = 30
"""Number of seeds that have a dot of their own in the interval plot."""
MOST_PAGED = 5_000
"""Runs without details that the page of a site lists."""


def labels(source: Source) -> dict[str, str]:
    """Display name by block."""
    return dict(zip(source.runs["block"].map(str), source.runs["label"].map(str), strict=True))


def generates(runs: pd.DataFrame) -> bool:
    """Whether a run trained on generated answers, so that generated tokens are a cost to show."""
    return bool(runs["generated_tokens"].notna().any())


def ranking_rows(ranking: Ranking, runs: pd.DataFrame, attacks: pd.DataFrame) -> list[Cell]:
    """One dict per standing with the cells of the ranking table, including costs and robustness."""
    board = ranking.board
    axis = _scale(ranking)
    kept = attacks[attacks["keeps_answer"].astype(bool)]
    net = kept.groupby("row")["net"].max() if len(kept) else pd.Series(dtype=float)
    worst = kept.groupby("row")["robust"].min() if len(kept) else pd.Series(dtype=float)
    rows = []
    about = dict(iter(runs[["row", "note", "status", *COSTS]].groupby("row", sort=False)))
    for i, s in enumerate(ranking.standings):
        mine = about[s.row]
        text = spoken(s.interval, board)
        rows.append(
            {
                "standing": s,
                "row": s.row,
                "kind": "ranked" if s.ranked else "apart" if s.reasons else s.group,
                "mean": text,
                "value": None if s.interval is None else s.interval.value,
                "whisker": "" if s.interval is None else _whisker(ranking, s, text, axis),
                "blocks": [cell(s.blocks.get(b), board) for b in ranking.blocks],
                "first": s.first,
                "iqm": s.iqm,
                "iqm_spread": "" if i >= MOST_IQM else iqm_spread(ranking, s.row),
                "verified": verified(mine),
                "robust": _get(worst, s.row),
                "net": _get(net, s.row),
                "status": status_text(mine),
                **costs(mine),
            }
        )
    return rows


def by_seed(ranking: Ranking, row: str) -> list[float]:
    """Means over tasks of each seed; empty unless the row has the same number of seeds on every task."""
    values = list(ranking.values.get(row, {}).values())
    if not values or len({len(v) for v in values}) > 1 or len(values[0]) < 2:
        return []
    return [float(v) for v in np.mean(values, axis=0)]


def _whisker(ranking: Ranking, standing: Standing, text: str, axis: tuple[float, float]) -> Markup:
    """The interval plot of a row on the scale of all rows, with a dot for each seed."""
    assert standing.interval is not None
    seeds = by_seed(ranking, standing.row)
    many = f"; {len(seeds)} seeds" if seeds else ""
    return whisker(standing.interval, *axis, text + many, seeds=seeds[:MOST_DOTS])


def iqm_spread(ranking: Ranking, row: str) -> str:
    """The stratified bootstrap interval of the interquartile mean over a row's runs; empty if undefined."""
    rows = [(block, v) for block, array in ranking.values.get(row, {}).items() for v in array]
    if not rows:
        return ""
    found = iqm_interval(pd.DataFrame(rows, columns=["task", "value"]), resamples=IQM_RESAMPLES)
    return ranking.board.spread(found.within(ranking.bounds))


def verified(runs: pd.DataFrame) -> str:
    """``3 of 9 runs verified``, from the marks that ``zobench verify --add`` sets; empty if there is none."""
    marked = int(runs["note"].fillna("").str.contains("verified: ", regex=False).sum())
    return f"{marked} of {len(runs)} runs verified" if marked else ""


def costs(runs: pd.DataFrame) -> Cell:
    """Mean cost of a run of the row."""
    return {n: _mean(runs[n]) for n in COSTS}


def status_text(runs: pd.DataFrame) -> str:
    """``9 done``, ``8 done, 1 diverged``."""
    counts = runs["status"].value_counts()
    order = ["done", *sorted(set(counts.index) - {"done"})]
    return ", ".join(f"{counts[k]} {str(k).replace('_', ' ')}" for k in order if k in counts)


def cell(interval: Interval | None, board: Leaderboard) -> Cell:
    """A value with its interval, for a table cell."""
    if interval is None:
        return {"value": None, "text": "", "spread": ""}
    return {"value": interval.value, "text": board.show(interval.value), "spread": board.spread(interval)}


def spoken(interval: Interval | None, board: Leaderboard) -> str:
    """``81.7 (80.0 to 83.3)``."""
    if interval is None:
        return "no result"
    text = board.show(interval.value)
    if interval.low == interval.low:
        text += f" ({board.show(interval.low)} to {board.show(interval.high)})"
    return text


def heat(ranking: Ranking) -> list[Cell]:
    """Row x block: difference to the best ranked row on that block, and whether it is significant.

    ``p`` is uncorrected; ``sure`` is set after Holm's correction over all cells of the map.
    """
    from zobench.metrics.paired import holm, paired_t

    best = {b: _best(ranking, b) for b in ranking.blocks}
    cells: list[Cell] = []
    shown = [s for s in ranking.standings if s.interval is not None]
    for s in shown:
        for b in ranking.blocks:
            mine, top = ranking.values.get(s.row, {}).get(b), ranking.values.get(best[b] or "", {}).get(b)
            p, gap = np.nan, None
            if mine is not None and top is not None:
                gap = float(mine.mean() - top.mean())
                if s.ranked and s.row != best[b] and len(mine) == len(top) > 1:
                    p = paired_t([mine - top])
            cells.append(
                {
                    "row": s.row,
                    "ranked": s.ranked,
                    "block": b,
                    "gap": gap,
                    "p": p,
                    "best": s.row == best[b],
                    "value": None if mine is None else float(mine.mean()),
                }
            )
    adjusted = holm([c["p"] for c in cells])
    widest = max((abs(c["gap"]) for c in cells if c["gap"] is not None and c["ranked"]), default=1.0) or 1.0
    for c, p in zip(cells, adjusted, strict=True):
        c["sure"] = bool(p < ranking.board.alpha)
        c["shade"] = 0 if c["gap"] is None else round(min(1.0, abs(c["gap"]) / widest) * 6)
    return cells


def robustness(source: Source, ranking: Ranking) -> pd.DataFrame:
    """Per row and attack, means over runs: accuracy without attack (``clean``), after it (``robust``) and
    after its budget-matched random baseline (``null``), success rates, net success, queries; the number of
    runs; ``keeps_answer`` from the attack's card.
    """
    finals = source.finals[(source.finals["purpose"] != "tuning") & (source.finals["split"] == "test")]
    primary = finals[finals["metric"] == finals["primary_metric"]]
    clean = primary[primary["condition_kind"] == "clean"].groupby("run_id")["value"].mean()
    keys = ["row", "condition", "params", "run_id"]
    found = {}
    for name, metric, kind in (
        ("robust", None, "attack"),
        ("null", None, "null"),
        ("success", "success_rate", "attack"),
        ("null_success", "success_rate", "null"),
        ("queries", "queries", "attack"),
    ):
        part = primary if metric is None else finals[finals["metric"] == metric]
        part = part[part["condition_kind"] == kind].fillna({"params": "{}"})
        found[name] = part.groupby(keys)["value"].mean()
    frame = pd.DataFrame(found).reset_index()
    if frame.empty:
        return frame.assign(net=[], clean=[], runs=[], keeps_answer=[])
    frame["clean"] = frame["run_id"].map(clean)
    frame["net"] = frame["success"] - frame["null_success"]
    cards = Cards(source)
    told = zip(frame["run_id"], frame["condition"], frame["params"], strict=True)
    frame["keeps_answer"] = [cards.of(r, c, attack_name(c, p)).keeps_answer for r, c, p in told]
    numbers = ["clean", "robust", "null", "success", "null_success", "net", "queries"]
    out = frame.groupby(["row", "condition", "params"], sort=True)[numbers].mean()
    groups = frame.groupby(["row", "condition", "params"])
    out["runs"] = groups.size()
    out["keeps_answer"] = groups["keeps_answer"].all()
    place = {s.row: i for i, s in enumerate(ranking.standings)}
    out = out.reset_index()
    out["order"] = out["row"].map(lambda r: place.get(r, len(place)))
    return out.sort_values(["condition", "params", "order"], ignore_index=True)


def paged_runs(runs: pd.DataFrame, rows: list[Cell], detailed: list[Cell]) -> list[Cell]:
    """The runs without details in the page, in the order of the ranking: a site links to their pages."""
    place = {row["row"]: i for i, row in enumerate(rows)}
    rest = runs[~runs["run_id"].isin([run["id"] for run in detailed])]
    rest = rest.assign(place=rest["row"].map(place)).sort_values(["place", "label", "seed"], kind="stable")
    return [
        {**{str(k): v for k, v in r.items()}, "value": None if pd.isna(r["value"]) else float(r["value"])}
        for r in rest.head(MOST_PAGED).to_dict("records")
    ]


def broken_runs(source: Source) -> list[Cell]:
    """Runs without a full result: failed, diverged, out of memory, interrupted, stopped before the first
    step.
    """
    runs = source.results
    bad = runs[runs["status"] != "done"].sort_values(["row", "label", "seed"])
    columns = ["row", "label", "seed", "status", "error", "run_id"]
    return [
        dict(zip(columns, r, strict=True)) for r in bad[columns].fillna("").itertuples(index=False, name=None)
    ]


def _scale(ranking: Ranking) -> tuple[float, float]:
    """Common axis of the interval plots of all rows; very wide intervals are clipped."""
    shown = [s.interval for s in ranking.standings if s.interval is not None]
    values = [i.value for i in shown]
    if not values:
        return 0.0, 1.0
    pad = 0.1 * ((max(values) - min(values)) or abs(values[0]) or 1.0)
    ends = [e for i in shown for e in (i.low, i.high) if e == e]
    return max(min([*ends, *values]), min(values) - 3 * pad), min(
        max([*ends, *values]), max(values) + 3 * pad
    )


def _best(ranking: Ranking, block: str) -> str | None:
    rows: list[Standing] = [s for s in ranking.ranked if block in s.blocks]
    sign = 1 if ranking.board.higher else -1
    return max(rows, key=lambda s: sign * s.blocks[block].value).row if rows else None


def _get(series: pd.Series, key: str) -> float | None:
    value = series.get(key)
    return None if value is None or value != value else float(value)


def _mean(column: pd.Series) -> float | None:
    numbers = pd.to_numeric(column, errors="coerce").dropna()
    return float(numbers.mean()) if len(numbers) else None
