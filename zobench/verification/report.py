"""What a verifier asks for, and what it found: a list of checks, each passed, failed or not made, with words.

A check that was not made is listed with the reason: silence must not look like approval.
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
    """How thorough a verification is.

    Attributes:
        steps: how many steps, drawn at random, have their losses recomputed; ``None``: all.
        draw_seed: fixes the draw; ``None``: unpredictable, which is what a judge wants.
        test_seed: also evaluate on the task's test rows under this data seed, less those the run may have
            seen.
        model: name or folder to load the base model from instead of the declared one; same digest required.
        tolerance: largest relative difference of a recomputed loss; ``None``: by dtype.
        device: device to verify on instead of the declared one.
    """

    steps: int | None = 16
    draw_seed: int | None = None
    test_seed: int | None = None
    model: str | None = None
    tolerance: float | None = None
    device: str | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One check."""

    check: str
    outcome: CheckOutcome
    detail: str


@dataclass(slots=True)
class VerificationReport:
    """Attributes:
    submission: what was read.
    findings: the checks in order.
    steps_checked, steps: steps whose losses were recomputed, of how many.
    exact: recomputed steps whose losses were equal to the bit.
    noise_backend: what drew the directions here.
    metrics: the verifier's own final test metrics, ``{name: value}``; empty where it did not come to that.
    rows: the verifier's own rows for the store's ``metrics`` and ``predictions`` tables.
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
        """Note a finding; True where the check passed."""
        self.findings.append(Finding(check, outcome, detail))
        return outcome == "passed"

    @property
    def passed(self) -> bool:
        """Whether every check that stands for the result was made and passed."""
        named = {name for name, _ in NEVER_CHECKED}
        return bool(self.findings) and all(
            f.outcome == "passed" for f in self.findings if f.check not in named
        )

    def failures(self) -> list[Finding]:
        return [f for f in self.findings if f.outcome == "failed"]

    def mark(self) -> str:
        """One line for a leaderboard row."""
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
    """Probability that ``checked`` of ``steps`` steps, drawn without replacement, hold none of a share
    ``forged`` of them: C(steps - bad, checked) / C(steps, checked)."""
    bad = math.ceil(forged * steps)
    if bad == 0 or checked > steps - bad:
        return 0.0 if bad else 1.0
    return math.comb(steps - bad, checked) / math.comb(steps, checked)


def listed(values: Sequence[object], most: int = 5) -> str:
    """The first few, and how many more."""
    shown = ", ".join(printable(v) for v in values[:most])
    return shown if len(values) <= most else f"{shown} and {len(values) - most} more"
