"""Meerkat: MeZO on a static, extremely sparse mask (arXiv 2506.03337).

once:       m = the ``density`` of all entries with the largest mean squared gradient on calibration data
each step:  c = (L(theta + eps m*z) - L(theta - eps m*z)) / (2 eps),  theta <- theta - eta * c * (m * z)

2n forwards a step; noise and updates touch the listed entries only. ``zobench.zo.federated`` has the clients
that exchange these scalars, GradIP and the virtual path early stop.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from zobench.zo.base import Cost, MethodCard
from zobench.zo.engine import Engine
from zobench.zo.estimators import Estimate, two_sided
from zobench.zo.method import ZerothOrder
from zobench.zo.methods import checks
from zobench.zo.objective import Objective
from zobench.zo.space.base import ParameterSpace
from zobench.zo.sparse import Listed, largest_positions


@dataclass(frozen=True)
class MeerkatConfig:
    """Parameters of Meerkat; density as in the paper, lr and epsilon were not found: MeZO's.

    Attributes:
        lr: step size eta.
        epsilon: smoothing radius eps.
        n: directions per step.
        density: share of all tuned entries in the mask, in (0, 1].
    """

    lr: float = 1e-6
    epsilon: float = 1e-3
    n: int = 1
    density: float = 0.001

    def __post_init__(self) -> None:
        checks.rate("lr", self.lr)
        checks.positive("epsilon", self.epsilon)
        checks.count("n", self.n)
        checks.positive("density", self.density)
        checks.share("density", self.density, one=True)


def mean_squared_gradients(
    gradients: Iterable[Mapping[str, torch.Tensor]], space: ParameterSpace
) -> dict[str, torch.Tensor]:
    """Scores for ``Meerkat.calibrate``: the mean over calibration minibatches of the squared gradient of the
    tuned entries, float32. ``ValueError`` without any gradient."""
    sums: dict[str, torch.Tensor] = {}
    count = 0
    for grads in gradients:
        count += 1
        for name in space:
            index = space.indices(name)
            g = grads[name].detach() if index is None else grads[name].detach().reshape(-1)[index]
            squared = g.float().square()
            sums[name] = sums[name] + squared if name in sums else squared
    if not count:
        raise ValueError("no calibration gradient was given")
    return {name: total / count for name, total in sums.items()}


class Meerkat(ZerothOrder):
    """Two-sided SPSA on a static list of entries."""

    direction: Listed

    Config = MeerkatConfig
    small_problem: ClassVar[Mapping[str, Any]] = {"density": 0.8}
    card = MethodCard(
        name="meerkat",
        title="Meerkat",
        source="arXiv 2506.03337",
        formula="theta <- theta - eta * c * (m * z), m = top density by mean squared calibration gradient",
        order="zeroth",
        replay="scalars+artifacts",
        in_span=True,
        notes="Without calibrate() the mask falls back to the largest magnitudes of the starting weights, "
        "the "
        "paper's weaker baseline. The count is exact, over all tensors together. No code was found.",
    )

    def __init__(
        self, config: Any, space: ParameterSpace, *, seed: int, engine: Engine | None = None
    ) -> None:
        super().__init__(config, space, seed=seed, engine=engine)
        self.calibrate({n: space.entries(n).detach().abs() for n in space})

    @classmethod
    def cost(cls, config: MeerkatConfig) -> Cost:
        return Cost(2 * config.n, 2 * config.n, 3 * config.n * config.density, 8 * config.density)

    def make_direction(self) -> Listed:
        return Listed(self.engine.source, {})

    def calibrate(self, scores: Mapping[str, torch.Tensor]) -> None:
        """Choose the mask by the largest scores (shapes of the tuned entries), before the first step.

        Raises:
            ValueError: after the first step, or scores that do not fit the space.
        """
        if self.t:
            raise ValueError("the mask is static: calibrate before the first step")
        for name in self.space:
            if name not in scores or scores[name].shape != self.space.shape(name):
                raise ValueError(f"scores of {name!r} must have shape {tuple(self.space.shape(name))}")
        count = max(1, int(self.config.density * self.space.numel))
        self.direction.set_positions(largest_positions({n: scores[n] for n in self.space}, count))

    def measure(self, objective: Objective) -> Estimate:
        return two_sided(self.engine, objective, self.direction, self.seeds(self.config.n), self.smoothing())

    def artifacts(self) -> dict[str, torch.Tensor]:
        return self.direction.state_dict()

    def load_artifacts(self, artifacts: Mapping[str, torch.Tensor]) -> None:
        if not artifacts:
            raise ValueError("meerkat replays with its mask: positions by tensor name")
        self.direction.load_state_dict(artifacts)

    def parts(self) -> dict[str, Any]:
        return {**super().parts(), "mask": self.direction}
