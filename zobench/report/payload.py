"""The page's data as JSON: curves, final values, pairs, examples, runs, tuning trials. Names are stored once
and referred to by index.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from zobench.metrics import measures
from zobench.report import examples, headtohead, methods, runpages, settings, tuning
from zobench.report.leaderboard import FACTORS
from zobench.report.ranking import Ranking
from zobench.report.source import Source, loss_curves, metric_curves
from zobench.report.tables import generates, labels

MOST_ROWS_IN_PAIRS = 40
AXES = ("forward passes", "tokens", "seconds", "peak memory, MiB")
"""Axes of the curves; the scripts treat memory, the fourth, as an axis of points."""
DIGITS = 5


def payload(source: Source, ranking: Ranking, runs: pd.DataFrame, top: int = 50) -> dict[str, Any]:
    """All data for the scripts, as plain lists, numbers and strings."""
    names = [s.row for s in ranking.standings]
    blocks = list(ranking.blocks)
    shown = labels(source)
    board, drawn = ranking.board, curves(source, names, blocks)
    shown_runs = runpages.collect(source, runs, names, top)
    told = examples.collect(source, runs, names[:MOST_ROWS_IN_PAIRS], blocks)
    return {
        "board": {
            "name": board.name,
            "label": board.label,
            "unit": board.unit,
            "higher": board.higher,
            "factor": FACTORS[board.scale],
            "one": board.scale != "number",  # its values have one decimal
            "margin": board.margin,
            "alpha": board.alpha,
        },
        "rows": [
            {"name": s.row, "kind": "ranked" if s.ranked else "apart" if s.reasons else s.group}
            for s in ranking.standings
        ],
        "blocks": [shown[b] for b in blocks],
        "chance": [_chance(runs, b) for b in blocks],
        "axes": [*AXES, *(["generated tokens"] if generates(runs) else [])],
        "memory": memory(runs, names, blocks),
        "curves": drawn,
        "metrics": about_metrics({c["metric"] for c in drawn} | measured_in(shown_runs)),
        "finals": finals(runs, names, blocks),
        "pairs": pairs(ranking, names),
        "heads": headtohead.collect(source, ranking, runs, names),
        "examples": told["blocks"],
        "texts": told["texts"],
        "measured": told["measured"],
        "attacked": told["attacked"],
        "settings": settings.collect(runs, names),
        "methods": methods.collect(runs, names),
        "runs": shown_runs,
        "tuning": tuning.collect(source),
    }


def measured_in(runs: list[dict[str, Any]]) -> set[str]:
    """Names of the metrics in the details of these runs."""
    return {str(name) for r in runs if r["metrics"] for name in r["metrics"][3]["of"]}


def about_metrics(names: set[str]) -> dict[str, dict[str, bool]]:
    """``share``: between 0 and 1; ``percent``: shown in percent (also differences of shares); ``lower``:
    lower is better. A metric of which none holds is left out."""
    found = {
        m: {
            "share": measures.bounds(m) == measures.SHARE,
            "percent": measures.in_percent(m),
            "lower": not measures.higher_is_better(m),
        }
        for m in sorted(names)
    }
    return {m: {k: True for k, v in about.items() if v} for m, about in found.items() if any(about.values())}


def curves(source: Source, names: list[str], blocks: list[str]) -> list[dict[str, Any]]:
    """One entry per (row, block, kind, condition, metric): the axes, the mean and the half width of the
    95 % t interval over seeds.
    """
    training = loss_curves(source).assign(kind="train", condition="", metric="training loss")
    row, block = {n: i for i, n in enumerate(names)}, {b: i for i, b in enumerate(blocks)}
    out = []
    for frame in (metric_curves(source), training):
        known = frame[frame["row"].isin(row) & frame["block"].isin(block)].reset_index(drop=True)
        n = known["n"].to_numpy(dtype=float)
        half = special.stdtrit(np.maximum(n - 1, 1), 0.975) * known["sd"].to_numpy(dtype=float) / np.sqrt(n)
        shown = ("forwards", "tokens", "seconds", "generated_tokens")
        columns = {c: numbers(known[c]) for c in (*shown, "mean")} | {"half": numbers(half)}
        more = bool(known["generated_tokens"].notna().any())
        keys = list(zip(*(known[c] for c in ("row", "block", "kind", "condition", "metric")), strict=True))
        starts = [i for i, key in enumerate(keys) if i == 0 or keys[i - 1] != key]
        for start, stop in zip(starts, [*starts[1:], len(keys)][: len(starts)], strict=True):
            r, b, kind, condition, metric = keys[start]
            cut = slice(start, stop)
            out.append(
                {
                    "r": row[r],
                    "b": block[b],
                    "kind": kind,
                    "condition": condition,
                    "metric": metric,
                    # Memory is an axis without curves: its place stays empty.
                    "x": [
                        *(columns[a][cut] for a in shown[:3]),
                        *([[], columns[shown[3]][cut]] if more else []),
                    ],
                    "y": columns["mean"][cut],
                    "h": columns["half"][cut],
                    "n": int(n[cut].max()),
                }
            )
    return out


def finals(runs: pd.DataFrame, names: list[str], blocks: list[str]) -> list[list[list[Any]]]:
    """``finals[row][block]`` is a list of ``[seed, value]``, from which paired differences are computed."""
    out: list[list[list[Any]]] = [[[] for _ in blocks] for _ in names]
    row, block = {n: i for i, n in enumerate(names)}, {b: i for i, b in enumerate(blocks)}
    usable = runs[runs["usable"]].sort_values("seed")
    for r, b, seed, value in usable[["row", "block", "seed", "value"]].itertuples(index=False):
        out[row[r]][block[b]].append([int(seed), number(value)])
    return out


def memory(runs: pd.DataFrame, names: list[str], blocks: list[str]) -> list[list[float | None]]:
    """``memory[row][block]``: mean peak memory of the row's runs in MiB."""
    out: list[list[float | None]] = [[None] * len(blocks) for _ in names]
    row, block = {n: i for i, n in enumerate(names)}, {b: i for i, b in enumerate(blocks)}
    known = runs[runs["usable"]].groupby(["row", "block"], sort=False)["peak_memory_bytes"].mean().dropna()
    for r, b, value in known.reset_index().itertuples(index=False):
        out[row[r]][block[b]] = number(value / 2**20)
    return out


def pairs(ranking: Ranking, names: list[str]) -> list[list[Any]]:
    """``[a, b, difference, low, high, p, adjusted, permutation p, effect, improvement, verdict, more
    seeds]``.
    """
    row = {n: i for i, n in enumerate(names)}
    top = {s.row for s in ranking.ranked[:MOST_ROWS_IN_PAIRS]}
    out = []
    for p in ranking.pairs:
        if p.a in top and p.b in top:
            c = p.comparison
            values = (
                c.difference.value,
                c.difference.low,
                c.difference.high,
                c.p,
                p.adjusted,
                c.permutation_p,
                c.effect,
                c.improvement,
            )
            more = None if p.power is None else p.power.more
            out.append([row[p.a], row[p.b], *map(number, values), p.verdict, more])
    return out


def number(value: Any) -> float | None:
    """A finite number rounded to five significant digits, else ``None``."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.{DIGITS}g}")


def numbers(column: Any) -> list[float | None]:
    return [number(v) for v in column]


def _chance(runs: pd.DataFrame, block: str) -> float | None:
    known = runs.loc[runs["block"] == block, "chance"].dropna()
    return float(known.iloc[0]) if len(known) else None
