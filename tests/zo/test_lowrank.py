"""Low-rank directions: stated scales, exact products, bases that are constant during an interval."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from zobench.plugins import lookup
from zobench.zo import Engine, build_space
from zobench.zo.conformance import check, failures
from zobench.zo.conformance.problems import quadratic, transformer
from zobench.zo.lowrank import (
    LazyRight,
    LowRank,
    Paired,
    Projected,
    Sandwiched,
    Temporal,
    add_product_,
    on_grid,
    on_own_grid,
)
from zobench.zo.methods.subspace_mezo import SubspaceMezo, SubspaceMezoConfig

SAMPLES = 3000
M, N, R = 3, 4, 2


def source(problem=None, dtype=torch.float64, **options):
    module = (problem or quadratic()).make(dtype)
    return Engine(**options).bind(build_space("full", {}, module), 0).source


def make(kind: type[LowRank], interval: int = 1, **extra) -> LowRank:
    return kind(source(), seed=5, rank=R, interval=interval, **extra)


@pytest.mark.parametrize(
    ("kind", "gain", "variance"),
    [
        (LazyRight, R, R),
        (Projected, R / M, R / M),
        (Sandwiched, 1.0, 1.0),
        (Temporal, R, R),
        (Paired, 1.0, 1.0),
    ],
)
def test_stated_scales(kind: type[LowRank], gain: float, variance: float) -> None:
    """Mean of <G, u> u and of u^2 over draws, every draw with a new basis, within five standard errors."""
    direction = make(kind)
    gradient = torch.linspace(-1.0, 2.0, M * N, dtype=torch.float64)
    estimates, squares = [], []
    for step in range(SAMPLES):
        direction.refresh(step)
        u = direction.tensor("matrix", step).reshape(-1)
        estimates.append(float(gradient @ u) * u)
        squares.append(u.square().mean())
    draws = torch.stack(estimates)
    error = draws.std(dim=0) / math.sqrt(SAMPLES)
    assert float(((draws.mean(dim=0) - gain * gradient) / error).abs().max()) < 5.0
    size = torch.stack(squares)
    assert abs(float(size.mean()) - variance) < 5.0 * float(size.std()) / math.sqrt(SAMPLES)


@pytest.mark.parametrize("kind", [LazyRight, Projected, Sandwiched, Temporal, Paired])
def test_vectors_are_gaussian_and_directions_functions_of_the_seed(kind: type[LowRank]) -> None:
    direction = make(kind, interval=10)
    plain = Engine().bind(direction.space, 0).gaussian()
    assert torch.equal(direction.tensor("vector", 4), plain.tensor("vector", 4))
    first = direction.tensor("matrix", 4)
    direction.tensor("matrix", 9)
    direction.refresh(9)
    assert torch.equal(direction.tensor("matrix", 4), first), "a basis stands for its interval"
    assert int(torch.linalg.matrix_rank(first)) == R
    direction.refresh(10)
    changed = not torch.equal(direction.tensor("matrix", 4), first)
    assert changed == (kind is not Paired), "a new interval has a new basis, where there is one"
    direction.refresh(3)
    assert torch.equal(direction.tensor("matrix", 4), first), "and an old one has the old basis"


def test_bases_are_orthonormal() -> None:
    (p,) = make(Projected).basis("matrix")
    left, right = make(Sandwiched).basis("matrix")
    for frame in (p, left, right):
        assert torch.allclose(frame.T @ frame, torch.eye(R, dtype=torch.float64), atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_products_are_exact_in_any_order_of_summation(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    a = on_grid(torch.randn(130, 64, generator=generator) * 8, 2.0**18)
    b = on_grid(torch.randn(70, 64, generator=generator), 2.0**18)
    order = torch.randperm(64, generator=generator)
    start = torch.randn(130, 70, generator=generator, dtype=dtype)
    results = []
    for left, right in ((a, b), (a[:, order], b[:, order])):
        results.append(start.clone())
        add_product_(results[-1], left.contiguous(), right.contiguous(), 0.37)
    by_hand = start.clone()
    total = torch.zeros(130, 70, dtype=torch.float64)
    for s in reversed(range(64)):
        total += a[:, s : s + 1] * b[:, s]
    by_hand += total.to(dtype) * torch.tensor(0.37, dtype=dtype)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], by_hand)


def test_row_blocks_do_not_change_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    direction = LazyRight(source(transformer(), torch.float32), seed=1, rank=4, interval=0)
    whole = direction.tensor("embedding.weight", 3)
    monkeypatch.setattr("zobench.zo.lowrank.ROW_BLOCK", 1)
    assert torch.equal(direction.tensor("embedding.weight", 3), whole)
    transposed = torch.zeros(8, 11).T
    direction.add_(transposed, "embedding.weight", 3, 1.0)
    assert torch.equal(transposed, whole), "tensors that are not contiguous too"


def test_own_grid_keeps_23_bits_of_any_scale() -> None:
    for scale in (1e-12, 1.0, 3e7):
        values = torch.linspace(-1, 1, 101, dtype=torch.float64) * scale
        assert float((on_own_grid(values) - values).abs().max()) <= scale * 2**-22
    assert float(on_own_grid(torch.zeros(3)).abs().max()) == 0.0


def test_rank_is_clipped_and_thin_matrices_are_vectors() -> None:
    wide = {"seed": 1, "rank": 64, "interval": 0}
    assert Sandwiched(source(), **wide).size("matrix") == (3, 4, 3)
    assert Projected(source(), **wide).size("matrix") == (3, 4, 3)
    assert Temporal(source(), **wide).size("matrix") == (3, 4, 12)
    assert not Sandwiched(source(), **wide).is_matrix("vector")


def test_near_square_spreads_over_the_reshaped_matrix() -> None:
    direction = Sandwiched(source(transformer()), seed=1, rank=8, interval=0, near_square=True)
    assert direction.size("embedding.weight") == (8, 11, 8)
    assert direction.tensor("embedding.weight", 0).shape == (11, 8)
    plain = Sandwiched(source(transformer()), seed=1, rank=8, interval=0)
    name = "layers.0.up.weight"
    assert (plain.size(name)[:2], direction.size(name)[:2]) == ((16, 8), (8, 16))
    second = torch.stack([direction.tensor(name, s) for s in range(200)]).square().mean()
    assert float(second) == pytest.approx(1.0, abs=0.1)


def test_legacy_noise_is_refused() -> None:
    with pytest.raises(ValueError, match="need noise 'counter'"):
        LazyRight(source(noise="legacy"), seed=0, rank=1, interval=1)


@pytest.mark.parametrize(
    ("name", "params"), [("lozo", {"interval": 3}), ("subzero", {"interval": 3, "rank": 2}), ("tezo", {})]
)
def test_measured_is_applied_across_refreshes(name: str, params: dict) -> None:
    """40 steps, a new basis every third."""
    method = lookup("methods", name)
    checks = check(method, method.Config(**params), only=["measured-is-applied", "replay", "resume"])
    assert failures(checks) == []
    assert all(r.passed for r in checks)


def test_subspace_mezo_stays_in_the_span_where_vectors_take_the_same_rate() -> None:
    class Even(SubspaceMezo):
        card = replace(SubspaceMezo.card, in_span=True)

    (result,) = check(
        Even, SubspaceMezoConfig(interval=3, rank=2, vector_scale=1.0), only=["measured-is-applied"]
    )
    assert result.passed, result


@pytest.mark.parametrize("name", ["lozo-m", "zo-muon", "subspace-mezo", "zo-mopi"])
def test_bookkeeping_across_refreshes(name: str) -> None:
    method = lookup("methods", name)
    assert failures(check(method, method.Config(interval=2), only=["replay", "resume", "determinism"])) == []


class RedrawsTheBasisInTheUpdate(lookup("methods", "lozo")):  # type: ignore[misc]
    """The published bug: on refresh steps the update uses another factor than the probes."""

    def update(self, estimate, lr):
        if self.t % self.config.interval == 0:
            self.direction.refresh(self.t + self.config.interval)
        return super().update(estimate, lr)


def test_the_published_resampling_bug_is_caught() -> None:
    cls = RedrawsTheBasisInTheUpdate
    (result,) = check(cls, cls.Config(interval=5), only=["measured-is-applied"])
    assert not result.passed
    assert not result.skipped
