"""ZO Fine-tuner against its formula, with networks and with the rule made by hand."""

from __future__ import annotations

import math

import pytest
import torch
from zo_lab import Lab, M, N, flat, loss, same, slope, start

from zobench.zo import noise
from zobench.zo.methods.zo_finetuner import NUMBERS

EPS, LR = 1e-3, 0.01
PARTS = {"matrix": slice(0, M * N), "vector": slice(M * N, M * N + 5)}


def networks() -> dict[str, torch.Tensor]:
    return {
        name: 0.3 * noise.sample((NUMBERS,), seed=4, key=noise.tensor_key(name), kind="gaussian").double()
        for name in PARTS
    }


def output(numbers: torch.Tensor, x: torch.Tensor) -> float:
    """The network as torch layers of matrices."""
    first, bias = numbers[:320].view(64, 5), numbers[320:384]
    return abs(float(numbers[384:448] @ torch.tanh(first @ x + bias) + numbers[448]))


def step(theta: torch.Tensor, u: torch.Tensor, sigmas: dict[str, float]) -> tuple[torch.Tensor, torch.Tensor]:
    counts = {name: part.stop - part.start for name, part in PARTS.items()}
    kappa = math.sqrt(17 / sum(counts[n] * sigmas[n] ** 2 for n in counts))
    scale = flat(torch.full((M, N), sigmas["matrix"]), torch.full((5,), sigmas["vector"])).double()
    moved = kappa * scale * u
    return theta - LR * slope(theta, moved, EPS) * moved, moved


def test_the_rule_scales_by_the_deviation_and_keeps_the_norm() -> None:
    lab = Lab("zo-finetuner", lr=LR, epsilon=EPS)
    theta, expected = lab.theta, []
    for t in range(4):
        sigmas = {name: float(theta[part].std(correction=0)) for name, part in PARTS.items()}
        assert len(set(sigmas.values())) == 2
        theta, _ = step(theta, lab.u(t, 0), sigmas)
        expected.append(theta)
    same(lab.run(4), expected, 1e-5)  # statistics are rounded to 7 digits


def test_networks_read_statistics_losses_and_their_own_last_scale() -> None:
    lab = Lab("zo-finetuner", lr=LR, epsilon=EPS)
    given = networks()
    lab.method.use_networks(given)
    theta, expected, seen = lab.theta, [], []
    losses, sigmas = (0.0, 0.0), dict.fromkeys(PARTS, 1.0)
    for t in range(4):
        x = {n: (float(theta[p].mean()), float(theta[p].var(correction=0))) for n, p in PARTS.items()}
        sigmas = {
            n: output(given[n], torch.tensor([*x[n], *losses, sigmas[n]], dtype=torch.float64)) for n in PARTS
        }
        seen.append(sigmas["matrix"])
        after, u = step(theta, lab.u(t, 0), sigmas)
        losses = (loss(theta + EPS * u), loss(theta - EPS * u))
        theta = after
        expected.append(theta)
    assert len({round(s, 4) for s in seen}) == 4, "the scale changes from step to step"
    same(lab.run(4), expected, 1e-4)  # scales are rounded to 7 digits, and the next ones read them


def test_networks_are_in_the_checkpoint() -> None:
    whole, first, second = (Lab("zo-finetuner", lr=LR, epsilon=EPS) for _ in range(3))
    for lab in (whole, first):
        lab.method.use_networks(networks())
    path = whole.run(5)
    first.run(2)
    second.space.load_state_dict(first.space.state_dict())
    second.method.load_state_dict(first.method.state_dict())
    assert torch.equal(second.run(3)[-1], path[-1])


def test_equal_scales_are_mezo() -> None:
    path = Lab("zo-finetuner", lr=LR, epsilon=EPS, scale="equal").run(4)
    same(path, Lab("mezo", lr=LR, epsilon=EPS).run(4), 1e-12)


def test_rows_of_an_embedding_count_up_to_a_limit_and_networks_are_checked() -> None:
    method, space, _ = start("zo-finetuner", "full", {}, touched_rows=3)
    table = next(n for n in space if "embed" in n)
    assert method._counted(table) == 3 * space.shape(table)[1] < space.size(table)
    with pytest.raises(ValueError, match="needs a network of 449 finite numbers"):
        method.use_networks({n: torch.zeros(448) for n in space})
