"""Mixed zeroth- and first-order steps: ZO-Bench's hybrid (split by layer) and Addax (split by length).

zo-fo-hybrid (arXiv 2402.11592):  the last layers by backpropagation, all layers below by SPSA
addax (arXiv 2410.06441):         theta <- theta - eta (alpha c z + (1 - alpha) grad L_short)
                                  c = (L_long(theta + eps z) - L_long(theta - eps z)) / (2 eps)

Both parts are measured at the same theta and then written together. 2 forward passes for the pair and 3 for
the gradient. Gradients are not recorded, so that both methods need a checkpoint to rebuild the weights.
"""

from __future__ import annotations

import math
import re
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from zobench.zo.arithmetic import add_scaled_
from zobench.zo.base import Cost, MethodCard
from zobench.zo.directions import Direction, groups_by_layer
from zobench.zo.engine import Engine
from zobench.zo.estimators import Estimate, dense, two_sided
from zobench.zo.method import ZerothOrder
from zobench.zo.method_data import MethodData, Part
from zobench.zo.objective import Objective
from zobench.zo.parameters import Count, CountOrZero, Fraction, Parameters, Positive, Rate
from zobench.zo.space.base import ParameterSpace
from zobench.zo.sparse import counter_only


class WithGradient(Estimate):
    """An estimate that accompanies a gradient. A slope of 0 or a missing slope is not a reason to refuse."""

    def refusal(self) -> str:
        if not all(math.isfinite(value) for value in (*self.losses, *self.coefficients)):
            return "non-finite loss"
        return self.reason


class Mixed(ZerothOrder):
    """A step from a zeroth-order estimate and a gradient, each with a weight per tensor."""

    def __init__(
        self, config: Any, space: ParameterSpace, *, seed: int, engine: Engine | None = None
    ) -> None:
        super().__init__(config, space, seed=seed, engine=engine)
        counter_only(self.engine, self.card.name)
        self._grads: dict[str, torch.Tensor] = {}

    @abstractmethod
    def weights(self, name: str) -> tuple[float, float]:
        """The factors of the zeroth-order estimate and of the gradient for this tensor."""

    def combine(self, pair: Estimate, loss: float, grads: Mapping[str, torch.Tensor]) -> Estimate:
        """The estimate with the gradient's loss appended. The gradients are stored for ``update``."""
        self._grads = {n: self.tuned(n, g) for n, g in grads.items()}
        finite = all(bool(g.isfinite().all()) for g in self._grads.values())
        reason = "" if finite else "non-finite gradient"
        return WithGradient(pair.seeds, pair.coefficients, (*pair.losses, loss), loss, reason=reason)

    def tuned(self, name: str, grad: torch.Tensor) -> torch.Tensor:
        """The gradient of the tuned entries, float32 (float64 for float64 weights)."""
        index = self.space.indices(name)
        values = grad if index is None else grad.reshape(-1)[index]
        return values.to(torch.float64 if values.dtype == torch.float64 else torch.float32)

    def update(self, estimate: Estimate, lr: float) -> dict[str, float]:
        self.engine.home()
        for name in self.space:
            zeroth, first = self.weights(name)
            step: torch.Tensor | float = 0.0
            if zeroth and estimate.seeds:
                step = dense(self.direction, estimate, name).mul_(zeroth)
            if first and name in self._grads:
                step = step + first * self._grads[name]
            if lr != 0.0 and isinstance(step, torch.Tensor):
                with self.engine.editing(name) as theta:
                    add_scaled_(theta, step, -lr)
        self._grads = {}
        return {}


@dataclass(frozen=True)
class HybridConfig(Parameters):
    """Parameters of the hybrid; lr and epsilon are MeZO's, the number of layers is a choice. The paper's
    values are not known.

    Attributes:
        lr: step size eta of the zeroth-order layers.
        first_order_factor: step size of the first-order layers, as a multiple of ``lr``.
        epsilon: smoothing radius eps.
        layers: numbered layers, counted from the output, that are trained by backpropagation.
    """

    lr: Rate = 1e-6
    first_order_factor: Positive = 1.0
    epsilon: Positive = 1e-3
    layers: Count = 1


def last_layers(names: list[str], layers: int) -> set[str]:
    """Tensors of the last ``layers`` numbered layers and all tensors after them. If no name contains a
    number, the last group of tensors."""
    groups = groups_by_layer(names)
    numbered = [i for i, group in enumerate(groups) if re.search(r"(^|\.)\d+(\.|$)", group[0])]
    start = numbered[max(0, len(numbered) - layers)] if numbered else len(groups) - 1
    return {name for group in groups[start:] for name in group}


class Without(Direction):
    """An inner direction that is zero on some tensors."""

    def __init__(self, inner: Direction, frozen: set[str]) -> None:
        super().__init__(inner.source)
        self.inner, self.frozen = inner, frozen

    def touches(self, name: str, seed: int) -> bool:
        return name not in self.frozen and self.inner.touches(name, seed)

    def add_(self, tensor: torch.Tensor, name: str, seed: int, scale: float) -> None:
        if self.touches(name, seed):
            self.inner.add_(tensor, name, seed, scale)


