"""Alternating first-order and zeroth-order steps: "Downgrade to upgrade" (arXiv 2510.00761).

A round consists of n_first first-order and n_zeroth zeroth-order steps. After ``rounds`` rounds there are
only zeroth-order steps, so that a run of any length ends with them. The paper uses Adam and AdaZO (R-AdaZO
here) in equal parts of 20 steps. Each part keeps its own state during the steps of the other.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from zobench.zo.base import Cost, MethodCard, StepRecord
from zobench.zo.engine import Engine
from zobench.zo.method import Method
from zobench.zo.objective import Objective
from zobench.zo.parameters import Count, OneOf, Parameters, Positive, Rate
from zobench.zo.space.base import ParameterSpace

FIRST = ("adam", "adamw", "sgd", "sign-sgd", "sign-adam", "quantized-adam")
ZEROTH = ("r-adazo", "r-adazo-sphere", "mezo", "zo-adam", "zo-sgd-momentum", "zo-sgd-sign", "zo-adamm")


@dataclass(frozen=True)
class AlternatingConfig(Parameters):
    """Parameters of the schedule; 20 steps each as in the paper, the other values are choices.

    Attributes:
        first: catalogue name of the first-order method.
        zeroth: catalogue name of the zeroth-order method.
        lr: step size of the first-order steps.
        zeroth_factor: step size of the zeroth-order steps, as a multiple of ``lr``.
        n_first: number of first-order steps in a round.
        n_zeroth: number of zeroth-order steps in a round.
        rounds: number of rounds; all later steps are zeroth-order.
    """

    first: Annotated[str, OneOf(FIRST)] = "adam"
    zeroth: Annotated[str, OneOf(ZEROTH)] = "r-adazo"
    lr: Rate = 1e-5
    zeroth_factor: Positive = 0.1
    n_first: Count = 20
    n_zeroth: Count = 20
    rounds: Count = 3


def part(name: str, lr: float) -> tuple[type[Method], Any]:
    """The class of a catalogue name and its config with this step size."""
    from zobench.zo.methods.catalogue import METHODS

    module, _, attribute = METHODS[name].partition(":")
    method: type[Method] = getattr(importlib.import_module(module), attribute)
    return method, method.Config(lr=lr)


def parts_of(config: AlternatingConfig) -> tuple[tuple[type[Method], Any], tuple[type[Method], Any]]:
    return part(config.first, config.lr), part(config.zeroth, config.lr * config.zeroth_factor)


class Alternating(Method):
    """Alternating first-order and zeroth-order steps; see the module's docstring. ``extras["may_stop"]`` is 1
    in records of zeroth-order steps and 0 in others."""

    Config = AlternatingConfig
    small_problem: ClassVar[Mapping[str, Any]] = {"n_first": 1, "n_zeroth": 1, "rounds": 1000}
    card = MethodCard(
        name="alternating",
        title="Alternating first-order and zeroth-order steps",
        source="arXiv 2510.00761",
        formula="n steps of Adam, n steps of R-AdaZO, repeated, ending on zeroth-order steps",
        order="mixed",
        replay="checkpoint",
        notes="Step sizes, number of queries and smoothing radius of the paper were not available. The "
        "declared mean cost is that of a round; after the last round, steps cost what zeroth-order steps "
        "cost.",
        revision=2,
    )

    def __init__(
        self, config: Any, space: ParameterSpace, *, seed: int, engine: Engine | None = None
    ) -> None:
        super().__init__(config, space, seed=seed, engine=engine)
        first, zeroth = parts_of(config)
        self.first = first[0](first[1], space, seed=seed, engine=engine)
        self.zeroth = zeroth[0](zeroth[1], space, seed=seed, engine=engine)

    @classmethod
    def cost(cls, config: AlternatingConfig) -> Cost:
        first, zeroth = (method.cost(given) for method, given in parts_of(config))
        n, k = config.n_first, config.n_zeroth

        def mean(a: float, b: float) -> float:
            return (n * a + k * b) / (n + k)

        return Cost(
            mean(first.forwards_per_step, zeroth.forwards_per_step),
            max(first.max_forwards_in_step, zeroth.max_forwards_in_step),
            mean(first.passes_per_step, zeroth.passes_per_step),
            first.state_bytes_per_parameter + zeroth.state_bytes_per_parameter,
            period=n + k,
        )

    def by_gradient(self, t: int) -> bool:
        """Whether step ``t`` is a first-order one."""
        c = self.config
        whole = c.n_first + c.n_zeroth
        return t < c.rounds * whole and t % whole < c.n_first

    def step(self, objective: Objective) -> StepRecord:
        first = self.by_gradient(self.t)
        record = (self.first if first else self.zeroth).step(objective)
        extras = {**record.extras, "may_stop": float(not first)}
        found = dataclasses.replace(record, step=self.t, extras=extras)
        self.t += 1
        return found

    def parts(self) -> dict[str, Any]:
        return {**super().parts(), "first": self.first, "zeroth": self.zeroth}
