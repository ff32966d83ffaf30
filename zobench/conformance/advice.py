"""What to do about checks that failed."""

from __future__ import annotations

from collections import Counter

from zobench.plugins import Kind
from zobench.zo.conformance import CheckResult
from zobench.zo.conformance.hints import HINTS


def advice(kind: Kind, results: list[CheckResult]) -> list[str]:
    """What to do about the failed checks of a method. An error that fails several checks is named once."""
    failed = [result for result in results if not result.passed and not result.skipped]
    reasons = Counter(result.reason for result in failed)
    several = [reason for reason, count in reasons.items() if count > 3]
    lines = [f"{reasons[reason]} checks fail by one error; mend it first: {reason}" for reason in several]
    if kind == "methods":
        lines += [f"{r.name}: {HINTS[r.name]}" for r in failed if r.reason not in several and r.name in HINTS]
    return lines
