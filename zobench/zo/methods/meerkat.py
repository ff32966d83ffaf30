"""Meerkat: MeZO on a static, extremely sparse mask (arXiv 2506.03337).

once:       m = the ``density`` of all entries with the largest mean squared gradient on calibration data
each step:  c = (L(theta + eps m*z) - L(theta - eps m*z)) / (2 eps),  theta <- theta - eta * c * (m * z)

3 forward passes per calibration minibatch before the first step, then 2n forward passes per step. Noise and
updates cover the listed entries only. ``zobench.zo.federated`` implements clients that exchange these
scalars, GradIP, and the early stop by virtual paths.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch

from zobench.zo.base import Cost, MethodCard
from zobench.zo.engine import Engine
from zobench.zo.estimators import Estimate, two_sided
from zobench.zo.method import ZerothOrder
from zobench.zo.method_data import MethodData
from zobench.zo.objective import FORWARDS_PER_GRADIENT, Objective
from zobench.zo.parameters import Count, Parameters, Positive, PositiveFraction, Rate
from zobench.zo.space.base import ParameterSpace
from zobench.zo.sparse import Listed, largest_positions


@dataclass(frozen=True)
class MeerkatConfig(Parameters):
    """Parameters of Meerkat; density as in the paper, lr and epsilon are MeZO's (the paper's are not known).

    Attributes:
        lr: step size eta.
        epsilon: smoothing radius eps.
        n: directions per step.
        density: share of all tuned entries in the mask, in (0, 1].
        scores: ``gradient`` (mean squared gradients of calibration minibatches) or ``magnitude`` (of the
            starting weights, the paper's weaker baseline; no forwards).
        calibration_batches: minibatches over which ``prepare`` averages the squared gradients (a choice).
    """

    lr: Rate = 1e-6
    epsilon: Positive = 1e-3
    n: Count = 1
    density: PositiveFraction = 0.001
    scores: Literal["gradient", "magnitude"] = "gradient"
    calibration_batches: Count = 4


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
        summable=True,
        replay="scalars+artifacts",
        in_span=True,
        needs=("calibration",),
        notes="By notes on the paper's text (2026-11-22); no code is public. The paper scores entries once "
        "on pre-training text (C4); here calibration rows are the run's training rows. Without "
        "prepare() or calibrate() the mask is that of the largest magnitudes of the starting weights; "
        "extras say which (calibrated 1 or 0). The count is exact, over all tensors together.",
    )

    def __init__(
        self, config: Any, space: ParameterSpace, *, seed: int, engine: Engine | None = None
    ) -> None:
        super().__init__(config, space, seed=seed, engine=engine)
        self._supplies: MethodData | None = None
        self.calibrate({n: space.entries(n).detach().abs() for n in space})
        self.calibrated = False

    @classmethod
    def cost(cls, config: MeerkatConfig) -> Cost:
        calibration = FORWARDS_PER_GRADIENT * config.calibration_batches if config.scores == "gradient" else 0
        sweeps = 3 * config.n * config.density
        return Cost(2 * config.n, 2 * config.n, sweeps, 8 * config.density, calibration)

    def supply(self, supplies: MethodData) -> None:
        self._supplies = supplies

    def prepare(self, objective: Objective) -> None:
        """Select the mask by squared gradients on the supplied calibration minibatches. With ``magnitude``,
        nothing is done."""
        if self.config.scores == "magnitude":
            return
        if self._supplies is None:
            raise ValueError("meerkat: pass calibration minibatches to supply, or scores to calibrate")

        def gradients() -> Iterator[Mapping[str, torch.Tensor]]:
            for batch, sequences, tokens in supplied:
                with objective.on(batch, sequences=sequences, tokens=tokens):
                    yield objective.gradient(self.space.tensors)[1]

        supplied = self._supplies.calibration(self.config.calibration_batches)
        self.calibrate(mean_squared_gradients(gradients(), self.space))

    def make_direction(self) -> Listed:
        return Listed(self.engine.source, {})

    def calibrate(self, scores: Mapping[str, torch.Tensor]) -> None:
        """Select the mask by the largest scores (shapes of the tuned entries), before the first step.

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
        self.calibrated = True

    def measure(self, objective: Objective) -> Estimate:
        seeds = self.seeds(self.config.n)
        estimate = two_sided(self.engine, objective, self.direction, seeds, self.smoothing())
        return replace(estimate, extras={"calibrated": float(self.calibrated)})

    def artifacts(self) -> dict[str, torch.Tensor]:
        return self.direction.state_dict()

    def load_artifacts(self, artifacts: Mapping[str, torch.Tensor]) -> None:
        if not artifacts:
            raise ValueError("meerkat replays with its mask: positions by tensor name")
        self.direction.load_state_dict(artifacts)
        self.calibrated = True

    def parts(self) -> dict[str, Any]:
        return {**super().parts(), "mask": self.direction}

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "calibrated": self.calibrated}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.calibrated = bool(state["calibrated"])
