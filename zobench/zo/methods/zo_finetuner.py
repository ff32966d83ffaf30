"""ZO Fine-tuner: SPSA with a noise scale per tensor, a small function of the tensor's statistics (arXiv
2510.00419).

sigma_i = |f_i(mean theta_i, var theta_i, L+', L-', sigma_i')|  for every tensor i; ' is the step before
kappa = sqrt(sum_i n_i) / sqrt(sum_i n_i sigma_i^2),  u_i = kappa sigma_i z_i,  z_i ~ N(0, I)
c = (L(theta + eps u) - L(theta - eps u)) / (2 eps),  theta <- theta - eta c u

f_i is a network 5 -> 64 (tanh) -> 1 of its own for every tensor. The paper trains them once per model, with
gradients of the loss; that meta-training is not here, and the authors' networks are not shipped.
``use_networks`` takes trained ones. Without them f is a rule made by hand (``scale``). n_i is the number of
entries of a tensor, for an embedding at most ``touched_rows`` rows. 2 forward passes and one reading of all
weights per step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch

from zobench.zo.base import Cost, MethodCard
from zobench.zo.directions import Direction
from zobench.zo.estimators import Estimate, two_sided
from zobench.zo.method import ZerothOrder
from zobench.zo.objective import Objective
from zobench.zo.parameters import CountOrZero, Parameters, Positive, PositiveFraction, Rate
from zobench.zo.preconditioned import Scaled

INPUTS, HIDDEN = 5, 64
NUMBERS = INPUTS * HIDDEN + HIDDEN + HIDDEN + 1
"""Numbers of a tensor's network, flat: first layer (hidden x inputs, by rows), its bias, second layer, its
bias."""


@dataclass(frozen=True)
class ZoFinetunerConfig(Parameters):
    """Parameters of ZO Fine-tuner; lr of the authors' script (their README has 1e-7 for Llama-1B). The rule
    ``scale`` and its floor are choices: the paper has no rule made by hand.

    Attributes:
        lr: step size eta.
        epsilon: smoothing radius eps.
        scale: f without networks: ``deviation`` (standard deviation of the tensor) or ``equal`` (1).
        floor: minimum of ``deviation`` as a share of the largest.
        touched_rows: rows of an embedding that count in kappa, 15 times the minibatch of 16 as in the
            authors' code; 0: all.
    """

    lr: Rate = 1e-6
    epsilon: Positive = 1e-3
    scale: Literal["deviation", "equal"] = "deviation"
    floor: PositiveFraction = 1e-2
    touched_rows: CountOrZero = 240


def rounded(value: float) -> float:
    """To 7 digits: replay must not depend on the order of summation."""
    return float(f"{value:.6e}")


def network(numbers: list[float], inputs: tuple[float, ...]) -> float:
    """Output of a network for its five inputs."""
    end = INPUTS * HIDDEN
    bias, second = numbers[end : end + HIDDEN], numbers[end + HIDDEN : end + 2 * HIDDEN]
    rows = (numbers[at : at + INPUTS] for at in range(0, end, INPUTS))
    sums = (math.fsum(w * x for w, x in zip(row, inputs, strict=True)) for row in rows)
    hidden = (math.tanh(x + b) for x, b in zip(sums, bias, strict=True))
    return math.fsum(w * h for w, h in zip(second, hidden, strict=True)) + numbers[-1]


class ZoFinetuner(ZerothOrder):
    """Two-sided SPSA with noise scaled per tensor by networks or a rule."""

    Config = ZoFinetunerConfig
    card = MethodCard(
        name="zo-finetuner",
        title="ZO Fine-tuner",
        source="arXiv 2510.00419",
        formula="theta_i <- theta_i - eta c kappa sigma_i z_i, sigma_i = |f_i(statistics of theta_i)|",
        order="zeroth",
        replay="scalars",
        in_span=True,
        notes="By the authors' code (ASTRAL-Group/ZO_Fine_tuner, read 2026-11-29). What the paper is about, "
        "networks trained per model, has to be supplied from Python (use_networks, one flat tensor of 449 "
        "numbers per tuned tensor); they are part of a checkpoint and must be supplied for a replay. A "
        "suite runs the rule made by hand, which says nothing about the paper's claim. Statistics and "
        "scales are rounded to 7 digits; the variance has divisor n; if all scales are 0 they are 1. "
        "Perturbation and update use the same tensors (in the authors' code frozen tensors shift the "
        "noise of the update). A refused step leaves previous losses and scales. The paper (abstract) "
        "claims to beat earlier zeroth-order methods in 82.1 % of 28 pairs of model and task; on our "
        "boards this has not been measured.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.scales: dict[str, float] = {}
        self.networks: dict[str, list[float]] = {}
        self.sigmas = dict.fromkeys(self.space, 1.0)
        self.previous = (0.0, 0.0)
        self._coming: dict[str, float] = {}

    @classmethod
    def cost(cls, config: ZoFinetunerConfig) -> Cost:
        return Cost(2, 2, 4, 0)

    def make_direction(self) -> Direction:
        return Scaled(self.engine.gaussian(), lambda name: self.scales[name])

    def use_networks(self, networks: Mapping[str, torch.Tensor]) -> None:
        """Compute sigma by these networks, before the first step.

        Raises:
            ValueError: a tuned tensor has no network of 449 finite numbers.
        """
        for name in self.space:
            given = networks.get(name)
            if given is None or given.numel() != NUMBERS or not bool(given.isfinite().all()):
                raise ValueError(f"zo-finetuner: {name!r} needs a network of {NUMBERS} finite numbers")
        self.networks = {name: networks[name].double().reshape(-1).tolist() for name in self.space}

    def statistics(self, name: str) -> tuple[float, float]:
        """Mean and variance of a tensor's tuned entries."""
        values = self.space.entries(name).detach().double()
        return rounded(float(values.mean())), rounded(float(values.var(correction=0)))

    def sigma(self) -> dict[str, float]:
        """The scale of every tensor before the norm is matched."""
        found = {}
        for name in self.space:
            mean, variance = self.statistics(name)
            if self.networks:
                inputs = (mean, variance, *self.previous, self.sigmas[name])
                found[name] = abs(network(self.networks[name], inputs))
            else:
                found[name] = math.sqrt(variance) if self.config.scale == "deviation" else 1.0
        if not self.networks:
            least = self.config.floor * max(found.values())
            found = {name: max(value, least) for name, value in found.items()}
        found = {name: rounded(value) for name, value in found.items()}
        return found if any(found.values()) else dict.fromkeys(found, 1.0)

    def kappa(self, sigmas: Mapping[str, float]) -> float:
        """The factor by which E |u|^2 is that of plain noise."""
        counts = {name: self._counted(name) for name in sigmas}
        scaled = math.fsum(n * sigmas[name] ** 2 for name, n in counts.items())
        return rounded(math.sqrt(sum(counts.values()) / scaled))

    def _counted(self, name: str) -> int:
        shape, rows = self.space.shape(name), self.config.touched_rows
        if rows and len(shape) == 2 and "embed" in name:
            return min(self.space.size(name), int(shape[1]) * rows)
        return self.space.size(name)

    def measure(self, objective: Objective) -> Estimate:
        self._coming = self.sigma()
        kappa = self.kappa(self._coming)
        self.scales = {name: kappa * sigma for name, sigma in self._coming.items()}
        estimate = two_sided(self.engine, objective, self.direction, self.seeds(1), self.smoothing())
        sizes = self.scales.values()
        estimate.extras.update(kappa=kappa, smallest_scale=min(sizes), largest_scale=max(sizes))
        return estimate

    def after(self, estimate: Estimate, moved: bool) -> None:
        if moved:
            self.previous = (estimate.losses[0], estimate.losses[1])
            self.sigmas = self._coming

    def state_dict(self) -> dict[str, Any]:
        own = {"previous": list(self.previous), "sigmas": list(self.sigmas.values())}
        networks = {f"network:{n}": torch.tensor(v, dtype=torch.float64) for n, v in self.networks.items()}
        return {**super().state_dict(), **own, **networks}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        first, second = state["previous"]
        self.previous = (float(first), float(second))
        self.sigmas = dict(zip(self.space, map(float, state["sigmas"]), strict=True))
        self.networks = {
            name: state[f"network:{name}"].tolist() for name in self.space if f"network:{name}" in state
        }
