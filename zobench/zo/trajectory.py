"""The scalar log of a run, and the weights rebuilt from it.

``to_row``/``from_row`` turn a :class:`StepRecord` into a dict of plain numbers and back. ``replay`` gives a
fresh optimizer
the recorded losses in place of a model: the same steps happen, no forward pass is spent, and the weights come
out equal to the bit. That holds for every method whose weights are a function of (base weights, config, seed,
losses), momentum and Adam included; a method that also reads gradients or data needs its checkpoint.
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
    """The record as plain numbers, strings, lists and one dict (``extras``); ``forwards`` and ``tokens`` of
    this step."""
    row = asdict(record)
    for key in ("seeds", "coefficients", "losses"):
        row[key] = list(row[key])
    return row


def from_row(row: Mapping[str, Any]) -> StepRecord:
    """Inverse of ``to_row``; keys that are not the record's (``run_id``, ``seconds``) are left aside."""
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
        super().__init__(module, lambda module, batch: math.nan)
        self._losses: Iterator[float] = iter(())
        self._slopes: Iterator[float] = iter(())

    def serve(self, record: StepRecord, *, sequences: int = 1, tokens: int = 0) -> None:
        """Answer the queries of this record's step from now on, each charged as a minibatch of that size."""
        self.set_batch(None, sequences=sequences, tokens=tokens)
        self._losses = iter(record.losses)
        slopes: list[float] = []
        while f"derivative_{len(slopes)}" in record.extras:
            slopes.append(record.extras[f"derivative_{len(slopes)}"])
        self._slopes = iter(slopes)
        self.loss_dtype = self._recorded_dtype(int(record.extras.get("loss_bits", 32)))

    def _recorded_dtype(self, bits: int) -> torch.dtype:
        """The dtype of so many bits that losses had; of the two of 16, that of the module's weights."""
        if bits != 16:
            return torch.float64 if bits == 64 else torch.float32
        return next((p.dtype for p in self.module.parameters() if p.dtype in HALF), torch.float16)

    def unread(self) -> Iterator[float]:
        """Losses of the record that no query has asked for."""
        return self._losses

    def _answer(self, values: Iterator[float], forwards: int) -> float:
        self._charge(forwards)
        for value in values:
            return value
        raise ValueError("the method asks for more losses than the record holds")

    def loss(self) -> float:
        return self._answer(self._losses, 1)

    def branches(self, parameters: Mapping[str, torch.Tensor]) -> list[float]:
        return [self.loss() for _ in range(next(iter(parameters.values())).shape[0])]

    def jvp(self, tangents: Mapping[str, torch.Tensor]) -> tuple[float, float]:
        return self._answer(self._losses, 0), self._answer(self._slopes, FORWARDS_PER_JVP)

    def gradient(self, parameters: Mapping[str, nn.Parameter]) -> tuple[float, dict[str, torch.Tensor]]:
        raise ValueError("gradients are not in the record: this method is rebuilt from a checkpoint")


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
        records: the run's records from step 0, in order; a prefix replays to that step.
        engine: the run's engine. The exact modes replay alike; ``in-place`` repeats the drift of its
            arithmetic.
        start: called with the fresh optimizer, for methods that need stored artifacts (masks, bases,
            anchors).

    Raises:
        ValueError: the method does not replay from scalars, or a step comes out different from its record (a
            record that was changed, other starting weights' config or seed), naming the step and the field.
    """
    optimizer = method(config, space, seed=seed, engine=engine)
    if start is not None:
        start(optimizer)
    replayer = Replayer(optimizer)
    for record in records:
        replayer.follow(record)
    return space.digest()


class Replayer:
    """A fresh optimizer that follows a run step by step, its losses taken from the records.

    Attributes:
        optimizer: stands after the last step followed; its space holds that step's weights.
        meter: forwards of the steps followed, as the method spends them.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        card = optimizer.card
        if card.replay == "checkpoint":
            raise ValueError(f"{card.name} does not replay from scalars: it is rebuilt from a checkpoint")
        self.optimizer = optimizer
        self._objective = RecordedObjective(optimizer.space.module)
        self.meter = self._objective.meter

    def follow(self, record: StepRecord, *, sequences: int = 1, tokens: int = 0) -> StepRecord:
        """Take the record's step and return it as it came out; each query is charged as one minibatch of that
        size. ``ValueError`` names the step and the field that differs."""
        self._objective.serve(record, sequences=sequences, tokens=tokens)
        again = self.optimizer.step(self._objective)
        if left := sum(1 for _ in self._objective.unread()):
            raise ValueError(f"step {record.step} does not replay: {left} of its losses are never asked for")
        same_step(record, again)
        return again


def same_step(record: StepRecord, again: StepRecord) -> None:
    """``ValueError`` where seeds, coefficients, losses, step size or refusal differ in any bit."""
    for key in ("step", "seeds", "coefficients", "losses", "lr", "moved"):
        old, new = getattr(record, key), getattr(again, key)
        if old != new and not _both_nan(old, new) and not (key == "moved" and _was_refused_as_tie(record)):
            raise ValueError(f"step {record.step} does not replay: {key} is {new!r}, the record says {old!r}")


def _was_refused_as_tie(record: StepRecord) -> bool:
    """Ties were refused before 2026-11-29; where the weights do not move by one, that is the same step."""
    return record.reason == "no difference between the losses" and not any(record.coefficients)


def _both_nan(old: Any, new: Any) -> bool:
    """Equal tuples but for entries that are NaN on both sides."""
    if not isinstance(old, tuple) or not isinstance(new, tuple) or len(old) != len(new):
        return False
    return all(a == b or (a != a and b != b) for a, b in zip(old, new, strict=True))
