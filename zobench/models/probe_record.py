"""What a probe of a model saw, for records and for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from zobench.models.way import Way


@dataclass(frozen=True, slots=True)
class Finding:
    """One trial.

    Attributes:
        trial: what was tried.
        difference: largest difference from the reference logits; ``None`` where the model refused to run.
        passed: whether it is rounding.
        error: how the model refused.
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
    """The way that was chosen and the trials it was chosen by, in their order.

    Attributes:
        scale: largest logit of the reference.
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
