"""Finds rows whose tuned learning rate is at an end of the grid, so that a wider grid might be better."""

from __future__ import annotations

import json

import pandas as pd


def rate_edges(chosen: pd.DataFrame, trials: pd.DataFrame, task: str = "task") -> dict[str, list[str]]:
    """Row -> tasks on which the selected ``lr`` is the smallest or the largest that was tried.

    Both frames have columns ``row``, ``params`` (JSON) and the one named by ``task``.
    """
    found: dict[str, list[str]] = {}
    for (where, row), tried in trials.groupby([task, "row"]):
        rates = sorted(_rates(tried))
        mine = chosen[(chosen[task] == where) & (chosen["row"] == row)]
        if _rates(mine) & {rates[0], rates[-1]}:
            found.setdefault(str(row), []).append(str(where))
    return found


def _rates(runs: pd.DataFrame) -> set[float]:
    return {float(json.loads(params)["lr"]) for params in runs["params"]}
