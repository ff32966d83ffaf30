"""Centres of learning-rate grids for a comparison of many methods: the best decade of each.

Each method runs 200 forwards on one task at each power of ten, on a data seed that neither the tuning nor the
comparison uses; the centre is the rate with the least mean training loss over the last quarter of its steps.
Every method gets the same decades and the same forwards; nothing but training losses is read.

    python benchmarks/rate_pilot.py --output docs/results/rate-pilot.json
"""

from __future__ import annotations

import argparse
import json
import math
import random
from pathlib import Path
from typing import Any

import torch

from zobench.models.loading import load
from zobench.plugins import lookup
from zobench.suite.spec import ModelRef
from zobench.zo import Objective, build_space
from zobench.zo.objective import Meter

DATA_SEED = 201
FORWARDS = 200
BATCH = 16
TASK = "nano-topic"
DECADES = tuple(10.0**k for k in range(-7, 1))
NAMES = """
mezo mezo-one-sided one-point mezo-layer-scaled fzoo fzoo-r zosa lozo lozo-m subzero tezo zo-muon
subspace-mezo es eggroll hizoo r-adazo zo-adamm meazo sparse-mezo random-mask lezo conmezo zo-adamu kerzoo
sketching zo-ranksgd zo-adam zo-sgd-momentum zo-sgd-sign zo-sgd-conservative zo-sgd-block random-direction
"""
METHODS: dict[str, tuple[str, dict[str, Any]]] = {name: (name, {}) for name in NAMES.split()}
METHODS["mezo n=4"] = ("mezo", {"n": 4})


def trial(lm: Any, task: Any, rows: list[Any], method: str, params: dict[str, Any]) -> float:
    """Mean training loss over the last quarter of the steps; infinite where it is not finite."""
    cls = lookup("methods", method)
    values = {name: p.detach().clone() for name, p in lm.module.named_parameters()}
    space = build_space("full", {}, lm.module)
    objective = Objective(lm.module, lambda module, batch: task.loss(lm, module, batch), Meter())
    draw, losses = random.Random(0), []
    try:
        optimizer = cls(cls.Config(**params), space, seed=DATA_SEED)
        while objective.meter.forwards + cls.cost(optimizer.config).max_forwards_in_step <= FORWARDS:
            batch = task.batch(lm, draw.sample(rows, BATCH))
            objective.set_batch(batch, sequences=batch.sequences, tokens=batch.tokens)
            losses.append(optimizer.step(objective).loss)
    finally:
        space.remove()
        with torch.no_grad():
            for name, p in lm.module.named_parameters():
                p.copy_(values[name])
    last = losses[-max(1, len(losses) // 4) :]
    return math.fsum(last) / len(last) if all(map(math.isfinite, last)) else math.inf


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    lm = load(ModelRef(name="builtin:nano"))
    cls = lookup("tasks", TASK)
    task = cls(cls.Config())
    rows = list(task.splits(DATA_SEED).train)
    found: dict[str, Any] = {}
    for label, (method, params) in METHODS.items():
        losses = {rate: trial(lm, task, rows, method, {**params, "lr": rate}) for rate in DECADES}
        centre = min(losses, key=lambda rate: (losses[rate], rate))
        found[label] = {"centre": centre, "losses": {f"{r:g}": round(v, 4) for r, v in losses.items()}}
        print(label, found[label], flush=True)
        record = {"task": TASK, "data_seed": DATA_SEED, "forwards": FORWARDS, "methods": found}
        options.output.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
