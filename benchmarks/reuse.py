"""Feature reuse of DeepZero: processor time of a step with reuse over that of one without, in one run.

Both steps estimate the same coordinates of the built-in ``micro-cnn`` (initial weights, mode ``snapshot``) on
the same minibatch of digits; their losses are compared to the bit. A ratio is the median over rounds of one
step's time divided by that of the other in the same round, so that other work on the machine slows both.
Needs the extra ``images``.

    python benchmarks/reuse.py [--coordinates 136] [--batch 32] [--side 8] [--rounds 9]
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import torch

from zobench.models.loading import load
from zobench.plugins import lookup
from zobench.spec import ModelRef
from zobench.zo import Engine, Objective, build_space


def optimizer(options: argparse.Namespace, *, reuse: bool) -> tuple[Any, Objective]:
    """DeepZero without its pruning on one fixed minibatch, at learning rate 0."""
    lm = load(ModelRef(name="builtin:micro-cnn", image_size=options.side))
    images = lookup("tasks", "digits")
    task = images(images.Config())
    batch = task.batch(lm, task.splits(0).train[: options.batch])
    objective = Objective(lm.module, lambda module, part: task.loss(lm, module, part))
    objective.set_batch(batch, sequences=options.batch, tokens=0)
    found = lookup("methods", "deepzero")
    config = found.Config(lr=0.0, n=options.coordinates, interval=10**6, pruning="uniform", reuse=reuse)
    space = build_space("full", {}, lm.module)
    return found(config, space, seed=0, engine=Engine(mode="snapshot")), objective


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name, default in (("coordinates", 136), ("batch", 32), ("side", 8), ("rounds", 9)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    torch.set_num_threads(1)
    arms = {reuse: optimizer(options, reuse=reuse) for reuse in (True, False)}
    ratios, spent = [], {True: [], False: []}
    for turn in range(options.rounds + 1):
        seconds, losses = {}, {}
        # The order alternates, so that neither arm is always the second one.
        for reuse in (True, False) if turn % 2 else (False, True):
            method, objective = arms[reuse]
            start = time.process_time()
            losses[reuse] = method.step(objective).losses
            seconds[reuse] = time.process_time() - start
        assert losses[True] == losses[False], "reuse changes a loss"
        if turn:
            ratios.append(seconds[True] / seconds[False])
            for reuse, taken in seconds.items():
                spent[reuse].append(1000 * taken / (options.coordinates + 1))
    reusing = arms[True][0].engine.perturbation
    print(f"unit calls answered by stored outputs: {reusing.reused / reusing.calls:.2f}")
    for reuse, name in ((False, "without"), (True, "with")):
        print(f"{name} reuse: {statistics.median(spent[reuse]):.3f} ms of processor time per forward pass")
    low, high = statistics.quantiles(ratios, n=4)[::2]
    print(f"with / without: {statistics.median(ratios):.2f} (quartiles {low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
