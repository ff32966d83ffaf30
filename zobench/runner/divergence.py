"""Divergence criterion: losses, weights or scores that are not finite, or losses many times as large as at
the start.

A diverged run stops, is evaluated at its current state and enters every average; it is never dropped. If its
model's scores are NaN, there is no final score and the run counts as chance.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Any


class NotFinite(ValueError):
    """A model's scores are NaN."""


NON_FINITE_IN_A_ROW = 20
WINDOW = 20
EXPLOSION = 10.0


@dataclass(slots=True)
class DivergenceGuard:
    """Monitors the loss of each step.

    A run has diverged after ``NON_FINITE_IN_A_ROW`` consecutive steps with a loss that is not finite, or if
    the mean of the last ``WINDOW`` finite losses exceeds ``EXPLOSION`` times max(1, first finite loss).
    """

    first: float | None = None
    streak: int = 0
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))

    def see(self, loss: float) -> str:
        """Record one step's loss and return the reason for stopping, or an empty string."""
        if not math.isfinite(loss):
            self.streak += 1
            return f"{self.streak} losses in a row not finite" if self.streak >= NON_FINITE_IN_A_ROW else ""
        self.streak = 0
        if self.first is None:
            self.first = loss
        self.recent.append(loss)
        mean = math.fsum(self.recent) / len(self.recent)
        if len(self.recent) == WINDOW and mean > EXPLOSION * max(1.0, self.first):
            return f"mean loss {mean:.3g} over {WINDOW} steps, {self.first:.3g} at the start"
        return ""

    def never_finite(self) -> str:
        """Message if the run has diverged without being stopped because none of its losses was finite; else
        an empty string."""
        return f"none of its {self.streak} losses is finite" if self.first is None and self.streak else ""

    def state(self) -> dict[str, Any]:
        return {"first": self.first, "streak": self.streak, "recent": list(self.recent)}

    @classmethod
    def of(cls, state: dict[str, Any]) -> DivergenceGuard:
        return cls(state["first"], state["streak"], deque(state["recent"], maxlen=WINDOW))
