"""Two rules for fair comparisons of unlearned models: matching, and the choice of settings.

- Matched comparisons along theta(a) = theta_0 + a (theta_u - theta_0): every model is moved back towards the
  original until all have the same forget score, or the same retained score, before robustness is measured.
  Otherwise a model that is merely damaged would appear more robust.
- Tuning: every leaderboard entry gets the same number of trials and the same score to maximize, on facts that
  are not reported.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import nn

from zobench.unlearning.probes.interpolate import between


def position_of_level(
    original: nn.Module, module: nn.Module, score: Callable[[nn.Module], float], level: float, rounds: int = 7
) -> float:
    """The largest position found whose measured score is at or above ``level``, by bisection.

    1 if the unlearned model itself is at or above the level. The score should decrease along the line; if it
    does not, one of its crossings is found. Cost: ``rounds + 1`` evaluations of ``score``.
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
    """The tuning score to maximize: 1 + retain if the forget score is at or below the oracle's, else
    1 - forget.

    Both scores lie in [0, 1]. Therefore the trial with the best retained score is chosen among those that
    forget as much as the oracle; if there is none, the one with the lowest forget score. NaN if a score is
    not finite.
    """
    if not (math.isfinite(forget) and math.isfinite(retain)):
        return math.nan
    return 1.0 + retain if forget <= oracle else 1.0 - forget
