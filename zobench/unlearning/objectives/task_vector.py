"""Task vector: the weights are moved away from a model trained further on the forget set.

theta - alpha (theta_reinforced - theta)
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import nn

from zobench.unlearning.base import Card, UnlearningMethod


@dataclass(frozen=True, kw_only=True)
class TaskVectorConfig:
    """Parameters of task arithmetic; the default is MUSE's.

    Attributes:
        alpha: scale of the difference; 0 leaves the model unchanged.
    """

    alpha: float = 5.0


class TaskVector(UnlearningMethod):
    """An operation on weights, without loss and steps.

    The caller trains ``reinforced`` on the forget set (10 epochs in MUSE)."""

    Config = TaskVectorConfig
    config: TaskVectorConfig
    card = Card(
        "task-vector",
        "Task arithmetic",
        "2212.04089",
        "theta - alpha (theta_ft - theta)",
        form="weights",
        zo_refusal="it is an operation on weights, not a loss: there is nothing to optimize",
    )

    def apply(self, module: nn.Module, reinforced: nn.Module) -> nn.Module:
        """A changed copy of ``module``; ``ValueError`` if the two have different parameters."""
        changed = copy.deepcopy(module)
        own, other = dict(changed.named_parameters()), dict(reinforced.named_parameters())
        if own.keys() != other.keys():
            raise ValueError(f"the two models differ in parameters: {sorted(own.keys() ^ other.keys())[:4]}")
        with torch.no_grad():
            for name, weight in own.items():
                weight.sub_(other[name].to(weight) - weight, alpha=self.config.alpha)
        return changed
