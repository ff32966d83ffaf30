"""MeZO-SVRG: variance-reduced SPSA with an anchor point (arXiv 2404.08080).

every q-th step:  anchor theta_a = theta; g_a = SPSA over the anchor batch; theta <- theta - eta_1 g_a
other steps:      theta <- theta - eta_2 [ g_B(theta; z) - g_B(theta_a; z) + g_a ], the same z in both

g_B(theta; z) = z (L_B(theta + eps z) - L_B(theta - eps z)) / (2 eps). 4 forward passes in minibatch steps, 2
per anchor minibatch in anchor steps. g_a is stored as seeds and scalars, the anchor as a copy of the tuned
values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch

from zobench.zo.base import Cost, MethodCard
from zobench.zo.engine import Engine
from zobench.zo.estimators import Estimate, two_sided
from zobench.zo.method import ZerothOrder
from zobench.zo.method_data import MethodData, Part
from zobench.zo.objective import Objective
from zobench.zo.parameters import Count, Parameters, Positive, Rate
from zobench.zo.space.base import ParameterSpace
from zobench.zo.sparse import counter_only


@dataclass(frozen=True)
class MezoSvrgConfig(Parameters):
    """Parameters of MeZO-SVRG; q, eps and the learning rates of the authors' GLUE runs.

    Attributes:
        lr: step size eta_2 of minibatch steps.
        anchor_factor: eta_1 / eta_2.
        epsilon: smoothing radius eps.
        q: steps per anchor.
        anchor_batches: number of minibatches in the anchor batch. The paper's full batch corresponds to the
            number of training examples / minibatch size. With 1, the minibatch of the anchor step is used.
            Above 1, the minibatches come from ``supply`` or ``use_anchor_batches``.
    """

    lr: Rate = 1e-6
    anchor_factor: Positive = 10.0
    epsilon: Positive = 1e-3
    q: Count = 2
    anchor_batches: Count = 1


@dataclass(frozen=True)
class AtAnchor:
    """The shift from theta to the anchor: the tuned values become exactly those of the anchor."""

    anchor: Mapping[str, torch.Tensor]

    def add_(self, tensor: torch.Tensor, name: str) -> None:
        tensor.copy_(self.anchor[name])

    def touches(self, name: str) -> bool:
        return True


class MezoSvrg(ZerothOrder):
    """SPSA with a control variate at an anchor."""

    Config = MezoSvrgConfig
    card = MethodCard(
        name="mezo-svrg",
        title="MeZO-SVRG",
        source="arXiv 2404.08080",
        formula="theta <- theta - eta_2 [g_B(theta; z) - g_B(anchor; z) + g_anchor]; every q steps a new "
        "anchor",
        order="zeroth",
        replay="scalars",
        needs=("anchor-batches",),
        notes="In the authors' code the snapshot shares memory with the current weights, and the two "
        "minibatch terms use different seeds; here the anchor is a copy and both terms use the same z. With "
        "anchor_batches 1 the anchor batch is the minibatch of the anchor step. A single step is not "
        "unbiased, because q steps share g_anchor. The paper's learning-rate annealing is omitted. Mode "
        "'in-place' is refused.",
    )

    def __init__(
        self, config: Any, space: ParameterSpace, *, seed: int, engine: Engine | None = None
    ) -> None:
        super().__init__(config, space, seed=seed, engine=engine)
        counter_only(self.engine, "mezo-svrg")
        self.anchor: dict[str, torch.Tensor] = {}
        self.full: tuple[tuple[int, ...], tuple[float, ...]] = ((), ())
        self._batches: list[Part] = []
        self._supplies: MethodData | None = None

    @classmethod
    def cost(cls, config: MezoSvrgConfig) -> Cost:
        full = 2 * config.anchor_batches
        most = full if config.q == 1 else max(4, full)
        mean = (full + 4 * (config.q - 1)) / config.q
        return Cost(mean, most, 5.0 + 3 * config.anchor_batches, 4)

    def supply(self, supplies: MethodData) -> None:
        self._supplies = supplies

    def use_anchor_batches(self, batches: Sequence[Part]) -> None:
        """Set one anchor batch for all anchors: ``anchor_batches`` tuples (minibatch, sequences, tokens).
        ``ValueError`` for another number of tuples."""
        if len(batches) != self.config.anchor_batches:
            raise ValueError(f"{self.config.anchor_batches} anchor batches are declared, got {len(batches)}")
        self._batches = list(batches)

    def anchors(self) -> bool:
        """Whether the coming step sets a new anchor."""
        return self.t % self.config.q == 0 or not self.anchor

    def learning_rate(self) -> float:
        return float(self.config.lr * (self.config.anchor_factor if self.anchors() else 1.0))

    def measure(self, objective: Objective) -> Estimate:
        if self.engine.mode == "in-place":
            raise ValueError("mezo-svrg measures at its anchor: use mode 'snapshot', not 'in-place'")
        if self.anchors():
            return self._full(objective)
        (seed,) = self.seeds(1)
        eps, there = self.smoothing(), AtAnchor(self.anchor)
        along = [self.engine.along(self.direction, seed, s * eps) for s in (1.0, -1.0)]
        points = [along[0], along[1], (there, *along[0]), (there, *along[1])]
        a, b, c, d = self.engine.losses(objective, points)
        here, at_anchor = (a - b) / (2 * eps), (c - d) / (2 * eps)
        seeds, slopes = self.full
        return Estimate(
            seeds=(seed, *seeds),
            coefficients=(here - at_anchor, *slopes),
            losses=(a, b, c, d),
            loss=(a + b) / 2,
            extras={"slope": here, "slope_at_anchor": at_anchor},
        )

    def _full(self, objective: Objective) -> Estimate:
        """SPSA of the mean loss over the anchor batch, with one direction for all its minibatches."""
        count = self.config.anchor_batches
        if count == 1 and not self._batches:
            return two_sided(self.engine, objective, self.direction, self.seeds(1), self.smoothing())
        (seed,) = self.seeds(1)
        losses: list[float] = []
        for batch in self._anchor_batch(objective, count):
            with objective.on(batch[0], sequences=batch[1], tokens=batch[2]):
                losses += two_sided(self.engine, objective, self.direction, (seed,), self.smoothing()).losses
        mean = [sum(losses[side::2]) / count for side in (0, 1)]
        slope = (mean[0] - mean[1]) / (2 * self.smoothing())
        plotted = sum(mean) / 2
        return Estimate((seed,), (slope,), tuple(losses), plotted if math.isfinite(plotted) else math.nan)

    def _anchor_batch(self, objective: Objective, count: int) -> Sequence[Part]:
        if objective.recorded:
            return [(None, 1, 0)] * count
        if not self._batches and self._supplies is None:
            raise ValueError(f"anchor_batches is {count}: pass them to supply or use_anchor_batches")
        return self._batches or cast("MethodData", self._supplies).anchor(self.t, count)

    def update(self, estimate: Estimate, lr: float) -> dict[str, float]:
        extras = {"anchor": 0.0}
        if self.anchors():
            self.engine.home()
            self.anchor = self.space.snapshot()
            self.full = (estimate.seeds, estimate.coefficients)
            extras = {"anchor": 1.0}
        return {**super().update(estimate, lr), **extras}

    def state_dict(self) -> dict[str, Any]:
        flat = super().state_dict()
        flat.update({f"anchor:{name}": tensor.clone() for name, tensor in self.anchor.items()})
        return {**flat, "full_seeds": list(self.full[0]), "full_coefficients": list(self.full[1])}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.anchor = {
            key.removeprefix("anchor:"): tensor.clone()
            for key, tensor in state.items()
            if key.startswith("anchor:")
        }
        self.full = (tuple(state["full_seeds"]), tuple(state["full_coefficients"]))
