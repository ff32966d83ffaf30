"""AdaMeZO: Adam's moments over a window of steps, recomputed from seeds instead of stored (arXiv 2605.00650).

c_t = (L(theta + eps z_t) - L(theta - eps z_t)) / (2 eps),  z_t ~ N(0, I)
M = sum_j beta1^j c_(t-j) z_(t-j),  V = sum_j beta2^j c_(t-j)^2 z_(t-j)^2,  j = 0 .. h - 1
code:  theta <- theta - eta (gain M / (sqrt(V) + delta) + wd theta)
paper: theta <- theta - eta ((1 - beta1) M / sqrt((1 - beta2) V + delta) + wd theta)

The first h + 1 steps are plain MeZO, as are all steps if h < 2. With beta2 = 0, V is 1 (momentum over the
window). The state is h pairs (seed, c), the same scalars as those of the step log. 2 forward passes per step;
h + 2 draws of every tuned entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch

from zobench.zo.arithmetic import add_scaled_, add_square_
from zobench.zo.base import Cost, MethodCard
from zobench.zo.estimators import Estimate, two_sided
from zobench.zo.method import ZerothOrder
from zobench.zo.objective import Objective
from zobench.zo.parameters import CountOrZero, FractionBelowOne, Parameters, Positive, Rate
from zobench.zo.sparse import counter_only
from zobench.zo.updates import Decay, DecayRule, Sgd


@dataclass(frozen=True)
class AdamezoConfig(Parameters):
    """Parameters of AdaMeZO; defaults of the authors' README run (their script has other moments and no
    window).

    Attributes:
        lr: step size eta, in the scale of ``form``.
        epsilon: smoothing radius eps.
        window: number of steps in the moments (h); below 2 the method is MeZO.
        beta1: decay of the first moment per step of the window.
        beta2: decay of the second moment per step of the window; 0: no second moment.
        delta: constant that keeps the denominator positive.
        gain: factor of the step in form ``code``.
        form: ``code`` (gain, delta outside the root) or ``paper`` (1 - beta, delta inside the root).
        weight_decay: coupled decay rate wd.
        decay_rule: tensors that decay: ``mezo``, ``mezo-roberta``, ``all``, ``matrices``.
    """

    lr: Rate = 1e-7
    epsilon: Positive = 1e-3
    window: CountOrZero = 10
    beta1: FractionBelowOne = 0.7
    beta2: FractionBelowOne = 0.9
    delta: Positive = 1e-5
    gain: Positive = 100.0
    form: Literal["code", "paper"] = "code"
    weight_decay: Rate = 0.0
    decay_rule: DecayRule = "mezo"


class Adamezo(ZerothOrder):
    """Adam-like steps whose moments are sums over the last seeds and coefficients."""

    Config = AdamezoConfig
    small_problem: ClassVar[Mapping[str, Any]] = {"window": 3}
    card = MethodCard(
        name="adamezo",
        title="AdaMeZO",
        source="arXiv 2605.00650",
        formula="M = sum_j beta1^j c z_(t-j), V = sum_j beta2^j (c z_(t-j))^2; theta <- theta - eta gain M / "
        "(sqrt(V) + delta)",
        order="zeroth",
        replay="scalars",
        notes="By the authors' code (shawnnn3di/AdaMeZO@4412153, read 2026-11-29) and a note on the paper. "
        "At equal eta the code's step is about gain sqrt(1 - beta2) / (1 - beta1) = 105 times the "
        "paper's. The paper's delta is not known; here it is the code's. M and V are float32 (the code"
        " uses the weights' dtype, where float16 overflows), and the window is part of a checkpoint "
        "(the code's is lost there). The early stop of the code is left to the suite. A refused step "
        "does not enter the window. The paper (abstract) claims better results than MeZO with up to 70"
        " % fewer forward passes; on our boards (docs/recent-claims.md, against mezo): accuracy undecided, "
        "-26.8 points [-35.6, -18.1]; forward passes undecided, 1.46 times its forward passes [0.45, 4.79].",
        decay="Coupled, theta <- theta - eta (step + wd theta); the authors' code spares names with bias or "
        "layer norm (rule mezo).",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        counter_only(self.engine, "adamezo")
        self.applied = 0
        self.window: list[tuple[int, float]] = []

    @classmethod
    def cost(cls, config: AdamezoConfig) -> Cost:
        return Cost(2, 2, 2 + max(1, config.window), 0)

    def make_update(self) -> Sgd:
        return Sgd(Decay(self.config.weight_decay, self.config.decay_rule))

    def measure(self, objective: Objective) -> Estimate:
        return two_sided(self.engine, objective, self.direction, self.seeds(1), self.smoothing())

    def update(self, estimate: Estimate, lr: float) -> dict[str, float]:
        h = self.config.window
        pair = (estimate.seeds[0], estimate.coefficients[0])
        self.window = [*self.window, pair][-max(h, 1) :]
        self.applied += 1
        if h < 2 or self.applied <= h + 1:
            return super().update(estimate, lr)
        self.engine.home()
        self.updater.apply_dense(self.engine, self.adaptive_step, lr)
        return {}

    def adaptive_step(self, name: str) -> torch.Tensor:
        """The step of one tensor from the window, before multiplication by the learning rate."""
        c = self.config
        first, second = None, None
        for age, (seed, slope) in enumerate(reversed(self.window)):
            g = self.direction.tensor(name, seed).mul_(slope)
            if first is None or second is None:
                first, second = torch.zeros_like(g), torch.zeros_like(g)
            add_scaled_(first, g, c.beta1**age)
            add_square_(second, g, c.beta2**age)
        assert first is not None
        assert second is not None
        if c.beta2 == 0.0:
            second.fill_(1.0)
        if c.form == "paper":
            return first.mul_(1.0 - c.beta1) / second.mul_(1.0 - c.beta2).add_(c.delta).sqrt_()
        return first.mul_(c.gain) / second.sqrt_().add_(c.delta)

    def state_dict(self) -> dict[str, Any]:
        held = {"window:seeds": [s for s, _ in self.window], "window:slopes": [c for _, c in self.window]}
        return {**super().state_dict(), **held, "applied": self.applied}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.window = list(zip(state["window:seeds"], state["window:slopes"], strict=True))
        self.applied = int(state["applied"])
