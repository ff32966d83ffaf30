"""Truth ratio and forget quality (TOFU, arXiv 2401.06121).

    R = p(wrong) / p(correct)

p(correct) is the length-normalized probability of the paraphrased answer. p(wrong) is the *geometric* mean
over the perturbed answers: the released code averages their losses, though the paper writes an arithmetic
mean. Three ways to aggregate:

- ``forget``: mean of min(R, 1/R); 1 if wrong and right answers are equally likely;
- ``utility``: mean of max(0, 1 - R); 1 if only the right answer is likely;
- ``knowledge``: mean of p(correct) / (p(correct) + p(wrong)); 0.5 if the model knows nothing.

Forget quality is the two-sample Kolmogorov-Smirnov test between the R of the unlearned model and of the
retain-only oracle. Report D and log10 p, not p: the smallest reachable p depends on the number of items
(1.9e-23 for 40 against 40, 1.1e-239 for 400 against 400), so it must not be compared across forget sets nor
averaged over seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import stats

from zobench.metrics.two_samples import Floats, vector
from zobench.unlearning.metrics.probability import FLOOR

Aggregate = Literal["forget", "utility", "knowledge"]


def log_truth_ratio(correct_loss: Any, wrong_losses: Sequence[Any]) -> Floats:
    """log R per item from token-mean losses: correct_loss - mean(wrong_losses)."""
    right = vector(correct_loss, "correct_loss")
    wrong = np.array([vector(w, "wrong_losses").mean() for w in wrong_losses])
    if len(wrong) != len(right):
        raise ValueError(f"{len(right)} items, but perturbed answers for {len(wrong)}")
    return right - wrong


def truth_ratio(correct_loss: Any, wrong_losses: Sequence[Any], aggregate: Aggregate) -> float:
    """One of the aggregates of the module docstring over all items."""
    log_r = log_truth_ratio(correct_loss, wrong_losses)
    if aggregate == "forget":
        each = np.exp(-np.abs(log_r))
    elif aggregate == "utility":
        each = -np.expm1(np.minimum(log_r, 0.0))
    elif aggregate == "knowledge":
        right = np.exp(-vector(correct_loss, "correct_loss"))
        wrong = np.exp(-np.array([vector(w, "wrong_losses").mean() for w in wrong_losses]))
        each = right / (right + wrong + FLOOR)
    else:
        raise ValueError(f"unknown aggregate {aggregate!r}; valid: forget, knowledge, utility")
    return float(each.mean())


@dataclass(frozen=True, slots=True)
class ForgetQuality:
    """A Kolmogorov-Smirnov comparison with the oracle.

    Attributes:
        d: largest distance of the two empirical distribution functions, in [0, 1]; 0 is best.
        log10_p: log10 of the p-value of the two-sided test; 0 is best.
        n, m: number of items of the unlearned model, and of the oracle.
        saturated: D is 1, so p depends only on the number of items.
    """

    d: float
    log10_p: float
    n: int
    m: int
    saturated: bool


def forget_quality(unlearned: Any, oracle: Any) -> ForgetQuality:
    """KS test between two samples of truth ratios (or of their logarithms: only order matters)."""
    a, b = vector(unlearned, "unlearned"), vector(oracle, "oracle")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("truth ratios must be finite; pass their logarithms instead")
    d = float(stats.ks_2samp(a, b, method="asymp").statistic)
    return ForgetQuality(d, ks_log10_p(d, len(a), len(b)), len(a), len(b), d >= 1.0)


MOST_CELLS = 4_000_000
"""Largest lattice whose paths are counted for samples of different sizes: a few seconds."""


def ks_log10_p(d: float, n: int, m: int) -> float:
    """log10 of the two-sided p-value of D = ``d`` for samples of ``n`` and ``m`` values without ties.

    Computed exactly in integers: a float cannot represent p below 1e-308, which 538 against 538 items reach.
    Equal sizes have a closed form (Gnedenko and Korolyuk 1951), with h = n D,

        p = 2 sum_{k >= 1} (-1)^(k-1) C(2n, n - k h) / C(2n, n).

    For other sizes lattice paths are counted; beyond ``MOST_CELLS`` the approximation
    2 exp(-2 D^2 nm / (n + m)) is used.
    """
    reach = round(d * n * m)
    if reach <= 0:
        return 0.0
    if n == m:
        h = reach // n
        total = math.comb(2 * n, n)
        outside = 2 * sum((-1) ** (k - 1) * math.comb(2 * n, n - k * h) for k in range(1, n // h + 1))
    elif n * m <= MOST_CELLS:
        total = math.comb(n + m, n)
        outside = total - _paths_inside(n, m, reach)
    else:
        return min(0.0, (math.log(2) - 2 * d * d * n * m / (n + m)) / math.log(10))
    return math.log10(outside) - math.log10(total)


def _paths_inside(n: int, m: int, reach: int) -> int:
    """Number of orderings of two samples whose distribution functions always differ by less than
    reach / (n m)."""
    row = [1 if j * n < reach else 0 for j in range(m + 1)]
    for j in range(1, m + 1):
        row[j] = row[j] and row[j - 1]
    for i in range(1, n + 1):
        left = 0
        for j in range(m + 1):
            left = row[j] + left if abs(i * m - j * n) < reach else 0
            row[j] = left
    return row[m]
