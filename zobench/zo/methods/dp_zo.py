"""DP-ZO: differentially private SPSA, with noise on one scalar per step (arXiv 2401.04343).

s_i = (l_i(theta + eps z) - l_i(theta - eps z)) / (2 eps)   for every example i = 1 .. B,  z ~ N(0, I)
c = (1/B) (sum_i max(-C, min(C, s_i)) + 2 C sigma xi),   xi ~ N(0, 1)
theta <- theta - eta c z

The direction does not depend on the data, so that c is all that a step reveals of it. Laplace: xi has density
exp(-|x|) / 2; a step then is (1/sigma)-private, without delta. The clipped quantity is the slope of an
example, as in the code of DPZero (arXiv 2310.09639); the paper clips the difference of the losses, whose
threshold is 2 eps C. 2 forward passes per step, no state.

The record has the epsilon spent so far (``zobench.zo.privacy``): that of whoever sees the weights, under
the assumption that each step sees an example at most once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from zobench.zo import noise
from zobench.zo.base import Cost, MethodCard
from zobench.zo.directions import Direction
from zobench.zo.estimators import Estimate, losses_of_items
from zobench.zo.method import ZerothOrder
from zobench.zo.objective import Objective
from zobench.zo.parameters import Bounds, Parameters, Positive, Rate
from zobench.zo.privacy import epsilon_spent
from zobench.zo.sparse import counter_only


@dataclass(frozen=True)
class DpZoConfig(Parameters):
    """Parameters of DP-ZO; those of DPZero's script for OPT (its lr is 1e-5 or 1e-6), because DP-ZO's are not
    known. The multiplier is a choice: 10 and 1,000 steps spend epsilon 17.9 at delta 1e-5.

    Attributes:
        lr: step size eta.
        epsilon: smoothing radius eps (not the privacy epsilon).
        clip: threshold C of the slope of an example.
        noise_multiplier: sigma, the noise on the sum in units of its sensitivity 2C; 0: no privacy.
        noise: ``gaussian`` or ``laplace``.
        delta: delta at which the record states epsilon; not used with ``laplace``.
    """

    lr: Rate = 1e-6
    epsilon: Positive = 1e-3
    clip: Positive = 10.0
    noise_multiplier: Rate = 10.0
    noise: Literal["gaussian", "laplace"] = "gaussian"
    delta: Annotated[float, Bounds(gt=0, lt=1)] = 1e-5


class DpZo(ZerothOrder):
    """Two-sided SPSA with clipped slopes of examples and noise on their sum."""

    Config = DpZoConfig
    small_problem: ClassVar[Mapping[str, Any]] = {"noise_multiplier": 0.05}
    card = MethodCard(
        name="dp-zo",
        title="DP-ZO",
        source="arXiv 2401.04343",
        formula="theta <- theta - eta (1/B) (sum_i clip_C(s_i) + 2 C sigma xi) z, s_i the slope of example i",
        order="zeroth",
        replay="scalars",
        in_span=True,
        noisy=True,
        needs=("item-losses",),
        notes="By the paper's abstract and the code of DPZero (2026-11-29). The privacy is that of the "
        "released weights, to somebody who does not know the noise. Here the noise is a function of the "
        "run's seed, so that runs can be repeated, and the record holds the losses of every example: "
        "neither seed, step log nor training curve may be released with private data, and choosing "
        "parameters or a step on private validation data is not accounted for. A benchmark of what "
        "clipping and noise cost, not a tool for private releases. Epsilon is composed over all "
        "steps without amplification by sampling, as if every minibatch had seen the example: DPZero's "
        "accountant assumes Poisson sampling, which minibatches from a permutation are not. A minibatch "
        "with an example twice (larger than the data, or across two epochs) has twice the sensitivity. "
        "Refused steps count, and so does the fact that they were refused, which is not private. "
        "Normal numbers are from the counter-based generator, on a grid of float32. The paper "
        "(abstract) claims 1.86 % less accuracy at epsilon 1, delta 1e-5 on 1,000 examples of SQuAD with "
        "OPT-66B; on our boards this has not been measured.",
    )

    @classmethod
    def cost(cls, config: DpZoConfig) -> Cost:
        return Cost(2, 2, 3, 0)

    def make_direction(self) -> Direction:
        counter_only(self.engine, "dp-zo")
        return self.engine.gaussian()

    def measure(self, objective: Objective) -> Estimate:
        (seed,), eps = self.seeds(1), self.smoothing()
        plus, minus = (
            losses_of_items(self.engine, objective, *self.engine.along(self.direction, seed, sign * eps))
            for sign in (1.0, -1.0)
        )
        losses, count = (*plus, *minus), len(plus)
        slopes = [(a - b) / (2 * eps) for a, b in zip(plus, minus, strict=True)]
        c = self.config.clip
        clipped = [max(-c, min(c, slope)) for slope in slopes]
        finite = all(map(math.isfinite, losses))
        total = math.fsum(clipped) if finite else math.nan
        extras = {"items": float(count), "clipped": sum(abs(s) > c for s in slopes) / count}
        if self.config.noise_multiplier:
            extras["privacy_epsilon"] = self.spent()
        return Estimate(
            seeds=(seed,),
            coefficients=((total + 2 * c * self.config.noise_multiplier * self.draw()) / count,),
            losses=losses,
            loss=math.fsum(losses) / len(losses) if finite else math.nan,
            extras=extras,
        )

    def draw(self) -> float:
        """xi of the coming step."""
        seed = noise.derive_seed("privacy", self.seed, self.t)
        if self.config.noise == "laplace":
            u = ((seed >> 12) + 0.5) / 2**52  # exact, and neither 0 nor 1
            return math.log(2 * u) if u < 0.5 else -math.log(2 * (1 - u))
        return float(noise.sample((1,), seed=seed, key=noise.tensor_key("privacy"), kind="gaussian").double())

    def spent(self) -> float:
        """Privacy epsilon of all steps up to and with the coming one."""
        steps, sigma = self.t + 1, self.config.noise_multiplier
        if self.config.noise == "laplace":
            return steps / sigma
        return epsilon_spent(sigma, steps, self.config.delta)
