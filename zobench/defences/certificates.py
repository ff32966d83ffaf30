"""Certificates of smoothed classifiers and their confidence.

Randomized smoothing (Cohen et al., arXiv 1902.02918): g(x) = the class that a base classifier returns most
often under noise N(0, sigma^2 I). If the top class has probability at least p > 1/2 with confidence 1 - alpha
(one-sided Clopper-Pearson bound of k hits in n draws), g is constant within

    R = sigma Phi^-1(p)   in the Euclidean norm;   p <= 1/2: abstain.

The class is chosen on n0 separate draws. Over all inputs, a certificate is wrong with probability at most
alpha. SmoothLLM (arXiv 2310.03684): a majority vote over N character-perturbed copies; see
:func:`defence_success` and :func:`suffix_broken`. SmoothVLM (arXiv 2405.10529): the same vote over changed
pixels, see :func:`patch_broken`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray
from scipy import stats

ABSTAIN = -1


@dataclass(frozen=True, slots=True)
class Certificate:
    """The predicted class and its certified radius; ``ABSTAIN`` and 0 if the classifier abstains."""

    label: int
    radius: float


def lower_bound(hits: int, n: int, alpha: float) -> float:
    """One-sided Clopper-Pearson bound: a binomial share is at least this with confidence 1 - alpha."""
    if not (0 <= hits <= n and n > 0 and 0 < alpha < 1):
        raise ValueError(f"lower_bound: 0 <= hits <= n, n > 0 and 0 < alpha < 1, not {hits}, {n}, {alpha}")
    return float(stats.beta.ppf(alpha, hits, n - hits + 1)) if hits else 0.0


def certificate(
    selection: Sequence[int], estimation: Sequence[int], *, sigma: float, alpha: float
) -> Certificate:
    """The certificate from counts per class: ``selection`` (n0 draws) chooses the class, ``estimation``
    (n other draws) bounds its probability."""
    top = int(np.argmax(selection))
    p = lower_bound(int(estimation[top]), int(sum(estimation)), alpha)
    if p <= 0.5:
        return Certificate(ABSTAIN, 0.0)
    return Certificate(top, sigma * float(stats.norm.ppf(p)))


def certified_accuracy(
    found: Sequence[Certificate], labels: Sequence[int], radii: Sequence[float]
) -> NDArray[np.float64]:
    """For each radius r, the share of inputs with the right class and a certified radius of at least r.

    Abstentions count as wrong."""
    if len(found) != len(labels) or not found:
        raise ValueError(f"{len(found)} certificates for {len(labels)} labels")
    right = np.array([c.label == y for c, y in zip(found, labels, strict=True)])
    reach = np.array([c.radius for c in found])
    return np.array([(right & (reach >= r)).mean() for r in radii])


def defence_success(alpha: float, copies: int, *, ties: bool = True) -> float:
    """P(most of N copies defeat the attack) if each does with probability alpha: sum over t >= ceil(N/2) of
    C(N, t) alpha^t (1 - alpha)^(N - t).

    For even N a tie counts as success, as in the paper; without ``ties`` more than half are required."""
    if not 0 <= alpha <= 1 or copies < 1:
        raise ValueError(f"alpha must be in [0, 1] and copies at least 1, not {alpha} and {copies}")
    least = ceil(copies / 2) if ties else copies // 2 + 1
    return float(stats.binom.sf(least - 1, copies, alpha))


def patch_broken(pixels: int, patch: int, drawn: int, k: int) -> float:
    """P(at least k pixels of an adversarial patch are among ``drawn`` of the image's pixels, drawn without
    replacement): the upper tail of Hypergeom(pixels, patch, drawn) at k."""
    if not (0 < patch <= pixels and 0 <= drawn <= pixels and k >= 0):
        raise ValueError(
            f"patch_broken needs 0 < patch <= pixels, 0 <= drawn <= pixels and k >= 0, not pixels {pixels}, "
            f"patch {patch}, drawn {drawn}, k {k}"
        )
    return float(stats.hypergeom.sf(k - 1, pixels, patch, drawn))


def suffix_broken(length: int, suffix: int, rate: float, k: int, alphabet: int) -> float:
    """P(at least k characters of an adversarial suffix change) under swap perturbation.

    floor(rate * length) of the text's characters, drawn without replacement, are each replaced by a uniformly
    drawn character of an alphabet, which may be the same one. A suffix is k-unstable if changing k of its
    characters breaks the attack. The certificate holds for such suffixes only, which is its known weakness
    (arXiv 2511.18721).
    """
    if not (0 < suffix <= length and 0 <= rate <= 1 and k >= 0 and alphabet >= 1):
        raise ValueError(
            "suffix_broken needs 0 < suffix <= length, 0 <= rate <= 1 and k >= 0, not length "
            f"{length}, suffix {suffix}, rate {rate}, k {k}"
        )
    drawn = floor(rate * length)
    inside = np.arange(min(drawn, suffix) + 1)
    weights = stats.hypergeom.pmf(inside, length, suffix, drawn)
    changed = stats.binom.sf(k - 1, inside, (alphabet - 1) / alphabet)
    return float((weights * changed).sum())
