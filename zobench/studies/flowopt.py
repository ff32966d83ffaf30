"""FlowOpt on the built-in generator: compacts the runs of ``suites/flowopt.yaml``, writes its part of
``docs/systems.md`` and a strip of pictures.

    python -m zobench.studies.flowopt --from RESULTS   # compact the results
    python -m zobench.studies.flowopt --strip          # draw docs/pictures/flowopt.png (half a minute)

``docs/results/flowopt.parquet`` has one record per run, evaluation point and metric; the estimated bound of
the step size is the metric ``step_bound``. The strip repeats edits and inversions of the suite step by step.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from zobench.data.image import Image
from zobench.metrics.intervals import Interval, stratified_groups
from zobench.models.loading import load
from zobench.plugins import lookup
from zobench.spec import ModelRef
from zobench.store.reader import read
from zobench.studies import committed, markdown
from zobench.zo import Objective, build_space

NAME = "flowopt"
COLUMNS = ["task", "row", "group", "params", "seed", "status", "at", "metric", "value", "commit"]
EVALUATIONS = 5
"""Network evaluations of one sampling."""
SHOWN = (0, 1, 2, 4, 8, 15, 30, 60)
"""Samplings after which the strip shows the image."""


def compact(folder: Path) -> None:
    """Write ``docs/results/flowopt.parquet`` from a results folder."""
    found = read([folder], ("runs", "metrics", "steps"))
    runs = found.runs[found.runs["purpose"] == "result"]
    runs = runs.rename(columns={"method_params": "params", "git_commit": "commit"})
    runs = runs.assign(task=[_task(json.loads(spec)) for spec in runs["spec"]])
    clean = found.metrics[found.metrics["split"] == "test"]
    clean = clean.assign(at=[json.loads(p)["at"] for p in clean["params"]])
    steps = found.steps[found.steps["step"] == 0]
    bounds = [json.loads(e).get("step_bound") for e in steps["extras"]]
    shown = pd.DataFrame({"run_id": steps["run_id"], "at": 0, "metric": "step_bound", "value": bounds})
    values = pd.concat([clean[["run_id", "at", "metric", "value"]], shown.dropna()])
    about = runs[["run_id", *(c for c in COLUMNS if c in runs)]]
    table = about.merge(values, on="run_id")[COLUMNS]
    order = ["task", "row", "seed", "metric", "at"]
    committed.keep(table.sort_values(order, ignore_index=True), committed.results() / f"{NAME}.parquet")


def _task(spec: dict[str, Any]) -> str:
    """The suite's name of the task, from its parameters."""
    params = spec["task"]["params"]
    if params["towards"]:
        return "edit"
    if params["start"] == "noise":
        return "from-noise"
    return "invert-corrected" if params["corrections"] > 1 else "invert"


def section(points: pd.DataFrame) -> str:
    """The part of the page on FlowOpt."""
    bounds = points[points["metric"] == "step_bound"]["value"]
    above = points[points["row"] == "flowopt-above"].groupby("seed")["status"].first()
    ours = points[points["row"] == NAME]["params"]
    differences = [
        ("MeZO on the start code, inversion", "invert", "mezo", "invert"),
        ("MeZO, from noise", "from-noise", "mezo", "from-noise"),
        ("backpropagation through the sampler, inversion", "invert", "backpropagation", "invert"),
        ("backpropagation, from noise", "from-noise", "backpropagation", "from-noise"),
        ("plain inversion, 1 correction a step (6 evaluations)", "invert", "plain-inversion", "invert"),
        (
            "plain inversion, 60 corrections (301 evaluations)",
            "invert",
            "plain-inversion",
            "invert-corrected",
        ),
    ]
    compared = [[name, *_cells(points, task, row, other)] for name, task, row, other in differences]
    text = TEXT.format(
        low=f"{bounds.min():.2f}",
        high=f"{bounds.max():.2f}",
        chosen=" and ".join(sorted({f"{json.loads(p)['lr']:g}" for p in ours})),
        diverged=int((above == "diverged").sum()),
        runs=len(above),
    )
    lines = [
        text,
        *markdown.table(
            ["FlowOpt against", "PSNR", "`flowopt` minus it", "`flowopt-smaller` minus it"], compared
        ),
    ]
    lines += ["", *_curves(points), "", EDITS, "", *_edits(points), "", STRIP]
    return "\n".join(lines)


def final(points: pd.DataFrame, row: str, task: str) -> pd.Series:
    """PSNR at the end of each run, by seed."""
    found = points[(points["row"] == row) & (points["task"] == task) & (points["metric"] == "psnr")]
    last = found[found["at"] == found.groupby("seed")["at"].transform("max")]
    return last.set_index("seed")["value"].sort_index()


def _cells(points: pd.DataFrame, task: str, row: str, other: str) -> list[str]:
    theirs = final(points, row, other)
    cells = [f"{theirs.mean():.1f}"]
    for name in (NAME, "flowopt-smaller"):
        ours = final(points, name, task)
        assert list(ours.index) == list(theirs.index), "compared on common images"
        cells.append(decibels(stratified_groups([np.asarray(ours - theirs, dtype=float)])))
    return cells


def decibels(d: Interval) -> str:
    return f"{d.value:+.1f} [{d.low:+.1f}, {d.high:+.1f}]"


