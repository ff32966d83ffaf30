"""PGPE, SNES and XNES by the package ``evotorch``: gradient steps on the parameters of a normal distribution.

PGPE: z = m +- sigma s, s ~ N(0, I); centered ranks of the losses; m by ClipUp, sigma by its own gradient
SNES: z = m + sigma s; m <- m + eta_m sigma sum u_k s_k, sigma <- sigma exp(eta_s / 2 sum u_k (s_k^2 - 1))
XNES: z = m + A s; m as in SNES with A, A <- A expm(eta_A / 2 sum u_k (s_k s_k^T - I))
theta <- theta + lr (m' - m), lr = sigma_0 (see ``zobench.zo.blackbox.ask_tell``)

u_k are utilities by rank (better losses positive). n forward passes per step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from zobench.zo.base import Cost, MethodCard
from zobench.zo.blackbox import SMALL_SPACES, AskTell
from zobench.zo.blackbox.evolution import EvotorchSearch
from zobench.zo.parameters import Bounds, Constraint, Parameters, Positive, Rate

LARGEST_MATRIX = 1000
"""Tuned entries of XNES, whose step has a matrix exponential of d x d."""
LARGEST_DIAGONAL = 200_000
"""Tuned entries of PGPE and SNES: a generation of 24 points has 38 MB."""
NOTES = (
    "Needs the extra blackbox (evotorch, which installs ray). float64 on the CPU, no actors. A resumed run "
    "repeats the generations that it had, without forward passes. "
)


@dataclass(frozen=True)
class Even(Constraint):
    """An even number of at least 2."""

    def allows(self, value: Any) -> bool:
        return value >= 2 and value % 2 == 0

    def words(self, base: Any) -> str:
        return "an even number of at least 2"


@dataclass(frozen=True)
class PgpeConfig(Parameters):
    """Parameters of PGPE. Ranks, symmetric pairs and the largest change of sigma are the package's defaults;
    center_rate is a choice by the rule of thumb of ClipUp (arXiv 2008.02387): the radius of the search is 15
    times the maximum speed, which is twice the step size. sigma_rate is a choice that is usual for PGPE.

    Attributes:
        lr: standard deviation sigma_0 of the first generation, in units of the weights.
        n: points per generation, pairs of opposite ones.
        center_rate: step size of ClipUp as a share of the first radius sigma_0 sqrt(d).
        sigma_rate: step size of sigma.
    """

    lr: Rate = 0.1
    n: Annotated[int, Even()] = 24
    center_rate: Positive = 1 / 30
    sigma_rate: Positive = 0.1


@dataclass(frozen=True)
class NesConfig(Parameters):
    """Parameters of SNES and XNES; step sizes and utilities are the package's defaults, functions of d. lr
    and n are choices, those of CMA-ES.

    Attributes:
        lr: standard deviation sigma_0 of the first generation, in units of the weights.
        n: points per generation, at least 4.
    """

    lr: Rate = 0.1
    n: Annotated[int, Bounds(ge=4)] = 24


class NaturalEvolution(AskTell):
    """The common part: which class of the package, with which options."""

    search_space: ClassVar[Mapping[str, Any]] = {"lr": (0.003, 0.01, 0.03, 0.1, 0.3)}
    small_problem: ClassVar[Mapping[str, Any]] = {"n": 8}

    @classmethod
    def cost(cls, config: Any) -> Cost:
        return Cost(config.n, config.n, config.n + 1, 8 * (config.n + 6))

    def options(self) -> dict[str, Any]:
        """Options of the package's class besides n, start and sigma_0."""
        return {}

    def search(self) -> EvotorchSearch:
        name, d = self.card.name, self.space.numel
        return EvotorchSearch(name.upper(), d, self.config.n, self.seed % 2**63, name, self.options())

    def most(self) -> tuple[int, str]:
        return LARGEST_DIAGONAL, "every generation is held in float64"


class Pgpe(NaturalEvolution):
    """Policy gradients with parameter-based exploration."""

    Config = PgpeConfig
    card = MethodCard(
        name="pgpe",
        title="PGPE",
        source="Sehnke et al. 2010; arXiv 2008.02387; package evotorch",
        formula="z_k = m +- sigma s_k, centered ranks, m by ClipUp; theta <- theta + lr (m' - m)",
        order="zeroth",
        replay="scalars",
        spaces=SMALL_SPACES,
        notes=NOTES + f"At most {LARGEST_DIAGONAL} tuned entries.",
    )

    def options(self) -> dict[str, Any]:
        radius = math.sqrt(self.space.numel)
        return {
            "center_learning_rate": self.config.center_rate * radius,
            "stdev_learning_rate": self.config.sigma_rate,
        }


class Snes(NaturalEvolution):
    """Separable natural evolution strategy."""

    Config = NesConfig
    card = MethodCard(
        name="snes",
        title="SNES",
        source="arXiv 1106.4487; package evotorch",
        formula="z = m + sigma s_k; m += eta sigma sum u_k s_k; sigma *= exp(eta_s / 2 sum u_k (s_k^2 - 1))",
        order="zeroth",
        replay="scalars",
        spaces=SMALL_SPACES,
        notes=NOTES + f"At most {LARGEST_DIAGONAL} tuned entries.",
    )


class Xnes(NaturalEvolution):
    """Exponential natural evolution strategy with a full covariance."""

    Config = NesConfig
    card = MethodCard(
        name="xnes",
        title="XNES",
        source="arXiv 1106.4487; package evotorch",
        formula="z_k = m + A s_k; m += eta A sum u_k s_k; A <- A expm(eta_A / 2 sum u_k (s_k s_k^T - I))",
        order="zeroth",
        replay="scalars",
        spaces=tuple(s for s in SMALL_SPACES if s not in ("names", "scales")),
        notes=NOTES + f"At most {LARGEST_MATRIX} tuned entries: A and its inverse are d x d. Replay repeats "
        "matrix products with one thread; on another machine their last bits may differ.",
    )

    def most(self) -> tuple[int, str]:
        return LARGEST_MATRIX, "a step has a matrix exponential of d x d; use snes, or cma-es (separable)"
