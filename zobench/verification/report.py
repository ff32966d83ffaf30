"""Options and results of a verification: a list of checks, each passed, failed or not checked, with details.

Checks that were not made are listed with the reason, so that a missing check cannot be taken for a passed
one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from zobench.names import printable
from zobench.verification.bindings import MARKED, unchecked

if TYPE_CHECKING:
    from zobench.verification.submission import Submission

CheckOutcome = Literal["passed", "failed", "not checked"]

NEVER_CHECKED = (
    ("claimed", f"{unchecked()} are the submitter's word"),
    ("tuning", "how the hyperparameters were chosen, and the forwards spent on it, are the submitter's word"),
    ("attacks, curve, lm-eval", "only the task's final clean test metrics are measured again"),
)


@dataclass(frozen=True, slots=True)
class Demands:
    """Options that set how thorough a verification is.

    Attributes:
        steps: number of randomly drawn steps whose losses are recomputed; ``None``: all.
        draw_seed: seed of that draw; ``None``: unpredictable, as a judge needs.
        test_seed: also evaluate on the task's test examples of this data seed, without those that the run
            may have seen.
        model: name or folder to load the base model from instead of the declared one; same digest required.
        tolerance: largest relative difference of a recomputed loss; ``None``: by dtype.
        device: device to verify on instead of the declared one.
        trust_code: execute the Python file with the run's reward, if it has one; its digest must be the
            declared one.
    """

    steps: int | None = 16
    draw_seed: int | None = None
    test_seed: int | None = None
    model: str | None = None
    tolerance: float | None = None
    device: str | None = None
    trust_code: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """One check."""

    check: str
    outcome: CheckOutcome
    detail: str


@dataclass(slots=True)
class VerificationReport:
    """Attributes:
    submission: the submission that was read.
    findings: the checks in order.
    steps_checked, steps: number of steps whose losses were recomputed, and of all steps.
    exact: recomputed steps whose losses were bit-identical.
    noise_backend: the noise backend that drew the directions on this machine.
    metrics: the verifier's own final test metrics, ``{name: value}``; empty if none were measured.
    rows: the verifier's own lines for the store's ``metrics`` and ``predictions`` tables.
    """

    submission: Submission
    findings: list[Finding] = field(default_factory=list)
    steps_checked: int = 0
    steps: int = 0
    exact: int = 0
    noise_backend: str | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def add(self, check: str, outcome: CheckOutcome, detail: str) -> bool:
        """Add a finding; True if the check passed."""
        self.findings.append(Finding(check, outcome, detail))
        return outcome == "passed"

    @property
    def passed(self) -> bool:
        """Whether every check was made and passed, except those that are never made."""
        named = {name for name, _ in NEVER_CHECKED}
        return bool(self.findings) and all(
            f.outcome == "passed" for f in self.findings if f.check not in named
        )

    def failures(self) -> list[Finding]:
        return [f for f in self.findings if f.outcome == "failed"]

    def mark(self) -> str:
        """One line for the note of a leaderboard entry."""
        return (
            f"verified: {self.steps} steps replayed, losses of {self.steps_checked} recomputed "
            f"({self.exact} to the bit), weights and test metrics reproduced; "
            f"claimed, not checked: {', '.join(MARKED)}"
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "run_id": str(self.submission.run["run_id"]),
            "passed": self.passed,
            "steps": self.steps,
            "steps_checked": self.steps_checked,
            "exact": self.exact,
            "metrics": self.metrics,
            "findings": [asdict(f) for f in self.findings],
        }

    def __str__(self) -> str:
        width = max((len(f.check) for f in self.findings), default=0)
        run = self.submission.run
        lines = [f"run {printable(run['run_id'])} ({printable(run['row'])})"]
        for f in self.findings:
            outcome = "FAILED" if f.outcome == "failed" else f.outcome
            lines.append(f"{outcome:<11}  {f.check:<{width}}  {printable(f.detail)}")
        return "\n".join([*lines, "VERIFIED" if self.passed else "NOT VERIFIED"])


def chance_of_missing(steps: int, checked: int, forged: float = 0.1) -> float:
    """Probability that ``checked`` of ``steps`` steps, drawn without replacement, contain no forged step.

    With bad = ceil(forged * steps) forged steps: C(steps - bad, checked) / C(steps, checked)."""
    bad = math.ceil(forged * steps)
    if bad == 0 or checked > steps - bad:
        return 0.0 if bad else 1.0
    return math.comb(steps - bad, checked) / math.comb(steps, checked)


def listed(values: Sequence[object], most: int = 5) -> str:
    """The first ``most`` values, and the number of the others."""
    shown = ", ".join(printable(v) for v in values[:most])
    return shown if len(values) <= most else f"{shown} and {len(values) - most} more"
