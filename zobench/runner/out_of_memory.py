"""Handles steps that run out of memory: finds a size for ``budget: {micro_batch: m}`` that would fit."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from zobench.runner.micro_batches import parts_of
from zobench.store import memory

if TYPE_CHECKING:
    from zobench.runner.process_cache import ProcessCache
    from zobench.spec import RunSpec


class StepOutOfMemory(MemoryError):
    """A step ran out of memory; the message names a micro-batch size that fits."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the error means that memory ran out, on the device or in the process."""
    return isinstance(error, torch.OutOfMemoryError) or memory.is_out_of_memory(error)


@contextlib.contextmanager
def naming_what_fits(spec: RunSpec, bench: ProcessCache, step: int, order: str) -> Iterator[None]:
    """Convert an out-of-memory error within the block to :class:`StepOutOfMemory`.

    Args:
        order: order of the method; first-order methods do not save memory by computing in parts.
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)  # they hold the tensors of the failed step
        size = spec.budget.micro_batch or spec.budget.batch_size
        told = (
            f"out of memory in step {step} with {size} examples at a time ({type(error).__name__}: {error}"
            f"{memory.limit_sentence()})"
        )
        raise StepOutOfMemory(f"{told}; {_advice(spec, bench, step, size, order)}") from error


def _advice(spec: RunSpec, bench: ProcessCache, step: int, size: int, order: str) -> str:
    if spec.unlearning is not None or order != "zeroth" or spec.train_on != "loss":
        return "use a smaller batch_size: micro_batch does not help this row"
    fits = _largest_that_fits(spec, bench, step, size)
    if fits is None:
        return "one example alone does not fit either"
    return f"a forward pass of {fits} fits: write 'micro_batch: {fits}' in 'budget'"


@torch.no_grad()
def _largest_that_fits(spec: RunSpec, bench: ProcessCache, step: int, size: int) -> int | None:
    """The largest of size/2, size/4, ..., 1 whose forward pass on this step's first examples fits."""
    lm, task = bench.model(spec.model), bench.data(spec).task
    while size > 1:
        size //= 2
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()
        budget = spec.budget.model_copy(update={"micro_batch": size})
        try:
            part, _ = parts_of(bench.minibatch(spec.model_copy(update={"budget": budget}), step))[0]
            task.loss(lm, lm.module, part)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        else:
            return size
    return None
