"""Sections of the page on images: DeepZero, attacks along training, patch defences."""

from __future__ import annotations

import numpy as np
import pandas as pd

from zobench.metrics.intervals import stratified_groups
from zobench.metrics.paired import compare
from zobench.metrics.verdicts import judge
from zobench.studies import claims, markdown
from zobench.studies.rate_edges import rate_edges


def deepzero_section(points: pd.DataFrame, trials: pd.DataFrame) -> str:
    """Accuracy against forward passes, and differences from random directions and first order."""
    last, edges = claims.finals(points), rate_edges(points, trials)
    at = sorted(int(f) for f in points.loc[points["row"] == "random-directions", "forwards"].unique())[:-1]
    names = ["deepzero", "deepzero-uniform", "deepzero-fixed"]
    pairs = [compare(last, name, "random-directions") for name in names]
    found = [pair for pair in pairs if pair is not None]
    assert len(found) == len(names), "every row has common seeds with random-directions"
    words = judge([c.difference for c in found], [c.p for c in found], margin=claims.MARGIN, higher=True)
    verdicts = {n: [markdown.p_value(v.p, 2), v.word] for n, v in zip(names, words, strict=True)}
    shown = {n: markdown.points(c.difference) for n, c in zip(names, found, strict=True)}
    rows = []
    for row in [*names, "random-directions", "sgd"]:
        runs = points[points["row"] == row]
        along = [markdown.percent(_reached(runs, a)) for a in at]
        along.append(markdown.percent(float(last.loc[last["row"] == row, "value"].mean())))
        first = compare(last, row, "sgd") if row != "sgd" else None
        behind = markdown.NOTHING if first is None else markdown.points(first.difference)
        edge = "edge" if edges.get(row) else ""
        said = verdicts.get(row, [markdown.NOTHING] * 2)
        rows.append([f"`{row}`", *along, shown.get(row, markdown.NOTHING), *said, behind, edge])
    head = [
        "row",
        *(f"{a:,}" for a in at),
        "end",
        "against random directions",
        "p",
        "verdict",
        "against SGD",
        "rate",
    ]
    sgd = points[points["row"] == "sgd"]
    text = DEEPZERO.format(
        budget=f"{int(points['budget'].max()):,}",
        first=f"{int(sgd['budget'].max()):,}",
        seeds=points["seed"].nunique(),
        commits=markdown.commits(points),
        zeros=ZEROS,
        reuse=REUSE,
    )
    return "\n".join([text, *markdown.table(head, rows)])


def _reached(runs: pd.DataFrame, at: int) -> float | None:
    """Mean over seeds of the last accuracy measured within ``at`` forward passes; ``None`` after the end."""
    if at > runs["budget"].max():
        return None
    within = runs[runs["forwards"] <= at].sort_values("forwards").groupby("seed")["accuracy"].last()
    return float(within.mean())


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
                both = [mean_of(here, kind, attack, "accuracy") for kind in ("attack", "null")]
                cells.append(" / ".join(map(markdown.percent, both)))
            rows.append([f"`{row}`", str(int(at)), markdown.percent(clean), *cells])
    final = attacked[attacked["at"] == attacked["at"].max()]
    gains = []
    for attack in attacks[:2]:
        values = final[(final["attack"] == attack) & (final["metric"] == "accuracy")]
        wide = values.pivot_table(index=["row", "seed"], columns="kind", values="value")
        gains.append(f"`{attack}` {points_of(wide['null'] - wide['attack'])}")
    text = ATTACKS.format(
        seeds=table["seed"].nunique(), commits=markdown.commits(table), gains=", ".join(gains), runs=len(wide)
    )
    head = ["row", "forward passes", "clean", *(f"`{a}`" for a in attacks)]
    return "\n".join([text, *markdown.table(head, rows)])


def patch_section(table: pd.DataFrame) -> str:
    """Clean accuracy and abstentions beside accuracy under the patch and its random baseline."""
    rows = []
    tasks = sorted(table["task"].unique(), key=lambda t: (t.startswith("smoothvlm"), t))
    for task in tasks:
        runs = table[table["task"] == task]
        clean = [mean_of(runs, "clean", "", m) for m in ("accuracy", "abstained")]
        under = [mean_of(runs, kind, "patch", "accuracy") for kind in ("attack", "null")]
        refused = mean_of(runs, "attack", "patch", "abstained_after")
        wrong = 1 - under[0] - refused
        bound = [mean_of(runs, "clean", "", f"patch_success_at_{k}") for k in (1, 3, 5)]
        rows.append([task, *map(markdown.percent, [*clean, under[0], refused, wrong, under[1], *bound])])
    differences = []
    for task in tasks[1:]:
        wide = _above(table, task, "clean", "")
        # Test images and changed pixels are the same for every seed: there is no spread to show.
        differences.append(
            [task, f"{100 * float(wide.mean()):+.1f}", points_of(_above(table, task, "attack", "patch"))]
        )
    text = PATCHES.format(
        images=int(table[table["kind"] == "clean"]["n"].max()),
        attacked=int(table[(table["kind"] == "attack") & (table["metric"] == "accuracy")]["n"].max()),
        seeds=table["seed"].nunique(),
        commits=markdown.commits(table),
    )
    head = [
        "task",
        "accuracy",
        "abstained",
        "right under `patch`",
        "abstains",
        "wrong",
        "right under random patches",
    ]
    head += [f"bound, K = {k}" for k in (1, 3, 5)]
    second = ["points above undefended", "clean", "under `patch`, with 95 % t interval over seeds"]
    return "\n".join([text, *markdown.table(head, rows), "", *markdown.table(second, differences)])


