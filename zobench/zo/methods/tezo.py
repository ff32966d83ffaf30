"""TeZO, TeZO-m and TeZO-Adam: low-rank directions with fixed factors and r random weights per step (arXiv
2501.19057).

W in R^(m x n): Z_t = U diag(tau_t) V^T = sum_s tau_s u_s v_s^T, U (m x r), V (n x r) ~ N(0, 1) drawn once,
tau_t ~ N(0, I_r); vectors: z ~ N(0, I)
kappa = (L(theta + eps Z) - L(theta - eps Z)) / (2 eps)
tezo:       W <- W - eta kappa Z
tezo-m:     a <- beta1 a + (1 - beta1) kappa tau,  W <- W - eta U diag(a) V^T
tezo-adam:  b <- beta2 b + (1 - beta2) kappa^2 tau^2,
            W <- W - eta [U diag(a_hat) V^T] / (sqrt((U*U) diag(b_hat) (V*V)^T) + delta)

The moments of a matrix are r numbers each. The second moment includes the diagonal terms of
(sum_s tau_s u_s v_s^T)^2 only; the cross terms have mean 0. Vectors have moments entry by entry. E[<G, Z> Z]
= r G on average over U and V. 2 forward passes per step.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from zobench.zo.base import Cost, MethodCard
from zobench.zo.estimators import Estimate, dense, two_sided
from zobench.zo.factored import FactoredUpdate, product, working_dtype
from zobench.zo.lowrank import Temporal
from zobench.zo.method import ZerothOrder
from zobench.zo.objective import Objective
from zobench.zo.parameters import Count, FractionBelowOne, Parameters, Positive, Rate
from zobench.zo.updates import Update

_UNKNOWN = (
    "By formula notes on the paper (2026-11-29); no code is public. The values of rank, eta and betas are "
    "not known; the paper chooses ranks per layer from spectra, here it is one number. "
)


@dataclass(frozen=True)
class TezoConfig(Parameters):
    """Parameters of TeZO; eta and eps are MeZO's, the rank is a choice. The paper's values are not known.

    Attributes:
        lr: step size eta.
        epsilon: smoothing radius eps.
        rank: r, clipped to the number of entries of each matrix.
    """

    lr: Rate = 1e-7
    epsilon: Positive = 1e-3
    rank: Count = 24


@dataclass(frozen=True)
class TezoMConfig(TezoConfig):
    """Parameters of TeZO-m; those of TeZO, and a momentum that is a choice.

    Attributes:
        lr: step size eta.
        epsilon: smoothing radius eps.
        rank: r, clipped to the entries of each matrix.
        beta1: decay of the first moment.
    """

    beta1: FractionBelowOne = 0.9


@dataclass(frozen=True)
class TezoAdamConfig(TezoMConfig):
    """Parameters of TeZO-Adam; decays of the moments are Adam's, lr is a choice.

    Attributes:
        lr: step size eta.
        epsilon: smoothing radius eps.
        rank: r, clipped to the entries of each matrix.
        beta1: decay of the first moment.
        beta2: decay of the second moment.
        delta: added to the root of the second moment.
    """

    lr: Rate = 1e-5
    beta2: FractionBelowOne = 0.999
    delta: Positive = 1e-8


class TemporalMoments(FactoredUpdate[Temporal]):
    """Moments of kappa tau per matrix and of the dense estimate per vector.

    Args:
        beta1: decay of the first moment.
        adam: beta2 and delta, or ``None`` for momentum only.
    """

    slots = ("first", "second")
    family = Temporal

    def __init__(self, beta1: float, adam: tuple[float, float] | None = None) -> None:
        super().__init__()
        self.beta1, self.adam = beta1, adam

    def step(self, direction: Temporal, estimate: Estimate, name: str) -> torch.Tensor:
        if not direction.is_matrix(name):
            first, second = self._moments(name, dense(direction, estimate, name))
            return first if second is None or self.adam is None else first / (second.sqrt() + self.adam[1])
        (seed,), (slope,) = estimate.seeds, estimate.coefficients
        first, second = self._moments(
            name, (direction.times(name, seed) * slope).to(working_dtype(direction, name))
        )
        left, right = direction.basis(name)
        out = product(direction, name, left * first, right)
        if second is not None and self.adam is not None:
            below = product(direction, name, left.square() * second, right.square())
            out.div_(below.clamp_min_(0.0).sqrt_().add_(self.adam[1]))
        return out

    def _moments(self, name: str, g: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        first = self.slot("first", name, g)
        first.mul_(self.beta1).add_(g * (1.0 - self.beta1))
        if self.adam is None:
            return first, None
        beta2, _ = self.adam
        second = self.slot("second", name, g)
        second.mul_(beta2).add_(g.square() * (1.0 - beta2))
        return first / (1.0 - self.beta1**self.count), second / (1.0 - beta2**self.count)


class Tezo(ZerothOrder):
    """SPSA along U diag(tau) V^T with SGD."""

    Config = TezoConfig
    card = MethodCard(
        name="tezo",
        title="TeZO",
        source="arXiv 2501.19057",
        formula="W <- W - eta kappa U diag(tau) V^T; U, V fixed, tau drawn per step",
        order="zeroth",
        replay="scalars",
        in_span=True,
        notes=_UNKNOWN + "Scale: no 1/r, as in LOZO's code.",
    )

    @classmethod
    def cost(cls, config: TezoConfig) -> Cost:
        return Cost(2, 2, 3, 0)

    def make_direction(self) -> Temporal:
        return Temporal(self.engine.source, seed=self.seed, rank=self.config.rank)

    def measure(self, objective: Objective) -> Estimate:
        return two_sided(self.engine, objective, self.direction, self.seeds(1), self.smoothing())


class TezoM(Tezo):
    """TeZO with momentum on tau."""

    Config = TezoMConfig
    card = MethodCard(
        name="tezo-m",
        title="TeZO-m",
        source="arXiv 2501.19057",
        formula="a <- beta1 a + (1 - beta1) kappa tau; W <- W - eta U diag(a) V^T",
        order="zeroth",
        replay="scalars",
        notes=_UNKNOWN + "State is r numbers per matrix and one per entry of a vector; 4 bytes per entry are "
        "declared, the case of vectors only.",
        revision=2,
    )

    @classmethod
    def cost(cls, config: TezoConfig) -> Cost:
        return Cost(2, 2, 3, 4)

    def make_update(self) -> Update:
        return TemporalMoments(self.config.beta1)


class TezoAdam(Tezo):
    """TeZO with Adam on tau."""

    Config = TezoAdamConfig
    card = MethodCard(
        name="tezo-adam",
        title="TeZO-Adam",
        source="arXiv 2501.19057",
        formula="W <- W - eta U diag(a) V^T / (sqrt((U*U) diag(b) (V*V)^T) + delta)",
        order="zeroth",
        replay="scalars",
        notes=_UNKNOWN
        + "Bias correction as in Adam, which the notes do not settle. State is 2 r numbers per matrix; "
        "8 bytes per entry are declared, the case of vectors alone.",
        revision=2,
    )

    @classmethod
    def cost(cls, config: TezoConfig) -> Cost:
        return Cost(2, 2, 3, 8)

    def make_update(self) -> Update:
        c = self.config
        return TemporalMoments(c.beta1, (c.beta2, c.delta))
