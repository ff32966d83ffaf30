"""AdaLeZO: layers drawn by their past loss differences, weighted by inverse probability (arXiv 2604.18264).

groups l = 1 .. G: blocks by number, the embeddings, everything else; Q_l = 0 at the start
p = (1 - gamma) softmax(Q / (max Q tau)) + gamma / G
k = max(1, floor(ratio G)) groups are drawn with replacement, n_l times each
c = (L(theta + eps z) - L(theta - eps z)) / (2 eps), z ~ N(0, I) on the drawn groups, 0 elsewhere
theta_l <- theta_l - eta (w_l c z_l + wd theta_l),  w_l = n_l min(1 / (k p_l), clip), on the drawn groups
Q_l <- (1 - a) Q_l + a |c| on the drawn groups

2 forward passes per step; noise and memory traffic are proportional to the drawn groups. State: Q, one number
per group.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from zobench.zo import noise
from zobench.zo.base import Cost, MethodCard
from zobench.zo.directions import Direction, groups_by_layer
from zobench.zo.estimators import Estimate, two_sided
from zobench.zo.method import ZerothOrder
from zobench.zo.objective import Objective
from zobench.zo.parameters import Fraction, Parameters, Positive, PositiveFraction, Rate
from zobench.zo.sparse import counter_only
from zobench.zo.updates import Decay, DecayRule, Sgd


@dataclass(frozen=True)
class AdalezoConfig(Parameters):
    """Parameters of AdaLeZO; defaults of the published scripts (option defaults: ratio 0.1, temperature 0.1,
    mixing 0.01, clip 10), clip that of easy tasks (4 for hard ones).

    Attributes:
        lr: step size eta.
        epsilon: smoothing radius eps.
        ratio: number of draws as a share of the groups.
        temperature: tau of the softmax over scores.
        mixing: share gamma of the uniform distribution.
        memory: weight a of a new value in a score.
        clip: largest inverse-probability weight; a large value makes the estimate unbiased.
        weight_decay: coupled decay rate wd, on drawn groups.
        decay_rule: tensors that decay: ``mezo``, ``mezo-roberta``, ``all``, ``matrices``.
    """

    lr: Rate = 1e-6
    epsilon: Positive = 1e-3
    ratio: PositiveFraction = 0.2
    temperature: Positive = 0.6
    mixing: Fraction = 0.1
    memory: Fraction = 0.1
    clip: Positive = 16.0
    weight_decay: Rate = 0.0
    decay_rule: DecayRule = "mezo"


class Weighted(Direction):
    """weights[group] z on the drawn groups, 0 elsewhere.

    Attributes:
        weights: the weight of each drawn tensor; 1 for the measured direction.
    """

    def __init__(self, inner: Direction) -> None:
        super().__init__(inner.source)
        self.inner = inner
        self.weights: dict[str, float] = {}

    def touches(self, name: str, seed: int) -> bool:
        return name in self.weights

    def add_(self, tensor: Any, name: str, seed: int, scale: float) -> None:
        if name in self.weights:
            self.inner.add_(tensor, name, seed, scale * self.weights[name])


@dataclass(frozen=True)
class DrawnDecay(Decay):
    """Decay on the drawn tensors only."""

    drawn: frozenset[str] = frozenset()

    def of(self, name: str, ndim: int) -> float:
        return super().of(name, ndim) if name in self.drawn else 0.0


def blocks_and_rest(names: list[str]) -> list[list[str]]:
    """Groups: the embeddings, every numbered block, everything else; empty ones are left out."""
    blocks: list[list[str]] = []
    embeddings: list[str] = []
    rest: list[str] = []
    for group in groups_by_layer(names):
        if any(part.isdigit() for part in group[0].split(".")):
            blocks.append(group)
        else:
            (embeddings if "embed" in group[0] else rest).extend(group)
    return [group for group in (embeddings, *blocks, rest) if group]


class Adalezo(ZerothOrder):
    """SPSA on layers drawn by adaptive probabilities."""

    Config = AdalezoConfig
    small_problem: ClassVar[Mapping[str, Any]] = {"ratio": 0.5}
    direction: Weighted
    card = MethodCard(
        name="adalezo",
        title="AdaLeZO",
        source="arXiv 2604.18264",
        formula="theta_l <- theta_l - eta n_l min(1/(k p_l), clip) c z_l on groups l drawn by p ~ softmax(Q)",
        order="zeroth",
        replay="scalars",
        by_seeds=True,
        notes="By the paper's abstract and a published trainer (read 2026-11-29). All Q are 0 until a group "
        "was drawn; where all are 0, p is uniform. Probabilities are rounded to 9 digits, so that they"
        " do not depend on the processor. All drawn groups get the same score |c|. The optional RMS "
        "scaling (off in the trainer) and its earlier UCB rule are left out. passes_per_step is the "
        "upper bound, for groups that hold all weights. A refused step changes no score. The paper "
        "(abstract) claims 1.7 to 3 times less wall-clock time than the state of the art on models of "
        "6.7B to 30B, also as a module around other methods (not done here). Here a step "
        "takes 1.8 times less processor time than MeZO's at 22M parameters and 1 x 16 tokens, 1.2 times "
        "less at 8 x 32 (docs/log.md); on our boards (docs/recent-claims.md, against mezo): accuracy worse, "
        "-27.0 points [-33.6, -20.4]; forward passes undecided, 1.46 times its forward passes [0.45, 4.79].",
        decay="Coupled, theta <- theta - eta (w c z + wd theta), on the tensors of the drawn groups.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        counter_only(self.engine, "adalezo")
        self.groups = blocks_and_rest(list(self.space))
        self.scores = [0.0] * len(self.groups)

    @classmethod
    def cost(cls, config: AdalezoConfig) -> Cost:
        return Cost(2, 2, 3, 0)

    def make_direction(self) -> Weighted:
        return Weighted(self.engine.gaussian())

    def make_update(self) -> Sgd:
        return Sgd(Decay(self.config.weight_decay, self.config.decay_rule))

    def probabilities(self) -> list[float]:
        """p of every group."""
        c, top = self.config, max(self.scores)
        exponents = [q / (top * c.temperature) if top else 0.0 for q in self.scores]
        powers = [math.exp(x - max(exponents)) for x in exponents]
        total, count = math.fsum(powers), len(powers)
        mixed = [(1.0 - c.mixing) * power / total + c.mixing / count for power in powers]
        return [float(f"{p:.9e}") for p in mixed]

    def drawn(self, seed: int) -> dict[int, float]:
        """Group -> weight w_l of the groups that this seed draws."""
        p = self.probabilities()
        k = max(1, math.floor(self.config.ratio * len(p)))
        counts: dict[int, int] = {}
        for i in range(k):
            u = noise.derive_seed("group", seed, i) / 2**64
            below, chosen = 0.0, len(p) - 1
            for group, share in enumerate(p):
                below += share
                if u < below:
                    chosen = group
                    break
            counts[chosen] = counts.get(chosen, 0) + 1
        return {g: n * min(1.0 / (k * p[g]), self.config.clip) for g, n in sorted(counts.items())}

    def measure(self, objective: Objective) -> Estimate:
        (seed,) = self.seeds(1)
        self.chosen = self.drawn(seed)
        self.direction.weights = {n: 1.0 for g in self.chosen for n in self.groups[g]}
        return two_sided(self.engine, objective, self.direction, (seed,), self.smoothing())

    def update(self, estimate: Estimate, lr: float) -> dict[str, float]:
        # In mode in-place the last displacement has the weights of the probe.
        self.engine.home()
        applied = Weighted(self.direction.inner)
        applied.weights = {n: w for g, w in self.chosen.items() for n in self.groups[g]}
        c = self.config
        self.updater.decay = DrawnDecay(c.weight_decay, c.decay_rule, frozenset(applied.weights))
        self.updater.apply(self.engine, applied, estimate, lr)
        a, size = c.memory, abs(estimate.coefficients[0])
        for g in self.chosen:
            self.scores[g] = (1.0 - a) * self.scores[g] + a * size
        return {f"group_{g}": w for g, w in self.chosen.items()}

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "scores": list(self.scores)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.scores = [float(q) for q in state["scores"]]
