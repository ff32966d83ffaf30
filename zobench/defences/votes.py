"""Certified predictions by randomized smoothing, as predictions and metrics of a task.

The log-probabilities of such a prediction are those of the shares of the estimating votes, one added to each
class:  log((count + 1) / (n + classes)). The counts, and with them the certificate, follow from a stored
prediction.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from zobench.data.example import Example
from zobench.defences.certificates import ABSTAIN, Certificate, certificate, certified_accuracy
from zobench.metrics.calibration import accuracy_with_stderr
from zobench.tasks.base import MetricValue, Prediction

NO_ANSWER = "abstain"
"""Output of a prediction that abstains; it is wrong."""


def certified_prediction(
    example: Example,
    counts: tuple[Sequence[int], Sequence[int]],
    names: Sequence[str],
    *,
    sigma: float,
    alpha: float,
) -> Prediction:
    """The certified class of an example, or an abstention, from its selecting and estimating votes; right if
    it is the example's label."""
    first, rest = counts
    label = certificate(first, rest, sigma=sigma, alpha=alpha).label
    logs = tuple(math.log((count + 1) / (sum(rest) + len(names))) for count in rest)
    if label == ABSTAIN:
        return Prediction(example.id, NO_ANSWER, False, None, logs)
    return Prediction(example.id, names[label], label == example.label, label, logs)


def certificate_of(prediction: Prediction, *, n: int, sigma: float, alpha: float) -> Certificate:
    """The certificate of a prediction, recomputed from the shares of its ``n`` estimating votes."""
    if prediction.label is None or prediction.log_probs is None:
        return Certificate(ABSTAIN, 0.0)
    classes = len(prediction.log_probs)
    # log_probs are log((count + 1) / (n + classes)): solve for the counts.
    hits = [round(math.exp(p) * (n + classes)) - 1 for p in prediction.log_probs]
    chosen = [int(i == prediction.label) for i in range(classes)]
    return certificate(chosen, hits, sigma=sigma, alpha=alpha)


def certified_metrics(
    examples: Sequence[Example], found: Sequence[Certificate], radii: Sequence[float]
) -> dict[str, MetricValue]:
    """``certified_accuracy_at_R`` for each radius, and ``abstained``."""
    n = len(found)
    gold = [-2 if e.label is None else e.label for e in examples]
    shares = certified_accuracy(found, gold, radii)
    certified = {
        f"certified_accuracy_at_{radius:g}": MetricValue(float(share), n, math.sqrt(share * (1 - share) / n))
        for radius, share in zip(radii, shares, strict=True)
    }
    abstained, stderr = accuracy_with_stderr([c.label == ABSTAIN for c in found])
    return {**certified, "abstained": MetricValue(abstained, n, stderr)}
