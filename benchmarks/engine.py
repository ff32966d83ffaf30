"""Cost of the ZO engine compared with a forward pass: ``python benchmarks/engine.py``.

Prints, for one transformer, milliseconds of a forward pass, of a MeZO step in every perturbation mode, and
the ratio of the step to its two forward passes (at 1.00 the engine would take no time). Medians of repeated
runs in one process; nothing is asserted.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from zobench.zo import Engine, Objective, build_space
from zobench.zo.conformance.problems import Block
from zobench.zo.methods.eggroll import Eggroll
from zobench.zo.methods.fzoo import Fzoo
from zobench.zo.methods.mezo import Mezo


def model(width: int, layers: int) -> nn.Module:
    """Plain blocks, because mode streamed refuses ``nn.TransformerEncoderLayer``, which reads weights of its
    submodules directly."""
    blocks = [Block(width) for _ in range(layers)]
    return nn.Sequential(nn.Embedding(2048, width), *blocks, nn.Linear(width, 2048)).eval()


def milliseconds(run: Callable[[], object], repeats: int) -> float:
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=15)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    module = model(arguments.width, arguments.layers)
    ids = torch.randint(0, 2048, (16, 32))
    objective = Objective(module, lambda m, x: nn.functional.cross_entropy(m(x).flatten(0, 1), x.flatten()))
    objective.set_batch(ids, sequences=16, tokens=ids.numel())
    space = build_space("full", {}, module)
    forward = milliseconds(objective.loss, arguments.repeats)
    print(
        f"{space.numel / 1e6:.2f} M parameters, {torch.get_num_threads()} threads, forward {forward:.2f} ms"
    )
    runs = [(Mezo, Mezo.Config(lr=1e-6), Engine(mode=m)) for m in ("snapshot", "streamed", "in-place")]
    runs += [(Mezo, Mezo.Config(lr=1e-6), Engine(mode="in-place", fused=True))]
    runs += [(Fzoo, Fzoo.Config(lr=1e-8), Engine(mode=m)) for m in ("snapshot", "batched")]
    modes = ("snapshot", "streamed", "factored")
    runs += [(Eggroll, Eggroll.Config(lr=1e-8, population=8), Engine(mode=m)) for m in modes]
    for method, config, engine in runs:
        optimizer = method(config, space, seed=0, engine=engine)
        step = milliseconds(lambda o=optimizer: o.step(objective), arguments.repeats)
        share = step / (method.cost(config).forwards_per_step * forward)
        name = f"{method.card.name} {engine.mode}{' fused' if engine.fused else ''}"
        print(f"{name:24s} {step:9.2f} ms a step, {share:.2f} of its forwards")


if __name__ == "__main__":
    main()
