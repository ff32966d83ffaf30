"""Checks of a task on the built-in model: splits, minibatches, the training loss, predictions and metrics."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch

from zobench.conformance.global_state import builtin, equal_weights, unused_random_state, weights
from zobench.data.example import Example, Splits
from zobench.parameters import configure
from zobench.tasks.base import Task
from zobench.zo.conformance.subject import Skip, expect

SOME = 6
"""Examples per check."""


@dataclass
class TaskSubject:
    """The task class under test, with the parameters of its ``Config``."""

    found: type[Task]
    params: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def task(self) -> Task:
        return self.found(configure(self.found.Config, self.params))  # type: ignore[call-arg]

    @cached_property
    def splits(self) -> Splits:
        return self.task.splits(0)

    @cached_property
    def lm(self) -> Any:
        """The built-in model, or ``Skip`` if the task refuses it."""
        if self.task.kind == "image-classification":
            raise Skip("it needs a model of images")
        try:
            self.task.refuse_model(builtin())
        except ValueError as error:
            raise Skip(f"it refuses the built-in model: {error}") from error
        return builtin()

    def some(self) -> list[Example]:
        return self._first("train")

    def asked(self) -> list[Example]:
        return self._first("test")

    def _first(self, split: str) -> list[Example]:
        try:
            return list(getattr(self.splits, split)[:SOME])
        except ValueError as error:
            raise Skip("its examples cannot be drawn, see the check 'splits'") from error


def splits(subject: TaskSubject) -> str:
    """The same seed gives the same examples, and no example is in two splits."""
    with unused_random_state():
        first, second = subject.task.splits(0), subject.task.splits(0)
    expect(first.digest() == second.digest(), "two calls of splits(0) give different examples")
    parts = {"train": first.train, "validation": first.validation, "test": first.test}
    seen: dict[str, str] = {}
    for name, rows in parts.items():
        expect(len(rows) > 0, f"split {name} is empty")
        for row in rows:
            expect(row.id not in seen, f"id {row.id!r} is in {seen.get(row.id)} and in {name}")
            seen[row.id] = name
    return ", ".join(f"{name} {len(rows)}" for name, rows in parts.items())


def fields_(subject: TaskSubject) -> str:
    """Attackable fields are fields of the examples, and every example has a gold answer."""
    for row in (*subject.some(), *subject.asked()):
        missing = [name for name in subject.task.attackable if name not in row.text]
        expect(not missing, f"attackable field {missing} is not in example {row.id!r}: {sorted(row.text)}")
        gold = row.label is not None or row.answer is not None
        expect(gold, f"example {row.id!r} has neither a label nor an answer")
    return ", ".join(subject.task.attackable) or "nothing can be attacked"


def batch(subject: TaskSubject) -> str:
    """A minibatch counts its sequences and tokens."""
    found = subject.task.batch(subject.lm, subject.some())
    expect(found.sequences >= len(subject.some()), f"{found.sequences} sequences for {SOME} examples")
    expect(found.tokens >= found.sequences, f"{found.tokens} tokens in {found.sequences} sequences")
    return f"{found.sequences} sequences, {found.tokens} tokens"


def loss(subject: TaskSubject) -> str:
    """The loss is a finite float32 scalar, the same twice, and leaves weights and random state unchanged."""
    lm, made = subject.lm, subject.task.batch(subject.lm, subject.some())
    before = weights(lm.module)
    with unused_random_state(), torch.no_grad():
        first, second = (subject.task.loss(lm, lm.module, made) for _ in range(2))
    expect(first.shape == () and first.dtype == torch.float32, f"shape {first.shape}, dtype {first.dtype}")
    expect(math.isfinite(first.item()), f"loss {first.item()}")
    expect(torch.equal(first, second), f"two calls give {first.item()} and {second.item()}")
    expect(equal_weights(before, weights(lm.module)), "computing the loss changes the weights")
    return f"{first.item():.4f}"


def given_module(subject: TaskSubject) -> str:
    """The loss is that of the module it is given, not of ``lm.module``."""
    lm, made = subject.lm, subject.task.batch(subject.lm, subject.some())
    other = copy.deepcopy(lm.module)
    with torch.no_grad():
        for tensor in other.parameters():
            tensor.mul_(0.5)
        mine, theirs = subject.task.loss(lm, lm.module, made), subject.task.loss(lm, other, made)
    expect(
        not torch.equal(mine, theirs), "the loss ignores its argument 'module': use it for the forward pass"
    )
    return f"{mine.item():.4f} and, with halved weights, {theirs.item():.4f}"


def item_losses(subject: TaskSubject) -> str:
    """The mean of the losses per item is the loss."""
    lm, made = subject.lm, subject.task.batch(subject.lm, subject.some())
    with torch.no_grad():
        whole, items = (f(lm, lm.module, made) for f in (subject.task.loss, subject.task.item_losses))
    gap = abs(items.double().mean().item() - whole.item())
    expect(gap <= 1e-5 * max(1.0, abs(whole.item())), f"the means differ by {gap:.2g}")
    return f"{len(items)} items"


def predictions(subject: TaskSubject) -> str:
    """One prediction per example, in order, the same twice and the same for each example alone."""
    lm, rows = subject.lm, subject.asked()
    with unused_random_state():
        found, again = subject.task.predict(lm, rows), subject.task.predict(lm, rows)
    expect(
        [p.example_id for p in found] == [r.id for r in rows], "predictions are not in order of the examples"
    )
    expect([p.output for p in found] == [p.output for p in again], "two calls give different answers")
    apart = [subject.task.predict(lm, [r])[0].output for r in rows]
    expect([p.output for p in found] == apart, f"alone: {apart}, together: {[p.output for p in found]}")
    return f"{sum(p.correct for p in found)} of {len(rows)} right before training"


def metrics(subject: TaskSubject) -> str:
    """Finite metrics with the number of items, the primary one among them."""
    rows = subject.asked()
    found = subject.task.metrics(rows, subject.task.predict(subject.lm, rows))
    primary = subject.task.primary_metric
    expect(primary in found, f"the primary metric {primary!r} is not among {sorted(found)}")
    for name, value in found.items():
        expect(math.isfinite(value.value) and value.n > 0, f"{name} is {value.value} over {value.n} items")
    declared = subject.task.measures
    unknown = sorted(set(found) - set(declared)) if declared else []
    expect(not unknown, f"{unknown} are not declared in 'measures'")
    return ", ".join(f"{name} {value.value:.3g}" for name, value in found.items())


def learnable(subject: TaskSubject) -> str:
    """Ten steps of AdamW on one minibatch lower its loss: the loss rewards the correct answer."""
    lm, made = subject.lm, subject.task.batch(subject.lm, subject.some())
    module = copy.deepcopy(lm.module)
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3)
    losses = []
    for _ in range(10):
        value = subject.task.loss(lm, module, made)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.item())
    expect(losses[-1] < losses[0], f"loss {losses[0]:.4f} before, {losses[-1]:.4f} after")
    return f"loss {losses[0]:.4f} before, {losses[-1]:.4f} after"


SUBJECT = TaskSubject
CHECKS: dict[str, Callable[[TaskSubject], str]] = {
    "splits": splits,
    "fields": fields_,
    "batch": batch,
    "loss": loss,
    "given-module": given_module,
    "item-losses": item_losses,
    "predictions": predictions,
    "metrics": metrics,
    "learnable": learnable,
}
