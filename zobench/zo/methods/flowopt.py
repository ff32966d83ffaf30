"""FlowOpt: the start code of a whole generator is optimized without derivatives (arXiv 2510.22010).

For a loss 1/2 |f(z) - y|^2, f(z) the output of the complete sampler started at z:

    z <- z - eta (f(z) - y)

This is gradient descent with the identity in place of the Jacobian of f. One sampling per step; nothing is
perturbed or averaged. With f(z*) = y, |z - z*| becomes smaller in a step if and only if

    eta < 2 <f(z) - f(z*), z - z*> / |f(z) - f(z*)|^2

The first step estimates this bound from pairs (z, z + d), d Gaussian: the ``quantile`` of
2 <f(z + d) - f(z), d> / |f(z + d) - f(z)|^2. It is recorded with every step (``step_bound``) and limits
nothing. A bound of at most 0 means that for some pair no step size is safe.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from zobench.zo import noise
from zobench.zo.base import Cost, MethodCard, StepRecord
from zobench.zo.engine import Engine
from zobench.zo.estimators import Estimate
from zobench.zo.method import Method
from zobench.zo.objective import Objective
from zobench.zo.parameters import CountOrZero, FractionBelowOne, Parameters, Positive, Rate
from zobench.zo.space.base import ParameterSpace
from zobench.zo.updates import Sgd


@dataclass(frozen=True)
class FlowOptConfig(Parameters):
    """Parameters of FlowOpt; the step size is that of the paper's Stable Diffusion 3 runs.

    Attributes:
        lr: step size eta.
        pairs: number of pairs from which the first step estimates the bound of eta, one forward pass each; 0:
            none.
        radius: standard deviation of the entries of d.
        quantile: of the pairs' bounds, the value that is recorded; 0 is their minimum.
    """

    lr: Rate = 0.01
    pairs: CountOrZero = 0
    radius: Positive = 0.1
    quantile: FractionBelowOne = 0.1


class FlowOpt(Method):
    """Descent along the residual."""

    Config = FlowOptConfig
    card = MethodCard(
        name="flowopt",
        title="FlowOpt",
        source="arXiv 2510.22010",
        formula="z <- z - eta (f(z) - y)",
        order="zeroth",
        replay="checkpoint",
        needs=("residual",),
        notes="Asks for the output f(z), not only for the loss. The bound of the step size follows from the "
        "formula above; the paper proves a condition of this kind, whose wording was not seen. Early "
        "stopping is the budget: the state at every evaluation point is a result.",
    )

    def __init__(
        self, config: Any, space: ParameterSpace, *, seed: int, engine: Engine | None = None
    ) -> None:
        super().__init__(config, space, seed=seed, engine=engine)
        self.updater = Sgd()
        self.bound: float | None = None
        """The estimated bound of the step size; ``None`` without pairs."""

    @classmethod
    def cost(cls, config: FlowOptConfig) -> Cost:
        return Cost(1, config.pairs + 1, 1, 0)

    @torch.no_grad()
    def step(self, objective: Objective) -> StepRecord:
        before = (objective.meter.forwards, objective.meter.tokens)
        loss, residual = self._residual(objective)
        finite = math.isfinite(loss) and all(bool(r.isfinite().all()) for r in residual.values())
        if self.config.pairs and self.bound is None and finite:
            self.bound = self._step_bound(objective, residual)
        spent = (objective.meter.forwards - before[0], objective.meter.tokens - before[1])
        lr = self.learning_rate()
        if finite:
            self.updater.apply_dense(self.engine, lambda name: residual[name], lr)
        extras = {} if self.bound is None else {"step_bound": self.bound}
        reason = "" if finite else "non-finite loss or residual"
        record = self.record(Estimate((), (), (loss,), loss), lr, spent, reason, extras)
        self.t += 1
        return record

    def _step_bound(self, objective: Objective, here: Mapping[str, torch.Tensor]) -> float:
        """The bound of the step size at the present code. Cost: ``pairs`` forward passes."""
        start, bounds = self.space.snapshot(), []
        try:
            for pair in range(self.config.pairs):
                moved = {name: self._displacement(name, pair) for name in self.space}
                for name in self.space:
                    self.space.put_(name, start[name] + moved[name])
                _, there = self._residual(objective)
                bounds.append(pair_bound(moved, {name: there[name] - here[name] for name in self.space}))
        finally:
            self.space.restore(start)
        return float(torch.tensor(bounds, dtype=torch.float64).quantile(self.config.quantile))

    def _residual(self, objective: Objective) -> tuple[float, dict[str, torch.Tensor]]:
        """Loss and f(z) - y of the tuned entries, at least float32."""
        loss, found = objective.residual()
        missing = sorted(set(self.space) - set(found))
        if missing:
            raise ValueError(
                f"flowopt tunes what has a residual, {sorted(found)}, not {missing[0]!r}; write "
                f"'space: {{kind: names, params: {{include: {sorted(found)}}}}}'"
            )
        return loss, {name: self._tuned(name, found[name]) for name in self.space}

    def _tuned(self, name: str, values: torch.Tensor) -> torch.Tensor:
        index = self.space.indices(name)
        chosen = values if index is None else values.reshape(-1)[index]
        return chosen.to(torch.float64 if chosen.dtype == torch.float64 else torch.float32, copy=True)

    def _displacement(self, name: str, pair: int) -> torch.Tensor:
        shape = self.space.entries(name).shape
        drawn = noise.sample(
            tuple(shape),
            seed=noise.derive_seed(self.seed, "pair", pair),
            key=noise.tensor_key(name),
            kind="gaussian",
        )
        return self.config.radius * drawn

    def state_dict(self) -> dict[str, Any]:
        held = {} if self.bound is None else {"bound": self.bound}
        return {**super().state_dict(), **held}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.bound = float(state["bound"]) if "bound" in state else None


def pair_bound(moved: Mapping[str, torch.Tensor], changed: Mapping[str, torch.Tensor]) -> float:
    """2 <df, dz> / |df|^2 of one pair, ``moved`` dz and ``changed`` df by name; infinite where f did not
    change."""
    inner = math.fsum(float((changed[n].double() * moved[n].double()).sum()) for n in moved)
    square = math.fsum(float(changed[n].double().square().sum()) for n in moved)
    return 2 * inner / square if square > 0 else math.inf
