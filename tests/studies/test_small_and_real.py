"""Kendall's rank correlation between a small board and the real language model."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from zobench.studies import small_and_real


def rows(**values: list[float]) -> dict[str, np.ndarray]:
    return {name: np.array(v) for name, v in values.items()}


def test_tau_counts_the_pairs_in_the_same_order() -> None:
    ours = rows(a=[0.1, 0.3], b=[0.4], c=[0.9], alone=[0.0])
    assert small_and_real.tau(ours, rows(a=[1.0], b=[2.0], c=[3.0])) == 1.0
    assert small_and_real.tau(ours, rows(a=[3.0], b=[2.0], c=[1.0])) == -1.0
    assert small_and_real.tau(ours, rows(a=[1.0], b=[3.0], c=[2.0])) == pytest.approx(
        1 / 3
    )  # two of three pairs


def test_the_interval_is_one_value_without_spread_and_contains_tau_with_it() -> None:
    theirs = rows(a=[1.0], b=[2.0], c=[3.0])
    assert small_and_real.interval(rows(a=[0.1], b=[0.4], c=[0.9]), theirs) == (1.0, 1.0)
    low, high = small_and_real.interval(rows(a=[0.1, 0.8], b=[0.4, 0.5], c=[0.9, 0.3]), theirs)
    assert -1 <= low < 1 / 3 < high <= 1


def test_every_small_board_has_the_task_and_one_final_value_per_seed() -> None:
    for _, name, task in small_and_real.PAIRS:
        found = small_and_real.small(name, task)
        assert {"mezo", "fzoo", "adamw", "zero-shot"} <= set(found)
        assert {len(v) for v in found.values()} == {3}


def test_the_table_names_the_rows_that_both_sides_have() -> None:
    real = pd.DataFrame(
        [
            (row, task, value)
            for task in ("sst2", "trec")
            for row, value in (("mezo", 0.8), ("fzoo", 0.7), ("new", 0.1))
        ],
        columns=["row", "task", "value"],
    )
    lines = small_and_real.compared(real)
    assert len(lines) == 2 + len(small_and_real.PAIRS)
    assert all("2: fzoo, mezo" in line for line in lines[2:])
