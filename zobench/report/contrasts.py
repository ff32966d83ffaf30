"""Compares two settings of an attack example by example, as declared by its card."""

from __future__ import annotations

from typing import Any

import pandas as pd

from zobench.attack_card import AttackCard, Contrast
from zobench.metrics.paired import mcnemar
from zobench.report.cells import Cell
from zobench.report.robust_tests import interval

About = dict[tuple[str, str], tuple[dict[str, Any], AttackCard]]
"""(run, condition) -> the parameters of its attack and its card."""


def contrasts(own: pd.DataFrame, about: About, names: dict[str, str]) -> list[Cell]:
    """``contrast`` and its ``lines``: accuracy under the first setting minus accuracy under the second, over
    the same examples, seeds and repeats, for each row, task and pair of attacks that differ only in the
    contrast's parameter."""
    found: dict[Contrast, list[Cell]] = {}
    parts: Any = own.groupby(["row", "block"], sort=True)
    for (row, block), part in parts:
        pairs = sorted(set(zip(part["run_id"], part["condition"], strict=True)))
        here = {c: about[r, c] for r, c in pairs if (r, c) in about}
        params = {c: p for c, (p, _) in here.items()}
        for first, (_, card) in sorted(here.items(), key=lambda kv: kv[0]):
            for contrast in card.contrasts:
                second = _partner(contrast, params[first], params)
                line = None if second is None else _line(part, first, second)
                if line is not None:
                    line |= {"row": row, "label": names.get(block, block)}
                    found.setdefault(contrast, []).append(line)
    return [{"contrast": c, "lines": lines} for c, lines in found.items()]


def _line(part: pd.DataFrame, first: str, second: str) -> Cell | None:
    a, b = (part[part["condition"] == c] for c in (first, second))
    both = a.merge(b, on=["seed", "example_id", "again"], suffixes=("_first", "_second"))
    if both.empty:
        return None
    gap = both["final_correct_first"].astype(float) - both["final_correct_second"].astype(float)
    seeds: Any = both.groupby("seed")
    tests = [mcnemar(g["final_correct_first"], g["final_correct_second"]) for _, g in seeds]
    return {
        "first": first,
        "second": second,
        "accuracy_first": float(both["final_correct_first"].mean()),
        "accuracy_second": float(both["final_correct_second"].mean()),
        "gap": interval(both["seed"], gap),
        "n": len(both),
        "seeds": int(both["seed"].nunique()),
        "discordant": (sum(t[0] for t in tests), sum(t[1] for t in tests)),
        "p": max(t[2] for t in tests),
    }


def _partner(contrast: Contrast, params: dict[str, Any], here: dict[str, dict[str, Any]]) -> str | None:
    """The attack that differs only in the contrast's parameter."""
    if str(params.get(contrast.parameter)) != contrast.first:
        return None
    wanted = {**params, contrast.parameter: contrast.second}
    return next((c for c, p in sorted(here.items()) if p == wanted), None)
