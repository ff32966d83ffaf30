"""Adapters of several points side by side: one call of the module computes all branches of a step.

Inside :func:`side_by_side` the adapters of n points (space ``lora``) or their prefixes (space ``prefix``) are
stacked along a new first dimension. A call with n R rows uses the parameters of point b for the rows b R to
(b + 1) R - 1. Everything else, the product with the base weights included, is computed for all rows together.
Results agree with those of each point alone up to rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import nn

from zobench.zo.perturb import Perturbation, Point
from zobench.zo.streamed import owners

STACKED = ("lora_", "prefix_")
"""Beginnings of the names of parameters that their modules accept with a dimension for branches."""


@contextmanager
def stacked(
    perturbation: Perturbation, module: nn.Module, local: dict[str, str], points: Sequence[Point]
) -> Iterator[None]:
    """Inside the block these parameters of one module hold the values of all points. ``local`` maps their
    names in the module to names of the space."""
    with torch.inference_mode(False), torch.no_grad():
        made = {
            k: torch.stack([perturbation.space.whole(n, perturbation.values(n, point)) for point in points])
            for k, n in local.items()
        }
    own = {k: module._parameters[k] for k in local}
    module._parameters.update({k: nn.Parameter(t, requires_grad=False) for k, t in made.items()})
    try:
        yield
    finally:
        module._parameters.update(own)


@contextmanager
def side_by_side(perturbation: Perturbation, points: Sequence[Point]) -> Iterator[None]:
    """Inside the block the module computes all ``points`` at once, on rows in the order of the points.

    Raises:
        ValueError: no points, or a tuned tensor is no adapter and no prefix.
    """
    if not points:
        raise ValueError("side by side: at least one point is needed")
    owned = owners(perturbation.space)
    other = [n for _, local in owned for k, n in local.items() if not k.startswith(STACKED)]
    if other:
        raise ValueError(
            f"branches side by side need space 'lora' or 'prefix': {other[0]!r} is neither an adapter nor a "
            "prefix"
        )
    with ExitStack() as stack:
        # All tuned tensors, also those that no point displaces: a module expects all or none stacked.
        for module, local in owned:
            stack.enter_context(stacked(perturbation, module, local, points))
        yield
