"""SharpZO: CMA-ES whose candidates are judged where the loss is sharpest, then two-sided SPSA, in a random
subspace (arXiv 2506.20990).

theta = theta_0 + A x,  A of N(0, std^2) per entry, x in R^D, 0 at the start
warm-up, each generation: g_j = (L(x + eps e_j) - L(x - eps e_j)) / (2 eps), j = 1 .. D;  e = rho g / |g|
  x_k ~ N(x, sigma^2 C), k = 1 .. n, ranked by L(x_k + e);  CMA-ES moves x and adapts sigma and C
  after the last generation x is the mean of its n candidates
afterwards: c = (L(x + eps u) - L(x - eps u)) / (2 eps),  u ~ N(0, I);  x <- x - eta c u

lr is sigma_0, the initial standard deviation, and eta = ``local_ratio`` lr. n + 2 D forward passes per
generation, then 2 per step. The paper tunes soft prompts of CLIP's text encoder; this is its optimizer, for
any small space.
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
from zobench.zo.blackbox import SMALL_SPACES, AskTell
from zobench.zo.blackbox.ask_tell import MOVE, AskedPoints
from zobench.zo.blackbox.cma import CmaSearch
from zobench.zo.directions import Direction
from zobench.zo.estimators import Estimate, two_sided
from zobench.zo.objective import Objective
from zobench.zo.parameters import Bounds, Count, Parameters, Positive, Rate
from zobench.zo.sparse import counter_only

LARGEST = 50_000_000
"""Entries of A: 200 MB in float32."""


@dataclass(frozen=True)
class SharpzoConfig(Parameters):
    """Parameters of SharpZO; lr, epsilon, rho, n, eta and the bound of the authors' script. Dimension and
    length of the warm-up are choices: the script's 512 and 100 cost 106,400 forward passes (an option has
    500). The standard deviation of A is not known: a choice as well.

    Attributes:
        lr: sigma_0, standard deviation of the first candidates.
        epsilon: smoothing radius eps in the subspace.
        n: candidates per generation, at least 4.
        generations: length of the warm-up.
        dimension: D, size of the subspace.
        std: standard deviation of an entry of A.
        rho: length of e.
        bound: limit of |x_j| in the warm-up, in units of sigma_0 (5 / 0.4 in the script).
        local_ratio: eta / lr (1e-3 / 0.4 in the script).
    """

    lr: Rate = 0.4
    epsilon: Positive = 1e-3
    n: Annotated[int, Bounds(ge=4)] = 40
    generations: Count = 10
    dimension: Count = 32
    std: Positive = 0.02
    rho: Rate = 0.1
    bound: Positive = 12.5
    local_ratio: Rate = 2.5e-3


class SubspacePoints(AskedPoints):
    """u(seed) = A x for the point x in R^D that is known under this seed.

    Attributes:
        points: seed -> x, float64 on the CPU.
    """

    def __init__(self, inner: Direction, dimension: int, std: float, seed: int) -> None:
        super().__init__(inner)
        self._dimension, self._std, self._seed = dimension, std, seed
        self._columns: dict[str, torch.Tensor] = {}

    def columns(self, name: str) -> torch.Tensor:
        """The rows of A^T for one tensor: D x its tuned entries."""
        if name not in self._columns:
            shape = (self._dimension, self.space.size(name))
            drawn = noise.sample(
                shape, seed=self._seed, key=noise.tensor_key(f"{name}|subspace"), kind="gaussian"
            )
            wide = torch.float64 if self.space.dtype(name) == torch.float64 else torch.float32
            self._columns[name] = (drawn.double() * self._std).to(wide).to(self.space.tensors[name].device)
        return self._columns[name]

    def add_(self, tensor: torch.Tensor, name: str, seed: int, scale: float) -> None:
        self.source.drawn += tensor.numel()
        columns = self.columns(name)
        moved = tensor.to(columns.dtype).reshape(-1).clone()
        # One column after the other: a matrix product would sum in an order of its own.
        for column, x in zip(columns, self.points[seed].tolist(), strict=True):
            if x:
                add_scaled_(moved, column, x * scale)
        tensor.copy_(moved.view(tensor.shape))


class Sharpzo(AskTell):
    """Sharpness-aware CMA-ES, then SPSA, in a random subspace."""

    Config = SharpzoConfig
    direction: SubspacePoints
    search_space: ClassVar[Mapping[str, Any]] = {"lr": (0.04, 0.13, 0.4, 1.3)}
    small_problem: ClassVar[Mapping[str, Any]] = {"n": 8, "dimension": 12, "generations": 2, "std": 0.3}
    card = MethodCard(
        name="sharpzo",
        title="SharpZO",
        source="arXiv 2506.20990; package cma",
        formula="x_k ~ N(x, sigma^2 C), ranked by L(x_k + rho g/|g|); then x <- x - eta c u; theta = A x",
        order="zeroth",
        replay="scalars",
        spaces=SMALL_SPACES,
        in_span=True,
        notes="By the authors' code (yifanycc/sharpzo, read 2026-11-29), without its faults: gradients of "
        "the second stage are not accumulated. Its optional pruning is left out. g is taken at the mean of "
        "the search, which is a choice, and e is 0 where g is 0. A generation with a non-finite loss, or "
        "in which all candidates have one loss, is refused and counts towards the warm-up. Declared "
        "forward passes are means over four times the warm-up, passes_per_step is that of the warm-up. "
        "Needs the extra blackbox; replay and bits of the covariance as for cma-es. The paper (abstract) "
        "claims up to 7 % more accuracy on average than other methods by forward passes, on CLIP; on our "
        "boards this has not been measured.",
    )

    @classmethod
    def cost(cls, config: SharpzoConfig) -> Cost:
        most, period = config.n + 2 * config.dimension, max(24, 4 * config.generations)
        share = config.generations / period
        mean = share * most + (1 - share) * 2
        held = 4 * config.dimension + 8 * config.n
        return Cost(mean, most, most + 1, held, period=period)

    def make_direction(self) -> SubspacePoints:
        counter_only(self.engine, self.card.name)
        seed = noise.derive_seed("subspace", self.seed)
        return SubspacePoints(self.engine.gaussian(), self.config.dimension, self.config.std, seed)

    def smoothing(self) -> float:
        return float(self.config.epsilon)

    def search(self) -> CmaSearch:
        c = self.config
        return CmaSearch(c.dimension, c.n, "full", self.seed, self.card.name, bound=c.bound)

    def most(self) -> tuple[int, str]:
        return LARGEST // self.config.dimension, "the subspace is held as a matrix; use a smaller dimension"

    @property
    def warming(self) -> bool:
        """Whether the coming step is a generation of the warm-up."""
        return self.t < self.config.generations

    def measure(self, objective: Objective) -> Estimate:
        if self.warming:
            return self._generation(objective)
        (seed,) = self.seeds(1, "local")
        drawn = noise.sample(
            (self.config.dimension,), seed=seed, key=noise.tensor_key("local"), kind="gaussian"
        )
        self.direction.points = {seed: drawn.double()}
        return two_sided(self.engine, objective, self.direction, (seed,), self.smoothing())

    def _ascent(self, objective: Objective) -> tuple[torch.Tensor, tuple[float, ...]]:
        """e, and the losses from which it is computed."""
        size, eps = self.config.dimension, self.smoothing()
        axes = self.seeds(size, "axes")
        for at, seed in enumerate(axes):
            self.direction.points[seed] = torch.eye(size, dtype=torch.float64)[at]
        points = [
            self.engine.along(self.direction, seed, sign * eps) for seed in axes for sign in (1.0, -1.0)
        ]
        losses = tuple(self.engine.losses(objective, points))
        g = torch.tensor(losses, dtype=torch.float64).view(-1, 2).diff(dim=1)[:, 0].neg() / (2 * eps)
        norm = math.sqrt(math.fsum(x * x for x in g.tolist()))
        return g * (self.config.rho / norm) if norm > 0 else torch.zeros_like(g), losses

    def _generation(self, objective: Objective) -> Estimate:
        searcher, sigma = self.searcher, self.learning_rate()
        self._searcher = None  # built again if a query raises
        asked, before = searcher.ask(), searcher.center()
        self.direction.points = {}
        ascent, around = self._ascent(objective)
        seeds = self.seeds(len(asked))
        for seed, z in zip(seeds, asked, strict=True):
            self.direction.points[seed] = (z - before) * sigma + ascent
        points = [self.engine.along(self.direction, seed, 1.0) for seed in seeds]
        losses = tuple(self.engine.losses(objective, points))
        usable = all(map(math.isfinite, around))
        told = losses if usable else (math.nan,) * len(losses)
        reason = self._answer(searcher, told)
        self.told.append(told)
        last = self.t + 1 == self.config.generations
        after = asked.mean(0) if last else searcher.center()
        self.direction.points[MOVE] = (after - before) * sigma
        self._searcher = searcher
        mean = math.fsum(losses) / len(losses) if all(map(math.isfinite, losses)) else math.nan
        weights = tuple((loss - mean) / len(losses) for loss in losses)
        return Estimate(seeds, weights, (*around, *losses), mean, reason=reason)

    def update(self, estimate: Estimate, lr: float) -> dict[str, float]:
        self.engine.home()
        (seed, scale) = (MOVE, 1.0) if self.warming else (estimate.seeds[0], -lr * self.config.local_ratio)
        if not self.warming:
            scale *= estimate.coefficients[0]
        for name in self.space if lr else ():
            with self.engine.editing(name) as values:
                self.direction.add_(values, name, seed, scale)
        return {"spread": self.searcher.spread() * lr} if self.warming else {}
