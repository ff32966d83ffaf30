"""Any optimizer of the package ``nevergrad`` that proposes generations.

n points by ask; n losses by tell; m = the package's recommendation (the mean, or the best point so far)
theta <- theta + lr (m' - m), lr = sigma_0 (see ``zobench.zo.blackbox.ask_tell``)

n forward passes per step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from zobench.zo.base import Cost, MethodCard
from zobench.zo.blackbox import SMALL_SPACES, AskTell
from zobench.zo.blackbox.registry import NevergradSearch
from zobench.zo.parameters import Bounds, CountOrZero, NonEmpty, Parameters, Rate

LARGEST = 10_000
"""Tuned entries: the package holds every told point, or several populations of them."""


@dataclass(frozen=True)
class NevergradConfig(Parameters):
    """Parameters of the adapter. The optimizer is a choice: its distribution is updated after every few
    generations whatever the dimension. TBPSA, which the package's documentation names for noisy losses, first
    moves after 4 d evaluations (d tuned entries). Where d = 1, CMA variants of the package ask for one more
    package, fcmaes: choose for instance DE there. lr and n are choices too, those of CMA-ES.

    Attributes:
        lr: standard deviation sigma_0 of the first generation, in units of the weights.
        n: points per generation, at least 2; also the package's ``num_workers``.
        optimizer: name in ``nevergrad.optimizers.registry``.
        evaluations: the package's ``budget``, by which some optimizers choose their settings; 0: not told.
    """

    lr: Rate = 0.1
    n: Annotated[int, Bounds(ge=2)] = 24
    optimizer: Annotated[str, NonEmpty()] = "DiagonalCMA"
    evaluations: CountOrZero = 0


class Nevergrad(AskTell):
    """A named optimizer of another package; the weights are its recommendation."""

    Config = NevergradConfig
    search_space: ClassVar[Mapping[str, Any]] = {"lr": (0.003, 0.01, 0.03, 0.1, 0.3)}
    small_problem: ClassVar[Mapping[str, Any]] = {"n": 8}
    card = MethodCard(
        name="nevergrad",
        title="Nevergrad",
        source="package nevergrad",
        formula="n points by ask, n losses by tell; theta <- theta + lr (m' - m), m the recommendation",
        order="zeroth",
        replay="scalars",
        spaces=SMALL_SPACES,
        notes=f"Needs the extra blackbox. At most {LARGEST} tuned entries. Optimizers that propose one point "
        "at a time or all points at once are refused by name. Points of a step share its minibatch, but an "
        "optimizer that recommends the best point so far compares losses of different minibatches. A resumed "
        "run repeats the generations that it had, without forward passes.",
    )

    @classmethod
    def cost(cls, config: NevergradConfig) -> Cost:
        return Cost(config.n, config.n, config.n + 1, 8 * (config.n + 6))

    def search(self) -> NevergradSearch:
        c = self.config
        return NevergradSearch(c.optimizer, self.space.numel, c.n, c.evaluations, self.seed, self.card.name)

    def most(self) -> tuple[int, str]:
        return LARGEST, "the package holds many points; use snes, or cma-es (separable)"
