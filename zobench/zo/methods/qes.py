"""QES: evolution strategies on the integer codes of a quantized model, with error feedback (arXiv
2602.03120).

codes w in {-top .. top}; pair s: u_s = SR(sigma N_s) in whole levels, moves that leave the range are dropped
D_s = R(w + u_s) - R(w - u_s),  R = -L;  f_s = clip((D_s - mean D) / (std D + 1e-8), -3, 3)
G = (1 / sigma) sum_s f_s (u_s+ - u_s-)      u_s+, u_s-: the moves of both members after the drop
x = eta G + gamma e,  Delta = round(x), dropped where w + Delta leaves the range
w <- w + Delta,  e <- clip(x - Delta, -1.5, 1.5)

The residual e carries what rounding withheld. ``residual: stored`` keeps it in float16 (2 bytes per code),
from e_0 ~ U(-1/2, 1/2). ``replayed`` stores no tensor: every step rebuilds e from 0 with the scalars of the
last K steps, dropping moves by today's codes. ``population`` forward passes per step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch

from zobench.zo import noise
from zobench.zo.arithmetic import add_scaled_
from zobench.zo.base import Cost, MethodCard
from zobench.zo.estimators import Estimate
from zobench.zo.integer import RoundedNoise, dropped, exact_only
from zobench.zo.method import ZerothOrder
from zobench.zo.methods.fzoo import spread
from zobench.zo.objective import Objective
from zobench.zo.parameters import Bounds, Count, FractionBelowOne, Parameters, Positive, Rate

CLIP, LARGEST_RESIDUAL, TINY = 3.0, 1.5, 1e-8
"""Limits of a fitness and of a residual, and the number added to the spread, as in the authors' code."""


@dataclass(frozen=True)
class QesConfig(Parameters):
    """Parameters of QES; defaults of the authors' run on an INT4 model of 1.5B.

    Attributes:
        lr: step size eta (their alpha).
        sigma: standard deviation of the noise in levels.
        population: members per step, an even number: half of them are mirrored.
        decay: share gamma of the residual that the next step takes over.
        residual: ``stored`` or ``replayed``.
        horizon: number of steps K that a replayed residual is rebuilt from.
    """

    lr: Rate = 5e-4
    sigma: Positive = 0.01
    population: Annotated[int, Bounds(ge=4)] = 50
    decay: FractionBelowOne = 0.9
    residual: Literal["stored", "replayed"] = "stored"
    horizon: Count = 50

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.population % 2:
            raise ValueError(f"population must be even, not {self.population}")


Past = tuple[tuple[int, ...], tuple[float, ...], float]
"""Seeds, fitness and step size of one step."""


