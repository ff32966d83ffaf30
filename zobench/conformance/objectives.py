"""Checks of an unlearning objective on a small causal model in float64, away from its reference.

The model is no transformer of the library: those compute norms in float32 at any dtype, which leaves no
finite difference that is exact enough.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from zobench.conformance.global_state import equal_weights, unused_random_state, weights
from zobench.parameters import configure
from zobench.unlearning.base import Batch, Context, Tokens, UnlearningMethod, UnlearningObjective
from zobench.unlearning.minibatches import ROWS
from zobench.zo.conformance.subject import Skip, expect

VOCABULARY, WIDTH, BLOCKS = 11, 6, 9
SIDE = 1e-5
"""Half the distance of the finite difference. It is combined with one of twice the distance: without that, a
direction whose slope is small beside its third derivative has a relative error of 4e-5."""


class Causal(nn.Module):
    """Embedding, blocks of tanh over the token and the mean of those before it, a head: the call of a causal
    model of the library, with ``logits`` and ``hidden_states``."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        draws = torch.Generator().manual_seed(seed)

        def weight(*shape: int) -> nn.Parameter:
            return nn.Parameter(0.5 * torch.randn(*shape, generator=draws, dtype=torch.float64))

        self.embedding, self.head = weight(VOCABULARY, WIDTH), weight(WIDTH, VOCABULARY)
        self.blocks = nn.ParameterList([weight(2 * WIDTH, WIDTH) for _ in range(BLOCKS)])

    def forward(self, input_ids: torch.Tensor, **_: Any) -> Any:
        states = [self.embedding[input_ids]]
        count = torch.arange(1, input_ids.shape[1] + 1, dtype=torch.float64)[:, None]
        for block in self.blocks:
            seen = torch.cat([states[-1], states[-1].cumsum(1) / count], -1)
            states.append(states[-1] + torch.tanh(seen @ block))
        return SimpleNamespace(logits=states[-1] @ self.head, hidden_states=tuple(states))


def tokens(seed: int, lengths: tuple[tuple[int, int], ...] = ((3, 4), (2, 3))) -> Tokens:
    """Two rows of (prompt, answer) tokens of these lengths; the last one is the end."""
    draws = torch.Generator().manual_seed(seed)
    width = max(p + a for p, a in lengths)
    ids = torch.randint(1, VOCABULARY, (len(lengths), width), generator=draws)
    column = torch.arange(width)
    whole, prompt = (torch.tensor([[n] for n in ns]) for ns in ([p + a for p, a in lengths], [3, 2]))
    return Tokens(
        inputs={"input_ids": ids, "attention_mask": (column < whole).long()},
        target=(column >= prompt) & (column < whole),
        end=column == whole - 1,
        value=column == whole - 2,
    )


@dataclass
class ObjectiveSubject:
    """The objective class under test, with the parameters of its ``Config``."""

    found: type[UnlearningMethod]
    params: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def objective(self) -> UnlearningObjective:
        made = self.found(configure(self.found.Config, self.params))
        if not isinstance(made, UnlearningObjective):
            raise Skip(f"its form is {made.card.form!r}: it is no scalar to minimize")
        return made

    @cached_property
    def batch(self) -> Batch:
        unknown = sorted(set(self.objective.parts()) - set(ROWS))
        expect(not unknown, f"parts() names {unknown}; known are {sorted(ROWS)}")
        return Batch({part: tokens(list(ROWS).index(part)) for part in self.objective.parts()})

    def context(self) -> Context:
        """The model, and a reference with other weights."""
        return Context(Causal(1), Causal(2))


def finite(subject: ObjectiveSubject) -> str:
    """The value is a finite scalar, the same twice."""
    context, objective = subject.context(), subject.objective
    ready = objective.prepare(context, subject.batch)
    with unused_random_state(), torch.no_grad():
        first, second = (objective.loss(context, ready) for _ in range(2))
    expect(first.shape == (), f"the value has shape {tuple(first.shape)}; it must be a scalar")
    expect(math.isfinite(first.item()), f"the value is {first.item()}")
    expect(torch.equal(first, second), f"two calls give {first.item()} and {second.item()}")
    return f"{first.item():.4f}"


