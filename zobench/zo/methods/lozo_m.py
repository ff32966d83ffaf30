"""LOZO-M: momentum held in the left factor of LOZO's directions (arXiv 2410.07698).

c = (L(theta + eps U V^T) - L(theta - eps U V^T)) / (2 eps), as LOZO
N <- beta N + (1 - beta) c U (first step N = c U);  W <- W - eta N V^T
when V is redrawn, before the step: N <- N V_old^T V_new / n

N has the shape of U (m x r), so the momentum of a matrix costs 4 r / n bytes per entry. 2 forwards a step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from zobench.zo.base import Cost, MethodCard
from zobench.zo.directions import Direction
from zobench.zo.engine import BoundEngine
from zobench.zo.estimators import Estimate, dense, two_sided
from zobench.zo.lowrank import LazyRight, add_product_, on_own_grid
from zobench.zo.method import ZerothOrder
from zobench.zo.methods import checks
from zobench.zo.objective import Objective
from zobench.zo.updates import Update


@dataclass(frozen=True)
class LozoMConfig:
    """Parameters of LOZO-M; defaults of the authors' OPT runs, in the code's scale (no 1/r).

    Attributes:
        lr: step size eta.
        epsilon: smoothing radius eps.
        rank: r, clipped to the smaller side of each matrix.
        interval: steps nu for which V stands.
        momentum: beta.
    """

    lr: float = 1e-7
    epsilon: float = 1e-3
    rank: int = 2
    interval: int = 100
    momentum: float = 0.9

    def __post_init__(self) -> None:
        checks.rate("lr", self.lr)
        checks.positive("epsilon", self.epsilon)
        checks.count("rank", self.rank)
        checks.count("interval", self.interval)
        checks.share("momentum", self.momentum)


class LeftMomentum(Update):
    """N <- beta N + (1 - beta) c U per matrix, moved over to the new V when that changes; vectors: plain
    SGD."""

    slots = ("left",)

    def __init__(self, beta: float) -> None:
        super().__init__()
        self.beta = beta
        self.index = 0

    def apply(self, engine: BoundEngine, direction: Direction, estimate: Estimate, lr: float) -> None:
        assert isinstance(direction, LazyRight)
        engine.home()
        self.apply_dense(engine, lambda name: self._step(direction, estimate, name), lr)
        self.index = direction.index

    def _step(self, direction: LazyRight, estimate: Estimate, name: str) -> torch.Tensor:
        if not direction.is_matrix(name):
            return dense(direction, estimate, name)
        wide = torch.float64 if direction.space.dtype(name) == torch.float64 else torch.float32
        (seed,), (slope,) = estimate.seeds, estimate.coefficients
        fresh = direction.left(name, seed).mul_(slope).to(wide)
        kept = self.slot("left", name, fresh)
        (right,) = direction.basis(name)
        if self.count == 1:
            kept.copy_(fresh)
        else:
            if self.index != direction.index:
                (old,) = direction.basis_at(name, self.index)
                kept.copy_(kept.double() @ (old.T @ right) / right.shape[0])
            kept.mul_(self.beta).add_(fresh.mul_(1.0 - self.beta))
        out = torch.zeros(direction.space.shape(name), dtype=wide, device=kept.device)
        add_product_(out, on_own_grid(kept) if wide == torch.float32 else kept, right, 1.0)
        return out

    def step_for(self, name: str, gradient: torch.Tensor) -> torch.Tensor:
        return gradient

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "index": self.index}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.index = int(state["index"])
        super().load_state_dict({key: value for key, value in state.items() if key != "index"})


class LozoM(ZerothOrder):
    """LOZO with momentum in U's space."""

    Config = LozoMConfig
    card = MethodCard(
        name="lozo-m",
        title="LOZO-M",
        source="arXiv 2410.07698",
        formula="N <- beta N + (1 - beta) c U; W <- W - eta N V^T; on a new V: N <- N V_old^T V_new / n",
        order="zeroth",
        replay="scalars",
        notes="Momentum on vectors is not described in what we have: they take plain SGD steps. State is "
        "4 r / n bytes per entry of a matrix; 4 is declared, the worst case r = n.",
    )

    @classmethod
    def cost(cls, config: LozoMConfig) -> Cost:
        return Cost(2, 2, 3, 4)

    def make_direction(self) -> LazyRight:
        c = self.config
        return LazyRight(self.engine.source, seed=self.seed, rank=c.rank, interval=c.interval)

    def make_update(self) -> LeftMomentum:
        return LeftMomentum(self.config.momentum)

    def measure(self, objective: Objective) -> Estimate:
        return two_sided(self.engine, objective, self.direction, self.seeds(1), self.smoothing())
