"""MeZO-Greedy, MeZO-GV and anchored weight decay against their formulas."""

from __future__ import annotations

import math

import pytest
import torch
from zo_lab import STEPS, Lab, full, loss, same, slope, start, step_seed

from zobench.plugins import lookup
from zobench.zo import noise
from zobench.zo.methods.mezo_gv import GUIDED


@pytest.mark.parametrize("requery", [False, True])
def test_mezo_greedy(requery: bool) -> None:
    lab = Lab("mezo-greedy", lr=0.02, epsilon=1e-2, candidates=3, requery=requery)
    theta, expected, winners = lab.theta, [], set()
    for t in range(STEPS):
        us = [lab.u(t, i) for i in range(3)]
        best = min(range(3), key=lambda i: loss(theta + 1e-2 * us[i]))
        theta = theta - 0.02 * slope(theta, us[best], 1e-2) * us[best]
        winners.add(best)
        expected.append(theta)
    same(lab.run(), expected)
    assert len(winners) > 1
    assert lab.objective.meter.forwards == STEPS * (5 if requery else 4)


def test_greedy_with_one_candidate_is_mezo_to_the_bit() -> None:
    greedy, mezo = Lab("mezo-greedy", lr=0.02, candidates=1), Lab("mezo", lr=0.02)
    assert all(torch.equal(a, b) for a, b in zip(greedy.run(), mezo.run(), strict=True))


def candidate(step: int, query: int, number: int) -> torch.Tensor:
    return full(noise.derive_seed("candidate", step_seed(step, query), number))


def guide(theta: torch.Tensor, zs: list[torch.Tensor], top: int, eps: float) -> torch.Tensor:
    ordered = sorted(zs, key=lambda z: loss(theta + eps * z))
    return sum(ordered[:top]) / top - sum(ordered[top:]) / (len(zs) - top)


@pytest.mark.parametrize(("m", "share", "top"), [(2, 0.5, 1), (5, 0.5, 2), (4, 0.1, 1)])
def test_mezo_gv(m: int, share: float, top: int) -> None:
    lab = Lab("mezo-gv", lr=0.01, n_candidates=m, share=share, params={"epsilon": 1e-2})
    theta, expected = lab.theta, []
    for t in range(STEPS):
        v = guide(theta, [candidate(t, 0, i) for i in range(m)], top, 1e-2)
        theta = theta - 0.01 * slope(theta, v, 1e-2) * v
        expected.append(theta)
    same(lab.run(), expected)
    assert lab.objective.meter.forwards == STEPS * (m + 2)


def test_mezo_gv_with_history_keeps_the_best_candidate() -> None:
    lab = Lab("mezo-gv", lr=0.01, candidates="history")
    theta, expected, best = lab.theta, [], None
    for t in range(STEPS):
        pool = [candidate(t, 0, 0) if best is None else best, candidate(t, 0, 1)]
        v = guide(theta, pool, 1, 1e-3)
        best = min(pool, key=lambda z: loss(theta + 1e-3 * z))
        theta = theta - 0.01 * slope(theta, v, 1e-3) * v
        expected.append(theta)
    same(lab.run(), expected)


def test_mezo_gv_around_fzoo_guides_every_direction() -> None:
    n, eps, lr = 3, 1e-2, 0.02
    lab = Lab("mezo-gv", method="fzoo", lr=lr, params={"n": n, "epsilon": eps, "step_size": "code"})
    theta, expected = lab.theta, []
    for t in range(STEPS):
        vs = []
        for q in range(n):
            seeds = [noise.derive_seed("candidate", step_seed(t, q), i) for i in range(2)]
            vs.append(guide(theta, [full(s, "rademacher") for s in seeds], 1, eps))
        losses = torch.tensor([loss(theta + eps * v) for v in vs], dtype=torch.float64)
        sigma = float(losses.std(unbiased=False))
        g = sum(float(x - loss(theta)) * v for x, v in zip(losses, vs, strict=True)) / (n * sigma)
        theta = theta - lr * g
        expected.append(theta)
    same(lab.run(), expected, 1e-8)


