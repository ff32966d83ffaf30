"""The further processes of a run in shards, started and ended by the process that executes the run."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch

from zobench.names import printable
from zobench.runner.checkpoints import pack, unpack
from zobench.runner.final_state import rebuild
from zobench.runner.offloading import offload_of
from zobench.runner.threads import THREAD_VARIABLES
from zobench.store.checkpoint_file import CHECKPOINT, read_checkpoint, write_checkpoint
from zobench.zo.distributed import TorchExchange

if TYPE_CHECKING:
    from zobench.spec import RunSpec
    from zobench.zo.base import Optimizer
    from zobench.zo.space import ParameterSpace

PATIENCE = timedelta(days=7)
"""Time limit of a collective call: the other ranks wait while rank 0 evaluates."""
READY = "ready"
_TOLD = 600


class Ranks:
    """Ranks 1 to size - 1 of a run: ``with ranks: exchange = ranks.join() ...``. At the end of the block they
    are killed, if they have not ended by themselves.

    Args:
        parts: name of the factory that creates the parts of the run.
        size: number of processes, this one included.
        run: the run's folder.
        scratch: folder of the scratch copies of a run with ``perturbation: offload``; empty: the run's.
    """

    def __init__(self, spec: RunSpec, parts: str, size: int, *, run: Path, scratch: str) -> None:
        self._spec, self._parts, self.size = spec, parts, size
        self._run, self._scratch = run.absolute(), scratch and str(Path(scratch).absolute())
        self._folder = Path()
        self._processes: list[subprocess.Popen[str]] = []
        self._exchange: TorchExchange | None = None

    def __enter__(self) -> Ranks:
        self._folder = Path(tempfile.mkdtemp(prefix="zobench-ranks-"))
        threads = str(torch.get_num_threads())
        paths = os.pathsep.join(filter(None, sys.path))
        environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, threads), "PYTHONPATH": paths}
        for rank in range(1, self.size):
            with self._errors(rank).open("w") as errors:
                process = subprocess.Popen(
                    [sys.executable, "-m", "zobench.runner.rank"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    env=environment,
                    text=True,
                )
            assert process.stdin is not None, "it was asked for"
            self._processes.append(process)
            order = {
                "spec": self._spec.model_dump(mode="json"),
                "parts": self._parts,
                "rank": rank,
                "size": self.size,
                "folder": str(self._folder),
                "run": str(self._run),
                "scratch": self._scratch,
                "threads": torch.get_num_threads(),
                "parent": os.getpid(),
            }
            # The pipe stays open: a rank whose input ends has lost rank 0 and exits.
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.flush()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        from torch import distributed

        if distributed.is_initialized():
            distributed.destroy_process_group()
        for process in self._processes:
            if error is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=10)
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                assert stream is not None, "both were asked for"
                stream.close()
        for rank in range(1, len(self._processes) + 1):
            if told := self._errors(rank).read_text(errors="replace").strip():
                print(f"process {rank} of this run: {printable(told, lines=True)}", file=sys.stderr)
        self._processes.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    def join(self) -> TorchExchange:
        """The exchange with the other ranks, once all of them have loaded the model."""
        for rank, process in enumerate(self._processes, start=1):
            assert process.stdout is not None, "it was asked for"
            if process.stdout.readline().strip() != READY:
                process.wait()
                raise RuntimeError(f"process {rank} of this run did not start: {self._told(rank)}")
        self._exchange = _Watched(meet(self._folder, 0, self.size), self)
        return self._exchange

    def hand_over(self, space: ParameterSpace, optimizer: Optimizer | None) -> None:
        """Give weights and state of a run that has begun to the other ranks (``None``: it has not). Tensors
        go through a file, because ranks exchange scalars only; where the weights stay outside the memory,
        every rank makes them from the run's step log."""
        if optimizer is not None and offload_of(optimizer) is None:
            weights = {name: space.entries(name) for name in space}
            write_checkpoint(self._folder, pack(weights, optimizer.state_dict(), {}))
        assert self._exchange is not None, "join first"
        self._exchange.gather([float(optimizer is not None)])

    def loss_of_a_rank(self) -> str:
        """What the rank that ended by itself wrote last: of several, one that was killed, because the others
        lost their connection to it."""
        until = time.monotonic() + 5
        ended: list[int] = []
        for rank, process in enumerate(self._processes, start=1):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=max(0.1, until - time.monotonic()))
                ended.append(rank)
        if not ended:
            return "the processes of this run lost each other"
        first = min(ended, key=lambda rank: (self._processes[rank - 1].returncode >= 0, rank))
        return f"process {first} of this run ended: {self._told(first)}"

    def _errors(self, rank: int) -> Path:
        return self._folder / f"rank-{rank}.txt"

    def _told(self, rank: int) -> str:
        return self._errors(rank).read_text(errors="replace").strip()[-_TOLD:] or "it wrote no error"


class _Watched(TorchExchange):
    """An exchange whose errors name the process that ended."""

    def __init__(self, group: Any, ranks: Ranks) -> None:
        super().__init__(group)
        self._ranks = ranks

    def gather(self, values: Sequence[float]) -> list[list[float]]:
        try:
            return super().gather(values)
        except RuntimeError as error:
            raise RuntimeError(self._ranks.loss_of_a_rank()) from error


def meet(folder: Path, rank: int, size: int) -> Any:
    """Join the process group that meets in ``folder``; returns the group. Collective."""
    from torch import distributed

    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=size, timeout=PATIENCE
    )
    return distributed.group.WORLD


def take_over(folder: Path, run: Path, space: ParameterSpace, optimizer: Optimizer) -> None:
    """Load what rank 0 handed over from ``folder``, or make it from the log of the run."""
    if offload_of(optimizer) is not None:
        rebuild(optimizer, run, None)
        return
    stored = read_checkpoint(folder / CHECKPOINT)
    assert stored is not None, "rank 0 wrote it before it said so"
    weights, state, _ = unpack(stored.tensors, stored.position)
    space.load_state_dict({name: tensor.to(space.device) for name, tensor in weights.items()})
    optimizer.load_state_dict(state)
