"""One further process of a run in shards: takes the same steps as rank 0, and records nothing.

Started by :class:`zobench.runner.ranks.Ranks` with one line of JSON on standard input. It exits when that
input ends, so that a killed run leaves no process behind.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zobench.runner import orphans

if TYPE_CHECKING:
    from zobench.runner.factory import Factory


def main() -> None:
    """Entry point of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; rank 0 decides
    order = json.loads(sys.stdin.readline())
    sys.stdout = sys.stderr  # standard output is for one line to rank 0
    threading.Thread(target=_exit_with_rank_0, daemon=True).start()
    orphans.end_with(order["parent"])
    from zobench.runner.factory import load_parts

    _follow(order, load_parts(order["parts"]))


def _exit_with_rank_0() -> None:
    sys.stdin.read()
    os._exit(1)  # sys.exit in a thread would end only the thread


def _follow(order: dict[str, Any], parts: Factory) -> None:
    import torch
    from torch import distributed

    from zobench.runner.method_data import RunMethodData
    from zobench.runner.offloading import take_outside
    from zobench.runner.process_cache import ProcessCache
    from zobench.runner.ranks import READY, meet, take_over
    from zobench.runner.spaces import space_of
    from zobench.runner.split import divide, split_objective
    from zobench.spec import RunSpec
    from zobench.zo.distributed import TorchExchange
    from zobench.zo.objective import Meter

    torch.set_num_threads(order["threads"])
    spec = RunSpec.model_validate_json(json.dumps(order["spec"]))
    folder, run = Path(order["folder"]), Path(order["run"])
    bench = ProcessCache(parts, own_code=True)
    space = space_of(spec, bench.model(spec.model), bench.parts)
    optimizer = bench.parts.optimizer(spec, space)
    inference = optimizer.card.order == "zeroth" and spec.diagnostics is None
    objective, division = split_objective(spec, bench, Meter(), inference=inference)
    optimizer.supply(RunMethodData(spec, bench))
    take_outside(optimizer, order["scratch"], run)
    print(READY, file=sys.__stdout__, flush=True)
    exchange = TorchExchange(meet(folder, order["rank"], order["size"]))
    if exchange.gather([0.0])[0][0]:
        take_over(folder, run, space, optimizer)
    divide(spec, optimizer, exchange, division)
    while (step := exchange.gather([0.0])[0][0]) >= 0:
        batch = bench.minibatch(spec, int(step))
        objective.set_batch(batch, sequences=batch.sequences, tokens=batch.tokens)
        optimizer.step(objective)
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