class ZoFoHybrid(Mixed):
    """The last layers by gradient, all others by SPSA."""

    Config = HybridConfig
    card = MethodCard(
        name="zo-fo-hybrid",
        title="ZO-FO hybrid",
        source="arXiv 2402.11592",
        formula="theta_low <- theta_low - eta c z; theta_high <- theta_high - eta' grad L",
        order="mixed",
        replay="checkpoint",
        notes="ZO-Bench trains some layers by backpropagation and the rest by SPSA; which layers is not "
        "known from the notes on it (2026-11-22). Here they are the last, so that backpropagation "
        "stops early. The SPSA pair moves the zeroth-order tensors only. One pass of backpropagation "
        "counts 3 forwards though it stops early.",
        revision=2,
    )

    def __init__(
        self, config: Any, space: ParameterSpace, *, seed: int, engine: Engine | None = None
    ) -> None:
        self.first_order = last_layers(list(space), config.layers)
        super().__init__(config, space, seed=seed, engine=engine)

    @classmethod
    def cost(cls, config: HybridConfig) -> Cost:
        return Cost(5, 5, 4, 0)

    def make_direction(self) -> Direction:
        return Without(self.engine.gaussian(), self.first_order)

    def weights(self, name: str) -> tuple[float, float]:
        return (0.0, self.config.first_order_factor) if name in self.first_order else (1.0, 0.0)

    def measure(self, objective: Objective) -> Estimate:
        pair = two_sided(self.engine, objective, self.direction, self.seeds(1), self.smoothing())
        self.engine.home()
        loss, grads = objective.gradient(
            {n: self.space.tensors[n] for n in self.space if n in self.first_order}
        )
        return self.combine(pair, loss, grads)


@dataclass(frozen=True)
class AddaxConfig(Parameters):
    """Parameters of Addax; lr and epsilon are MeZO's. The paper takes alpha from a small grid that is not
    known exactly; 1e-3 is a choice.

    Attributes:
        lr: step size eta.
        epsilon: smoothing radius eps.
        alpha: weight of the zeroth-order estimate, in [0, 1].
        length_threshold: examples with more tokens than this are used for the zeroth-order part, the others
            for the gradient, each part with its own minibatch; 0: both parts use the step's whole minibatch.
    """

    lr: Rate = 1e-6
    epsilon: Positive = 1e-3
    alpha: Fraction = 1e-3
    length_threshold: CountOrZero = 0


def split_by_length(limit: int) -> Callable[[Mapping[str, torch.Tensor]], tuple[Part | None, Part | None]]:
    """A function that divides a batch (a mapping of tensors with an ``attention_mask``): examples longer than
    ``limit`` tokens for the zeroth-order part, the others for the first-order part; ``None`` for an empty
    part."""

    def divide(batch: Mapping[str, torch.Tensor]) -> tuple[Part | None, Part | None]:
        lengths = batch["attention_mask"].sum(dim=1)
        parts = []
        for rows in (lengths > limit, lengths <= limit):
            count = int(rows.sum())
            part = {k: v[rows] for k, v in batch.items()}
            parts.append((part, count, int(lengths[rows].sum())) if count else None)
        return parts[0], parts[1]

    return divide


class Addax(Mixed):
    """SPSA on long examples and the gradient on short ones, combined in one step."""

    Config = AddaxConfig
    card = MethodCard(
        name="addax",
        title="Addax",
        source="arXiv 2410.06441",
        formula="theta <- theta - eta (alpha c z + (1 - alpha) grad L)",
        order="mixed",
        replay="checkpoint",
        needs=("length-split",),
        notes="By the paper's formula (notes of 2026-11-22); the authors' repository holds only a README. "
        "With length_threshold 0 both parts see the whole minibatch (the paper's variant without "
        "assignment); above it, long rows get SPSA and short ones the gradient, each with minibatches "
        "of their own, and a part without rows is skipped. The paper's threshold is set per task; "
        "there is no default here. divide_by() splits the step's minibatch instead. The paper's "
        "in-place SGD inside the backward hook saves memory and does not change the arithmetic; here the "
        "whole gradient exists at once.",
        revision=2,
    )

    def __init__(
        self, config: Any, space: ParameterSpace, *, seed: int, engine: Engine | None = None
    ) -> None:
        super().__init__(config, space, seed=seed, engine=engine)
        self._divide: Callable[[Any], tuple[Part | None, Part | None]] | None = None
        self._supplies: MethodData | None = None

    @classmethod
    def cost(cls, config: AddaxConfig) -> Cost:
        return Cost(5, 5, 3, 0)

    def supply(self, supplies: MethodData) -> None:
        self._supplies = supplies

    def divide_by(self, divide: Callable[[Any], tuple[Part | None, Part | None]]) -> None:
        """Set the function ``divide(batch) -> (long, short)`` that splits the step's minibatch (see
        ``split_by_length``)."""
        self._divide = divide

    def weights(self, name: str) -> tuple[float, float]:
        return self.config.alpha, 1.0 - self.config.alpha

    def measure(self, objective: Objective) -> Estimate:
        if self._divide is None and not self.config.length_threshold:
            pair = self._pair(objective)
            return self.combine(pair, *objective.gradient(self.space.tensors))
        long, short = self._parts(objective)
        pair = Estimate((), (), (), math.nan)
        if long is not None:
            with objective.on(long[0], sequences=long[1], tokens=long[2]):
                pair = self._pair(objective)
        if short is None:
            return pair
        with objective.on(short[0], sequences=short[1], tokens=short[2]):
            loss, grads = objective.gradient(self.space.tensors)
        return self.combine(pair, loss, grads)

    def _parts(self, objective: Objective) -> tuple[Part | None, Part | None]:
        if self._divide is not None:
            return self._divide(objective.batch)
        limit = self.config.length_threshold
        if self._supplies is None:
            raise ValueError(f"length_threshold is {limit}: pass the examples with supply or divide_by")
        return self._supplies.by_length(self.t, limit)

    def _pair(self, objective: Objective) -> Estimate:
        estimate = two_sided(self.engine, objective, self.direction, self.seeds(1), self.smoothing())
        # Mode in-place leaves the weights displaced, but the gradient is measured at theta.
        self.engine.home()
        return estimate
