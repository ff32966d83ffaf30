"""ZO-Muon's comparison on a pretrained network: its part of ``docs/systems.md``, from the runs of
``suites/vision-efficientnet.yaml``.

``docs/results/vision-efficientnet.parquet`` has one record per run and evaluation point, ``-trials`` one per
tuning trial (:mod:`zobench.studies.claims_results`); rules and verdicts are those of the other comparison.
"""

from __future__ import annotations

import pandas as pd

from zobench.studies import claims, markdown
from zobench.studies.claims import Claim

NAME = "vision-efficientnet"
TRIALS = f"{NAME}-trials"
CLAIMS = (
    Claim("zo-muon", "higher", "25.1 points more accurate than MeZO (ViT-B, CIFAR-100)", "2602.17155"),
    Claim("zo-muon", "fewer", "24.7 % of MeZO's queries to the same accuracy (SST-2)", "2602.17155", 0.247),
)

HEAD = """## ZO-Muon on EfficientNet-Lite0

`zobench run suites/vision-efficientnet.yaml` (code {commits}): EfficientNet-Lite0 with its weights from
ImageNet, at 64 by 64 pixels and with a new classification layer, is tuned to the digits 5 to 9: all weights,
{budget} forward passes of minibatches of 16 images, {seeds} seeds. Each row has four learning rates a
decade apart, tried on validation images of another data seed by one halving; the decades were written down
before the first of these runs. Rule and columns as above; the target is {goal} %, and Holm's procedure covers
the {rows} rows that are compared with `mezo`. Statistics of batch normalization never change.

*Found here*: backpropagation reaches {first} %, the best zeroth-order row {best} % in the mean; chance is
20 %.
"""


def section(points: pd.DataFrame, trials: pd.DataFrame) -> str:
    """The section in Markdown."""
    found = claims.against_reference(points)
    (goal,) = claims.targets(points).values()
    means = claims.finals(points).groupby(["group", "row"])["value"].mean()
    head = HEAD.format(
        commits=markdown.commits(points),
        budget=int(points["budget"].max()),
        seeds=points["seed"].nunique(),
        goal=markdown.percent(goal),
        rows=len(found),
        first=markdown.percent(means["control", "adamw"]),
        best=markdown.percent(means["method"].max()),
    )
    lines = [head, *claims.claims_table(CLAIMS, found), "", *claims.methods_table(points, trials, found)]
    return "\n".join(lines)