class Qes(ZerothOrder):
    """Evolution strategies with error feedback on integer codes."""

    Config = QesConfig
    small_problem: ClassVar[Mapping[str, Any]] = {"population": 8, "sigma": 0.3, "lr": 0.02, "horizon": 4}
    direction: RoundedNoise
    card = MethodCard(
        name="qes",
        title="QES",
        source="arXiv 2602.03120",
        formula="x = eta G + gamma e; w <- w + round(x), e <- x - round(x), G the sum of fitness times move",
        order="zeroth",
        replay="scalars",
        spaces=("codes",),
        notes="By the authors' code (dibbla/Quantized-Evolution-Strategies@fefc735, read 2026-11-29), "
        "mirrored members. It maximizes rewards; here the reward is minus the loss. Their codes are "
        "those of GPTQ, here of symmetric rounding to nearest. Their noise is seeded anew for every "
        "module, so that layers of equal shape share it; here every tensor has its own. Their e_0 is "
        "unseeded; here it is a function of the run seed, and a replayed residual starts from 0. Their"
        " replay uses the current step size for all steps; here each step's own. Sums run in the order"
        " of the pairs. The paper (abstract) claims to outperform zeroth-order fine-tuning of "
        "quantized models on arithmetic reasoning; on our boards this has not been measured.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.residuals: dict[str, torch.Tensor] = {}
        self.past: list[Past] = []

    @classmethod
    def cost(cls, config: QesConfig) -> Cost:
        pairs = config.population // 2
        replayed = config.residual == "replayed"
        sweeps = 2 * pairs + pairs * (1 + (config.horizon if replayed else 0))
        return Cost(config.population, config.population, sweeps, 0 if replayed else 2)

    def make_direction(self) -> RoundedNoise:
        return RoundedNoise(self.engine.source, self.config.sigma)

    def measure(self, objective: Objective) -> Estimate:
        exact_only(self.engine, "qes")
        seeds = self.seeds(self.config.population // 2)
        points = [self.engine.along(self.direction, s, sign) for s in seeds for sign in (1.0, -1.0)]
        losses = self.engine.losses(objective, points)
        gains = [minus - plus for plus, minus in zip(losses[::2], losses[1::2], strict=True)]
        std = spread(gains, population=True)
        mean = math.fsum(gains) / len(gains) if math.isfinite(std) else math.nan
        scores = [(gain - mean) / (std + TINY) for gain in gains]
        fitness = [x if math.isnan(x) else min(max(x, -CLIP), CLIP) for x in scores]
        return Estimate(
            seeds=seeds,
            coefficients=tuple(-f for f in fitness),
            losses=tuple(losses),
            loss=math.fsum(losses) / len(losses) if math.isfinite(std) else math.nan,
            extras={"std": std},
        )

    def update(self, estimate: Estimate, lr: float) -> dict[str, float]:
        self.engine.home()
        fitness = tuple(-c for c in estimate.coefficients)
        changed = 0
        for name in self.space:
            x = self.proposal(name, self.residual(name), (estimate.seeds, fitness, lr))
            delta = self.applied(name, x)
            if self.config.residual == "stored":
                rest = (x - delta).clamp_(-LARGEST_RESIDUAL, LARGEST_RESIDUAL)
                self.residuals[name] = rest.half()
            if lr != 0.0 and bool(delta.any()):
                changed += int(delta.count_nonzero())
                with self.engine.editing(name) as codes:
                    codes.add_(delta)
        self.past = [*self.past, (estimate.seeds, fitness, lr)][-self.config.horizon :]
        return {"changed_share": changed / self.space.numel}

    def proposal(self, name: str, residual: torch.Tensor, taken: Past) -> torch.Tensor:
        """x = eta G + gamma e of one tensor."""
        seeds, fitness, lr = taken
        codes, top = self.direction.now(name), self.direction.codes.top
        total = torch.zeros_like(codes)
        for seed, f in zip(seeds, fitness, strict=True):
            u = self.direction.rounded(name, seed)
            both = dropped(codes, u, top) - dropped(codes, -u, top)
            add_scaled_(total, both, f)
        return add_scaled_(total.mul_(lr / self.config.sigma), residual.to(total.dtype), self.config.decay)

    def applied(self, name: str, x: torch.Tensor) -> torch.Tensor:
        """x in whole levels, without moves that leave the range."""
        return dropped(self.direction.now(name), x.round(), self.direction.codes.top)

    def residual(self, name: str) -> torch.Tensor:
        """e of one tensor before this step."""
        if self.config.residual == "replayed":
            e = torch.zeros_like(self.direction.now(name))
            for taken in self.past:
                x = self.proposal(name, e, taken)
                e = (x - self.applied(name, x)).clamp_(-LARGEST_RESIDUAL, LARGEST_RESIDUAL)
            return e
        if name not in self.residuals:
            draw = self.direction.uniform(name, noise.derive_seed(self.seed, "residual"), "residual")
            self.residuals[name] = (draw - 0.5).half()
        return self.residuals[name]

    def state_dict(self) -> dict[str, Any]:
        flat = {**super().state_dict(), **{f"residual/{n}": e.clone() for n, e in self.residuals.items()}}
        if self.config.residual == "replayed":
            flat["past:seeds"] = [s for seeds, _, _ in self.past for s in seeds]
            flat["past:fitness"] = [f for _, fitness, _ in self.past for f in fitness]
            flat["past:lr"] = [lr for _, _, lr in self.past]
        return flat

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        prefix = "residual/"
        self.residuals = {k.removeprefix(prefix): v.clone() for k, v in state.items() if k.startswith(prefix)}
        if self.config.residual == "replayed":
            pairs = self.config.population // 2
            seeds, fitness = (_parts(state[f"past:{key}"], pairs) for key in ("seeds", "fitness"))
            self.past = list(zip(seeds, fitness, state["past:lr"], strict=True))


def _parts(values: Sequence[Any], size: int) -> list[tuple[Any, ...]]:
    """Consecutive parts of this size."""
    return [tuple(values[i : i + size]) for i in range(0, len(values), size)]
