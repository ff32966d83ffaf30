"""The committed measurements of proxies are whole and follow from their statistics."""

from __future__ import annotations

import json

import pytest
import torch

from zobench.proxies import nets, training
from zobench.studies import committed, proxies


def test_every_network_was_measured() -> None:
    table = committed.read(proxies.NAME)
    assert len(table) == len(training.KINDS) * proxies.NETS * proxies.INITS
    assert set(table["kind"]) == set(training.KINDS)
    trained = table.dropna(subset=["accuracy"])
    assert len(trained) == len(training.KINDS) * proxies.NETS * proxies.TRAINED
    assert table.groupby(["kind", "net"])["seed"].nunique().eq(proxies.INITS).all()
    for row in table.sample(20, random_state=0).to_dict("records"):
        rows = torch.tensor(json.loads(row["statistics"]), dtype=torch.float64)
        assert len(rows) == nets.designs(proxies.NETS)[row["net"]].depth
        assert row["w_pca"] == pytest.approx(row["parameters"] * float(rows[:, 0].mean()))


def test_every_run_of_the_suite_is_there() -> None:
    points = committed.read(proxies.FULL)
    assert set(points["status"]) == {"done"}
    ended = points[points["metric"] == "kendall_tau"].drop_duplicates(["task", "row", "seed"])
    assert ended.groupby(["task", "row"])["seed"].nunique().eq(5).all()
    assert set(ended["row"]) == set(proxies.LEARNED)
    assert set(ended["task"]) == set(training.KINDS)
