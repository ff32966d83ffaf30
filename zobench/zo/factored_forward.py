"""Low-rank displacements inside linear layers, without the displaced matrix.

Mode ``factored``: a linear layer whose weight is displaced along s A B^T computes

    y = x W^T + b + s (x B) A^T

so that neither A B^T nor W + s A B^T exists: r (m + n) numbers are drawn and held instead of m n, and a
forward costs r (m + n) more operations per row of x (EGGROLL, arXiv 2511.16652; it serves every low-rank
direction of this library). Losses are those of the formed weights up to the rounding of another order of
summation; in half precision they are nearer to the exact ones, because s A B^T is not rounded to the spacing
of W.

A weight that cannot be treated so is made when its module's forward starts, as in mode ``streamed``:
``formed`` says which and why. Everything else is as there, the refusal of weights that are used outside the
forward of their module included.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from zobench.zo.lowrank import LowRank
from zobench.zo.perturb import Along, Point
from zobench.zo.space.base import ParameterSpace
from zobench.zo.streamed import Streamed

Term = tuple[torch.Tensor, torch.Tensor]
"""s A and B of one displacement, in the dtype they are multiplied in."""


class Factored(Streamed):
    """``Streamed``, but for linear layers displaced along factors.

    Attributes:
        formed: name -> why the displaced tensor was made after all.
    """

    mode = "factored"

    def __init__(self, space: ParameterSpace) -> None:
        super().__init__(space)
        self.formed: dict[str, str] = {}
        self._terms: dict[int, list[Term]] = {}

    def replaced(
        self, module: nn.Module, local: dict[str, str], point: Point, args: Any
    ) -> dict[str, torch.Tensor]:
        name = local.get("weight")
        if name is None or not isinstance(module, nn.Linear):
            for formed in local.values():
                self.formed.setdefault(formed, "no weight of a linear layer")
            return super().replaced(module, local, point, args)
        terms = self._factors(module, name, point) if args else "its layer is called by keyword"
        if isinstance(terms, str):
            self.formed.setdefault(name, terms)
            return super().replaced(module, local, point, args)
        self._terms[id(module)] = terms
        rest = {k: n for k, n in local.items() if k != "weight"}
        # An alias, read as an attribute: the watch then sees uses outside the module's forward only.
        return {
            "weight": self.standing(module, "weight", module.weight.data),
            **super().replaced(module, rest, point, args),
        }

    def answered(self, module: nn.Module, args: Any, output: Any) -> Any:
        terms = self._terms.pop(id(module), None)
        if terms is None or output is None:
            return None
        total = output.to(terms[0][0].dtype)
        for a, b in terms:
            total = total + (args[0].to(b.dtype) @ b) @ a.T
        return total.to(output.dtype)

    def _factors(self, module: nn.Linear, name: str, point: Point) -> list[Term] | str:
        """The factors of all displacements of the weight, or why there are none."""
        if type(module).forward is not nn.Linear.forward:
            return "its layer computes in its own way"
        if self.space.indices(name) is not None:
            return "only some of its entries are tuned"
        wide = torch.float64 if module.weight.dtype == torch.float64 else torch.float32
        terms: list[Term] = []
        for shift in point:
            if not shift.touches(name):
                continue
            if not isinstance(shift, Along) or not isinstance(shift.direction, LowRank):
                return "displaced along no factors"
            if not shift.direction.is_matrix(name):
                return "too small for factors"
            a, b = shift.direction.factors(name, shift.seed)
            if (a.shape[0], b.shape[0]) != tuple(module.weight.shape):
                return "factored in another shape"
            shift.direction.source.drawn += a.numel() + b.numel()
            terms.append(((a * (shift.scale * shift.direction.gain(name))).to(wide), b.to(wide)))
        return terms
