"""Every interval of the page against simulations whose truth is known, and error rates of the exact tests."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from zobench.metrics import intervals as iv
from zobench.metrics import paired as pt
from zobench.metrics import ranking as rk
from zobench.metrics.curves import area_under_curve


def at_least(hits: int, n: int, nominal: float) -> None:
    """Compatible with a coverage of ``nominal`` (binomial, one-sided at 1e-4)."""
    assert stats.binomtest(hits, n, nominal, alternative="less").pvalue > 1e-4, hits / n


def at_most(hits: int, n: int, rate: float) -> None:
    assert stats.binomtest(hits, n, rate, alternative="greater").pvalue > 1e-4, hits / n


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_t_interval(seeds: int) -> None:
    rng = np.random.default_rng(seeds)
    found = [iv.t_interval(x) for x in rng.normal(0.7, 0.03, (1500, seeds))]
    at_least(sum(i.low <= 0.7 <= i.high for i in found), 1500, 0.95)


@pytest.mark.parametrize(("tasks", "seeds"), [(1, 3), (3, 3), (3, 8)])
def test_interval_of_a_paired_difference(tasks: int, seeds: int) -> None:
    """Rows share what the seeds do to both; tasks differ in their spread."""
    rng = np.random.default_rng(10 * tasks + seeds)
    spread = np.linspace(0.01, 0.03, tasks)[:, None]
    hits = 0
    for _ in range(1500):
        shared = rng.normal(0.7, 0.1, (tasks, seeds))
        a = shared + 0.02 + spread * rng.normal(size=shared.shape)
        b = shared + spread * rng.normal(size=shared.shape)
        d = pt.compare_groups(list(a), list(b)).difference
        hits += d.low <= 0.02 <= d.high
    # degrees of freedom are estimated; with three seeds of unequal tasks a little is lost
    at_least(hits, 1500, 0.94)


def test_interval_of_the_area_under_curves() -> None:
    rng = np.random.default_rng(5)
    x = [0.0, 150.0, 300.0, 600.0]
    truth = area_under_curve(x, [0.5, 0.6, 0.7, 0.8])
    hits = 0
    for _ in range(1000):
        curves = np.array([0.5, 0.6, 0.7, 0.8]) + rng.normal(0, 0.03, (2, 4, 4))
        areas = [np.array([area_under_curve(x, y) for y in task]) for task in curves.tolist()]
        found = iv.stratified_groups(areas)
        hits += found.low <= truth <= found.high
    at_least(hits, 1000, 0.95)


def test_bootstrap_over_seeds_and_examples_with_few_seeds() -> None:
    """Three trained models with 60 examples each; the method's true difference is 0.05."""
    rng = np.random.default_rng(6)
    hits, studies = 0, 300
    for i in range(studies):
        shift = np.clip(0.05 + rng.normal(0, 0.04, 3), -0.3, 0.3)
        groups = [rng.choice([1.0, 0.0, -1.0], 60, p=[0.2 + s / 2, 0.6, 0.2 - s / 2]) for s in shift]
        found = pt.paired_bootstrap_groups(groups, resamples=300, rng=i)
        hits += found.low <= 0.05 <= found.high
    at_least(hits, studies, 0.95)


def test_mcnemar_errs_at_most_at_its_level() -> None:
    """Two models that are right equally often but not on the same examples."""
    rng = np.random.default_rng(7)
    wrong = sum(pt.mcnemar(*(rng.uniform(size=(2, 120)) < 0.7))[2] < 0.05 for _ in range(1500))
    at_most(wrong, 1500, 0.05)


def test_rank_intervals_of_the_bootstrap() -> None:
    """Percentile intervals of ranks: each row's true rank is covered in at least 90 % with five seeds on
    three tasks. They promise no more; the page shows rank sets, which cover all ranks at once."""
    rng = np.random.default_rng(8)
    gains = np.array([0.03, 0.02, 0.01, 0.0])
    hits, studies = np.zeros(4), 150
    for i in range(studies):
        values = 0.7 + gains[:, None, None] + rng.normal(0, 0.02, (1, 3, 5)) + rng.normal(0, 0.015, (4, 3, 5))
        frame = pd.DataFrame(
            [
                {"row": f"m{r}", "task": t, "seed": s, "value": values[r, t, s]}
                for r in range(4)
                for t in range(3)
                for s in range(5)
            ]
        )
        for found in rk.rank_intervals(frame, resamples=300, rng=i):
            place = int(found.row[1])
            hits[place] += found.low <= place + 1 <= found.high
    for covered in hits:
        at_least(int(covered), studies, 0.90)
