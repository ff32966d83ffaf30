"""ZO-RankSGD: descent using only the ranking of perturbed points (arXiv 2303.03751).

points theta + eps u_i, i = 1..m, u_i ~ N(0, I); the oracle returns the best k of them in order
g = (1/|E|) sum over known pairs (i better than j) of (u_j - u_i),  theta <- theta - eta g

|E| = k (k-1)/2 + k (m-k) without ties. The point of rank r has weight m - 2r + 1 for r <= k, and -k
otherwise. Only comparisons of losses are used: any increasing function of the loss gives the same run. With a
line search the oracle also ranks theta - eta shrink^j g, the best probed point and theta. If theta remains
the best, the direction is averaged with those of the next steps. m forward passes per step, and line_search +
1 more with a line search.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from zobench.zo.base import Cost, MethodCard
from zobench.zo.engine import Engine
from zobench.zo.estimators import Estimate
from zobench.zo.method import ZerothOrder
from zobench.zo.objective import Objective
from zobench.zo.parameters import Bounds, CountOrZero, Parameters, Positive, Rate
from zobench.zo.perturb import Along
from zobench.zo.space.base import ParameterSpace
from zobench.zo.sparse import counter_only


@dataclass(frozen=True)
class ZoRanksgdConfig(Parameters):
    """Parameters of ZO-RankSGD; choices: the paper ranks images and gives no values for language models.

    Attributes:
        lr: step size eta (the length of a step does not depend on the loss).
        epsilon: smoothing radius eps.
        n: points per step (m), at least 2.
        top: number of best points that the oracle ranks (k); 0: all.
        line_search: number of step sizes eta shrink^j that are tried, j = 0 .. line_search - 1; 0: no search.
        shrink: ratio of consecutive step sizes.
    """

    lr: Rate = 1e-6
    epsilon: Positive = 1e-3
    n: Annotated[int, Bounds(ge=2)] = 8
    top: CountOrZero = 0
    line_search: CountOrZero = 0
    shrink: Annotated[float, Bounds(gt=0, lt=1)] = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.top > self.n:
            raise ValueError(f"top must be at most n = {self.n}, not {self.top}")


def rank_weights(losses: Sequence[float], top: int) -> list[float]:
    """(Known wins - known defeats) / (number of known pairs) for every point. A pair is known if its better
    point is among the best ``top`` and the losses differ. All zeros if all losses are equal."""
    order = sorted(range(len(losses)), key=lambda i: losses[i])
    weights = [0.0] * len(losses)
    known = 0
    for place, i in enumerate(order[:top]):
        for j in order[place + 1 :]:
            if losses[i] < losses[j]:
                weights[i] += 1.0
                weights[j] -= 1.0
                known += 1
    return [w / known for w in weights] if known else weights


class ZoRanksgd(ZerothOrder):
    """SGD from rankings."""

    Config = ZoRanksgdConfig
    card = MethodCard(
        name="zo-ranksgd",
        title="ZO-RankSGD",
        source="arXiv 2303.03751",
        formula="theta <- theta - eta (1/|E|) sum_(i better than j) (u_j - u_i)",
        order="zeroth",
        replay="scalars",
        by_seeds=True,
        notes="Weights follow the paper's comparison graph and sum to zero. Pairs of equal losses are not "
        "used. The estimate is a direction, not a gradient: its length does not depend on the loss. The "
        "line search is off by default, so that a step costs m forward passes. With it, the best probed "
        "point is a candidate too, as published (read 2026-11-29; extras: choice is then line_search).",
        revision=2,
    )

    def __init__(
        self, config: Any, space: ParameterSpace, *, seed: int, engine: Engine | None = None
    ) -> None:
        super().__init__(config, space, seed=seed, engine=engine)
        counter_only(self.engine, "zo-ranksgd")
        self.waiting: list[tuple[int, float]] = []
        self.held = 0

    @classmethod
    def cost(cls, config: ZoRanksgdConfig) -> Cost:
        forwards = config.n + (config.line_search + 1 if config.line_search else 0)
        return Cost(forwards, forwards, config.n * (2.0 + config.line_search), 0)

    @classmethod
    def picks(cls, config: ZoRanksgdConfig) -> tuple[int, ...]:
        # Naming all but one ranks the last one too; the line search asks for the best one alone.
        return (min(config.top or config.n, config.n - 1), *([1] if config.line_search else []))

    def measure(self, objective: Objective) -> Estimate:
        c, eps = self.config, self.smoothing()
        seeds = self.seeds(c.n)
        losses = self.engine.losses(objective, [self.engine.along(self.direction, s, eps) for s in seeds])
        finite = all(math.isfinite(x) for x in losses)
        weights = rank_weights(losses, c.top or c.n) if finite else [0.0] * c.n
        fresh = [(s, -w) for s, w in zip(seeds, weights, strict=True)]
        plotted = math.fsum(losses) / c.n if finite else math.nan
        if not c.line_search:
            reason = "" if any(weights) else "no difference between the losses"
            return Estimate(seeds, tuple(w for _, w in fresh), tuple(losses), plotted, reason=reason)
        return self._search(objective, fresh, losses)

    def _search(self, objective: Objective, fresh: list[tuple[int, float]], losses: list[float]) -> Estimate:
        """Select the best of theta, the trial points along the mean of this direction and the stored ones,
        and the best probed point."""
        c, share = self.config, 1.0 / (self.held + 1)
        pairs = [(s, w * share) for s, w in (*self.waiting, *fresh)]
        reach = [self.learning_rate() * c.shrink**j for j in range(c.line_search)]
        points: list[tuple[Along, ...]] = [()]
        points += [tuple(Along(self.direction, s, -r * w) for s, w in pairs if w) for r in reach]
        base, *trials = self.engine.losses(objective, points)
        best = min(range(len(trials)), key=lambda j: trials[j])
        probed = min(range(c.n), key=lambda i: losses[i])
        if losses[probed] < min(base, trials[best]) and self.learning_rate() > 0.0:
            return Estimate(
                seeds=(fresh[probed][0],),
                coefficients=(-self.smoothing() / self.learning_rate(),),
                losses=(*losses, base, *trials),
                loss=base,
                extras={"choice": float(c.line_search)},
            )
        better = trials[best] < base
        scale = c.shrink**best if better else 0.0
        return Estimate(
            seeds=tuple(s for s, _ in pairs),
            coefficients=tuple(w * scale for _, w in pairs),
            losses=(*losses, base, *trials),
            loss=base,
            extras={"choice": float(best) if better else -1.0},
            reason="" if better else "the current point ranks best",
        )

    def after(self, estimate: Estimate, moved: bool) -> None:
        c = self.config
        if not c.line_search or not all(math.isfinite(x) for x in estimate.losses):
            return
        if moved:
            self.waiting, self.held = [], 0
            return
        seeds = self.seeds(c.n)
        weights = rank_weights(estimate.losses[: c.n], c.top or c.n)
        self.waiting += [(s, -w) for s, w in zip(seeds, weights, strict=True)]
        self.held += 1

    def state_dict(self) -> dict[str, Any]:
        waiting = {"seeds": [s for s, _ in self.waiting], "weights": [w for _, w in self.waiting]}
        return {**super().state_dict(), **{f"waiting:{k}": v for k, v in waiting.items()}, "held": self.held}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.waiting = list(zip(state["waiting:seeds"], state["waiting:weights"], strict=True))
        self.held = int(state["held"])
