"""CMA-ES (covariance matrix adaptation) by the package ``cma``.

z_k ~ N(m, sigma^2 D C D), k = 1 .. n; losses of theta at z_k; the package adapts m, sigma, D and C
theta <- theta + lr (m' - m), lr = sigma_0 (see ``zobench.zo.blackbox.ask_tell``)

full: C is a d x d matrix (arXiv 1604.00772). separable: C = I, D adapted: linear in d (sep-CMA-ES, Ros and
Hansen 2008). diagonal-decoding: both (dd-CMA-ES, arXiv 1905.05885). n forward passes per step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from zobench.zo.base import Cost, MethodCard
from zobench.zo.blackbox import SMALL_SPACES, AskTell
from zobench.zo.blackbox.cma import CmaSearch, Covariance
from zobench.zo.parameters import Bounds, Parameters, Rate

LARGEST_MATRIX = 2000
"""Tuned entries with a covariance matrix: its eigenvectors take seconds and 32 MB beyond."""
LARGEST_DIAGONAL = 200_000
"""Tuned entries without: a generation of 24 points has 38 MB."""


@dataclass(frozen=True)
class CmaEsConfig(Parameters):
    """Parameters of CMA-ES; all but these are the package's defaults. lr is a choice: a tenth of the scale of
    weights that are about 1. The package's own n is 4 + 3 ln d, 24 for 1,000 entries.

    Attributes:
        lr: standard deviation sigma_0 of the first generation, in units of the weights.
        n: points per generation, at least 4.
        covariance: ``full``, ``separable`` or ``diagonal-decoding``.
    """

    lr: Rate = 0.1
    n: Annotated[int, Bounds(ge=4)] = 24
    covariance: Covariance = "full"


class CmaEs(AskTell):
    """Search with an adapted normal distribution; the weights are its mean."""

    Config = CmaEsConfig
    search_space: ClassVar[Mapping[str, Any]] = {"lr": (0.003, 0.01, 0.03, 0.1, 0.3)}
    small_problem: ClassVar[Mapping[str, Any]] = {"n": 8}
    card = MethodCard(
        name="cma-es",
        title="CMA-ES",
        source="arXiv 1604.00772; package cma",
        formula="z_k ~ N(m, sigma^2 C), n losses, theta <- theta + lr (m' - m), m' a mean of the better half",
        order="zeroth",
        replay="scalars",
        spaces=SMALL_SPACES,
        in_span=True,
        notes=f"Needs the extra blackbox. At most {LARGEST_MATRIX} tuned entries with a covariance matrix, "
        f"{LARGEST_DIAGONAL} with separable. The package's stopping criteria are ignored: the budget ends a "
        "run. Its memory, besides the n points: about 24 d^2 bytes with a matrix. Replay repeats the "
        "package's arithmetic: with a matrix, its bits are those of the machine's linear algebra, so "
        "that a run may not be verifiable on another machine; separable uses sums of entries only. A "
        "resumed run repeats the generations that it had, without forward passes.",
    )

    @classmethod
    def cost(cls, config: CmaEsConfig) -> Cost:
        return Cost(config.n, config.n, config.n + 1, 8 * (config.n + 6))

    def search(self) -> CmaSearch:
        c = self.config
        return CmaSearch(self.space.numel, c.n, c.covariance, self.seed, self.card.name)

    def most(self) -> tuple[int, str]:
        if self.config.covariance == "separable":
            return LARGEST_DIAGONAL, "every generation is held in float64"
        matrix = "the covariance has d^2 entries, its eigenvectors cost d^3; use covariance: separable"
        return LARGEST_MATRIX, matrix
