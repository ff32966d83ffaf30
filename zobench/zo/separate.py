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
    """The objective required by methods whose card needs ``separate-gradients``."""

    @abstractmethod
    def gradients(self, parameters: Mapping[str, nn.Parameter]) -> tuple[float, Gradient, Gradient | None]:
        """Loss at theta and the gradients of its terms, unweighted, over the current minibatch."""


def separate_gradients(
    objective: Objective, parameters: Mapping[str, nn.Parameter]
) -> tuple[float, Gradient, Gradient | None]:
    """The two gradients of a :class:`TwoTerms`; for any other objective the whole gradient and ``None``."""
    if isinstance(objective, TwoTerms):
        return objective.gradients(parameters)
    loss, gradient = objective.gradient(parameters)
    return loss, gradient, None
