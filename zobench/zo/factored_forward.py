"""Low-rank displacements inside linear layers, without the displaced matrix.

Mode ``factored``: a linear layer whose weight is displaced along s A B^T computes

    y = x W^T + b + s (x B) A^T

where neither A B^T nor W + s A B^T is formed: r (m + n) numbers are drawn and stored instead of m n, and a
forward pass costs r (m + n) more operations per input vector x (EGGROLL, arXiv 2511.16652). The mode works
with every low-rank direction of this library. Losses equal those of the formed weights up to the rounding of
a different order of summation. In half precision they are closer to the exact losses, because s A B^T is not
rounded to the spacing of W.

If this form does not apply to a weight, its displaced tensor is created when its module's forward starts, as
in mode ``streamed``; ``formed`` lists these weights with the reason. In all other respects the mode behaves
like ``streamed``: for example, it also refuses weights that are used outside the forward of their module.
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
"""s A (m x r) and B (n x r) of one displacement, in the dtype of the multiplication."""


class Factored(Streamed):
    """``Streamed``, except that linear layers displaced along low-rank factors use the factors directly.

    Attributes:
        formed: name -> why the displaced tensor was formed.
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
                self.formed.setdefault(formed, "not the weight of a linear layer")
            return super().replaced(module, local, point, args)
        # The hooks of ``Streamed`` receive positional arguments only: a keyword input is not available here.
        terms = self._factors(module, name, point) if args else "its layer is called by keyword"
        if isinstance(terms, str):
            self.formed.setdefault(name, terms)
            return super().replaced(module, local, point, args)
        self._terms[id(module)] = terms
        rest = {k: n for k, n in local.items() if k != "weight"}
        # ``.data`` is another tensor object with the same storage. The watch of ``Streamed`` does not count
        # it, so that it reports only uses of the weight outside the module's forward.
        return {
            "weight": self.standing(module, "weight", module.weight.data),
            **super().replaced(module, rest, point, args),
        }

    def answered(self, module: nn.Module, args: Any, output: Any) -> Any:
        terms = self._terms.pop(id(module), None)
        if terms is None or output is None:
            return None
        # In half precision the sum is formed in float32 and rounded once: rounding each term would lose small
        # displacements.
        total = output.to(terms[0][0].dtype)
        for a, b in terms:
            total = total + (args[0].to(b.dtype) @ b) @ a.T
        return total.to(output.dtype)

    def _factors(self, module: nn.Linear, name: str, point: Point) -> list[Term] | str:
        """The factors of all displacements of the weight, or the reason why they cannot be used."""
        # A subclass may compute something else than x W^T + b.
        if type(module).forward is not nn.Linear.forward:
            return "its layer overrides nn.Linear.forward"
        if self.space.indices(name) is not None:
            return "only some of its entries are tuned"
        wide = torch.float64 if module.weight.dtype == torch.float64 else torch.float32
        terms: list[Term] = []
        for shift in point:
            if not shift.touches(name):
                continue
            if not isinstance(shift, Along) or not isinstance(shift.direction, LowRank):
                return "its displacement is not low-rank"
            if not shift.direction.is_matrix(name):
                return "too small for factors"
            a, b = shift.direction.factors(name, shift.seed)
            # A direction may factor the matrix in another shape (``Sandwiched`` with ``near_square``).
            if (a.shape[0], b.shape[0]) != tuple(module.weight.shape):
                return "factored in another shape"
            # Only the factors are drawn, not the m n entries that the direction's ``add_`` would count.
            shift.direction.source.drawn += a.numel() + b.numel()
            terms.append(((a * (shift.scale * shift.direction.gain(name))).to(wide), b.to(wide)))
        return terms
