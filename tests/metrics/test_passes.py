"""Pass@k(m) against counting all subsets, and values worked out by hand."""

from __future__ import annotations

from itertools import combinations

import pytest

from zobench.metrics.passes import pass_at_k


def test_values_by_hand() -> None:
    assert pass_at_k(5, 2, 1) == pytest.approx(2 / 5), "Pass@1 is the share of right answers"
    assert pass_at_k(4, 2, 2) == pytest.approx(5 / 6), "1 - C(2, 2) / C(4, 2)"
    assert pass_at_k(4, 2, 2, 2) == pytest.approx(1 / 6)
    assert pass_at_k(4, 4, 3, 3) == 1.0
    assert pass_at_k(4, 1, 2, 2) == 0.0


@pytest.mark.parametrize(("k", "m"), [(1, 1), (3, 1), (3, 2), (4, 3), (6, 4)])
def test_the_estimate_is_the_share_of_subsets(k: int, m: int) -> None:
    for passed in range(7):
        right = [True] * passed + [False] * (6 - passed)
        shares = [sum(chosen) >= m for chosen in combinations(right, k)]
        assert pass_at_k(6, passed, k, m) == pytest.approx(sum(shares) / len(shares))


@pytest.mark.parametrize("given", [(4, 2, 5, 1), (4, 2, 2, 3), (4, 2, 2, 0), (4, 5, 2, 1), (4, -1, 2, 1)])
def test_impossible_numbers_are_refused(given: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"needs 1 <= m|cannot have passed"):
        pass_at_k(*given)
