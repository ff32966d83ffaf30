"""Pass@1 and Pass@k(m) of problems whose answers were sampled several times (arXiv 2510.16022)."""

from __future__ import annotations

from math import comb


def pass_at_k(samples: int, passed: int, k: int, m: int = 1) -> float:
    """Estimate of the probability that at least m of k sampled answers to a problem pass.

        sum over i from m to k of C(c, i) C(n - c, k - i) / C(n, k)

    for n samples of which c passed: the share of the subsets of k samples with at least m passing ones, which
    is unbiased. m = 1 is Pass@k (arXiv 2107.03374), k = m = 1 is Pass@1 = c / n.

    Raises:
        ValueError: not 1 <= m <= k <= n, or not 0 <= c <= n.
    """
    if not 1 <= m <= k <= samples:
        raise ValueError(f"Pass@k(m) needs 1 <= m <= k <= samples, got m={m}, k={k}, samples={samples}")
    if not 0 <= passed <= samples:
        raise ValueError(f"{passed} of {samples} samples cannot have passed")
    ways = sum(comb(passed, i) * comb(samples - passed, k - i) for i in range(m, k + 1))
    return ways / comb(samples, k)
