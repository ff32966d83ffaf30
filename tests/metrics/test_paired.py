"""Paired tests against scipy, statsmodels and hand-computed values; error rates and coverage simulated."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from zobench.metrics import paired as pt


def two_rows(a, b, task="t"):
    rows = [{"row": "a", "task": task, "seed": i, "value": v} for i, v in enumerate(a)]
    return pd.DataFrame(rows + [{"row": "b", "task": task, "seed": i, "value": v} for i, v in enumerate(b)])


def test_pairs_are_common_and_order_does_not_matter():
    frame = two_rows([1.0, 2.0, 3.0], [0.5, 1.0])
    pairs = pt.paired_differences(frame.sample(frac=1, random_state=1), "a", "b")
    assert pairs["difference"].tolist() == [0.5, 1.0]
    assert pt.compare(frame, "a", "b").dropped == 1
    assert pt.compare(frame, "a", "nobody") is None


def test_doubled_run_is_an_error():
    frame = pd.concat([two_rows([1.0], [2.0]), two_rows([3.0], [])])
    with pytest.raises(ValueError, match="row 'a' has two values"):
        pt.paired_differences(frame, "a", "b")


def test_one_task_is_the_paired_t_test():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.7, 0.05, 6), rng.normal(0.65, 0.05, 6)
    found = pt.compare(two_rows(a, b), "a", "b")
    ref = stats.ttest_rel(a, b)
    assert found.p == pytest.approx(ref.pvalue)
    ends = ref.confidence_interval(0.95)
    assert (found.difference.low, found.difference.high) == pytest.approx(tuple(ends))


@pytest.mark.parametrize(("tasks", "seeds"), [(1, 1), (1, 2), (3, 3), (4, 5), (1, 40)])
def test_many_pairs_at_once_are_the_pairs_one_by_one(tasks, seeds):
    rng = np.random.default_rng(tasks * 100 + seeds)
    a, b = rng.normal(0.7, 0.05, (2, 6, tasks, seeds)).round(2)
    b[0] = a[0]  # no difference at all
    b[1] = a[1] - 0.5  # one without spread
    found = pt.compare_many(a, b)
    for i, one in enumerate(found):
        alone = pt.compare_groups(list(a[i]), list(b[i]))
        for name in ("p", "permutation_p", "effect", "improvement", "tasks", "pairs", "dropped"):
            assert getattr(one, name) == pytest.approx(getattr(alone, name), nan_ok=True), name
        for name in ("value", "low", "high", "stderr", "df", "n", "level"):
            mine, other = getattr(one.difference, name), getattr(alone.difference, name)
            assert mine == pytest.approx(other, nan_ok=True, abs=1e-12), name


def test_constant_differences():
    assert pt.paired_t([np.zeros(3)]) == 1.0
    assert np.isnan(pt.paired_t([np.ones(3)]))


def test_permutation_by_hand_and_against_scipy():
    d = np.array([1.0, 2.0, 4.0])
    sums = [abs(sum(s * x for s, x in zip(signs, d, strict=True))) for signs in product([1, -1], repeat=3)]
    assert pt.permutation([d]) == pytest.approx(np.mean([s >= 7 for s in sums]))
    x = np.random.default_rng(1).normal(0.3, 1, 10)
    ref = stats.permutation_test((x,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert pt.permutation([x]) == pytest.approx(ref.pvalue, abs=1e-9)


def test_sampled_permutation_agrees_with_the_exact_one():
    x = np.random.default_rng(2).normal(0.4, 1, 14)
    ref = stats.permutation_test((x,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
    assert pt.permutation([x], 40_000) == pytest.approx(ref, abs=4 * np.sqrt(ref / 40_000) + 1e-4)


def test_mcnemar_against_statsmodels():
    from statsmodels.stats.contingency_tables import mcnemar

    rng = np.random.default_rng(3)
    a, b = rng.uniform(size=80) < 0.8, rng.uniform(size=80) < 0.65
    only_a, only_b, p = pt.mcnemar(a, b)
    table = [[int((a & b).sum()), only_a], [only_b, int((~a & ~b).sum())]]
    assert p == pytest.approx(mcnemar(table, exact=True).pvalue)
    assert pt.mcnemar([True], [True]) == (0, 0, 1.0)
    with pytest.raises(ValueError, match="same examples"):
        pt.mcnemar([True], [True, False])


def test_holm_against_statsmodels():
    from statsmodels.stats.multitest import multipletests

    p = [0.01, 0.04, 0.03, 0.005, 0.8]
    assert pt.holm(p) == pytest.approx(multipletests(p, method="holm")[1])
    with_gap = pt.holm([0.01, np.nan, 0.04])
    assert with_gap[[0, 2]] == pytest.approx([0.02, 0.04])
    assert np.isnan(with_gap[1])
    assert pt.holm([]).shape == (0,)


def test_effect_sizes_by_hand():
    d = np.array([1.0, 2.0, 3.0])
    assert pt.hedges_g([d]) == pytest.approx((1 - 3 / 7) * 2.0)
    found = pt.compare(two_rows([1.0, 3.0], [0.0, 3.0]), "a", "b")
    assert found.improvement == pytest.approx((1 + 0 + 1 + 0.5) / 4)
    u = stats.mannwhitneyu([1.0, 3.0], [0.0, 3.0]).statistic
    assert found.improvement == pytest.approx(u / 4)


def test_sign_flips_with_the_order_of_the_rows():
    rng = np.random.default_rng(4)
    frame = two_rows(rng.normal(size=5), rng.normal(size=5))
    ab, ba = pt.compare(frame, "a", "b"), pt.compare(frame, "b", "a")
    assert ab.difference.value == pytest.approx(-ba.difference.value)
    assert ab.p == pytest.approx(ba.p)
    assert ab.improvement == pytest.approx(1 - ba.improvement)


def test_false_positive_rate_and_coverage_of_the_paired_test():
    rng = np.random.default_rng(5)
    studies, tasks, seeds = 3000, 3, 4
    d = rng.normal(0, 1, (studies, tasks, seeds)) * np.array([0.5, 1.0, 2.0])[None, :, None]
    rejected = sum(pt.paired_t(list(x)) < 0.05 for x in d)
    assert stats.binomtest(rejected, studies, 0.055, alternative="greater").pvalue > 1e-4, rejected / studies
    exact = sum(pt.permutation(list(x)) <= 0.05 for x in d[:300])
    assert stats.binomtest(exact, 300, 0.05, alternative="greater").pvalue > 1e-4, exact / 300


def example_study(rng, seeds, examples, truth=0.05, between=0.04):
    """Differences of two models per example, -1/0/1, with a seed-level shift."""
    groups = []
    for _ in range(seeds):
        shift = np.clip(truth + rng.normal(0, between), -0.3, 0.3)
        up, down = 0.2 + shift / 2, 0.2 - shift / 2
        groups.append(rng.choice([1.0, 0.0, -1.0], examples, p=[up, 1 - up - down, down]))
    return groups


@pytest.mark.parametrize("studies", [150, pytest.param(2000, marks=pytest.mark.slow)], ids=["fast", "long"])
def test_coverage_of_the_two_stage_bootstrap(studies):
    rng = np.random.default_rng(6)
    hits = 0
    for i in range(studies):
        found = pt.paired_bootstrap_groups(example_study(rng, 5, 100), resamples=300, rng=i)
        hits += found.low <= 0.05 <= found.high
    assert stats.binomtest(hits, studies, 0.95, alternative="less").pvalue > 1e-4, hits / studies


def test_the_bootstrap_is_the_same_however_many_entries_are_drawn_at_once(monkeypatch):
    groups = list(np.random.default_rng(3).choice([1.0, 0.0, -1.0], (4, 50)))
    whole = pt.paired_bootstrap_groups(groups, resamples=500)
    monkeypatch.setattr(pt, "ENTRIES_AT_ONCE", 0)
    part = pt.paired_bootstrap_groups(groups, resamples=500)
    assert (part.low, part.high) == pytest.approx((whole.low, whole.high))


def test_one_seed_bootstrap_speaks_about_examples():
    d = np.random.default_rng(7).choice([1.0, 0.0, -1.0], 400)
    found = pt.paired_bootstrap_groups([d], resamples=4000)
    assert "examples of one seed" in found.method
    assert found.stderr == pytest.approx(d.std(ddof=1) / 20, rel=0.05)


def test_family_wise_error_at_the_stated_rate():
    """Four equal methods: any significant difference among the six pairs in at most 5 %."""
    rng = np.random.default_rng(8)
    wrong, studies = 0, 400
    for _ in range(studies):
        values = rng.normal(0.7, 0.03, (4, 6))
        pairs = [(i, j) for i in range(4) for j in range(i)]
        p = pt.holm([pt.paired_t([values[i] - values[j]]) for i, j in pairs])
        wrong += bool((p < 0.05).any())
    assert stats.binomtest(wrong, studies, 0.05, alternative="greater").pvalue > 1e-4, wrong / studies
