"""Two rules that make a comparison of unlearned models fair: what is matched, and how settings are chosen.

- Matched comparisons along theta(a) = theta_0 + a (theta_u - theta_0): every model is moved back towards the
  original until it has the same forget score, or the same retained score, before its robustness is measured.
  Without this a model that is merely damaged would appear more robust.
- Tuning: every row gets the same number of trials and one score to maximize, on facts that are not reported.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import nn

from zobench.unlearning.probes.interpolate import between


def position_of_level(
    original: nn.Module, module: nn.Module, score: Callable[[nn.Module], float], level: float, rounds: int = 7
) -> float:
    """The position whose *measured* score is nearest above ``level``, by bisection; one evaluation a round
    and one for the end. 1 where the unlearned model itself is still at or above the level.

    The score must fall along the line; where it does not, one of its crossings is found.
    """
    if score(module) >= level:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(rounds):
        middle = (low + high) / 2
        if score(between(original, module, middle)) >= level:
            low = middle
        else:
            high = middle
    return low


def selection_score(forget: float, retain: float, oracle: float) -> float:
    """What tuning maximizes: 1 + retain if the forget score is at or below the oracle's, else 1 - forget.

    Both scores lie in [0, 1]. So among trials that forget as much as the oracle the best retained score wins;
    if there is none, the lowest forget score. NaN if either score is not finite.
    """
    if not (math.isfinite(forget) and math.isfinite(retain)):
        return math.nan
    return 1.0 + retain if forget <= oracle else 1.0 - forget
