"""The scalar log of a run, and the weights rebuilt from it.

``to_row`` and ``from_row`` convert a :class:`StepRecord` to a dict of plain values and back. ``replay`` gives
a new optimizer the recorded losses instead of a model. It takes the same steps without a forward pass, and
the resulting weights are bit-identical. This works for every method whose weights are a function of (base
weights, config, seed, losses), including momentum and Adam. A method that also uses gradients or data needs a
checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from zobench.zo.base import Optimizer, StepRecord
from zobench.zo.engine import Engine
from zobench.zo.objective import FORWARDS_PER_JVP, Objective
from zobench.zo.precision import HALF
from zobench.zo.space.base import ParameterSpace


def to_row(record: StepRecord) -> dict[str, Any]:
    """The record as a dict of plain numbers, strings, lists and one dict (``extras``). ``forwards`` and
    ``tokens`` are those of this step only."""
    row = asdict(record)
    for key in ("seeds", "coefficients", "losses"):
        row[key] = list(row[key])
    return row


def from_row(row: Mapping[str, Any]) -> StepRecord:
    """Inverse of ``to_row``. Keys that are not fields of a record (``run_id``, ``seconds``) are ignored."""
    names = StepRecord.__dataclass_fields__
    values = {key: row[key] for key in names if key in row}
    for key in ("seeds", "coefficients", "losses"):
        values[key] = tuple(values[key])
    values["extras"] = dict(values.get("extras") or {})
    return StepRecord(**values)


class RecordedObjective(Objective):
    """Answers losses and Jacobian-vector products from a record, in order; the module never runs."""

    recorded = True

    def __init__(self, module: nn.Module) -> None:
        super().__init__(module, lambda module, batch: math.nan, allow_train_mode=True)
        self._losses: Iterator[float] = iter(())
        self._slopes: Iterator[float] = iter(())
        self._count = 1

    def serve(self, record: StepRecord, *, sequences: int = 1, tokens: int = 0) -> None:
        """Answer the following queries from this record. Each is charged as one minibatch of the given
        size."""
        self.set_batch(None, sequences=sequences, tokens=tokens)
        self._losses = iter(record.losses)
        slopes: list[float] = []
        while f"derivative_{len(slopes)}" in record.extras:
            slopes.append(record.extras[f"derivative_{len(slopes)}"])
        self._slopes = iter(slopes)
        self._count = int(record.extras.get("items", 1))
        self.loss_dtype = self._recorded_dtype(int(record.extras.get("loss_bits", 32)))

    def _recorded_dtype(self, bits: int) -> torch.dtype:
        """The dtype of the losses, given its bits. For 16 bits it is the half-precision dtype of the module's
        weights."""
        if bits != 16:
            return torch.float64 if bits == 64 else torch.float32
        return next((p.dtype for p in self.module.parameters() if p.dtype in HALF), torch.float16)

    def unread(self) -> Iterator[float]:
        """Losses of the record that have not been queried."""
        return self._losses

    def _answer(self, values: Iterator[float], forwards: int) -> float:
        self._charge(forwards)
        for value in values:
            return value
        raise ValueError("the method queries more losses than the record contains")

    def loss(self) -> float:
        return self._answer(self._losses, 1)

    def item_losses(self) -> list[float]:
        # One forward pass answers all items; their number is in the record's extras.
        return [self._answer(self._losses, int(i == 0)) for i in range(self._count)]

    def branches(self, parameters: Mapping[str, torch.Tensor]) -> list[float]:
        return [self.loss() for _ in range(next(iter(parameters.values())).shape[0])]

    def jvp(self, tangents: Mapping[str, torch.Tensor]) -> tuple[float, float]:
        # The loss is charged 0: the Jacobian-vector product as a whole costs FORWARDS_PER_JVP.
        return self._answer(self._losses, 0), self._answer(self._slopes, FORWARDS_PER_JVP)

    def gradient(self, parameters: Mapping[str, nn.Parameter]) -> tuple[float, dict[str, torch.Tensor]]:
        raise ValueError("gradients are not recorded: this method can be rebuilt from a checkpoint only")


def replay(
    records: Iterable[StepRecord],
    space: ParameterSpace,
    method: type[Optimizer],
    config: Any,
    *,
    seed: int,
    engine: Engine | None = None,
    start: Callable[[Optimizer], None] | None = None,
) -> str:
    """Rebuild the weights in ``space`` (which must hold the run's starting weights) and return their digest.

    Args:
        records: the run's records from step 0, in order. A prefix replays up to its last step.
        space: the parameter space; its weights are changed.
        method: the run's method.
        config: the run's config of that method.
        seed: the run's seed.
        engine: the run's engine. All exact modes replay identically; ``in-place`` reproduces its own rounding
            errors.
        start: called with the new optimizer, for methods that need stored artifacts (masks, bases, anchors).

    Raises:
        ValueError: the method does not replay from scalars, or a step differs from its record (modified
            record, other config or seed). The message names the step and the field.
    """
    optimizer = method(config, space, seed=seed, engine=engine)
    if start is not None:
        start(optimizer)
    replayer = Replayer(optimizer)
    for record in records:
        replayer.follow(record)
    optimizer.settle()
    return space.digest()


class Replayer:
    """A new optimizer that replays a run step by step with the losses of its records.

    Attributes:
        optimizer: the optimizer after the last replayed step; its space holds that step's weights.
        meter: the forward passes of the replayed steps, as the method spends them.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        card = optimizer.card
        if card.replay == "checkpoint":
            raise ValueError(f"{card.name} does not replay from scalars; it can be rebuilt from a checkpoint")
        self.optimizer = optimizer
        self._objective = RecordedObjective(optimizer.space.module)
        self.meter = self._objective.meter

    def follow(self, record: StepRecord, *, sequences: int = 1, tokens: int = 0) -> StepRecord:
        """Repeat the record's step and return the new record. Each query is charged as one minibatch of the
        given size. ``ValueError`` names the step and the field if they differ."""
        self._objective.serve(record, sequences=sequences, tokens=tokens)
        again = self.optimizer.step(self._objective)
        if left := sum(1 for _ in self._objective.unread()):
            raise ValueError(f"step {record.step} does not replay: {left} of its losses are never queried")
        same_step(record, again)
        return again


def same_step(record: StepRecord, again: StepRecord) -> None:
    """``ValueError`` if seeds, coefficients, losses, learning rate or refusal differ in any bit."""
    for key in ("step", "seeds", "coefficients", "losses", "lr", "moved"):
        old, new = getattr(record, key), getattr(again, key)
        if old != new and not _both_nan(old, new) and not (key == "moved" and _was_refused_as_tie(record)):
            raise ValueError(f"step {record.step} does not replay: {key} is {new!r}, the record says {old!r}")


def _was_refused_as_tie(record: StepRecord) -> bool:
    """Whether an old record refused this step as a tie (before 2026-11-29). A step in which all coefficients
    are 0 is then accepted as equal."""
    return record.reason == "no difference between the losses" and not any(record.coefficients)


def _both_nan(old: Any, new: Any) -> bool:
    """Whether two tuples are equal if NaN counts as equal to NaN."""
    if not isinstance(old, tuple) or not isinstance(new, tuple) or len(old) != len(new):
        return False
    return all(a == b or (a != a and b != b) for a, b in zip(old, new, strict=True))