def _above(table: pd.DataFrame, task: str, kind: str, attack: str) -> pd.Series:
    """Accuracy above that of the undefended model, by seed."""
    part = table[(table["kind"] == kind) & (table["attack"] == attack) & (table["metric"] == "accuracy")]
    wide = part.pivot_table(index="seed", columns="task", values="value")
    return wide[task] - wide["mnist-5k"]


def mean_of(runs: pd.DataFrame, kind: str, attack: str, metric: str) -> float:
    """Mean of a metric over runs; ``nan`` if none has it."""
    found = runs[(runs["kind"] == kind) & (runs["attack"] == attack) & (runs["metric"] == metric)]["value"]
    return float(found.mean()) if len(found) else float("nan")


def points_of(values: pd.Series) -> str:
    """The mean of differences of shares, in points with its 95 % t interval."""
    return markdown.points(stratified_groups([np.asarray(values.dropna(), dtype=float)]))


ZEROS = """\
*A layer of zeros.* In a first form of the suite a new classification layer started at zero, as everywhere
on images here. ZO-GraSP scores weights by their value times a curvature, so that this layer got no
coordinates; behind it no other weight has a gradient, and nothing was learned (the loss stayed ln 5 to the
last digit) at three learning rates, while shares by size reached 22 to 50 % of the validation images. The
network now keeps its own classification layer."""
REUSE = """\
*Feature reuse*, measured: a step takes 0.79 (quartiles 0.72 to 0.82) of the processor time of the same step
without it on 8 by 8 pixels and 0.53 (0.52 to 0.59) on 28 by 28, with bit-identical losses (`python
benchmarks/reuse.py`, and `--side 28 --rounds 5`, one thread of a busy CPU)."""
DEEPZERO = """## DeepZero from scratch

`zobench run suites/deepzero.yaml` (code {commits}): `micro-cnn` (5,442 parameters) is trained from its
initial weights on 8 by 8 digits of ten classes, {budget} forward passes of 32 images for every zeroth-order
row, {first} for SGD, {seeds} seeds. A DeepZero step estimates 136 coordinates (2.5 %) one by one. Every
learning rate was selected from three on validation images of another data seed.

*Published* (2310.02025): the best accuracy of zeroth-order training from scratch (ResNet-20, CIFAR-10),
close to first order. *Found here*: the table; mean test accuracy (%) after forward passes and at the end,
paired differences at the end in points with 95 % t intervals; p-values of the three comparisons with random
directions after Holm. *edge*: the chosen learning rate is the smallest or largest of the three, so that the
row may be better than it is shown; verdicts are about these grids.

{zeros}

*Differences*: 2.5 % of the coordinates a step instead of 10 %; parameters of batch normalization are among
the coordinates that are drawn, where the published code always estimates them; no warm-up, decay or
schedule; statistics of batch normalization stay as they are at the start; 143 steps instead of 50 epochs.

{reuse}
"""
ATTACKS = """## Attacks on images along training

`zobench run suites/vision-robustness.yaml` (code {commits}): accuracy (%) of `nano-vit` on 50 test images
while it is tuned to the digits 5 to 9, {seeds} seeds: clean, under the attack / under its budget-matched
random baseline. The searches read class probabilities only: Square Attack (1912.00049; 0.1 in the maximum
norm, 50 queries) and a patch of 5 by 5 pixels (after 2006.12834; 50 queries); Gaussian noise (0.2, 10
draws) is its own baseline. An attack that finds no more than its baseline is no search.

*Found here*: at the end of training, accuracy that the search takes beyond its random baseline, in points
over {runs} runs (95 % t interval, rows and seeds pooled): {gains}.
"""
PATCHES = """## SmoothVLM: votes against patches

`zobench run suites/patch-defence.yaml` (code {commits}): `nano-vit` answers {images} test images of the
digits 0 to 4 by the majority of ten copies with changed pixels, {seeds} seeds of the attack; a patch of 5
by 5 pixels is searched by 50 queries of the defended model on {attacked} of them. *Published* (2405.10529,
vision-language models, from memory of the abstract): attack success falls to 0 to 5 %, benign context is
recovered in 67.3 to 95.0 %; *an independent test* (2606.10904): 99.2 to 100 % of benign queries refused.
*Found here*: the table, in percent. Every attacked answer is right, an abstention or wrong; a search stops
at the first answer that is not right, so abstentions stand in its way. The bound is the probability that
the vote defeats a patch that fails once K of its 25 pixels are drawn.
"""
