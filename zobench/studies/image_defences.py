"""Section of the page on images: attacks along training."""

from __future__ import annotations

import numpy as np
import pandas as pd

from zobench.metrics.intervals import stratified_groups
from zobench.studies import markdown


def attacks_section(table: pd.DataFrame) -> str:
    """Clean and robust accuracy at each attacked point, and the searches against their random baselines."""
    attacks = ["square", "patch", "gaussian-noise"]
    attacked = table[table["kind"].isin(("attack", "null"))]
    rows = []
    for row in sorted(attacked["row"].unique()):
        for at in sorted(attacked["at"].unique()):
            here = attacked[(attacked["row"] == row) & (attacked["at"] == at)]
            clean = here[(here["metric"] == "accuracy_before") & (here["kind"] == "attack")]["value"].mean()
            cells = []
            for attack in attacks:
                both = [_mean(here, kind, attack, "accuracy") for kind in ("attack", "null")]
                cells.append(" / ".join(map(markdown.percent, both)))
            rows.append([f"`{row}`", str(int(at)), markdown.percent(clean), *cells])
    final = attacked[attacked["at"] == attacked["at"].max()]
    gains = []
    for attack in attacks[:2]:
        values = final[(final["attack"] == attack) & (final["metric"] == "accuracy")]
        wide = values.pivot_table(index=["row", "seed"], columns="kind", values="value")
        gains.append(f"`{attack}` {_difference(wide['null'] - wide['attack'])}")
    text = ATTACKS.format(
        seeds=table["seed"].nunique(), commits=markdown.commits(table), gains=", ".join(gains), runs=len(wide)
    )
    head = ["row", "forward passes", "clean", *(f"`{a}`" for a in attacks)]
    return "\n".join([text, *markdown.table(head, rows)])


def _mean(runs: pd.DataFrame, kind: str, attack: str, metric: str) -> float:
    found = runs[(runs["kind"] == kind) & (runs["attack"] == attack) & (runs["metric"] == metric)]["value"]
    return float(found.mean()) if len(found) else float("nan")


def _difference(values: pd.Series) -> str:
    return markdown.points(stratified_groups([np.asarray(values.dropna(), dtype=float)]))


ATTACKS = """## Attacks on images along training

`zobench run suites/vision-robustness.yaml` (code {commits}): accuracy (%) of `nano-vit` on 50 test images
while it is tuned to the digits 5 to 9, {seeds} seeds: clean, under the attack / under its budget-matched
random baseline. The searches read class probabilities only: Square Attack (1912.00049; 0.1 in the maximum
norm, 50 queries) and a patch of 5 by 5 pixels (after 2006.12834; 50 queries); Gaussian noise (0.2, 10
draws) is its own baseline. An attack that finds no more than its baseline is no search.

*Found here*: at the end of training, accuracy that the search takes beyond its random baseline, in points
over {runs} runs (95 % t interval, rows and seeds pooled): {gains}.
"""
