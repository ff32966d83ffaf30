"""ZO-AE-DS (arXiv 2203.14195): networks in front of a black box, trained by queries of it.

    z = e(D(x)),   g ~ dl/dz by queries of the black box,   Adam on  (1/B) sum_i <z_i, g_i>

The gradient g by the code z is estimated by values of the loss (``rge``, ``cge``:
:mod:`zobench.zo.code_gradient`) and then backpropagated through the networks, which are white boxes. The
objective supplies codes and losses (``Objective(code=...)``). Cost: n + 3 forward passes a step under ``rge``
and ``cge-one-sided``, 2n + 3 under ``cge``: the queries, and 3 for the loss at z and the gradient through the
networks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from zobench.zo import noise
from zobench.zo.base import Cost, MethodCard
from zobench.zo.code_gradient import CodeEstimator, along_directions, by_coordinate
from zobench.zo.methods.first_order import FirstOrder
from zobench.zo.objective import FORWARDS_PER_GRADIENT, Objective, Query
from zobench.zo.parameters import Count, FractionBelowOne, Parameters, Positive, Rate
from zobench.zo.updates import Adam, Decay

DIRECTIONS = noise.tensor_key("code")


@dataclass(frozen=True)
class ZoAeDsConfig(Parameters):
    """Parameters of ZO-AE-DS; values of the authors' code.

    Attributes:
        lr: step size of Adam.
        estimator: ``rge``, ``cge`` or ``cge-one-sided``.
        n: random directions (``rge``), or the size of the code (``cge``).
        mu: step of the finite difference.
        beta1: decay of the first moment.
        beta2: decay of the second moment.
        delta: added to the root of the second moment.
    """

    lr: Rate = 1e-3
    estimator: CodeEstimator = "rge"
    n: Count = 192
    mu: Positive = 5e-3
    beta1: FractionBelowOne = 0.9
    beta2: FractionBelowOne = 0.999
    delta: Positive = 1e-8


class ZoAeDs(FirstOrder):
    """Adam on networks in front of a black box, with an estimated gradient at their output."""

    Config = ZoAeDsConfig
    card = MethodCard(
        name="zo-ae-ds",
        title="ZO-AE-DS",
        source="arXiv 2203.14195",
        formula="theta <- Adam(theta, (1/B) sum_i (dz_i/dtheta)^T g_i), g_i ~ dl/dz_i by queries",
        order="mixed",
        replay="checkpoint",
        needs=("code",),
        notes="The random directions are uniform on the sphere and carry the factor m. cge is two-sided, as "
        "in the authors' code; the paper's is one-sided (cge-one-sided). No step decay of the learning rate.",
    )
    small_problem: ClassVar[dict[str, Any]] = {"n": 8}

    @classmethod
    def cost(cls, config: ZoAeDsConfig) -> Cost:
        asked = FORWARDS_PER_GRADIENT + config.n * (2 if config.estimator == "cge" else 1)
        return Cost(asked, asked, 1, 8)

    def make_update(self) -> Adam:
        c = self.config
        return Adam(c.beta1, c.beta2, c.delta, Decay(0.0, "matrices"))

    def measured(self, objective: Objective) -> tuple[float, dict[str, torch.Tensor]]:
        return objective.code_gradient(self.space.tensors, self._estimate)

    def _estimate(self, z: torch.Tensor, at: torch.Tensor, query: Query) -> torch.Tensor:
        c = self.config
        if c.estimator == "rge":
            (seed,) = self.seeds(1)
            drawn = noise.sample(
                (c.n, *z.shape), seed=seed, key=DIRECTIONS, kind="gaussian", device=z.device, dtype=z.dtype
            )
            return along_directions(z, at, query, drawn, c.mu)
        if z.shape[1] != c.n:
            raise ValueError(
                f"zo-ae-ds: {c.estimator} asks for every coordinate; the code has {z.shape[1]}, so write "
                f"n: {z.shape[1]}, not {c.n}"
            )
        return by_coordinate(z, at, query, c.mu, two_sided=c.estimator == "cge")
