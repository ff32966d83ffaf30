"""What task-aware pruning keeps of linear layers (arXiv 2510.22489; scores in :mod:`zobench.zo.pruning`).

Building the space prunes the model: in every row of a chosen weight matrix the share ``sparsity`` with the
lowest scores is set to zero. Only the weights that are kept are tuned, as in space ``masked``, whose kind the
built space has. Removing the space restores the pruned weights.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from zobench.zo.layers import linear_layers
from zobench.zo.parameters import Count, Fraction, FractionBelowOne, Parameters, Patterns
from zobench.zo.space.base import ParameterSpace


@dataclass(frozen=True)
class Pruned(Parameters):
    """The weights of linear layers that pruning keeps.

    Attributes:
        criterion: scores are the size of a weight times that of its input on ``general`` data, on data of the
            ``task``, on a ``mixed`` set, or ``fused`` from both sets; ``magnitude``: the size of the weight.
            All but the last need the data of a run.
        sparsity: share of every row that is set to zero.
        include: glob patterns of the weight matrices.
        calibration: number of examples of each of the two sets; ``mixed`` has half of each.
        threshold: relative difference of a channel's sizes on the two sets above which it is exclusive.
    """

    criterion: Literal["magnitude", "general", "task", "mixed", "fused"] = "fused"
    sparsity: FractionBelowOne = 0.5
    include: Patterns = ("*_proj.weight",)
    calibration: Count = 32
    threshold: Fraction = 0.5

    def build(self, module: nn.Module) -> ParameterSpace:
        if self.criterion != "magnitude":
            raise ValueError(
                f"space 'pruned': criterion {self.criterion!r} needs the data of a run; use magnitude, or "
                "zobench.zo.pruning with your own data"
            )
        space = self.layers(module)
        return self.applied(module, {name: space.entries(name).detach().abs() for name in space})

    def applied(self, module: nn.Module, scores: dict[str, torch.Tensor]) -> ParameterSpace:
        """Prune by these scores."""
        pruning: Any = importlib.import_module("zobench.zo.pruning")
        before = {name: dict(module.named_parameters())[name].detach().clone() for name in scores}

        @torch.no_grad()
        def restore() -> None:
            for name, parameter in module.named_parameters():
                if name in before:
                    gone = ~masks[name]
                    parameter[gone] = before[name][gone]

        masks = pruning.kept_by_row(scores, self.sparsity)
        found: ParameterSpace = pruning.prune(module, masks, restore)
        return found

    def layers(self, module: nn.Module) -> ParameterSpace:
        """The space of the chosen matrices. ``ValueError`` if one is no weight of a linear layer."""
        catalogue: Any = importlib.import_module("zobench.zo.space.catalogue")
        every = [n for n, p in module.named_parameters() if p.is_floating_point()]
        chosen = catalogue.matching(every, self.include, ())
        if not chosen:
            raise ValueError(f"space 'pruned': {list(self.include)} match none of {every[:4]} …")
        space = ParameterSpace(module, chosen, kind="masked")
        known = linear_layers(space)
        others = [name for name in space if name not in known]
        if others:
            raise ValueError(
                f"space 'pruned': {others[0]!r} is no weight of a linear layer; choose layers with include, "
                "for instance '*_proj.weight'"
            )
        return space
