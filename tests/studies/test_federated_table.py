"""The table of federated runs in docs/scale.md agrees with the committed results."""

from __future__ import annotations

from zobench.studies import committed, federated


def test_the_table_is_that_of_the_committed_results() -> None:
    found = federated.PLACE.search(committed.page(federated.PAGE))
    assert found is not None
    assert found.group().splitlines() == federated.table(committed.read(federated.NAME))


def test_the_committed_results_are_those_of_the_suite() -> None:
    lines = committed.read(federated.NAME)
    assert not lines.duplicated(["row", "task", "seed", "budget"]).any()
    assert set(lines["status"]) <= {"done", "diverged"}
    federated_runs = lines[lines["rounds"].notna()]
    assert {"mezo federated", "meerkat federated", "meerkat-vp"} == set(federated_runs["row"])
    # Eight clients without drop-out, five local steps of one direction: docs/scale.md's formula.
    full = federated_runs[federated_runs["row"] == "mezo federated"]
    assert (full["bytes"] == full["rounds"] * 8 * 5 * 24).all()
    assert (lines["forwards"] <= 1200).all()