def _curves(points: pd.DataFrame) -> list[str]:
    """PSNR and SSIM against network evaluations."""
    rows = []
    for task in ("invert", "from-noise"):
        for row in (NAME, "flowopt-smaller", "mezo", "backpropagation", "flowopt-above"):
            part = points[(points["task"] == task) & (points["row"] == row)]
            if not part.empty:
                rows.append([f"{task}: `{row}`", *_along(part, ("psnr", "ssim"))])
    return markdown.table(["", *(str(EVALUATIONS * at) for at in SHOWN)], rows)


def _edits(points: pd.DataFrame) -> list[str]:
    part = points[points["row"] == "flowopt-edit"]
    rows = [
        ["PSNR to the source, SSIM", *_along(part, ("psnr", "ssim"))],
        ["probability of the new class", *_along(part, ("target_probability",))],
        ["probability of the old class", *_along(part, ("source_probability",))],
    ]
    return markdown.table(["", *(str(EVALUATIONS * at) for at in SHOWN)], rows)


def _along(part: pd.DataFrame, metrics: Sequence[str]) -> list[str]:
    cells = []
    for at in SHOWN:
        here = part[part["at"] == at]
        values = [here[here["metric"] == m]["value"].mean() for m in metrics]
        forms = [".1f" if m == "psnr" else ".2f" for m in metrics]
        cells.append(", ".join(f"{v:{f}}" for v, f in zip(values, forms, strict=True)))
    return cells


TEXT = """## FlowOpt on a flow

`zobench run suites/flowopt.yaml`: the start code of the built-in `nano-flow` (0.40 million parameters, 5
Euler steps) is tuned for 60 samplings of 5 network evaluations, on 5 test images of MNIST that the generator
has not seen. The learning rates of FlowOpt, MeZO and
backpropagation were selected from four values on one other image. *invert* starts from the plain inversion
of the differential equation, *from-noise* from noise. Backpropagation counts 3 samplings a step.

*Published* (2510.22010): inversion and editing at the level of the best methods at about equal network
evaluations, and a step size below which the iteration converges. *Found here*: the table. The bound of the
step size, estimated from 8 pairs at each start (lowest tenth), was {low} to {high}; at the step size 3,
{diverged} of {runs} runs diverged. The step size selected on the one image was {chosen}, which is above the
bound of other images: `flowopt-smaller` (0.3, selected before the grid was extended) shows what that costs.

PSNR in decibels, means over images, paired differences with 95 % t intervals (not corrected for the number
of comparisons).
"""
EDITS = """*Editing* towards the next class among the digits 0 to 4 (step size 0.02, lowered from
0.1 after a first look at the iterates), with the probabilities
that `nano-cnn` gives to the two classes. The iterate chooses between edit and source, as published; how well
the first iterates show the new class is the generator's."""
STRIP = """![Iterates of FlowOpt](pictures/flowopt.png)

Left: the source image; then the iterates after 0, 1, 2, 4, 8, 15, 30 and 60 samplings: three edits, three
inversions from noise, and three runs above the bound."""


def draw(to: Path) -> None:
    """Write the strip: edits, inversions from noise, runs above the bound; three images each."""
    flow = load(ModelRef(name="builtin:nano-flow"))
    kinds: tuple[tuple[dict[str, Any], float], ...] = (
        ({"classes": (0, 1, 2, 3, 4), "towards": 1}, 0.02),
        ({"start": "noise"}, 0.3),
        ({}, 3.0),
    )
    rows = [_iterates(flow, params, lr, seed) for params, lr in kinds for seed in (1, 2, 3)]
    large = np.concatenate(rows, axis=0).repeat(2, axis=0).repeat(2, axis=1)
    to.write_bytes(Image.of(large).png())


def _iterates(flow: Any, params: dict[str, Any], lr: float, seed: int) -> np.ndarray[Any, Any]:
    """The source image and the iterates ``SHOWN``, side by side."""
    found = lookup("tasks", "flow-inversion")
    task = found(found.Config(steps=EVALUATIONS, **params))
    (example,) = task.splits(seed).train
    batch = task.batch(flow, [example])
    flow.module.code.data.zero_()
    objective = Objective(
        flow.module,
        lambda m, b: task.loss(flow, m, b),
        residual=lambda m, b: task.residual(flow, m, b),
    )
    objective.set_batch(batch, sequences=1, tokens=0)
    space = build_space("names", {"include": ["code"]}, flow.module)
    method = lookup("methods", NAME)
    optimizer = method(method.Config(lr=lr), space, seed=seed)
    shown = [example.image.array()[..., 0]]
    for step in range(max(SHOWN) + 1):
        if step in SHOWN:
            with torch.no_grad():
                shown.append(task.pixels_of(task.sampled(flow.module, batch))[0])
        optimizer.step(objective)
    flow.module.code.data.zero_()
    return np.concatenate(shown, axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--from", dest="source", type=Path, metavar="RESULTS")
    parser.add_argument("--strip", action="store_true")
    options = parser.parse_args()
    if options.source:
        compact(options.source)
    if options.strip:
        draw(committed.docs() / "pictures" / f"{NAME}.png")


if __name__ == "__main__":
    main()
