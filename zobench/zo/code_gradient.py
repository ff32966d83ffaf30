"""Estimated gradients of losses by the code that they are computed from.

A network maps examples to codes z of m numbers, and only values of the loss l(z) are known. For each example

    rge:            g = (m / (n mu)) sum_i [l(z + mu u_i) - l(z)] u_i,  u_i uniform on the sphere;  n queries
    cge:            g = sum_j [l(z + mu e_j) - l(z - mu e_j)] e_j / (2 mu);                        2 m queries
    cge-one-sided:  g = sum_j [l(z + mu e_j) - l(z)] e_j / mu;                                       m queries

One query is the losses of all examples at one point each; the losses at z come in addition.
"""

from __future__ import annotations

from typing import Literal

import torch

from zobench.zo.objective import Query

CodeEstimator = Literal["rge", "cge", "cge-one-sided"]
POINTS_AT_A_TIME = 16


def along_directions(
    z: torch.Tensor, at: torch.Tensor, query: Query, directions: torch.Tensor, mu: float
) -> torch.Tensor:
    """``rge`` for directions of shape (n, rows, m), which need not have length 1."""
    units = directions / directions.norm(dim=-1, keepdim=True)
    losses = _asked(query, z + mu * units)
    scale = z.shape[1] / (mu * len(units))
    return scale * torch.einsum("nr,nrm->rm", losses - at, units)


def by_coordinate(
    z: torch.Tensor, at: torch.Tensor, query: Query, mu: float, *, two_sided: bool
) -> torch.Tensor:
    """``cge``, or ``cge-one-sided``."""
    steps = mu * torch.eye(z.shape[1], dtype=z.dtype, device=z.device)[:, None]
    above = _asked(query, z + steps)
    if two_sided:
        return ((above - _asked(query, z - steps)) / (2 * mu)).T
    return ((above - at) / mu).T


def _asked(query: Query, points: torch.Tensor) -> torch.Tensor:
    return torch.cat([query(part) for part in points.split(POINTS_AT_A_TIME)])
