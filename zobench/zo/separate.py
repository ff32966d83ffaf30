"""Objectives whose loss is a sum of two terms, for methods that need the gradient of each term.

``gradients`` returns (loss, forget gradient, retain gradient); the last is ``None`` if the loss has one term
only. Cost: 3 forward passes per term.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import nn

from zobench.zo.objective import Objective

Gradient = dict[str, torch.Tensor]


class TwoTerms(Objective, ABC):
    """The objective required by methods whose card needs ``separate-gradients``."""

    @abstractmethod
    def gradients(self, parameters: Mapping[str, nn.Parameter]) -> tuple[float, Gradient, Gradient | None]:
        """Loss at theta and the unweighted gradients of its terms on the current minibatch, by parameter
        name. Cost: 3 forward passes per term."""


def separate_gradients(
    objective: Objective, parameters: Mapping[str, nn.Parameter]
) -> tuple[float, Gradient, Gradient | None]:
    """``gradients`` of a :class:`TwoTerms`. For any other objective: loss, its gradient and ``None`` (cost: 3
    forward passes)."""
    if isinstance(objective, TwoTerms):
        return objective.gradients(parameters)
    loss, gradient = objective.gradient(parameters)
    return loss, gradient, None
