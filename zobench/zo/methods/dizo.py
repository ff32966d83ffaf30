"""DiZO: MeZO, where every kappa steps the distance of each layer from its initial weights is tuned by ZO
(arXiv 2502.03304).

MeZO step:   theta <- theta - eta c z
projection:  theta_l = theta_l0 + (gamma_l / D_l) (theta_l - theta_l0), D_l = ||theta_l - theta_l0||,
             gamma = D at first; ``rounds`` times: gamma_l <- clip(gamma_l - rate D_l g w_l, (1 - tau) D_l,
             (1 + tau) D_l), w_l ~ N(0, 1) clipped to +-tau D_l / eps_p,
             g = (L(gamma + eps_p w) - L(gamma - eps_p w)) / (2 eps_p)

2 forward passes per step, and 2 * rounds more in every kappa-th step. A projection is part of the step that
follows it: all losses are measured first, then scale and step are written together.
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Mapping, Sequence
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

CHUNK = 1 << 14


@dataclass(frozen=True)
class DizoConfig(Parameters):
    """Parameters of DiZO; defaults of the authors' code.

    Attributes:
        lr: step size eta.
        epsilon: smoothing radius eps.
        interval: steps between projections (kappa).
        rounds: ZO iterations of a projection.
        projection_epsilon: smoothing radius eps_p of the distances gamma, absolute.
        projection_lr: step size of the distances, as a multiple of D_l.
        tau: maximum relative change of a distance.
        targets: glob patterns of the projected tensors. If none matches, all tensors are projected.
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
        notes="Follows the authors' code (Skilteee/DiZO, read 2026-11-29): eps_p is absolute and the step "
        "is proportional to the distance, so that early projections change little (scales of 1.0000 to "
        "1.0001 at lr 1e-4). The authors use a new minibatch in each round; here all rounds use the step's "
        "minibatch. Their code projects k_proj and v_proj and freezes the embeddings; here the parameter "
        "space decides what is frozen. A tensor that has not moved is not projected. Mode 'in-place' is "
        "refused.",
        revision=2,
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
                "dizo scales distances, not a seeded direction: use mode 'snapshot', not 'in-place'"
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
        """The scales s_l = gamma_l / D_l after ``rounds`` ZO iterations, and the losses queried for them."""
        c, far = self.config, self._distances()
        s, losses = [1.0] * len(self.projected), []
        for round_ in range(c.rounds):
            w = self.draw(round_, far)
            pair = []
            for sign in (1.0, -1.0):
                moved = [
                    x + sign * c.projection_epsilon * y / d if d else x
                    for x, y, d in zip(s, w, far, strict=True)
                ]
                shift = Stretched(self.anchor, dict(zip(self.projected, moved, strict=True)))
                pair.append(self.engine.loss(objective, shift))
            losses += pair
            g = (pair[0] - pair[1]) / (2 * c.projection_epsilon)
            if math.isfinite(g):
                # gamma - rate D g w, divided by D.
                stepped = (x - c.projection_lr * g * y for x, y in zip(s, w, strict=True))
                s = [min(max(x, 1.0 - c.tau), 1.0 + c.tau) for x in stepped]
        return dict(zip(self.projected, s, strict=True)), losses

    def _distances(self) -> list[float]:
        """D_l of every projected tensor; 0 if it has not moved."""
        pairs = ((self.space.entries(n).detach().double(), self.anchor[n].double()) for n in self.projected)
        # Sums of pieces of fixed size do not depend on the number of threads.
        pieces = [[float(p.square().sum()) for p in (a - b).reshape(-1).split(CHUNK)] for a, b in pairs]
        return [math.sqrt(math.fsum(squares)) for squares in pieces]

    def draw(self, round_: int, far: Sequence[float]) -> list[float]:
        """w of one projection round: one number per projected tensor, clipped so that eps_p |w| <= tau D."""
        limit = self.config.tau / self.config.projection_epsilon
        seed = noise.derive_seed(self.seed, self.t, "projection", round_)
        draws = (
            float(noise.sample((1,), seed=seed, key=noise.tensor_key(n), kind="gaussian"))
            for n in self.projected
        )
        return [min(max(x, -limit * d), limit * d) for x, d in zip(draws, far, strict=True)]

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
