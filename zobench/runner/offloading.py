"""Runs whose weights stay outside the memory (``perturbation: offload``).

The scratch copy is made before the first step, in the folder of the run or in the one of ``--scratch``, and
is removed with the process, however that ends. Nothing in it is needed to resume: a checkpoint of such a run
holds its position, and the weights are made again from the model and the scalars of the step log. That costs
one sweep over the weights for each step, a small part of its forward passes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zobench.runner.checkpoints import pack
from zobench.runner.final_state import REPLAYED
from zobench.zo.base import Optimizer
from zobench.zo.method import Method
from zobench.zo.offload import Offload

if TYPE_CHECKING:
    from zobench.store.writer import Checkpoint
    from zobench.zo.space import ParameterSpace


def offload_of(optimizer: Optimizer) -> Offload | None:
    """The mode of a run whose weights stay outside the memory."""
    return optimizer.engine.offload if isinstance(optimizer, Method) else None


def packed(space: ParameterSpace, optimizer: Optimizer, position: dict[str, Any]) -> Checkpoint:
    """The checkpoint of a run at this position: with its weights and the method's state, or without them if
    the weights stay outside the memory."""
    if offload_of(optimizer) is not None:
        return pack({}, {}, {**position, REPLAYED: None})
    return pack({name: space.entries(name) for name in space}, optimizer.state_dict(), position)


def take_outside(optimizer: Optimizer, scratch: str, folder: Path) -> Offload | None:
    """Make the scratch copy of such a run, which ends with the process.

    Raises:
        ValueError: too little space.
    """
    offload = offload_of(optimizer)
    if offload is not None:
        offload.scratch = scratch or folder
        offload.open()
    return offload


@contextmanager
def weights_outside(optimizer: Optimizer, scratch: str, folder: Path) -> Iterator[None]:
    """Inside the block the weights of such a run are in a scratch copy in ``scratch``, or else in ``folder``;
    afterwards the model has those that it was loaded with.

    Raises:
        ValueError: too little space; or, at the end, the loaded weights are no longer what they were.
    """
    offload = take_outside(optimizer, scratch, folder)
    if offload is None:
        yield
        return
    try:
        yield
    except BaseException:
        offload.close(check=False)
        raise
    offload.close()
