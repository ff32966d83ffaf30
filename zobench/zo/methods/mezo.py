"""MeZO: SGD on two-sided SPSA with Gaussian directions (arXiv 2305.17333).

g_i = (L(theta + eps z_i; B) - L(theta - eps z_i; B)) / (2 eps),  z_i ~ N(0, I)
theta <- theta - eta ( (1/n) sum_i g_i z_i + wd theta )

n-SPSA (``n`` > 1): all n pairs are measured at the same theta on the same minibatch and applied together with
weight 1/n each (algorithm 2 of the paper applies eta/n per sample). 2n forward passes per step.
"""

from __future__ import annotations

from dataclasses import dataclass

from zobench.zo.base import Cost, MethodCard
from zobench.zo.estimators import Estimate, two_sided
from zobench.zo.method import ZerothOrder
from zobench.zo.objective import Objective
from zobench.zo.parameters import Count, Parameters, Positive, Rate
from zobench.zo.prepared import Coming
from zobench.zo.updates import Decay, DecayRule, Sgd


@dataclass(frozen=True)
class MezoConfig(Parameters):
    """Parameters of MeZO; defaults as in the paper's full-parameter OPT runs.

    Attributes:
        lr: step size eta.
        epsilon: smoothing radius eps.
        n: directions per step.
        weight_decay: coupled decay rate wd.
        decay_rule: tensors that decay: ``mezo`` (no bias or layer norm), ``mezo-roberta``, ``all``,
            ``matrices``.
    """

    lr: Rate = 1e-6
    epsilon: Positive = 1e-3
    n: Count = 1
    weight_decay: Rate = 0.0
    decay_rule: DecayRule = "mezo"


class Mezo(ZerothOrder):
    """Two-sided SPSA with plain SGD; replays from the recorded losses and seeds."""

    Config = MezoConfig
    card = MethodCard(
        name="mezo",
        title="MeZO",
        source="arXiv 2305.17333",
        formula="theta <- theta - eta * mean_i [(L(theta+eps z_i) - L(theta-eps z_i)) / (2 eps)] z_i",
        order="zeroth",
        summable=True,
        replay="scalars",
        in_span=True,
        unbiased=True,
        notes="Weights are restored exactly; the MeZO code base adds and subtracts. Engine(mode='in-place') "
        "does the same as that code, and Engine(noise='legacy') draws its random numbers. The logged loss "
        "is the mean of the queried losses, not L(theta+eps z).",
        decay="Coupled, theta <- theta - eta (g z + wd theta). large_models spares names with bias, "
        "layer_norm or layernorm (rule mezo, the default); medium_models decays every tensor (rule "
        "all). Published runs use 0, RoBERTa with LoRA 0.1.",
    )

    @classmethod
    def cost(cls, config: MezoConfig) -> Cost:
        return Cost(2 * config.n, 2 * config.n, 3 * config.n, 0)

    def make_update(self) -> Sgd:
        return Sgd(Decay(self.config.weight_decay, self.config.decay_rule))

    def coming(self) -> Coming:
        return Coming(
            self.direction, self.seeds(self.config.n, later=1)[0], (self.smoothing(), -self.smoothing())
        )

    def measure(self, objective: Objective) -> Estimate:
        return two_sided(self.engine, objective, self.direction, self.seeds(self.config.n), self.smoothing())
