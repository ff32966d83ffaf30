"""LOREN: directions from a learned low-rank curvature, leave-one-out weights, momentum (arXiv 2511.07971).

per tensor: a in R^n (n columns; all entries of a vector), a~ = a repeated over the m rows, s = |a~|^2
x = u - alpha (a~ . u) a~,  u ~ N(0, I),  alpha = (sqrt(rho) + sqrt(rho + s)) / (s sqrt(rho + s)):
    covariance (I + a~ a~^T / rho)^-1
F_k = L(theta + eps x_k),  w_k = F_k - mean F,  g_k = w_k x_k / (eps (K - 1)),  k = 1 .. K
for k = 1 .. K:  matrices M <- beta M + g_k, theta <- theta - eta (M + wd theta);  vectors theta <- theta -
    eta (g_k + wd theta)
a <- a - lr_a sum_k (w_k eps^2 rowsum(q_k) / (sqrt(rho + s) (K - 1)) + wd a),
    q = (a~ . u) u - a~ - (sqrt(rho) + sqrt(rho + s)) ((a~ . u)^2 - s) a~ / (s sqrt(rho + s))

K forward passes per step, none at theta. State: one momentum per matrix and a.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch

from zobench.zo import noise
from zobench.zo.arithmetic import add_scaled_
from zobench.zo.base import Cost, MethodCard
from zobench.zo.directions import Direction
from zobench.zo.estimators import Estimate
from zobench.zo.method import ZerothOrder
from zobench.zo.objective import Objective
from zobench.zo.parameters import Bounds, FractionBelowOne, Parameters, Positive, Rate
from zobench.zo.sparse import counter_only
from zobench.zo.updates import Decay, DecayRule, Update

GRID = 2.0**40
"""Inner products and squared norms are rounded to multiples of their power of two over this number, so that
they
do not depend on the order of summation."""


@dataclass(frozen=True)
class LorenConfig(Parameters):
    """Parameters of LOREN; defaults of the authors' README (rho 1 and weight decay 0.01 are their option
    defaults), lr of MeZO.

    Attributes:
        lr: step size eta.
        epsilon: smoothing radius eps.
        population: directions K per step.
        rho: damping; the larger, the closer the directions are to N(0, I).
        lr_curvature: step size lr_a of the curvature vectors.
        beta: decay of the momentum of matrices.
        weight_decay: coupled decay rate wd, in each of the K sub-steps.
        decay_rule: tensors that decay: ``all``, ``mezo``, ``mezo-roberta``, ``matrices``.
    """

    lr: Rate = 1e-6
    epsilon: Positive = 1e-3
    population: Annotated[int, Bounds(ge=2)] = 10
    rho: Positive = 0.1
    lr_curvature: Rate = 1e-3
    beta: FractionBelowOne = 0.9
    weight_decay: Rate = 0.0
    decay_rule: DecayRule = "all"


def whole_units(products: torch.Tensor) -> tuple[torch.Tensor, float]:
    """float64 numbers as multiples of one power of two whose sums fit into 53 bits: additions in any order
    are then exact. ``products`` is about the first times the second."""
    largest = float(products.abs().max())
    if not 0.0 < largest < math.inf:
        return products, 1.0
    unit = 2.0 ** (math.frexp(largest * products.numel())[1]) / GRID
    return (products / unit).round(), unit


def exact_sum(products: torch.Tensor) -> float:
    """The sum of float64 numbers, rounded so that the order of summation does not matter."""
    units, unit = whole_units(products)
    return float(units.sum()) * unit


class LowRankCurvature(Direction):
    """x(seed) = u - alpha (a~ . u) a~ per tensor.

    Attributes:
        a: the curvature vector of each tensor, float32 (float64 for float64 weights).
    """

    def __init__(self, inner: Direction, rho: float, seed: int) -> None:
        super().__init__(inner.source)
        self.inner, self.rho = inner, rho
        self._squares: dict[str, float] = {}
        self._products: dict[tuple[str, int], float] = {}
        self.a: dict[str, torch.Tensor] = {}
        start = noise.derive_seed("curvature", seed)
        for name in self.space:
            shape, device = self.space.shape(name), self.space.tensors[name].device
            drawn = self.source.draw(f"{name}/curvature", (shape[-1],), start, "gaussian", device)
            self.a[name] = drawn.double() if self.space.dtype(name) == torch.float64 else drawn

    def whole(self, name: str) -> torch.Tensor:
        """a~ in the shape of the tensor."""
        return self.a[name].expand(self.space.shape(name))

    def square(self, name: str) -> float:
        """s = |a~|^2."""
        if name not in self._squares:
            rows = self.space.size(name) // self.a[name].numel()
            self._squares[name] = rows * exact_sum(self.a[name].double().square())
        return self._squares[name]

    def along(self, name: str, seed: int, u: torch.Tensor) -> float:
        """a~ . u(seed); computed once per step."""
        if (name, seed) not in self._products:
            self._products[name, seed] = exact_sum(self.whole(name).double() * u.double())
        return self._products[name, seed]

    def refresh(self, step: int) -> None:
        # a has changed since the last step.
        self._squares, self._products = {}, {}

    def alpha(self, s: float) -> float:
        """The factor of the reflected square root; 0 without curvature."""
        root = math.sqrt(self.rho + s)
        return (math.sqrt(self.rho) + root) / (s * root) if s else 0.0

    def tensor(self, name: str, seed: int) -> torch.Tensor:
        u = self.inner.tensor(name, seed)
        factor = -self.alpha(self.square(name)) * self.along(name, seed, u)
        return add_scaled_(u, self.whole(name), factor)

    def add_(self, tensor: torch.Tensor, name: str, seed: int, scale: float) -> None:
        moved = self.tensor(name, seed).mul_(scale)
        tensor.copy_(moved.add_(tensor.to(moved.dtype)))

    def state_dict(self) -> dict[str, Any]:
        return {name: a.clone() for name, a in self.a.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.a = {name: a.clone() for name, a in state.items()}


class Momenta(Update):
    """K sub-steps per tensor: M <- beta M + g_k, theta <- theta - eta (M + wd theta); vectors without M."""

    slots = ("momentum",)

    def __init__(self, beta: float, decay: Decay) -> None:
        super().__init__(decay)
        self.beta = beta

    def step_for(self, name: str, gradient: torch.Tensor) -> torch.Tensor:
        if gradient.dim() < 2:
            return gradient
        return self.slot("momentum", name, gradient).mul_(self.beta).add_(gradient)


class Loren(ZerothOrder):
    """Preconditioned directions with a learned rank-one curvature per tensor."""

    Config = LorenConfig
    small_problem: ClassVar[Mapping[str, Any]] = {"population": 4}
    direction: LowRankCurvature
    updater: Momenta
    card = MethodCard(
        name="loren",
        title="LOREN",
        source="arXiv 2511.07971",
        formula="x = u - alpha (a.u) a; M <- beta M + (F_k - mean F) x_k/(eps (K-1)); theta <- theta - eta M",
        order="zeroth",
        replay="scalars",
        notes="By the authors' code (hseung88/loren@b80a32b, MIT, read 2026-11-29). In that code a changes "
        "between the sub-steps of one update, so that members 2 to K are applied along other directions "
        "than measured (by a factor eps^2); here a changes after the update, with the sum of the K changes."
        " In a step with learning rate 0, momentum and a advance. Masked tensors count as vectors. For "
        "vectors the row sum of q is q itself (the code sums it to one number). State is 4 bytes per entry "
        "of a matrix and n numbers; 8 bytes are declared, the case of matrices of one row. The paper "
        "(abstract) claims higher accuracy and faster convergence than other zeroth-order methods at up to "
        "27 % less memory than MeZO-Adam; on our boards (docs/recent-claims.md, against mezo): accuracy "
        "worse, -40.3 points [-46.5, -34.2]; forward passes undecided, 1.46 times its forward passes [0.45, "
        "4.79].",
        decay="Coupled, theta <- theta - eta (M + wd theta) in each of the K sub-steps; the authors' code "
        "decays every tensor (rule all).",
    )

    @classmethod
    def cost(cls, config: LorenConfig) -> Cost:
        return Cost(config.population, config.population, 3 * config.population, 8)

    def make_direction(self) -> LowRankCurvature:
        counter_only(self.engine, "loren")
        return LowRankCurvature(self.engine.gaussian(), self.config.rho, self.seed)

    def make_update(self) -> Momenta:
        return Momenta(self.config.beta, Decay(self.config.weight_decay, self.config.decay_rule))

    def measure(self, objective: Objective) -> Estimate:
        seeds, eps = self.seeds(self.config.population), self.smoothing()
        losses = self.engine.losses(objective, [self.engine.along(self.direction, s, eps) for s in seeds])
        finite = all(map(math.isfinite, losses))
        mean = math.fsum(losses) / len(losses) if finite else math.nan
        scale = eps * (len(seeds) - 1)
        return Estimate(seeds, tuple((x - mean) / scale for x in losses), tuple(losses), mean)

    def update(self, estimate: Estimate, lr: float) -> dict[str, float]:
        self.engine.home()
        d, c = self.direction, self.config
        for name in self.space:
            rate = self.updater.rate_of(name, self.space.tensors[name].dim())
            a, s = d.whole(name), d.square(name)
            alpha, root = d.alpha(s), math.sqrt(c.rho + s)
            change = torch.zeros_like(a)
            total, shrink = torch.zeros_like(a), 1.0
            # theta after K sub-steps = shrink theta - eta total, written (and rounded) once.
            for seed, slope in zip(estimate.seeds, estimate.coefficients, strict=True):
                u = d.inner.tensor(name, seed)
                along = d.along(name, seed, u)
                # slope = w / (eps (K - 1)), so that w eps^2 / (root (K - 1)) = slope eps^3 / root.
                q = add_scaled_(u * along, a, -(1.0 + alpha * (along * along - s)))
                add_scaled_(change, q, slope * c.epsilon**3 / root)
                step = self.updater.step_for(name, add_scaled_(u, a, -alpha * along).mul_(slope))
                total.mul_(1.0 - lr * rate).add_(step)
                shrink *= 1.0 - lr * rate
            if lr != 0.0:
                with self.engine.editing(name) as theta:
                    if rate:
                        theta.mul_(shrink)
                    add_scaled_(theta, total, -lr)
            self.bend(name, change, rate * len(estimate.seeds))
        self.updater.count += 1
        return {}

    def bend(self, name: str, change: torch.Tensor, rate: float) -> None:
        """a <- a - lr_a (row sum of ``change`` + rate a)."""
        a = self.direction.a[name]
        units, unit = whole_units(change.double().reshape(-1, change.shape[-1]))
        found = (units.sum(dim=0) * unit).to(a.dtype)
        add_scaled_(a, add_scaled_(found, a, rate) if rate else found, -self.config.lr_curvature)

    def parts(self) -> dict[str, Any]:
        return {**super().parts(), "curvature": self.direction}
