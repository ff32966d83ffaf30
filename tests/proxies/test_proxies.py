"""Proxies of architectures: components and statistics by hand, padding, the learned ranking, training."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch

from zobench.metrics.ranking import kendall_tau
from zobench.proxies import learned, nets, ranking, scores, training
from zobench.studies import proxies

DESIGN = nets.Design(2, 8, 2.0, 2, "relu")


def test_designs_are_different_and_the_same_for_a_seed() -> None:
    found = nets.designs(50)
    assert len(set(found)) == 50
    assert found == nets.designs(50)
    with pytest.raises(ValueError, match="384 designs"):
        nets.designs(385)


@pytest.mark.parametrize(
    ("spread", "count"), [((1.0, 1.0, 1.0, 1.0), 4), ((10.0, 1e-3, 1e-3, 1e-3), 1), ((10.0, 10.0, 0.1, 0), 2)]
)
def test_components_are_those_that_exceed_the_share(spread: tuple[float, ...], count: int) -> None:
    """An orthogonal design with these standard deviations, away from the origin."""
    signs = torch.tensor([[(-1.0) ** (i >> j & 1) for j in range(4)] for i in range(16)])
    assert scores.components(signs * torch.tensor(spread) + 100) == count


def test_components_of_a_constant_and_of_too_few_rows() -> None:
    assert scores.components(torch.ones(9, 3)) == 0
    with pytest.raises(ValueError, match="more rows than columns"):
        scores.components(torch.ones(3, 3))


def test_padding_is_left_out_of_the_statistics() -> None:
    found = training.data("text")
    net = found.network(DESIGN, 1)
    inputs, padding, _ = found.batch(1, 0)
    assert bool(padding.any())
    rows = scores.statistics(net, inputs, padding)
    changed = inputs.clone()
    changed[padding] = 7.0
    assert torch.equal(rows, scores.statistics(net, changed, padding))
    assert rows.shape == (2, scores.STATISTICS)
    assert scores.w_pca(net, rows) == pytest.approx(scores.parameters(net) * float(rows[:, 0].mean()))
    assert bool((rows[:, 0] > 0).all())
    assert bool((rows[:, 0] <= 1).all())


def test_initial_weights_are_those_of_the_seed_alone() -> None:
    before = torch.random.get_rng_state()
    a, b, c = (training.data("image").network(DESIGN, seed) for seed in (1, 1, 2))
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))
    assert not torch.equal(a.embed.weight, c.embed.weight)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(("kind", "chance"), [("image", 0.1), ("text", 0.5)])
def test_training_is_repeatable(kind: training.DataKind, chance: float) -> None:
    design = nets.Design(1, 16, 1.0, 1, "gelu")
    first = training.trained_accuracy(kind, design, 1, 5)
    assert first == training.trained_accuracy(kind, design, 1, 5)
    training.data.cache_clear()
    with torch.inference_mode():
        assert first == training.trained_accuracy(kind, design, 1, 5)
    assert first == training.trained_accuracy(kind, design, 1, 5)
    assert len(training.data(kind).test[2]) == training.TEST
    assert abs(float((training.data(kind).test[2] == 0).double().mean()) - chance) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "least"), [("image", 0.3), ("text", 0.7)])
def test_training_learns(kind: training.DataKind, least: float) -> None:
    assert training.trained_accuracy(kind, nets.Design(1, 64, 0.5, 2, "gelu"), 1, 100) > least


def test_the_rank_loss_is_that_of_the_formula() -> None:
    p, y = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0.0, 1.0, 0.5])
    pairs = [(1 - 2) * (0 - 1), (1 - 4) * (0 - 0.5), (2 - 4) * (1 - 0.5)]
    expected = -sum(math.tanh(0.7 * v) for v in pairs) / 3
    assert float(ranking.rank_loss(p, y, 0.7)) == pytest.approx(expected)
    assert float(ranking.rank_loss(p[:1], y[:1])) == 0.0


def test_statistics_are_means_over_initial_weights_of_the_seed() -> None:
    found = training.data("text")
    inputs, padding, _ = found.batch(2, 0)
    alone = [scores.statistics(found.network(DESIGN, s), inputs, padding) for s in (2000, 2001)]
    rows = ranking.statistics("text", DESIGN, 2, 2)
    assert rows.shape == (ranking.BLOCKS, ranking.COLUMNS)
    assert torch.allclose(rows[:2, :3], (alone[0] + alone[1]) / 2)
    size = scores.parameters(found.network(DESIGN, 1))
    assert bool((rows[:2, 3] == math.log(size)).all())
    assert not rows[2:].any()
    drawn = ranking.fixed("text", DESIGN, 2, 2)
    assert tuple(drawn) == ranking.FIXED
    assert drawn["w-pca"] == pytest.approx(size * float(rows[:2, 0].mean()))
    assert drawn["random"] != ranking.fixed("text", DESIGN, 3, 2)["random"]


def test_the_learned_proxy_finds_a_statistic_that_decides() -> None:
    draws = torch.Generator().manual_seed(0)
    rows = [torch.randn(2, scores.STATISTICS, generator=draws, dtype=torch.float64) for _ in range(40)]
    accuracies = torch.stack([r[:, 1].mean() for r in rows])
    statistics = learned.padded(rows, [100] * 40)
    known = torch.arange(40) < 20
    before = torch.random.get_rng_state()
    found = learned.learned(statistics, accuracies, known, seed=1)
    assert torch.equal(found, learned.learned(statistics, accuracies, known, seed=1))
    assert torch.equal(before, torch.random.get_rng_state())
    assert kendall_tau(found[~known].tolist(), accuracies[~known].tolist()) > 0.5
    with pytest.raises(ValueError, match="at least two networks"):
        learned.learned(statistics, accuracies, torch.arange(40) < 1, seed=1)


def test_the_section_is_made_from_a_small_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxies, "RESAMPLES", 20)
    rows = [
        proxies.measured(kind, net, seed, train=seed == 1, steps=3)
        for kind in training.KINDS
        for net in range(5)
        for seed in (1, 2)
    ]
    names = ["kendall_tau", *(f"kendall_tau_{name}" for name in proxies.FIXED)]
    points = [
        {"task": kind, "row": row, "seed": seed, "at": 600, "metric": metric, "value": seed / 4}
        for kind in training.KINDS
        for row in proxies.LEARNED
        for seed in (1, 2)
        for metric in names
    ]
    text = proxies.section(pd.DataFrame(rows), pd.DataFrame(points))
    named = len(proxies.PROXIES) + len(proxies.LEARNED) + len(proxies.FIXED)
    assert text.count("| image |") == text.count("| text |") == named
    assert "| image | `parzc-mezo` | +0.38 [-1.21, +1.96] | 2 |" in text
    assert "5 small transformers" in text


def test_tau_counts_pairs() -> None:
    assert kendall_tau([1, 2, 3], [1, 3, 2]) == pytest.approx(1 / 3)
    assert kendall_tau(np.ones(4), np.arange(4)) == 0.0
