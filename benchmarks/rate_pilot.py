"""Centres of learning-rate grids for a comparison of many methods: the best decade of each.

Each method runs for --forwards forward passes (200) on one task at each power of ten from 1e-7 to 1 (or in
--decades), on a data seed that neither the tuning nor the comparison uses. The centre is the rate with the
smallest mean training loss over the last quarter of its steps. Rates after which the loss no longer depends
on the minibatch are excluded: too large a step leaves a model that gives the same answer to every example,
and its constant loss ln(classes) can be below that of slow learning. Every method of a set has the same
decades and the same number of forward passes; where the best decade was the last (zo-mopi in the set recent),
decades were added until it was not. Only training losses are used.

    python benchmarks/rate_pilot.py --output docs/results/rate-pilot.json
    python benchmarks/rate_pilot.py --set recent --forwards 100 --decades -5 -1 \
        --output docs/results/rate-pilot-recent.json
    python benchmarks/rate_pilot.py --set recent --forwards 100 --decades -5 1 --only zo-mopi \
        --output docs/results/rate-pilot-recent.json
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
from pathlib import Path
from typing import Any

import torch

from zobench.models.loading import load
from zobench.plugins import lookup
from zobench.spec import ModelRef
from zobench.zo import Objective, build_space
from zobench.zo.objective import Meter

DATA_SEED = 201
FORWARDS = 200
BATCH = 16
TASK = "nano-topic"
DECADES = (-7, 0)
CONSTANT = 1e-3
"""Standard deviation of the last losses below which they no longer depend on the minibatch."""
NAMES = """
mezo mezo-one-sided one-point fzoo fzoo-r zosa lozo lozo-m subzero tezo zo-muon subspace-mezo eggroll
hizoo r-adazo meazo sparse-mezo lezo conmezo kerzoo zo-adam zo-sgd-momentum zo-sgd-sign
"""
METHODS: dict[str, tuple[str, dict[str, Any]]] = {name: (name, {}) for name in NAMES.split()}
METHODS["mezo n=4"] = ("mezo", {"n": 4})
RECENT = """
mezo-gv mezo-greedy bszo loren grzo helene agzo adalezo zo-mopi adamezo
"""
SETS = {
    "earlier": METHODS,
    "recent": {"mezo n=2": ("mezo", {"n": 2}), **{name: (name, {}) for name in RECENT.split()}},
}


def trial(
    lm: Any, task: Any, rows: list[Any], method: str, params: dict[str, Any], forwards: int
) -> tuple[float, float]:
    """Mean and standard deviation of the last quarter of the training losses; infinite if not finite."""
    cls = lookup("methods", method)
    values = {name: p.detach().clone() for name, p in lm.module.named_parameters()}
    space = build_space("full", {}, lm.module)
    objective = Objective(
        lm.module,
        lambda module, batch: task.loss(lm, module, batch),
        Meter(),
        items=lambda module, batch: task.item_losses(lm, module, batch),
    )
    draw, losses = random.Random(0), []
    try:
        optimizer = cls(cls.Config(**params), space, seed=DATA_SEED)
        while objective.meter.forwards + cls.cost(optimizer.config).max_forwards_in_step <= forwards:
            batch = task.batch(lm, draw.sample(rows, BATCH))
            objective.set_batch(batch, sequences=batch.sequences, tokens=batch.tokens)
            losses.append(optimizer.step(objective).loss)
    finally:
        space.remove()
        with torch.no_grad():
            for name, p in lm.module.named_parameters():
                p.copy_(values[name])
    last = losses[-max(2, len(losses) // 4) :]
    if not all(map(math.isfinite, last)):
        return math.inf, math.inf
    return statistics.fmean(last), statistics.stdev(last)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--set", choices=SETS, default="earlier")
    parser.add_argument("--forwards", type=int, default=FORWARDS, metavar="N")
    parser.add_argument("--only", nargs="+", metavar="METHOD", help="these; others stay as in --output")
    parser.add_argument("--decades", type=int, nargs=2, default=DECADES, metavar=("LOW", "HIGH"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    lm = load(ModelRef(name="builtin:nano"))
    cls = lookup("tasks", TASK)
    task = cls(cls.Config())
    rows = list(task.splits(DATA_SEED).train)
    rates = [10.0**k for k in range(options.decades[0], options.decades[1] + 1)]
    found: dict[str, Any] = {}
    if options.only and options.output.exists():
        found = json.loads(options.output.read_text(encoding="utf-8"))["methods"]
    for label, (method, params) in SETS[options.set].items():
        if options.only and label not in options.only:
            continue
        losses = {r: trial(lm, task, rows, method, {**params, "lr": r}, options.forwards) for r in rates}
        alive = [rate for rate in losses if losses[rate][1] > CONSTANT]
        centre = min(alive, key=lambda rate: (losses[rate], rate))
        rounded = {f"{rate:g}": [round(x, 4) for x in values] for rate, values in losses.items()}
        found[label] = {"centre": centre, "losses": rounded}
        print(label, found[label], flush=True)
        record = {"task": TASK, "data_seed": DATA_SEED, "forwards": options.forwards, "methods": found}
        options.output.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
