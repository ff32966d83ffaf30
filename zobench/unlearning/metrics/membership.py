"""Membership inference: scores, the area under the curve, and PrivLeak (MUSE, arXiv 2407.06460).

Every score is higher if the text is *less* likely a member of the training set:

- loss: mean NLL;  zlib: mean NLL / len(zlib(text));  reference: mean NLL_model - mean NLL_reference;
- min-k: -mean of the lowest share k of the tokens' log-probabilities (k = 0.4);
- min-k++: the same for (log p - mu) / sigma, with mean mu and standard deviation sigma of log p under the
  model's own next-token distribution, sigma^2 at least 1e-6.

AUC = P(score of a holdout item > score of a forget item), ties count 1/2 (``zobench.metrics.two_samples``).
It is 1 if the forget set looks memorized and .5 if it looks like the holdout, provided that the holdout has
the distribution of the forget set.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

from zobench.metrics.two_samples import Floats, vector

SHARE = 0.4
VARIANCE_FLOOR = 1e-6


def loss_score(log_probs: Any) -> float:
    """Mean NLL of one text from its tokens' log-probabilities."""
    return float(-vector(log_probs, "log_probs").mean())


def zlib_score(log_probs: Any, text: str) -> float:
    """Mean NLL divided by the size of the compressed text."""
    return loss_score(log_probs) / len(zlib.compress(text.encode("utf-8")))


def reference_score(log_probs: Any, reference_log_probs: Any) -> float:
    """Mean NLL minus the mean NLL of a reference model on the same text."""
    return loss_score(log_probs) - loss_score(reference_log_probs)


def lowest(values: Floats, share: float) -> Floats:
    """The smallest ``share`` of the values, at least one."""
    if not 0 < share <= 1:
        raise ValueError(f"the share of tokens must lie in (0, 1], not {share}")
    return np.sort(values)[: max(1, int(len(values) * share))]


def min_k(log_probs: Any, share: float = SHARE) -> float:
    """-mean of the lowest ``share`` of the tokens' log-probabilities; share 1 is the loss."""
    return float(-lowest(vector(log_probs, "log_probs"), share).mean())


def min_k_plus_plus(log_probs: Any, means: Any, variances: Any, share: float = SHARE) -> float:
    """-mean of the lowest ``share`` of the tokens' standardized log-probabilities."""
    log_p, mu = vector(log_probs, "log_probs"), vector(means, "means")
    sigma = np.sqrt(np.maximum(vector(variances, "variances"), VARIANCE_FLOOR))
    return float(-lowest((log_p - mu) / sigma, share).mean())


def privleak(unlearned_auc: float, oracle_auc: float) -> float:
    """100 (A - A_oracle) / A_oracle with A = 1 - AUC, in percent.

    0 for the oracle itself. Negative: the forget set still looks like training data. Positive: it looks less
    like training data than if it had never been seen. ``ValueError`` if the oracle's A is 0.
    """
    for name, value in (("unlearned", unlearned_auc), ("oracle", oracle_auc)):
        if not 0 <= value <= 1:
            raise ValueError(f"the {name} AUC must lie in [0, 1], not {value}")
    a, reference = 1 - unlearned_auc, 1 - oracle_auc
    if reference == 0:
        raise ValueError(
            "PrivLeak is undefined: every holdout item scores above every forget item of the oracle"
        )
    return 100 * (a - reference) / reference
