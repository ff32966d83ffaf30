"""Objectives whose loss is a sum of two terms, for methods that need the gradient of each.

``gradients`` gives (loss, forget gradient, retain gradient), the last ``None`` where the loss has one term
only; 3 forwards for each term.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import nn

from zobench.zo.objective import Objective

Gradient = dict[str, torch.Tensor]


class TwoTerms(Objective, ABC):
    """What a method with ``MethodCard.needs`` of ``separate-gradients`` asks for."""

    @abstractmethod
    def gradients(self, parameters: Mapping[str, nn.Parameter]) -> tuple[float, Gradient, Gradient | None]:
        """Loss at theta and the gradients of its terms, unweighted, over the current minibatch."""


def separate_gradients(
    objective: Objective, parameters: Mapping[str, nn.Parameter]
) -> tuple[float, Gradient, Gradient | None]:
    """Of a :class:`TwoTerms`; the whole gradient and ``None`` of any other objective."""
    if isinstance(objective, TwoTerms):
        return objective.gradients(parameters)
    loss, gradient = objective.gradient(parameters)
    return loss, gradient, None
