"""DiZO: MeZO, and every kappa steps the distance of each layer to the start is tuned by ZO (arXiv
2502.03304).

MeZO step:   theta <- theta - eta c z
projection:  theta_l = theta_l0 + s_l (theta_l - theta_l0), s_l = gamma_l / ||theta_l - theta_l0||, s = 1 at
             first; ``rounds`` times: s <- clip(s - rate * g w, 1 - tau, 1 + tau), w_l ~ N(0, 1) clipped to
             +-tau / eps_p, g = (L(s + eps_p w) - L(s - eps_p w)) / (2 eps_p)

2 forwards a step and 2 * rounds more in every kappa-th. A projection belongs to the step that follows it:
all is measured first, then scale and step are written at once.
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from zobench.zo import noise
from zobench.zo.base import Cost, MethodCard
from zobench.zo.engine import Engine
from zobench.zo.estimators import Estimate
from zobench.zo.method import ZerothOrder
from zobench.zo.objective import Objective
from zobench.zo.parameters import Count, FractionBelowOne, Parameters, Positive, Rate
from zobench.zo.perturb import Shift
from zobench.zo.space.base import ParameterSpace
from zobench.zo.sparse import counter_only


@dataclass(frozen=True)
class DizoConfig(Parameters):
    """Parameters of DiZO; defaults of the authors' code.

    Attributes:
        lr: step size eta.
        epsilon: smoothing radius eps.
        interval: steps between projections (kappa).
        rounds: ZO iterations of a projection.
        projection_epsilon: smoothing radius eps_p of the relative scales.
        projection_lr: step size of the relative scales.
        tau: largest relative change of a distance.
        targets: glob patterns of the tensors that are projected; where none matches, all are.
    """

    lr: Rate = 1e-6
    epsilon: Positive = 1e-3
    interval: Count = 50
    rounds: Count = 10
    projection_epsilon: Positive = 0.1
    projection_lr: Rate = 2.0
    tau: FractionBelowOne = 0.2
    targets: tuple[str, ...] = ("*k_proj.weight", "*v_proj.weight")


@dataclass(frozen=True)
class Stretched:
    """theta_l -> anchor_l + s_l (theta_l - anchor_l); the first shift of a point."""

    anchor: Mapping[str, torch.Tensor]
    scales: Mapping[str, float]

    def add_(self, tensor: torch.Tensor, name: str) -> None:
        wide = torch.float64 if tensor.dtype == torch.float64 else torch.float32
        away = tensor.to(wide) - self.anchor[name].to(wide)
        tensor.copy_(away.mul_(self.scales[name] - 1.0).add_(tensor.to(wide)))

    def touches(self, name: str) -> bool:
        return self.scales.get(name, 1.0) != 1.0


class Dizo(ZerothOrder):
    """MeZO with layer-wise distances to the start tuned by zeroth-order projection."""

    Config = DizoConfig
    card = MethodCard(
        name="dizo",
        title="DiZO",
        source="arXiv 2502.03304",
        formula="theta <- theta - eta c z; every kappa steps theta_l <- theta_l0 + s_l (theta_l - theta_l0)",
        order="zeroth",
        replay="scalars",
        notes="The scales are relative (s_l = gamma_l / distance, from 1); whether the authors' eps_p and "
        "step are "
        "relative or absolute was not verified. Their code projects k_proj and v_proj and freezes the "
        "embeddings; freezing is the space's business. Mode 'in-place' is refused.",
    )

    def __init__(
        self, config: Any, space: ParameterSpace, *, seed: int, engine: Engine | None = None
    ) -> None:
        super().__init__(config, space, seed=seed, engine=engine)
        counter_only(self.engine, "dizo")
        found = [n for n in space if any(fnmatch.fnmatchcase(n, p) for p in config.targets)]
        self.projected = found or list(space)
        self.anchor = {n: space.entries(n).detach().clone() for n in self.projected}
        self.scales: dict[str, float] = {}

    @classmethod
    def cost(cls, config: DizoConfig) -> Cost:
        extra = 2 * config.rounds
        return Cost(2 + extra / config.interval, 2 + extra, 3 + extra / config.interval, 4)

    def measure(self, objective: Objective) -> Estimate:
        if self.engine.mode == "in-place":
            raise ValueError(
                "dizo scales distances, no seeded direction: use mode 'snapshot', not 'in-place'"
            )
        first: list[float] = []
        self.scales = {}
        if self.t and self.t % self.config.interval == 0:
            self.scales, first = self._project(objective)
        (seed,), eps = self.seeds(1), self.smoothing()
        base: tuple[Shift, ...] = (Stretched(self.anchor, self.scales),) if self.scales else ()
        points = [(*base, *self.engine.along(self.direction, seed, s * eps)) for s in (1.0, -1.0)]
        plus, minus = self.engine.losses(objective, points)
        values = list(self.scales.values())
        extras = {"scale_min": min(values), "scale_max": max(values)} if values else {}
        return Estimate(
            (seed,), ((plus - minus) / (2 * eps),), (*first, plus, minus), (plus + minus) / 2, extras
        )

    def _project(self, objective: Objective) -> tuple[dict[str, float], list[float]]:
        """The relative scales after ``rounds`` ZO iterations, and the losses they took."""
        c = self.config
        s, losses = [1.0] * len(self.projected), []
        for round_ in range(c.rounds):
            w = self.draw(round_)
            pair = []
            for sign in (1.0, -1.0):
                moved = [x + sign * c.projection_epsilon * y for x, y in zip(s, w, strict=True)]
                shift = Stretched(self.anchor, dict(zip(self.projected, moved, strict=True)))
                pair.append(self.engine.loss(objective, shift))
            losses += pair
            g = (pair[0] - pair[1]) / (2 * c.projection_epsilon)
            if math.isfinite(g):
                stepped = (x - c.projection_lr * g * y for x, y in zip(s, w, strict=True))
                s = [min(max(x, 1.0 - c.tau), 1.0 + c.tau) for x in stepped]
        return dict(zip(self.projected, s, strict=True)), losses

    def draw(self, round_: int) -> list[float]:
        """w of one projection round, one number per projected tensor by its name, clipped so that
        eps_p |w| <= tau."""
        limit = self.config.tau / self.config.projection_epsilon
        seed = noise.derive_seed(self.seed, self.t, "projection", round_)
        draws = (
            float(noise.sample((1,), seed=seed, key=noise.tensor_key(n), kind="gaussian"))
            for n in self.projected
        )
        return [min(max(x, -limit), limit) for x in draws]

    def update(self, estimate: Estimate, lr: float) -> dict[str, float]:
        self.engine.home()
        shift = Stretched(self.anchor, self.scales)
        for name in self.projected:
            if lr != 0.0 and shift.touches(name):
                with self.engine.editing(name) as theta:
                    shift.add_(theta, name)
        return super().update(estimate, lr)

    def state_dict(self) -> dict[str, Any]:
        anchor = {f"anchor:{name}": tensor.clone() for name, tensor in self.anchor.items()}
        return {**super().state_dict(), **anchor}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.anchor = {name: state[f"anchor:{name}"].clone() for name in self.projected}
