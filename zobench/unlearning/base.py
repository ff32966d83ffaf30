"""Interfaces of unlearning objectives and of probes of the model.

An objective is a scalar function of the weights and a minibatch, for first-order and zeroth-order optimizers:

    loss(theta; B) = value(theta, B, constants(theta_t, B))

``constants`` contains everything that the published formula does not differentiate: outputs of the frozen
reference model, and weights under a stop-gradient (CE-U, WGA, SatImp). They are computed once per minibatch
at the weights theta_t before the step (:meth:`UnlearningObjective.prepare`). Otherwise a zeroth-order
estimate would follow the total derivative in spite of the stop-gradient, and so optimize a different function
than backpropagation does, and each of its queries would run the reference model again. With a prepared batch,
backpropagation and finite differences agree.

Batches hold named parts, each a :class:`Tokens`:

- ``forget``: forget questions with their answers; ``retain``: retained questions with their answers;
- ``refusal``: forget questions answered with a refusal; ``retain_refusal``: the same for retained questions;
- ``traces``: reasoning traces of the forget domain; ``general``: reasoning on other domains (R2MU);
- ``invariance``: examples of an unrelated task (ILU).
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import nn

Constants = Mapping[str, torch.Tensor]
Form = Literal["scalar", "two-gradients", "weights"]
TokenSet = Literal["answer", "all"]
"""Tokens that a term averages over: those of the answer (its end token included), or all but padding."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """Sequences ready for a causal model, padded on the right; masks are boolean of shape (rows, width).

    Attributes:
        inputs: ``input_ids`` of shape (rows, width), and ``attention_mask`` if there is padding.
        target: answer tokens, the end token included; losses are over these.
        end: the end token, which extraction strength and exact memorization leave out.
        value: tokens of the fact's value; all False if it is not known.
    """

    inputs: Mapping[str, torch.Tensor]
    target: torch.Tensor
    end: torch.Tensor
    value: torch.Tensor

    @property
    def ids(self) -> torch.Tensor:
        return self.inputs["input_ids"]

    @property
    def real(self) -> torch.Tensor:
        """Columns that are not padding."""
        attention = self.inputs.get("attention_mask")
        return torch.ones_like(self.target) if attention is None else attention.bool()

    @property
    def count(self) -> int:
        """Tokens that are not padding."""
        return int(self.real.sum())


@dataclass(frozen=True, slots=True)
class Batch:
    """One minibatch by parts; ``constants`` is ``None`` before :meth:`UnlearningObjective.prepare`."""

    parts: Mapping[str, Tokens]
    constants: Constants | None = None

    def part(self, name: str) -> Tokens:
        if name not in self.parts:
            raise ValueError(f"the minibatch has no part {name!r}; it has {sorted(self.parts)}")
        return self.parts[name]

    @property
    def sequences(self) -> int:
        return sum(len(t.ids) for t in self.parts.values())

    @property
    def tokens(self) -> int:
        return sum(t.count for t in self.parts.values())


@dataclass(frozen=True, slots=True)
class Context:
    """The model being changed (or a stand-in with its call signature) and a frozen copy before unlearning."""

    module: nn.Module
    reference: nn.Module | None = None

    def frozen(self) -> nn.Module:
        """The reference model, or ``ValueError`` if there is none."""
        if self.reference is None:
            raise ValueError("this objective compares with the model before unlearning: give a reference")
        return self.reference


@dataclass(frozen=True, slots=True)
class Card:
    """Description of an unlearning method, for records and documentation.

    Attributes:
        formula: the minimized function (or the operation), in the notation of ``docs/unlearning.md``.
        source: arXiv id of the paper.
        form: ``scalar`` can be minimized by any optimizer; ``two-gradients`` needs two separate gradients;
            ``weights`` computes new weights without optimization.
        bounded: whether the forget term is bounded below (unbounded ones need a budget or a stop rule).
        zo_refusal: the reason why zeroth-order optimizers cannot run it; empty if they can.
        notes: choices made where paper and code differ or leave something open.
        optimizer: the only method that can run it; empty if every first-order method can.
    """

    name: str
    title: str
    source: str
    formula: str
    form: Form = "scalar"
    bounded: bool = True
    zo_refusal: str = ""
    notes: str = ""
    optimizer: str = ""


@dataclass(frozen=True, slots=True)
class Passes:
    """Cost in forward passes.

    Attributes:
        loss: per loss of a prepared batch.
        prepare: per minibatch, at the weights theta.
        reference: per minibatch, of the reference model.
    """

    loss: int
    prepare: int = 0
    reference: int = 0


class UnlearningMethod(ABC):
    """Base of the catalogue's entries: a ``card``, and a frozen dataclass ``Config`` with the published
    defaults."""

    Config: ClassVar[type]
    card: ClassVar[Card]
    config: Any

    def __init__(self, config: Any = None) -> None:
        self.config = self.Config() if config is None else config


class UnlearningObjective(UnlearningMethod):
    """A scalar to minimize. ``state_dict`` contains the state that changes between steps (dual variables)."""

    @abstractmethod
    def parts(self) -> tuple[str, ...]:
        """Names of the batch parts that it reads with its config."""

    @abstractmethod
    def passes(self) -> Passes:
        """Its cost with its config."""

    def constants(self, context: Context, batch: Batch) -> dict[str, torch.Tensor]:
        """Tensors that are not differentiated, at the current weights; empty by default."""
        return {}

    @abstractmethod
    def value(self, context: Context, batch: Batch, constants: Constants) -> torch.Tensor:
        """The scalar, given the constants."""

    def prepare(self, context: Context, batch: Batch) -> Batch:
        """The batch with its constants; call once per minibatch, before the optimizer's step."""
        with torch.no_grad():
            return dataclasses.replace(batch, constants=self.constants(context, batch))

    def loss(self, context: Context, batch: Batch) -> torch.Tensor:
        """The scalar; for an unprepared batch the constants are computed at the context's weights."""
        ready = batch if batch.constants is not None else self.prepare(context, batch)
        assert ready.constants is not None
        return self.value(context, ready, ready.constants)

    def advance(self, batch: Batch) -> None:
        """Called once after each step with the prepared batch of that step (dual ascent); nothing by
        default."""
        return

    def state_dict(self) -> dict[str, float]:
        return {}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        if state:
            raise ValueError(f"{self.card.name} keeps no state, got {sorted(state)}")


