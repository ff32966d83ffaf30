"""Sparse and block-wise methods against their definitions on the 17-entry quadratic, in float64."""

from __future__ import annotations

import pytest
import torch
from zo_lab import SEED, H, Lab, T, draw, full, slope, step_seed

from zobench.plugins import lookup
from zobench.zo import Objective, build_space, noise
from zobench.zo.conformance.problems import transformer
from zobench.zo.methods.meerkat import mean_squared_gradients
from zobench.zo.sparse import Listed, largest_positions, parts_of, smallest

STEPS = 6


def flat_mask(masks: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([masks["matrix"].reshape(-1), masks["vector"]]).double()


def listed_mask(positions: dict[str, torch.Tensor]) -> torch.Tensor:
    mask = torch.zeros(17, dtype=torch.float64)
    for name, index in positions.items():
        mask[index + (12 if name == "vector" else 0)] = 1.0
    return mask


@pytest.mark.parametrize("kind", ["dynamic", "static"])
def test_sparse_mezo(kind: str) -> None:
    lab = Lab("sparse-mezo", lr=0.05, sparsity=0.5, groups="tensor", mask=kind)
    theta = lab.theta
    h = torch.cat(
        [theta[:12].abs().sort().values[5:6].repeat(12), theta[12:].abs().sort().values[1:2].repeat(5)]
    )
    start, moved_mask = (theta.abs() <= h).double(), False
    for t in range(40):
        m = (theta.abs() <= h).double() if kind == "dynamic" else start
        moved_mask |= bool((m != start).any())
        u = m * full(step_seed(t, 0))
        theta = theta - 0.05 * slope(theta, u, 1e-3) * u
        record = lab.method.step(lab.objective)
        assert torch.allclose(lab.theta, theta, rtol=1e-9, atol=1e-12), t
        assert record.extras["kept_share"] == pytest.approx(float(m.mean()))
    assert float(start[:12].sum()) == 6
    assert float(start[12:].sum()) == 2
    assert moved_mask == (kind == "dynamic"), "the dynamic mask must have changed on the way"


def test_sparse_mezo_mask_does_not_see_the_perturbation() -> None:
    """With a radius that carries every weight across its threshold, both probes still share one mask."""
    lab = Lab("sparse-mezo", lr=1e-3, epsilon=10.0, sparsity=0.5, groups="tensor")
    before = lab.theta
    seen: list[torch.Tensor] = []
    honest = lab.objective._loss
    lab.objective._loss = lambda module, batch: (seen.append(lab.theta), honest(module, batch))[1]
    masks = flat_mask(lab.method.masks())
    lab.method.step(lab.objective)
    for point in seen:
        assert torch.equal((point != before).double(), masks)
    assert torch.equal((lab.theta != before).double(), masks)


@pytest.mark.parametrize("sparsity", [0.0, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("name", ["random-mask", "sparse-mezo"])
def test_measured_sparsity_is_the_requested_one(name: str, sparsity: float) -> None:
    from zobench.zo import build_space
    from zobench.zo.conformance.problems import transformer

    space = build_space("full", {"exclude": ["*layer_norm*"]}, transformer().make(torch.float32))
    cls = lookup("methods", name)
    method = cls(cls.Config(sparsity=sparsity), space, seed=3)
    kept = sum(int(m.sum()) for m in method.direction.masks.values())
    assert kept / space.numel == pytest.approx(1 - sparsity, abs=len(space) / 2 / space.numel)


def test_random_mask_stands_and_moves_with_its_interval() -> None:
    lab = Lab("random-mask", lr=0.05, sparsity=0.5, interval=2)
    theta, masks = lab.theta, []
    for t in range(STEPS):
        lab.method.direction.refresh(t)
        m = flat_mask(lab.method.direction.masks)
        assert (float(m[:12].sum()), float(m[12:].sum())) == (6.0, 2.0)
        masks.append(m)
        u = m * full(step_seed(t, 0))
        theta = theta - 0.05 * slope(theta, u, 1e-3) * u
        lab.method.step(lab.objective)
        assert torch.allclose(lab.theta, theta, rtol=1e-9, atol=1e-12), t
    assert torch.equal(masks[0], masks[1])
    assert torch.equal(masks[2], masks[3])
    assert not torch.equal(masks[1], masks[2])


@pytest.mark.parametrize("interval", [0, 1, 2])
def test_sparse_gradient_takes_its_shares_from_magnitude_pruning(interval: int) -> None:
    """Shares from the largest starting weights; which entries, from uniform draws of each interval's seed."""
    lab = Lab("zo-sgd-sparse", lr=0.05, sparsity=0.6, interval=interval, n=2)
    theta = lab.theta
    top = theta.abs().argsort(descending=True)[: round(0.4 * 17)]
    counts = {"matrix": int((top < 12).sum()), "vector": int((top >= 12).sum())}
    assert min(counts.values()) >= 1
    kept = []
    for t in range(STEPS):
        seed = noise.derive_seed("mask", SEED, t // interval if interval else 0)
        uniform = [draw(f"{n}/mask", (k,), seed, "uniform") for n, k in (("matrix", 12), ("vector", 5))]
        m = torch.cat([(d <= d.sort().values[k - 1]) for d, k in zip(uniform, counts.values(), strict=True)])
        kept.append(m)
        us = [m * full(step_seed(t, i)) for i in range(2)]
        theta = theta - 0.05 * sum(slope(theta, u, 1e-3) * u for u in us) / 2
        lab.method.step(lab.objective)
        assert torch.allclose(lab.theta, theta, rtol=1e-9, atol=1e-12), t
    assert torch.equal(kept[0], kept[1]) == (interval != 1)


def test_meerkat_follows_its_calibrated_mask() -> None:
    lab = Lab("meerkat", lr=0.05, density=0.3)
    gradients = [
        {"matrix": torch.randn(3, 4, generator=g), "vector": torch.randn(5, generator=g)}
        for g in (torch.Generator().manual_seed(s) for s in (1, 2, 3))
    ]
    scores = mean_squared_gradients(gradients, lab.space)
    stacked = torch.stack([torch.cat([g["matrix"].reshape(-1), g["vector"]]) for g in gradients])
    top = stacked.square().mean(dim=0).argsort(descending=True)[: int(0.3 * 17)]
    lab.method.calibrate(scores)
    mask = torch.zeros(17, dtype=torch.float64)
    mask[top] = 1.0
    assert torch.equal(listed_mask(lab.method.direction.positions), mask)
    theta = lab.theta
    for t in range(STEPS):
        u = mask * full(step_seed(t, 0))
        theta = theta - 0.05 * slope(theta, u, 1e-3) * u
        lab.method.step(lab.objective)
        assert torch.allclose(lab.theta, theta, rtol=1e-9, atol=1e-12), t
    with pytest.raises(ValueError, match="before the first step"):
        lab.method.calibrate(scores)


def test_meerkat_draws_only_what_it_lists() -> None:
    lab = Lab("meerkat", density=0.3)
    lab.method.step(lab.objective)
    assert lab.method.engine.source.drawn == 3 * int(0.3 * 17)


def test_listed_equals_masked_dense_draws_in_a_masked_space_too() -> None:
    from zobench.zo.conformance.problems import quadratic
    from zobench.zo.source import CounterSource
    from zobench.zo.space import ParameterSpace

    module = quadratic().make(torch.float32)
    index = {"matrix": torch.tensor([1, 6, 9, 11])}
    space = ParameterSpace(module, ["matrix"], kind="masked", indices=index)
    listed = Listed(CounterSource(space), {"matrix": torch.tensor([0, 2])})
    whole = noise.sample((12,), seed=5, key=noise.tensor_key("matrix"), kind="gaussian")
    expected = torch.zeros(4)
    expected[[0, 2]] = whole[[1, 9]]
    assert torch.equal(listed.tensor("matrix", 5), expected)


def test_lezo_moves_whole_layers_and_all_of_them_in_time() -> None:
    from zobench.zo import Objective, build_space
    from zobench.zo.conformance.problems import transformer

    problem = transformer()
    module = problem.make(torch.float64)
    space = build_space("full", {}, module)
    cls = lookup("methods", "lezo")
    method = cls(cls.Config(lr=0.01, sparsity=0.66), space, seed=SEED)
    objective = Objective(module, problem.loss)
    objective.set_batch(problem.batch, sequences=4, tokens=24)
    seen = set()
    for _ in range(20):
        before = space.snapshot()
        method.step(objective)
        moved = {n for n in space if not torch.equal(before[n], space.entries(n))}
        layers = {".".join(n.split(".")[:2]) if n.startswith("layers") else "embedding" for n in moved}
        assert len(layers) == 1
        assert moved == {n for n in space if n.startswith(next(iter(layers)))}
        seen |= layers
    assert seen == {"embedding", "layers.0", "layers.1"}


def test_lezo_equals_its_definition() -> None:
    lab = Lab("lezo", lr=0.05, sparsity=0.5)
    theta = lab.theta
    for t in range(STEPS):
        chosen = lab.method.direction.chosen(step_seed(t, 0))
        keep = torch.cat(
            [torch.full((12,), float("matrix" in chosen)), torch.full((5,), float("vector" in chosen))]
        )
        assert len(chosen) == 1
        u = keep.double() * full(step_seed(t, 0))
        theta = theta - 0.05 * slope(theta, u, 1e-3) * u
        lab.method.step(lab.objective)
        assert torch.allclose(lab.theta, theta, rtol=1e-9, atol=1e-12), t


@pytest.mark.parametrize("order", ["joint", "sequential"])
def test_block_wise(order: str) -> None:
    lab = Lab("zo-sgd-block", lr=0.05, blocks=2, order=order)
    theta = lab.theta
    for t in range(STEPS):
        base, steps = theta, []
        for b, keep in enumerate((slice(0, 12), slice(12, 17))):
            seed = step_seed(t, 0) // 65536 * 65536 + b
            u = torch.zeros_like(theta)
            u[keep] = full(seed)[keep]
            step = -0.05 * slope(base, u, 1e-3) * u
            steps.append(step)
            if order == "sequential":
                base = base + step
        theta = theta + sum(steps)
        record = lab.method.step(lab.objective)
        assert record.forwards == 4
        assert torch.allclose(lab.theta, theta, rtol=1e-9, atol=1e-12), t


def test_dizo_projects_every_interval() -> None:
    lr, eps, eps_p, rate, tau = 0.05, 1e-3, 0.1, 2.0, 0.2
    lab = Lab("dizo", lr=lr, epsilon=eps, interval=3, rounds=4)
    theta = start = lab.theta
    layer = torch.cat([torch.zeros(12, dtype=torch.int64), torch.ones(5, dtype=torch.int64)])

    def stretched(s: torch.Tensor) -> torch.Tensor:
        return start + s[layer] * (theta - start)

    projected = 0
    for t in range(10):
        if t and t % 3 == 0:
            far = torch.stack([(theta - start)[layer == i].norm() for i in (0, 1)])
            gamma = far.clone()
            for i in range(4):
                seed = noise.derive_seed(SEED, t, "projection", i)
                w = (
                    torch.cat(
                        [
                            noise.sample((1,), seed=seed, key=noise.tensor_key(n), kind="gaussian")
                            for n in ("matrix", "vector")
                        ]
                    )
                    .double()
                    .clamp(-tau / eps_p * far, tau / eps_p * far)
                )
                g = _loss(stretched((gamma + eps_p * w) / far)) - _loss(stretched((gamma - eps_p * w) / far))
                gamma = gamma - rate * far * g / (2 * eps_p) * w
                gamma = gamma.clamp((1 - tau) * far, (1 + tau) * far)
            s = gamma / far
            theta = stretched(s)
            projected += 1
        u = full(step_seed(t, 0))
        theta = theta - lr * slope(theta, u, eps) * u
        record = lab.method.step(lab.objective)
        assert record.forwards == (10 if t and t % 3 == 0 else 2)
        assert torch.allclose(lab.theta, theta, rtol=1e-8, atol=1e-11), t
    assert projected == 3


def _loss(theta: torch.Tensor) -> float:
    return float(0.5 * (H * (theta - T) ** 2).sum())


def test_smallest_breaks_ties_by_position_and_keeps_the_count() -> None:
    values = torch.tensor([2.0, 1.0, 1.0, 0.0, 1.0])
    assert smallest(values, 3).tolist() == [False, True, True, True, False]
    assert not smallest(values, 0).any()
    assert smallest(values, 9).all()


def test_largest_positions_are_global() -> None:
    scores = {"a": torch.tensor([[1.0, 5.0]]), "b": torch.tensor([4.0, 0.0]), "c": torch.zeros(3)}
    found = largest_positions(scores, 2)
    assert {n: i.tolist() for n, i in found.items()} == {"a": [1], "b": [0]}
    with pytest.raises(ValueError, match="finite"):
        largest_positions({"a": torch.tensor([float("nan")])}, 1)


def test_parts_cover_every_tensor_once() -> None:
    groups = [["a"], ["b", "c"], ["d"], ["e"]]
    assert [n for part in parts_of(groups, 3) for n in part] == list("abcde")
    assert len(parts_of(groups, 3)) == 3
    assert parts_of(groups, 9) == [["a"], ["b"], ["c"], ["d"], ["e"]]


def test_sparse_mezo_learns_under_the_papers_settings_while_its_mask_loses_entries() -> None:
    """Sparsity 0.8, mask made anew in each step from unperturbed weights; entries past h stay where they
    are."""
    problem, method = transformer(), lookup("methods", "sparse-mezo")
    module = problem.make(torch.float32)
    space = build_space("full", {}, module)
    objective = Objective(module, problem.loss)
    objective.set_batch(problem.batch, sequences=problem.sequences, tokens=problem.tokens)
    optimizer = method(method.Config(lr=0.003), space, seed=7)
    before, shares, outside = objective.loss(), [], None
    for _ in range(150):
        masks, values = optimizer.masks(), space.snapshot()
        shares.append(optimizer.step(objective).extras["kept_share"])
        for name in space:
            assert torch.equal(space.entries(name)[~masks[name]], values[name][~masks[name]])
        if outside is not None:
            assert not any(bool((masks[name] & outside[name]).any()) for name in space), "none comes back"
        outside = {name: ~mask for name, mask in masks.items()}
    assert objective.loss() < 0.7 * before
    assert shares[0] == pytest.approx(0.2, abs=0.01)
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] < 0.1
