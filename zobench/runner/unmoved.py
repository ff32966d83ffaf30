"""Detects runs that trained without effect: the weights are bit-identical to those before training, or all
predictions are the same as before training."""

from __future__ import annotations

import hashlib
import json

from zobench.runner.results import Measured

FREE_LOOK = ("classification", "multiple-choice", "image-classification")
"""Kinds of tasks for which the untrained model is evaluated for this check even if the suite does not request
budget point 0. This costs one pass over the examples, shared by all runs of a process that tune the whole
model. Generated answers cost one forward pass per token, so other tasks are only checked if the suite
requests point 0."""


def fingerprint(measured: Measured) -> str:
    """SHA-256 of the predictions (of the scores if predictions are not recorded)."""
    answers: list[object] = [[p.example_id, p.output] for p in measured.predictions]
    values = [[name, value.value] for name, value in sorted(measured.values.items())]
    return hashlib.sha256(json.dumps(answers or values).encode()).hexdigest()


def effect(
    steps: int, weights: tuple[str, str], answers: tuple[str, str], count: int
) -> tuple[str, str] | None:
    """Name and detail of the warning, or ``None``.

    Args:
        weights: digests of the tuned weights before and after ``steps`` steps.
        answers: fingerprints of ``count`` predictions before and after; empty if they are not known.
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
