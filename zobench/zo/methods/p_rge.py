"""P-RGE / MobiZO: n two-sided queries as one enlarged batch on the B matrices of LoRA (arXiv 2409.15520).

c_i = (L(B + eps z_i) - L(B - eps z_i)) / (2 eps),  B <- B - (eta / n) sum_i c_i z_i,  A frozen (LoRA-FA)

The 2n branches (outer: queries, inner: signs), each with its own B, run in one vmapped forward pass if the
model supports vmap; ``Engine(mode="snapshot")`` runs them one by one. 2n forward passes per step.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from zobench.zo.base import Cost, MethodCard
from zobench.zo.directions import Gaussian
from zobench.zo.engine import Engine
from zobench.zo.estimators import Estimate, two_sided
from zobench.zo.method import ZerothOrder
from zobench.zo.objective import Objective
from zobench.zo.parameters import Count, Parameters, Positive, Rate
from zobench.zo.space.base import ParameterSpace
from zobench.zo.sparse import counter_only


@dataclass(frozen=True)
class PRgeConfig(Parameters):
    """Parameters of P-RGE; published settings (TinyLlama).

    Attributes:
        lr: step size eta.
        epsilon: smoothing radius eps.
        n: queries per step; published 1, 4, 16 with minibatches of 16, 4, 1, so that a step costs as much.
    """

    lr: Rate = 5e-5
    epsilon: Positive = 1e-2
    n: Count = 4


class OnlyB(Gaussian):
    """Standard Gaussian noise on the ``lora_B`` tensors, zero on the others."""

    def touches(self, name: str, seed: int) -> bool:
        return name.rpartition(".")[2] == "lora_B"


class PRge(ZerothOrder):
    """Parallel random gradient estimation on LoRA-FA."""

    Config = PRgeConfig
    card = MethodCard(
        name="p-rge",
        title="P-RGE (MobiZO)",
        source="arXiv 2409.15520",
        formula="B <- B - (eta/n) sum_i c_i z_i, all 2n branches in one batch, A frozen",
        order="zeroth",
        replay="scalars",
        spaces=("lora",),
        in_span=True,
        notes="Mode 'auto' is 'batched' here. A stays frozen whether or not the space tunes it. By the "
        "scripts of a readable copy of the code (jmha02/MobiZO@3b9e3eb, read 2026-11-29): eps 1e-2, "
        "LoRA rank 16, alpha 32, 20,000 steps; lr 5e-5 on TinyLlama for n = 1, 4 and 16; on "
        "LLaMA-2-7B 1e-4 for n = 1 and 4, 5e-5 for n = 16. The minibatch is the run's (batch_size), "
        "which n does not change.",
    )

    def __init__(
        self, config: Any, space: ParameterSpace, *, seed: int, engine: Engine | None = None
    ) -> None:
        chosen = engine or Engine()
        if chosen.mode == "auto" and chosen.noise == "counter":
            chosen = replace(chosen, mode="batched")
        super().__init__(config, space, seed=seed, engine=chosen)
        counter_only(self.engine, "p-rge")

    @classmethod
    def cost(cls, config: PRgeConfig) -> Cost:
        return Cost(2 * config.n, 2 * config.n, 3 * config.n, 0)

    def make_direction(self) -> OnlyB:
        return OnlyB(self.engine.source)

    def measure(self, objective: Objective) -> Estimate:
        return two_sided(self.engine, objective, self.direction, self.seeds(self.config.n), self.smoothing())