@pytest.mark.parametrize("name", GUIDED)
def test_every_guided_method_descends_and_a_normalized_vector_has_the_usual_length(name: str) -> None:
    lab = Lab("mezo-gv", method=name, lr=1e-3, normalize=True)
    before = loss(lab.theta)
    lengths = []
    for _ in range(30):
        record = lab.method.step(lab.objective)
        v = torch.cat([lab.method.guided.tensor(n, record.seeds[0]).reshape(-1) for n in lab.space])
        lengths.append(float(v.square().sum()))
    assert loss(lab.theta) < before
    if name in ("mezo", "zo-adam"):
        assert sum(lengths) / len(lengths) == pytest.approx(17, rel=0.35)


def test_candidates_that_are_not_finite_refuse_the_step() -> None:
    lab = Lab("mezo-gv", lr=0.01)
    honest, before = lab.objective._loss, lab.theta
    lab.objective._loss = lambda module, batch: torch.tensor(math.inf)
    record = lab.method.step(lab.objective)
    assert (record.moved, record.reason, record.forwards) == (False, "non-finite loss", 2)
    assert torch.equal(lab.theta, before)
    lab.objective._loss = honest
    again = lab.method.step(lab.objective)
    assert (again.step, again.moved, again.forwards) == (1, True, 4)


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_anchored(norm: str) -> None:
    lr, strength = 0.02, 3.0
    lab = Lab("anchored", method="mezo", lr=lr, anchor=strength, norm=norm, params={"n": 2})
    theta = begin = lab.theta
    expected = []
    for t in range(STEPS):
        us = [lab.u(t, i) for i in range(2)]
        moved = theta - lr * sum(slope(theta, u, 1e-3) * u for u in us) / 2
        away, pull = moved - begin, lr * strength
        kept = away * (1 - pull) if norm == "l2" else away.sign() * (away.abs() - pull).clamp_min(0)
        theta = begin + kept
        expected.append(theta)
    same(lab.run(), expected)


def test_without_strength_it_is_the_inner_method_to_the_bit() -> None:
    lab = Lab("anchored", method="mezo", lr=0.02, anchor=0.0)
    assert all(torch.equal(a, b) for a, b in zip(lab.run(), Lab("mezo", lr=0.02).run(), strict=True))


def test_a_put_off_step_is_pulled_too() -> None:
    """Mode factored-lazy: the pull acts on the weights with the steps that were put off."""
    from zobench.zo.engine import Engine

    ends = []
    for mode in ("snapshot", "factored-lazy"):
        method, space, objective = start(
            "anchored", "full", {}, Engine(mode=mode), method="lozo", lr=1e-3, anchor=50.0
        )
        for _ in range(4):
            method.step(objective)
        method.settle()
        ends.append(torch.cat([space.entries(n).reshape(-1) for n in space]))
    assert float((ends[0] - ends[1]).norm() / ends[0].norm()) < 1e-9


@pytest.mark.parametrize("name", ["tezo-adam", "conmezo", "zo-ranksgd", "mezo-gv", "eggroll"])
def test_methods_with_state_can_be_anchored_and_resumed(name: str) -> None:
    whole, first = (Lab("anchored", method=name, lr=1e-3) for _ in range(2))
    expected = whole.run(6)
    first.run(3)
    second = Lab("anchored", method=name, lr=1e-3)
    second.space.load_state_dict(first.space.state_dict())
    second.method.load_state_dict(first.method.state_dict())
    assert torch.equal(second.run(3)[-1], expected[-1])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("adamw", "cannot be anchored: its order is 'first'"),
        ("qzo", "takes the spaces scales"),
        ("anchored", "itself"),
        ("mezoo", "did you mean 'mezo"),
    ],
)
def test_what_cannot_be_anchored_is_said(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        lookup("methods", "anchored").Config(method=name)


@pytest.mark.parametrize("wrapper", ["mezo-gv", "anchored"])
def test_parameters_of_the_inner_method_are_checked(wrapper: str) -> None:
    config = lookup("methods", wrapper).Config
    with pytest.raises(ValueError, match="'epsilom'; did you mean 'epsilon'"):
        config(method="mezo", params={"epsilom": 1.0})
    with pytest.raises(ValueError, match="params of method 'mezo': epsilon must be"):
        config(method="mezo", params={"epsilon": 0.0})
