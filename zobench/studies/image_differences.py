"""Differences behind the overview of ``docs/systems.md``: committed tables -> one value per pair of runs,
positive in the published direction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from zobench.metrics.paired import paired_differences
from zobench.studies import certified, claims, flowopt, ib_ft, proxies, pruning, ranking
from zobench.studies.image_runs import final

Tables = Mapping[str, pd.DataFrame]
"""Committed tables by name."""
Differences = Callable[[Tables], Any]
WEIGHTS = ("parzc", "kendall_tau_parameters")
"""Row and metric of the proxy that counts weights."""


def accuracy(table: str, ours: str, other: str) -> Differences:
    """Final accuracy of ``ours`` minus ``other``."""
    return lambda t: paired_differences(claims.finals(t[table]), ours, other)["difference"]


def queries(table: str) -> Differences:
    """Logarithms of MeZO's forward passes to the target over those of ZO-Muon."""

    def values(t: Tables) -> Any:
        spent = claims.times(t[table])
        logs = spent.assign(value=np.log(spent["time"]))
        return -paired_differences(logs, "zo-muon", "mezo")["difference"]

    return values


def psnr(task: str, other: str, on: str) -> Differences:
    """Decibels of FlowOpt on ``task`` minus ``other`` on the task ``on``."""

    def values(t: Tables) -> Any:
        points = t[flowopt.NAME]
        ours, theirs = flowopt.final(points, flowopt.NAME, task), flowopt.final(points, other, on)
        return ours - theirs

    return values


def certified_at_half(ours: str, other: str) -> Differences:
    """Certified accuracy at radius 0.5, target ``prediction``, 10,000 votes."""
    return lambda t: certified.differences(t[certified.FULL], ours, other, "certified_accuracy_at_0.5")


def patched(t: Tables) -> Any:
    """Right answers under the patch: masking a fifth of the pixels minus undefended."""
    table = t["patch-defence"]
    under = table[(table["kind"] == "attack") & (table["metric"] == "accuracy")]
    wide = under.pivot_table(index="seed", columns="task", values="value")
    return wide["smoothvlm mask 0.2"] - wide["mnist-5k"]


def square(t: Tables) -> Any:
    """Accuracy at the end under random tries minus under Square Attack, all rows and seeds."""
    table = t["vision-robustness"]
    last = table[(table["attack"] == "square") & (table["metric"] == "accuracy")]
    last = last[last["at"] == table["at"].max()]
    wide = last.pivot_table(index=["row", "seed"], columns="kind", values="value")
    return wide["null"] - wide["attack"]


def scores(other: str) -> Differences:
    """Likeness of ZO-RankSGD minus another row."""

    def values(t: Tables) -> Any:
        part = t[ranking.NAME][t[ranking.NAME]["task"] == "likeness"]
        return final(part, "zo-ranksgd", "score") - final(part, other, "score")

    return values


def quantized(t: Tables) -> Any:
    """Loss of the rounded generator minus that after QZO."""
    table = t["quantized-flow"]
    return final(table, "rounded", "velocity_loss") - final(table, "qzo", "velocity_loss")


def recalled(t: Tables) -> Any:
    """Facts recalled with fused scores minus with scores of general data, half of the weights pruned."""
    part = t[pruning.NAME][t[pruning.NAME]["sparsity"] == 0.5].set_index("seed")
    ours, theirs = (part.loc[part["criterion"] == c, "accuracy"] for c in ("fused", "general"))
    return ours - theirs


def tau(kind: str, ours: tuple[str, str], other: tuple[str, str] = WEIGHTS) -> Differences:
    """tau of a proxy (row and metric) minus that of another, by default the number of weights."""

    def values(t: Tables) -> Any:
        part = t[proxies.FULL][t[proxies.FULL]["task"] == kind]
        return final(part, *ours) - final(part, *other)

    return values


def passed(row: str) -> Differences:
    """Pass@1 of a row minus AdamW on the plain loss."""

    def values(t: Tables) -> Any:
        runs = t[ib_ft.NAME][t[ib_ft.NAME]["row"] != "base"]
        return final(runs, row, "accuracy") - final(runs, "adamw", "accuracy")

    return values
