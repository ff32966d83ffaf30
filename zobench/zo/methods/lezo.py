"""LeZO: each step perturbs and updates a random subset of the layers (arXiv 2410.09823).

c = (L(theta + eps R z) - L(theta - eps R z)) / (2 eps),  theta <- theta - eta * c * R z

R selects a share 1 - sparsity of the layers, drawn for each direction seed. 2n forward passes per step; noise
and memory traffic are proportional to the selected layers.
"""

from __future__ import annotations

from dataclasses import dataclass

from zobench.zo.base import Cost, MethodCard
from zobench.zo.directions import Blocks, groups_by_layer
from zobench.zo.estimators import Estimate, two_sided
from zobench.zo.method import ZerothOrder
from zobench.zo.objective import Objective
from zobench.zo.parameters import Count, FractionBelowOne, Parameters, Positive, Rate
from zobench.zo.sparse import counter_only, kept_count


@dataclass(frozen=True)
class LezoConfig(Parameters):
    """Parameters of LeZO; lr and epsilon are MeZO's, sparsity is a choice. The paper's values are not known.

    Attributes:
        lr: step size eta.
        epsilon: smoothing radius eps.
        n: directions per step, each with its own layers.
        sparsity: share of the omitted layers, in [0, 1); at least one layer is selected.
    """

    lr: Rate = 1e-6
    epsilon: Positive = 1e-3
    n: Count = 1
    sparsity: FractionBelowOne = 0.75


class Lezo(ZerothOrder):
    """Layer-wise sparse SPSA."""

    Config = LezoConfig
    card = MethodCard(
        name="lezo",
        title="LeZO",
        source="arXiv 2410.09823",
        formula="theta <- theta - eta * c * R z, R selects a random share of the layers",
        order="zeroth",
        replay="scalars",
        in_span=True,
        notes="Known from the paper's abstract and a formula note (2026-11-29); the authors' repository "
        "(WangFei-2019/LeZO@0be125e) holds only a README. Layers are name prefixes up to the first "
        "number; embeddings, norms and heads outside the stack are layers of their own and drawn like "
        "the others, which the sources leave open. No rescaling: averaged over subsets the estimate "
        "is (1 - sparsity) times the gradient. passes_per_step is the upper bound, for a step that "
        "keeps the largest layers.",
    )

    @classmethod
    def cost(cls, config: LezoConfig) -> Cost:
        return Cost(2 * config.n, 2 * config.n, 3 * config.n, 0)

    def make_direction(self) -> Blocks:
        counter_only(self.engine, "lezo")
        groups = groups_by_layer(list(self.space))
        active = kept_count(len(groups), self.config.sparsity)
        return Blocks(self.engine.gaussian(), groups, active, rescale=False)

    def measure(self, objective: Objective) -> Estimate:
        return two_sided(self.engine, objective, self.direction, self.seeds(self.config.n), self.smoothing())