def loss_function(
    objective: UnlearningObjective, reference: nn.Module | None = None
) -> Callable[[nn.Module, Batch], torch.Tensor]:
    """The objective as a function ``loss(module, batch)``, as the optimizer library expects."""

    def loss(module: nn.Module, batch: Batch) -> torch.Tensor:
        return objective.loss(Context(module, reference), batch)

    return loss


Strength = float


@dataclass(frozen=True, slots=True)
class Material:
    """Data that a probe of the model may use.

    Attributes:
        relearn: minibatches of facts of the forget set that are **not** scored.
        benign: minibatches of other text (retained facts, another domain), by name.
        original: the model before unlearning.
        seed: seed of all random draws of a probe.
    """

    relearn: Sequence[Tokens] = ()
    benign: Mapping[str, Sequence[Tokens]] = field(default_factory=dict)
    original: nn.Module | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Variant:
    """One changed copy. ``params`` distinguishes variants of equal strength (learning rate, group size)."""

    strength: Strength
    module: nn.Module
    params: Mapping[str, float | str] = field(default_factory=dict)


class ModelProbe(ABC):
    """Changes a copy of a model; the given model is not modified.

    ``variants`` yields changed copies one at a time: a yielded module is valid until the next one is
    requested.
    """

    Config: ClassVar[type]
    name: ClassVar[str]
    kind: ClassVar[Literal["model"]] = "model"
    config: Any

    def __init__(self, config: Any = None) -> None:
        self.config = self.Config() if config is None else config

    @abstractmethod
    def variants(self, module: nn.Module, material: Material) -> Iterable[Variant]:
        """Changed copies, in the order of the config's strengths."""