def gradient(subject: ObjectiveSubject) -> str:
    """Backpropagation agrees with finite differences of the prepared batch in four directions: otherwise
    zeroth-order and first-order optimizers would minimize different functions."""
    context, objective = subject.context(), subject.objective
    ready = objective.prepare(context, subject.batch)
    parameters = list(context.module.parameters())
    grads = torch.autograd.grad(objective.loss(context, ready), parameters, allow_unused=True)
    worst = 0.0
    for seed in range(4):
        draws = torch.Generator().manual_seed(seed)
        u = [torch.randn(p.shape, generator=draws, dtype=p.dtype) for p in parameters]
        slope = sum((g * d).sum().item() for g, d in zip(grads, u, strict=True) if g is not None)
        near, far = (_difference(objective, context, ready, u, side) for side in (SIDE, 2 * SIDE))
        measured = (4 * near - far) / 3  # without the error of order SIDE squared
        gap = abs(slope - measured) / max(abs(slope), abs(measured), 1e-8)
        worst = max(worst, gap)
        expect(gap < 1e-5, f"slope {slope:.6g} by backpropagation, {measured:.6g} by finite differences")
    return f"largest relative difference {worst:.1g}"


def _difference(
    objective: UnlearningObjective, context: Context, ready: Batch, u: list[torch.Tensor], side: float
) -> float:
    ahead, behind = (_at(objective, context, ready, u, s) for s in (side, -side))
    return (ahead - behind) / (2 * side)


def _at(
    objective: UnlearningObjective, context: Context, ready: Batch, u: list[torch.Tensor], side: float
) -> float:
    """The value with the weights moved by ``side * u``; they are restored from a copy."""
    parameters = list(context.module.parameters())
    kept = [p.detach().clone() for p in parameters]
    with torch.no_grad():
        for p, d in zip(parameters, u, strict=True):
            p.add_(d, alpha=side)
        value = objective.loss(context, ready).item()
        for p, k in zip(parameters, kept, strict=True):
            p.copy_(k)
    return value


def weights_untouched(subject: ObjectiveSubject) -> str:
    """Computing the value changes neither model."""
    context, objective = subject.context(), subject.objective
    assert context.reference is not None
    before = weights(context.module), weights(context.reference)
    with torch.no_grad():
        objective.loss(context, objective.prepare(context, subject.batch))
    after = weights(context.module), weights(context.reference)
    expect(equal_weights(before[0], after[0]), "it changes the weights of the model")
    expect(equal_weights(before[1], after[1]), "it changes the weights of the reference")
    return ""


def passes(subject: ObjectiveSubject) -> str:
    """Forward passes of model and reference are at most the declared ones."""
    context, objective = subject.context(), subject.objective
    assert context.reference is not None
    count = {"model": 0, "reference": 0}
    for name, module in (("model", context.module), ("reference", context.reference)):
        module.register_forward_pre_hook(lambda *_, name=name: count.__setitem__(name, count[name] + 1))
    declared = objective.passes()
    with torch.no_grad():
        ready = objective.prepare(context, subject.batch)
        prepared = dict(count)
        objective.loss(context, ready)
    parts = max(1, len(objective.parts()))
    loss_passes = count["model"] - prepared["model"]
    expect(loss_passes <= declared.loss * parts, f"{loss_passes} passes per loss, declared {declared.loss}")
    expect(
        prepared["model"] <= declared.prepare * parts,
        f"{prepared['model']} passes to prepare, declared {declared.prepare}",
    )
    expect(
        count["reference"] <= declared.reference * parts,
        f"{count['reference']} passes of the reference, declared {declared.reference}",
    )
    return f"loss {declared.loss}, prepare {declared.prepare}, reference {declared.reference} per minibatch"


def state(subject: ObjectiveSubject) -> str:
    """``load_state_dict(state_dict())`` continues with the same value."""
    context, objective = subject.context(), subject.objective
    ready = objective.prepare(context, subject.batch)
    with torch.no_grad():
        objective.advance(ready)
        kept, expected = objective.state_dict(), objective.loss(context, ready)
        other = ObjectiveSubject(subject.found, subject.params).objective
        other.load_state_dict(kept)
        found = other.loss(context, ready)
    expect(torch.equal(expected, found), f"{expected.item()} before, {found.item()} after loading its state")
    return f"{len(kept)} numbers"


SUBJECT = ObjectiveSubject
CHECKS: dict[str, Callable[[ObjectiveSubject], str]] = {
    "finite": finite,
    "gradient": gradient,
    "weights-untouched": weights_untouched,
    "passes": passes,
    "state": state,
}
