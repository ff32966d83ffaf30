"""Methods with other oracles than losses, and methods on quantized models, against their definitions."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from zo_lab import Lab, draw, full, loss, slope, start, step_seed

from zobench.zo import Engine, build_space
from zobench.zo.conformance import check, failures
from zobench.zo.conformance.problems import transformer
from zobench.zo.methods.deepzero import allotted
from zobench.zo.methods.sketching import Sketching, SketchingConfig
from zobench.zo.methods.zo_ranksgd import rank_weights

STEPS = 5


def close(lab: Lab, theta: torch.Tensor, step: int) -> None:
    assert torch.allclose(lab.theta, theta, rtol=1e-8, atol=1e-11), f"step {step}"


@pytest.mark.parametrize("sides", ["one", "two"])
@pytest.mark.parametrize("sketch", ["gaussian", "rademacher", "hadamard", "coordinate"])
def test_sketching_is_s_times_the_finite_differences(sketch: str, sides: str) -> None:
    lab = Lab("sketching", lr=0.02, n=3, epsilon=1e-3, sketch=sketch, sides=sides)
    theta = lab.theta
    for t in range(STEPS):
        direction = lab.method.direction
        columns = [
            torch.cat([direction.tensor(n, s).reshape(-1) for n in lab.space]) for s in lab.method.columns()
        ]
        s = torch.stack(columns, dim=1)
        assert s.shape == (17, 3)
        if sides == "two":
            d = torch.tensor([slope(theta, u, 1e-3) for u in columns], dtype=torch.float64)
        else:
            d = torch.tensor([(loss(theta + 1e-3 * u) - loss(theta)) / 1e-3 for u in columns]).double()
        theta = theta - 0.02 * (s @ d) / 3
        record = lab.method.step(lab.objective)
        assert record.forwards == (6 if sides == "two" else 4)
        assert torch.allclose(lab.theta, theta, rtol=1e-6, atol=1e-8), t


def test_hadamard_columns_are_signed_rows_of_the_hadamard_matrix() -> None:
    lab = Lab("sketching", n=8, sketch="hadamard")
    h = torch.ones(1, 1, dtype=torch.float64)
    for _ in range(5):
        h = torch.cat([torch.cat([h, h], 1), torch.cat([h, -h], 1)])
    seeds = lab.method.columns()
    signs = full(seeds[0] >> 32, "rademacher")
    rows = [s & 0xFFFFFFFF for s in seeds]
    assert len(set(rows)) == 8
    assert len({s >> 32 for s in seeds}) == 1
    for seed, row in zip(seeds, rows, strict=True):
        got = torch.cat([lab.method.direction.tensor(n, seed).reshape(-1) for n in lab.space])
        assert torch.equal(got, signs * h[row % 32, :17])


@pytest.mark.slow
@pytest.mark.parametrize("sketch", ["rademacher", "hadamard", "coordinate"])
def test_every_sketch_is_unbiased(sketch: str) -> None:
    assert failures(check(Sketching, SketchingConfig(n=1, sketch=sketch), only=["unbiased"])) == []


def test_rank_weights_count_known_comparisons() -> None:
    assert rank_weights([3.0, 1.0, 2.0], 3) == [-2 / 3, 2 / 3, 0.0]
    m, k = 7, 3
    losses = [5.0, 1.0, 7.0, 2.0, 6.0, 3.0, 4.0]
    pairs = k * (k - 1) / 2 + k * (m - k)
    ranked = {1: m - 1, 3: m - 3, 5: m - 5}
    assert rank_weights(losses, k) == pytest.approx([ranked.get(i, -k) / pairs for i in range(m)])
    assert rank_weights([1.0, 1.0, 1.0], 3) == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("search", [0, 3])
def test_zo_ranksgd_sees_ranks_only(search: int) -> None:
    paths = []
    for bend in (lambda x: x, lambda x: math.exp(0.5 * x) - 7, lambda x: x**3):
        lab = Lab("zo-ranksgd", lr=0.3, epsilon=0.05, n=4, top=2, line_search=search)
        honest = lab.objective._loss
        lab.objective._loss = lambda module, batch, bend=bend, honest=honest: bend(
            float(honest(module, batch))
        )
        paths.append([(lab.method.step(lab.objective).moved, lab.theta)[1] for _ in range(12)])
    for other in paths[1:]:
        assert all(torch.equal(a, b) for a, b in zip(paths[0], other, strict=True))


def test_zo_ranksgd() -> None:
    lab = Lab("zo-ranksgd", lr=0.05, epsilon=0.1, n=5, top=3)
    theta = lab.theta
    for t in range(STEPS):
        us = [full(step_seed(t, i)) for i in range(5)]
        order = sorted(range(5), key=lambda i: loss(theta + 0.1 * us[i]))
        g = sum(us[j] - us[i] for a, i in enumerate(order[:3]) for j in order[a + 1 :]) / (3 + 6)
        theta = theta - 0.05 * g
        lab.method.step(lab.objective)
        close(lab, theta, t)


def test_zo_ranksgd_line_search_averages_directions_that_did_not_help() -> None:
    lab = Lab("zo-ranksgd", lr=3.0, epsilon=0.1, n=3, line_search=3)
    theta, waiting, stayed, chosen = lab.theta, [], 0, set()
    for t in range(25):
        us = [full(step_seed(t, i)) for i in range(3)]
        order = sorted(range(3), key=lambda i: loss(theta + 0.1 * us[i]))
        waiting.append(sum(us[j] - us[i] for a, i in enumerate(order) for j in order[a + 1 :]) / 3)
        g = sum(waiting) / len(waiting)
        trials = [theta, *(theta - 3.0 * 0.5**j * g for j in range(3)), theta + 0.1 * us[order[0]]]
        best = min(range(5), key=lambda i: loss(trials[i]))
        chosen.add(best)
        theta = trials[best]
        stayed += best == 0
        waiting = waiting if best == 0 else []
        lab.method.step(lab.objective)
        close(lab, theta, t)
    assert 0 < stayed < 25
    assert 4 in chosen, "the best probed point was taken at least once"


def test_deepzero_is_momentum_on_finite_differences_of_active_coordinates() -> None:
    lab = Lab("deepzero", lr=0.05, epsilon=1e-3, n=6, momentum=0.8, interval=2, pruning="uniform")
    theta, m, sets = lab.theta, None, []
    for t in range(STEPS):
        active = lab.method.active(lab.method.shares)
        assert len(set(active)) == 6
        sets.append(active)
        g = torch.zeros(17, dtype=torch.float64)
        for i in active:
            e = torch.zeros(17, dtype=torch.float64)
            e[i] = 1.0
            g[i] = (loss(theta + 1e-3 * e) - loss(theta)) / 1e-3
        m = g if m is None else 0.8 * m + g
        theta = theta - 0.05 * m
        assert lab.method.step(lab.objective).forwards == 7
        close(lab, theta, t)
    assert sets[0] == sets[1] != sets[2] == sets[3]


def test_zo_grasp_shares_follow_its_score() -> None:
    """g at theta and h at theta + delta g from the same 7 directions; the smallest -theta (h - g) / delta
    stay."""
    q, eps, step = 7, 1e-3, 0.5
    lab = Lab("deepzero", n=6, density=0.3, pruning_queries=q, pruning_step=step, epsilon=eps)
    theta = lab.theta
    us = [full(step_seed(0, i, "pruning")) for i in range(q)]

    def estimate(at: torch.Tensor) -> torch.Tensor:
        return sum((loss(at + eps * u) - loss(at)) / eps * u for u in us) / q

    g = estimate(theta)
    delta = step / float(g.norm())
    score = -theta * (estimate(theta + delta * g) - g) / delta
    kept = score.argsort()[: round(0.3 * 17)]
    record = lab.method.step(lab.objective)
    assert record.forwards == 7 + 2 * (q + 1)
    assert lab.method.shares == {"matrix": int((kept < 12).sum()), "vector": int((kept >= 12).sum())}
    assert lab.method.step(lab.objective).forwards == 7


def test_allotted_keeps_the_count_and_the_room() -> None:
    assert allotted({"a": 3, "b": 1}, {"a": 10, "b": 10}, 8) == {"a": 6, "b": 2}
    assert allotted({"a": 1, "b": 0}, {"a": 2, "b": 9}, 5) == {"a": 2, "b": 3}
    assert sum(allotted({"a": 1, "b": 1, "c": 1}, {"a": 9, "b": 9, "c": 9}, 7).values()) == 7


@pytest.mark.parametrize("freeze", [True, False])
def test_p_rge_branches_equal_single_losses_and_move_b_only(freeze: bool) -> None:
    params = {"r": 2, "freeze_a": freeze}
    batched, space, objective = start("p-rge", "lora", params, lr=0.1)
    single, other, objective2 = start("p-rge", "lora", params, Engine(mode="snapshot"), lr=0.1)
    assert (batched.engine.mode, single.engine.mode) == ("batched", "snapshot")
    first = space.snapshot()
    for _ in range(3):
        a, b = batched.step(objective), single.step(objective2)
        assert a.losses == pytest.approx(b.losses, rel=1e-9)
        assert a.forwards == b.forwards == 8
    for n in space:
        assert torch.allclose(space.entries(n), other.entries(n), rtol=1e-7, atol=1e-10)
        assert torch.equal(space.entries(n), first[n]) == n.endswith("lora_A")


def test_p_rge_is_n_spsa_on_the_b_matrices() -> None:
    """Three steps by direct arithmetic; A stays."""
    method, space, objective = start("p-rge", "lora", {"r": 2}, lr=0.5, n=3, epsilon=1e-2)
    names = [n for n in space if n.endswith("lora_B")]
    assert names
    for t in range(3):
        before, steps = space.snapshot(), {n: torch.zeros_like(space.entries(n)) for n in names}
        for i in range(3):
            z = {n: draw(n, tuple(before[n].shape), step_seed(t, i)) for n in names}
            pair = []
            for sign in (1, -1):
                space.restore({**before, **{n: before[n] + sign * 1e-2 * z[n] for n in names}})
                pair.append(objective.loss())
            for n in names:
                steps[n] += (pair[0] - pair[1]) / 2e-2 * z[n] / 3
        space.restore(before)
        method.step(objective)
        for n in space:
            want = before[n] - 0.5 * steps[n] if n in steps else before[n]
            assert torch.allclose(space.entries(n), want, rtol=1e-7, atol=1e-10), (t, n)


def test_zerotuning_scales_the_first_tokens_logits() -> None:
    problem = transformer()
    module = problem.make(torch.float64)
    plain = module(problem.batch)
    space = build_space("zerotuning", {}, module)
    assert list(space) == [f"layers.{i}.attention.k_proj.first_token" for i in (0, 1)]
    assert torch.equal(module(problem.batch), plain)
    seen = []
    layer = module.layers[0].attention
    layer.k_proj.register_forward_hook(lambda m, args, out: seen.append(out))
    space.put_("layers.0.attention.k_proj.first_token", torch.tensor([1.7], dtype=torch.float64))
    module(problem.batch)
    clean = nn.functional.linear(
        module.layers[0].layer_norm(module.embedding(problem.batch)), layer.k_proj.weight, layer.k_proj.bias
    )
    clean[:, 0] *= 1.7
    assert torch.allclose(seen[0], clean)
    space.remove()
    assert torch.equal(module(problem.batch), plain)


def test_zerotuning_heads_and_left_padding() -> None:
    class Padded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.k_proj = nn.Linear(4, 4, bias=False)

        def forward(self, x: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            return self.k_proj(x)

    module = Padded()
    space = build_space("zerotuning", {"heads": 2}, module)
    x, mask = torch.ones(2, 3, 4), torch.tensor([[1, 1, 1], [0, 1, 1]])
    plain = module(x, attention_mask=mask)
    space.put_("k_proj.first_token", torch.tensor([2.0, 3.0]))
    expected = plain.clone()
    for row, position in ((0, 0), (1, 1)):
        expected[row, position] *= torch.tensor([2.0, 2.0, 3.0, 3.0])
    assert torch.equal(module(x, attention_mask=mask), expected)
    with pytest.raises(ValueError, match="4 outputs for 3 heads"):
        build_space("zerotuning", {"heads": 3}, Padded())


def test_any_method_tunes_the_zerotuning_space() -> None:
    method, space, objective = start("mezo", "zerotuning", {}, lr=0.05, n=4)
    before = objective.loss()
    for _ in range(60):
        method.step(objective)
    assert objective.loss() < before
    assert space.numel == 2
