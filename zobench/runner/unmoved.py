"""Tells a run that trained without effect: weights that kept their bits, or predictions that are all those of
the model before training."""

from __future__ import annotations

import hashlib
import json

from zobench.runner.results import Measured

FREE_LOOK = ("classification", "multiple-choice")
"""Kinds of tasks whose untouched model is measured for this where the suite does not ask for point 0: one
pass over the rows, shared by all runs of a process that tune the whole model. Generated answers cost one pass
a token, so there it is only looked at where it is measured anyway."""


def fingerprint(measured: Measured) -> str:
    """SHA-256 of what was answered (of the scores, where no single answers are kept)."""
    answers: list[object] = [[p.example_id, p.output] for p in measured.predictions]
    values = [[name, value.value] for name, value in sorted(measured.values.items())]
    return hashlib.sha256(json.dumps(answers or values).encode()).hexdigest()


def effect(
    steps: int, weights: tuple[str, str], answers: tuple[str, str], count: int
) -> tuple[str, str] | None:
    """Name and detail of the warning, or ``None``.

    Args:
        weights: digests of the tuned weights before and after ``steps`` steps.
        answers: fingerprints of ``count`` predictions before and after; empty where they are not known.
    """
    if not steps:
        return None
    if weights[0] == weights[1]:
        return (
            "weights-unmoved",
            f"{steps} steps left every weight as it was; the learning rate may be too small",
        )
    if answers[0] and answers[0] == answers[1]:
        what = f"all {count} predictions are" if count else "all scores are"
        return "predictions-unmoved", f"{what} those before training"
    return None
