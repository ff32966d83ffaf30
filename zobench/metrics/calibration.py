"""Accuracy and calibration of class probabilities: ECE, Brier score, negative log-likelihood.

All functions take natural-log probabilities of shape (examples, classes), each row summing to one after
exponentiation, and gold class indices of shape (examples,). Rows of different length (multiple choice) are
padded with ``-inf``. NumPy only; no forward passes.

Conventions differ between papers, so they are stated here (``Calibration.describe`` prints them with the
number):

* expected calibration error (Guo et al., arXiv 1706.04599, eq. 3): sum over bins b of (n_b / N) |accuracy_b -
  confidence_b|, confidence being the probability of the predicted class;
* Brier score: the original multi-class sum, mean over examples of sum_k (p_k - 1[k = gold])^2, in [0, 2].
  For two classes it is twice the one-sided "binary" Brier score that some libraries print;
* negative log-likelihood: mean of -log p_gold, in nats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from zobench.metrics.arrays import Floats

Scheme = Literal["equal-width", "equal-mass"]


@dataclass(frozen=True, slots=True)
class Calibration:
    """A calibration error with the conventions it was computed under.

    Attributes:
        value: expected calibration error in [0, 1].
        worst: the largest bin's |accuracy - confidence| (maximum calibration error).
        bins: number of bins requested; ``occupied`` is the number of bins with at least one example.
        scheme: how bin edges were chosen.
        n: number of examples.
    """

    value: float
    worst: float
    bins: int
    occupied: int
    scheme: Scheme
    n: int

    def describe(self) -> str:
        """One phrase for a caption, for instance ``ECE, 15 equal-width bins on [0, 1], top-1, n = 200``."""
        place = "on [0, 1]" if self.scheme == "equal-width" else "of equal count"
        return f"ECE, {self.bins} {self.scheme} bins {place}, top-1, n = {self.n}"


def expected_calibration_error(
    log_probs: Any, labels: Any, bins: int = 15, scheme: Scheme = "equal-width"
) -> float:
    """Expected calibration error of the predicted class, in [0, 1]; see :func:`calibration` for its parts."""
    return calibration(log_probs, labels, bins, scheme).value


def calibration(log_probs: Any, labels: Any, bins: int = 15, scheme: Scheme = "equal-width") -> Calibration:
    """Expected and maximum calibration error.

    ``equal-width`` bins are (i/bins, (i+1)/bins] on [0, 1], as in the paper (confidence 0 falls into the
    first); ``equal-mass`` bins divide the examples, sorted by confidence, into ``bins`` groups whose sizes
    differ by at most one (examples of equal confidence may be in neighbouring bins).
    """
    p, gold = _checked(log_probs, labels)
    if bins < 1:
        raise ValueError(f"bins must be at least 1, not {bins}")
    confidence = p.max(axis=1)
    best = p == confidence[:, None]  # of k classes that tie each counts 1/k
    hit = best[np.arange(len(gold)), gold] / best.sum(axis=1)
    if scheme == "equal-width":
        index = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    elif scheme == "equal-mass":
        rank = np.empty(len(gold), dtype=int)
        rank[np.argsort(confidence, kind="stable")] = np.arange(len(gold))
        index = rank * bins // len(gold)
    else:
        raise ValueError(f"unknown binning scheme {scheme!r}; valid: equal-mass, equal-width")
    count = np.bincount(index, minlength=bins)
    gap = np.abs(np.bincount(index, hit - confidence, minlength=bins))
    used = count > 0
    return Calibration(
        value=float(gap.sum() / len(gold)),
        worst=float((gap[used] / count[used]).max()),
        bins=bins,
        occupied=int(used.sum()),
        scheme=scheme,
        n=len(gold),
    )


def brier(log_probs: Any, labels: Any) -> float:
    """Multi-class Brier score, mean_i sum_k (p_ik - 1[k = gold_i])^2, in [0, 2]; 0 is best."""
    p, gold = _checked(log_probs, labels)
    target = np.zeros_like(p)
    target[np.arange(len(gold)), gold] = 1.0
    return float(((p - target) ** 2).sum(axis=1).mean())


def nll(log_probs: Any, labels: Any) -> float:
    """Mean of -log p_gold in nats; infinite if a gold class has probability 0."""
    logs = _matrix(log_probs)
    _, gold = _checked(logs, labels)
    return float(-logs[np.arange(len(gold)), gold].mean())


def accuracy_with_stderr(correct: Sequence[bool] | Floats) -> tuple[float, float]:
    """Share of correct examples and its standard error over examples, s / sqrt(n) with s^2 = n p (1 - p) /
    (n - 1).

    This is the spread over test examples of one trained model, not over seeds. A single example has standard
    error ``nan``.
    """
    c = np.asarray(correct, dtype=float)
    if c.ndim != 1 or not len(c):
        raise ValueError(f"accuracy needs a non-empty one-dimensional sequence, not shape {c.shape}")
    if len(c) == 1:
        return float(c[0]), float("nan")
    return float(c.mean()), float(c.std(ddof=1) / np.sqrt(len(c)))


def _matrix(log_probs: Any) -> Floats:
    """Rows as a float matrix, ragged ones padded with ``-inf``."""
    if isinstance(log_probs, np.ndarray) and log_probs.ndim == 2:
        return log_probs.astype(float)
    rows = [np.asarray(row, dtype=float) for row in log_probs]
    width = max((len(r) for r in rows), default=0)
    out = np.full((len(rows), width), -np.inf)
    for i, row in enumerate(rows):
        out[i, : len(row)] = row
    return out


def _checked(log_probs: Any, labels: Any) -> tuple[Floats, NDArray[np.int64]]:
    """Probabilities and gold indices, or ``ValueError`` naming the first bad row."""
    logs = _matrix(log_probs)
    gold = np.asarray(labels)
    if not len(logs) or logs.shape[1] < 1:
        raise ValueError("calibration needs at least one example with at least one class")
    if gold.shape != (len(logs),):
        raise ValueError(f"{len(logs)} rows of log-probabilities but labels of shape {gold.shape}")
    if not np.issubdtype(gold.dtype, np.integer):
        raise ValueError(f"labels must be integer class indices, not {gold.dtype}")
    p = np.exp(logs)
    total = p.sum(axis=1)
    bad = np.flatnonzero(~(np.abs(total - 1.0) <= 1e-3))
    if len(bad):
        raise ValueError(f"row {bad[0]}: probabilities sum to {total[bad[0]]:.6g}, not 1")
    bad = np.flatnonzero((gold < 0) | (gold >= logs.shape[1]))
    if len(bad):
        raise ValueError(f"row {bad[0]}: label {gold[bad[0]]} is not one of {logs.shape[1]} classes")
    return p, gold.astype(np.int64)
