"""The committed scores of proxies are whole, and the section follows from them."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import pytest
import torch

from zobench.proxies import nets, ranking, training
from zobench.studies import committed, proxies


def test_every_network_was_ranked() -> None:
    table = committed.read(proxies.NAME)
    assert set(table["kind"]) == set(training.KINDS)
    assert set(table["row"]) == set(proxies.ROWS)
    assert table["seed"].nunique() >= 5
    sizes = table.groupby(["kind", "row", "seed"])["net"].nunique()
    assert len(sizes) == len(training.KINDS) * len(proxies.ROWS) * table["seed"].nunique()
    assert bool((sizes >= 50).all())
    assert bool((table.groupby(["kind", "net"])["accuracy"].nunique() == 1).all())
    assert bool(table["accuracy"].between(0, 1).all())


def test_scores_are_those_of_the_networks() -> None:
    table = committed.read(proxies.NAME)
    for row in table[table["row"] == "parzc"].sample(4, random_state=0).to_dict("records"):
        found = ranking.fixed(row["kind"], nets.designs(65)[row["net"]], row["seed"], 5)
        assert found["parameters"] == row["parameters"]
        assert found["random"] == row["random"]
        assert found["w-pca"] == pytest.approx(row["w-pca"], rel=0.05)


def test_the_section_is_made_from_a_small_table() -> None:
    draws = torch.Generator().manual_seed(0)
    rows: list[dict[str, Any]] = [
        {"kind": kind, "row": row, "seed": seed, "net": net, "commit": "abcdefgh", "accuracy": net / 8}
        | {name: float(torch.rand((), generator=draws)) for name in (*ranking.FIXED, "learned")}
        | {"w-pca": float(net)}
        for kind in training.KINDS
        for row in proxies.ROWS
        for seed in (1, 2)
        for net in range(8)
    ]
    text = proxies.section(pd.DataFrame(json.loads(json.dumps(rows))))
    assert text.count("| image |") == text.count("| text |") == 7
    assert "| image | `w-pca` | +1.00 [+1.00, +1.00] | [+1.00, +1.00] |" in text
    assert "8 others are ranked" in text
