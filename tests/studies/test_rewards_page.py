"""The tables of docs/rewards.md agree with the committed results."""

from __future__ import annotations

import pytest

from zobench.studies import committed, rewards


@pytest.mark.parametrize(
    ("place", "make"), [(rewards.PLACE, rewards.parts), (rewards.TRIALS, rewards.trials)]
)
def test_the_tables_are_those_of_the_committed_results(place, make) -> None:
    found = place.search(committed.page(rewards.NAME))
    assert found is not None
    assert found.group().splitlines() == make(committed.read(rewards.NAME))


def test_the_committed_results_are_whole() -> None:
    lines = committed.read(rewards.NAME)
    results = lines[lines["purpose"] == "result"]
    assert not results.duplicated(["row", "seed", "at"]).any()
    assert results.groupby("row")["seed"].nunique().eq(2).all()
    trained = results[results["group"] == "method"]
    assert trained["row"].nunique() == 6
    assert trained.groupby("row")["at"].nunique().eq(6).all()
    assert trained.groupby(["row", "seed"])["generated_tokens"].max().gt(0).all()
