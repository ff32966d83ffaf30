"""SIFT: Muon with separate, non-interfering momenta of the forget and the retain term. A first-order method.

For every matrix W (m x n) with gradients G_f, G_r of the two terms:

    B_i <- beta B_i + G_i,  M_i = G_i + beta B_i                         (Nesterov), i in {f, r}
    U_i, V_i: the top-k left and right singular vectors of M_i, 2 k <= min(m, n)
    P = polar([U_r U_f]),  Q = polar([V_r V_f])                           (nearest orthonormal columns)
    W <- W - eta sqrt(max(1, m / n)) P Q^T

polar(A) = A (A^T A)^(-1/2). If the two subspaces are orthogonal, P Q^T is the sum of Muon's two directions.
If they overlap, the shared directions are split between them instead of counted twice. For a loss of one
term, the method is Muon: W <- W - eta sqrt(max(1, m/n)) polar(M). The weights of the terms have no effect,
because only singular vectors are used. Parameters that are not matrices are left unchanged: the published
runs tune three down-projections. Cost per step: 3 forward passes per term, and two singular value
decompositions per matrix.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated

import torch

from zobench.zo.base import Cost, MethodCard
from zobench.zo.methods.first_order import FirstOrder
from zobench.zo.methods.zo_muon import newton_schulz
from zobench.zo.objective import Objective
from zobench.zo.parameters import Count, FractionBelowOne, OneOf, Parameters, Rate
from zobench.zo.separate import separate_gradients
from zobench.zo.updates import Update

SMALLEST = 1e-9
"""Singular values below this share of the largest count as zero."""
ORTHOGONALIZE = ("svd", "newton-schulz")


@dataclass(frozen=True)
class SiftConfig(Parameters):
    """Parameters of SIFT; values of the published unlearning runs.

    Attributes:
        lr: step size eta.
        beta: decay of both momenta.
        k: number of singular directions of each term, at most half of the smaller side of a matrix.
        orthogonalize: ``svd`` (exact polar factor) or ``newton-schulz`` (five steps, as Muon does).
    """

    lr: Rate = 0.016
    beta: FractionBelowOne = 0.95
    k: Count = 256
    orthogonalize: Annotated[str, OneOf(ORTHOGONALIZE)] = "svd"


def top_directions(matrix: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The first ``k`` left and right singular vectors as columns, without those of singular value zero."""
    u, s, vh = torch.linalg.svd(matrix.double(), full_matrices=False)
    kept = min(k, int((s > s.max() * SMALLEST).sum())) if s.numel() and s.max() > 0 else 0
    return u[:, :kept], vh[:kept].T


def isometry(matrix: torch.Tensor) -> torch.Tensor:
    """The polar factor on the span of the matrix, zero elsewhere.

    If the terms share a direction, the joined frame does not have full rank. A full polar factor would
    complete it with arbitrary directions.
    """
    u, v = top_directions(matrix, min(matrix.shape))
    return u @ v.T


def without_interference(
    forget: torch.Tensor,
    retain: torch.Tensor | None,
    k: int,
    orthogonalize: Callable[[torch.Tensor], torch.Tensor] = isometry,
) -> torch.Tensor:
    """P Q^T as defined in the module's docstring, float64; Muon's direction without a retain term."""
    if retain is None:
        return orthogonalize(forget)
    cut = max(1, min(k, min(forget.shape) // 2))
    sides = [top_directions(m, cut) for m in (retain, forget)]
    u, v = (torch.cat(pair, dim=1) for pair in zip(*sides, strict=True))
    return orthogonalize(u) @ orthogonalize(v).T


class SeparateMomenta(Update):
    """Two Nesterov momenta per matrix. The method stores the step's retain gradients in ``retained``."""

    slots = ("forget", "retain")

    def __init__(self, config: SiftConfig) -> None:
        super().__init__()
        self.config = config
        self.orthogonalize = isometry if config.orthogonalize == "svd" else newton_schulz
        self.retained: Mapping[str, torch.Tensor] | None = None

    def step_for(self, name: str, gradient: torch.Tensor) -> torch.Tensor:
        if gradient.dim() != 2:
            return torch.zeros_like(gradient)
        ahead = self._ahead("forget", name, gradient)
        other = None if self.retained is None else self._ahead("retain", name, self.retained[name])
        joined = without_interference(ahead, other, self.config.k, self.orthogonalize)
        rows, columns = gradient.shape
        return joined * math.sqrt(max(1.0, rows / columns))

    def _ahead(self, slot: str, name: str, gradient: torch.Tensor) -> torch.Tensor:
        b = self.slot(slot, name, gradient).mul_(self.config.beta).add_(gradient)
        return gradient + self.config.beta * b


class Sift(FirstOrder):
    """Muon with separate momenta of two loss terms; see the module's docstring."""

    Config = SiftConfig
    config: SiftConfig
    updater: SeparateMomenta
    card = MethodCard(
        name="sift",
        title="SIFT: spectral interference control with Muon (first-order)",
        source="OPTML-Group/SIFT",
        formula="W <- W - eta sqrt(max(1, m/n)) polar([U_r U_f]) polar([V_r V_f])^T, U_i and V_i of the "
        "momenta of the two terms",
        order="first",
        replay="checkpoint",
        needs=("separate-gradients",),
        fades=False,
        notes="The authors also select where to intervene, by a common subspace or by layer; this is not "
        "implemented. Singular vectors of singular value zero are omitted, in the momenta and in the joined "
        "frames. Tuned parameters that are not whole matrices are left unchanged.",
        revision=2,
    )

    @classmethod
    def cost(cls, config: SiftConfig) -> Cost:
        return Cost(3, 3, 1, 8)

    def make_update(self) -> SeparateMomenta:
        return SeparateMomenta(self.config)

    def measured(self, objective: Objective) -> tuple[float, dict[str, torch.Tensor]]:
        loss, forget, retain = separate_gradients(objective, self.space.tensors)
        if retain is None:
            self.updater.retained = None
            return loss, forget
        self.updater.retained = {n: self.tuned(n, g) for n, g in retain.items()}
        finite = all(bool(g.isfinite().all()) for g in retain.values())
        return (loss if finite else math.nan), forget
