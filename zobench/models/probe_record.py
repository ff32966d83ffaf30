"""Results of a model probe, for stored records and for messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from zobench.models.way import Way


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one trial.

    Attributes:
        trial: description of the trial.
        difference: largest difference from the reference logits; ``None`` if the model raised an error.
        passed: whether the difference is rounding.
        error: first line of the model's error.
    """

    trial: str
    difference: float | None
    passed: bool
    error: str = ""

    def __str__(self) -> str:
        seen = self.error or f"difference {self.difference:.2g}"
        return f"{self.trial}: {'same' if self.passed else 'NOT the same'} ({seen})"


@dataclass(frozen=True, slots=True)
class ProbeRecord:
    """The chosen settings and the trials that decided them, in order.

    Attributes:
        scale: largest absolute logit of the reference.
        rounding: largest difference that counts as rounding.
    """

    way: Way
    scale: float
    rounding: float
    findings: tuple[Finding, ...]

    def as_record(self) -> dict[str, Any]:
        """Plain JSON values for a run's environment record."""
        trials = {f.trial: f.error or f"{f.difference:.3g}" for f in self.findings}
        return {"way": self.way.told(), "rounding": self.rounding, "trials": trials}
