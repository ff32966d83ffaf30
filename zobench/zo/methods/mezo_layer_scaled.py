"""MeZO with layer-wise scaled noise: variance- and expectation-modified SPSA (arXiv 2305.17333, def. 6, 7).

d_l > 0 per layer l, D = diag of d_l over its entries, z ~ N(0, I)
c = (L(theta + eps D^-1 z) - L(theta - eps D^-1 z)) / (2 eps)
variance:    theta <- theta - eta c D z    (unbiased for any D; D decides the variance)
expectation: theta <- theta - eta c z      (estimates D^-1 grad L: a gradient normalized by layer)

d_l is the norm of the layer's parameters, or a probe of its gradient norm: |L(theta + eps z_l) -
L(theta - eps z_l)| / (2 eps) with z_l non-zero on that layer only, at 2 forward passes per layer. D is
normalized to geometric mean 1 over entries, so that eps and eta keep their meaning. Small d_l are raised to a
minimum, so that the scales of layers of zeros stay finite. 2 forward passes per step, and 2 per layer in
steps that probe.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from zobench.zo.base import Cost, MethodCard
from zobench.zo.directions import Direction, groups_by_layer
from zobench.zo.estimators import Estimate, two_sided
from zobench.zo.method import ZerothOrder
from zobench.zo.objective import Objective
from zobench.zo.parameters import CountOrZero, Parameters, Positive, PositiveFraction, Rate
from zobench.zo.preconditioned import Scaled


@dataclass(frozen=True)
class MezoLayerScaledConfig(Parameters):
    """Parameters of layer-scaled MeZO; eta and eps are MeZO's.

    Attributes:
        lr: step size eta.
        epsilon: smoothing radius eps.
        variant: ``variance`` or ``expectation``.
        norm: ``parameter`` (no extra cost) or ``gradient`` (probed by losses).
        layers: number of layers; required for ``gradient``, because the cost depends on it.
        refresh: number of steps after which D is recomputed; 0: D is computed in the first step only.
        floor: minimum d_l as a share of the largest.
    """

    lr: Rate = 1e-6
    epsilon: Positive = 1e-3
    variant: Literal["variance", "expectation"] = "variance"
    norm: Literal["parameter", "gradient"] = "parameter"
    layers: CountOrZero = 0
    refresh: CountOrZero = 0
    floor: PositiveFraction = 1e-2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.norm == "gradient" and self.layers < 1:
            raise ValueError(
                f"layers must be a whole number of at least 1 with norm 'gradient', not {self.layers}"
            )


class _Only(Direction):
    """The inner direction on the named tensors, zero on the others."""

    def __init__(self, inner: Direction, names: list[str]) -> None:
        super().__init__(inner.source)
        self.inner, self.names = inner, frozenset(names)

    def add_(self, tensor: Any, name: str, seed: int, scale: float) -> None:
        if name in self.names:
            self.inner.add_(tensor, name, seed, scale)

    def touches(self, name: str, seed: int) -> bool:
        return name in self.names


class MezoLayerScaled(ZerothOrder):
    """SPSA with noise scaled per layer."""

    Config = MezoLayerScaledConfig
    card = MethodCard(
        name="mezo-layer-scaled",
        title="Variance- / expectation-modified SPSA",
        source="arXiv 2305.17333, definitions 6 and 7",
        formula="theta <- theta - eta [(L(theta+eps D^-1 z) - L(theta-eps D^-1 z)) / (2 eps)] (D z or z)",
        order="zeroth",
        replay="scalars",
        by_seeds=True,
        notes="Unbiased in variant 'variance', but with a different variance than plain SPSA (hence not "
        "declared). The paper does not specify the scale of D: geometric mean 1 over entries and the "
        "minimum are zobench's choices, as is the rule that a layer consists of the tensors whose names "
        "agree up to the first number. What the paper reports of these variants is not known to us; on our "
        "boards they have not been measured.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.groups = groups_by_layer(list(self.space))
        if self.config.norm == "gradient" and self.config.layers != len(self.groups):
            raise ValueError(f"layers must be {len(self.groups)} for this space, got {self.config.layers}")
        self.sizes = [sum(self.space.size(name) for name in group) for group in self.groups]
        self.norms: list[float] = []
        self.scales: dict[str, float] = {}

    @classmethod
    def cost(cls, config: MezoLayerScaledConfig) -> Cost:
        probe = 2 * config.layers if config.norm == "gradient" else 0
        mean = probe / config.refresh if config.refresh else 0.0
        return Cost(2 + mean, 2 + probe, 4.0 if probe else 3.0, 0)

    def make_direction(self) -> Direction:
        return Scaled(self.engine.gaussian(), lambda name: 1.0 / self.scales[name])

    def set_norms(self, norms: list[float]) -> None:
        """Set d_l from the norms of the layers: raised to the minimum, geometric mean 1 over entries."""
        self.norms = norms
        largest = max(norms, default=0.0)
        logs = [math.log(max(norm, self.config.floor * largest)) if largest else 0.0 for norm in norms]
        mean = math.fsum(log * size for log, size in zip(logs, self.sizes, strict=False)) / sum(self.sizes)
        self.scales = {
            name: math.exp(log - mean)
            for log, group in zip(logs, self.groups, strict=False)
            for name in group
        }

    def measure(self, objective: Objective) -> Estimate:
        probed = self._probe(objective) if self._due() else ()
        estimate = two_sided(self.engine, objective, self.direction, self.seeds(1), self.smoothing())
        return Estimate(estimate.seeds, estimate.coefficients, (*probed, *estimate.losses), estimate.loss)

    def _due(self) -> bool:
        return not any(self.norms) or (self.config.refresh > 0 and self.t % self.config.refresh == 0)

    def _probe(self, objective: Objective) -> tuple[float, ...]:
        """Recompute the norms. Returns the losses queried for them."""
        if self.config.norm == "parameter":
            self.set_norms([self._parameter_norm(group) for group in self.groups])
            return ()
        seeds, eps = self.seeds(len(self.groups), "layers"), self.smoothing()
        only = [_Only(self.engine.gaussian(), group) for group in self.groups]
        losses = self.engine.losses(
            objective,
            [
                self.engine.along(d, s, sign * eps)
                for d, s in zip(only, seeds, strict=True)
                for sign in (1, -1)
            ],
        )
        norms = [abs(a - b) / (2 * eps) for a, b in zip(losses[::2], losses[1::2], strict=True)]
        self.set_norms(norms if all(map(math.isfinite, norms)) else [0.0] * len(norms))
        return tuple(losses)

    def _parameter_norm(self, names: list[str]) -> float:
        """Euclidean norm of a layer, rounded to 7 digits: replay must not depend on the order of
        summation."""
        squares = (float(self.space.entries(name).double().square().sum()) for name in names)
        return float(f"{math.sqrt(math.fsum(squares)):.6e}")

    def update(self, estimate: Estimate, lr: float) -> dict[str, float]:
        variance = self.config.variant == "variance"
        applied = (
            Scaled(self.engine.gaussian(), self.scales.__getitem__) if variance else self.engine.gaussian()
        )
        self.engine.home()
        self.updater.apply(self.engine, applied, estimate, lr)
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "norms": list(self.norms)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.set_norms([float(norm) for norm in state["norms"]])
