"""Every method against its definition: float64 trajectories computed by direct matrices, no kernels of the
library.

The directions are read once as vectors (``direction.tensor``); everything else - losses of the quadratic,
projected gradients, updates - is written out here from the papers' formulas.
"""

from __future__ import annotations

import ast
import math
from pathlib import Path

import pytest
import torch
from zo_lab import SEED, STEPS, H, Lab, T, loss, same, slope

from zobench.plugins import lookup
from zobench.zo import noise
from zobench.zo.methods.catalogue import METHODS


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize(("decay", "rule"), [(0.0, "mezo"), (0.1, "all"), (0.1, "matrices")])
def test_mezo(n: int, decay: float, rule: str) -> None:
    lab = Lab("mezo", lr=0.02, epsilon=1e-3, n=n, weight_decay=decay, decay_rule=rule)
    theta, expected = lab.theta, []
    decays = torch.ones(17, dtype=torch.float64)
    if rule == "matrices":
        decays[12:] = 0.0
    for t in range(STEPS):
        us = [lab.u(t, i) for i in range(n)]
        g = sum(slope(theta, u, 1e-3) * u for u in us) / n
        theta = theta - 0.02 * (g + decay * decays * theta)
        expected.append(theta)
    same(lab.run(), expected)


def test_mezo_one_sided() -> None:
    lab = Lab("mezo-one-sided", lr=0.02, epsilon=1e-2, n=2)
    theta, expected = lab.theta, []
    for t in range(STEPS):
        us = [lab.u(t, i) for i in range(2)]
        theta = theta - 0.02 * sum((loss(theta + 1e-2 * u) - loss(theta)) / 1e-2 * u for u in us) / 2
        expected.append(theta)
    same(lab.run(), expected)


@pytest.mark.parametrize("form", ["paper", "code"])
def test_fzoo(form: str) -> None:
    n, eps, lr = 4, 1e-3, 1e-4 if form == "paper" else 0.05
    lab = Lab("fzoo", lr=lr, epsilon=eps, n=n, step_size=form)
    theta, expected = lab.theta, []
    for t in range(STEPS):
        us = [lab.u(t, i, "rademacher") for i in range(n)]
        losses = torch.tensor([loss(theta + eps * u) for u in us], dtype=torch.float64)
        sigma = float(losses.std(unbiased=form == "paper"))
        g = sum(float(value - loss(theta)) * u for value, u in zip(losses, us, strict=True)) / (n * sigma)
        theta = theta - lr * (g / eps if form == "paper" else g)
        expected.append(theta)
    same(lab.run(), expected, 1e-8)


def test_fzoo_forms_differ_by_eps_and_bessel() -> None:
    """eta_code = eta_paper / eps, up to sqrt((N - 1) / N)."""
    n, eps = 8, 1e-3
    paper = Lab("fzoo", lr=1e-5, epsilon=eps, n=n, step_size="paper").run()[0]
    code_lab = Lab("fzoo", lr=1e-5 / eps * math.sqrt((n - 1) / n), epsilon=eps, n=n, step_size="code")
    same([code_lab.run()[0]], [paper])


def test_zo_adam() -> None:
    lr, b1, b2, delta = 0.05, 0.9, 0.99, 1e-8
    lab = Lab(
        "zo-adam", lr=lr, epsilon=1e-3, beta1=b1, beta2=b2, delta=delta, weight_decay=0.1, decay_rule="all"
    )
    theta, expected = lab.theta, []
    m, v = torch.zeros_like(theta), torch.zeros_like(theta)
    for t in range(STEPS):
        u = lab.u(t, 0)
        g = slope(theta, u, 1e-3) * u
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        step = (m / (1 - b1 ** (t + 1))) / ((v / (1 - b2 ** (t + 1))).sqrt() + delta)
        theta = theta - lr * 0.1 * theta - lr * step
        expected.append(theta)
    same(lab.run(), expected)


def test_zo_adam_equals_torch_adam_on_the_dense_estimate() -> None:
    lab = Lab("zo-adam", lr=0.05)
    twin = torch.nn.Parameter(lab.theta)
    adam = torch.optim.Adam([twin], lr=0.05)
    expected = []
    for t in range(STEPS):
        u = lab.u(t, 0)
        twin.grad = slope(twin.detach(), u, 1e-3) * u
        adam.step()
        expected.append(twin.detach().clone())
    same(lab.run(), expected)


def test_zo_sgd_momentum_equals_torch_sgd_on_the_dense_estimate() -> None:
    lab = Lab("zo-sgd-momentum", lr=0.005, n=2, momentum=0.9, dampening=0.1)
    twin = torch.nn.Parameter(lab.theta)
    sgd = torch.optim.SGD([twin], lr=0.005, momentum=0.9, dampening=0.1)
    expected = []
    for t in range(STEPS):
        us = [lab.u(t, i) for i in range(2)]
        twin.grad = sum(slope(twin.detach(), u, 1e-3) * u for u in us) / 2
        sgd.step()
        expected.append(twin.detach().clone())
    same(lab.run(), expected)


@pytest.mark.parametrize("reading", ["scalar", "estimate"])
def test_zo_sgd_sign(reading: str) -> None:
    lab = Lab("zo-sgd-sign", lr=0.01, n=2, reading=reading)
    theta, expected = lab.theta, []
    for t in range(STEPS):
        us = [lab.u(t, i) for i in range(2)]
        slopes = [slope(theta, u, 1e-3) for u in us]
        if reading == "scalar":
            step = sum(math.copysign(1, c) * u for c, u in zip(slopes, us, strict=True)) / 2
        else:
            step = sum(c * u for c, u in zip(slopes, us, strict=True)).sign()
        theta = theta - 0.01 * step
        expected.append(theta)
    same(lab.run(), expected)


def test_zo_sgd_conservative() -> None:
    lab = Lab("zo-sgd-conservative", lr=0.2, epsilon=1e-3)
    theta, expected, choices = lab.theta, [], []
    for t in range(STEPS):
        u = lab.u(t, 0)
        c = slope(theta, u, 1e-3)
        points = [theta, theta - 0.2 * c * u, theta + 0.2 * c * u]
        best = min(range(3), key=lambda i: loss(points[i]))
        choices.append(best)
        theta = points[best]
        expected.append(theta)
    same(lab.run(), expected)
    assert {0, 1} <= set(choices), "the test must see both a step that is taken and one that is not"


def test_forward_gradient() -> None:
    lab = Lab("forward-gradient", lr=0.02, n=2)
    theta, expected = lab.theta, []
    for t in range(STEPS):
        g = H * (theta - T)
        us = [lab.u(t, i) for i in range(2)]
        theta = theta - 0.02 * sum(float(g @ u) * u for u in us) / 2
        expected.append(theta)
    same(lab.run(), expected)


@pytest.mark.parametrize(
    ("name", "params", "twin_class", "twin_params"),
    [
        ("adamw", {"weight_decay": 0.1, "decay_rule": "all"}, torch.optim.AdamW, {"weight_decay": 0.1}),
        ("sgd", {"momentum": 0.9}, torch.optim.SGD, {"momentum": 0.9}),
        ("sgd", {}, torch.optim.SGD, {}),
    ],
)
def test_first_order_equals_torch(name: str, params: dict, twin_class: type, twin_params: dict) -> None:
    lab = Lab(name, lr=0.05, **params)
    twin = torch.nn.Parameter(lab.theta)
    optimizer = twin_class([twin], lr=0.05, **twin_params)
    expected = []
    for _ in range(STEPS):
        twin.grad = H * (twin.detach() - T)
        optimizer.step()
        expected.append(twin.detach().clone())
    same(lab.run(), expected)


@pytest.mark.parametrize("draw", ["sign", "normal"])
def test_random_direction_spends_like_mezo_and_ignores_the_loss(draw: str) -> None:
    lab = Lab("random-direction", lr=0.01, draw=draw)
    agreements = []
    for t in range(40):
        theta = lab.theta
        c = slope(theta, lab.u(t, 0), 1e-3)
        record = lab.method.step(lab.objective)
        same([lab.theta], [theta - 0.01 * record.coefficients[0] * lab.u(t, 0)])
        assert record.forwards == 2
        if draw == "sign":
            assert abs(record.coefficients[0]) == pytest.approx(abs(c), rel=1e-6)
        agreements.append(record.coefficients[0] * c > 0)
    assert 8 <= sum(agreements) <= 32


def test_none_never_moves_and_costs_nothing() -> None:
    lab = Lab("none")
    before = lab.theta
    path = lab.run()
    assert all(torch.equal(point, before) for point in path)
    assert lab.objective.meter.forwards == 0
    assert not lab.record.moved


def test_directions_are_common_to_all_methods() -> None:
    seeds = {name: Lab(name).method.seeds(1) for name in ("mezo", "fzoo", "zo-adam", "forward-gradient")}
    assert set(seeds.values()) == {(noise.derive_seed(SEED, 0, 0),)}


def test_nothing_moves_between_refusals() -> None:
    """A refused step advances the counter, so that the next one draws new directions."""
    lab = Lab("mezo", lr=0.02)
    honest = lab.objective._loss
    lab.objective._loss = lambda module, batch: torch.tensor(math.nan)
    before = lab.theta
    refused = lab.method.step(lab.objective)
    assert not refused.moved
    assert refused.reason == "non-finite loss"
    assert torch.equal(lab.theta, before)
    lab.objective._loss = honest
    u = lab.u(1, 0)
    lab.method.step(lab.objective)
    same([lab.theta], [before - 0.02 * slope(before, u, 1e-3) * u])


def compares_a_trajectory(function: ast.FunctionDef) -> bool:
    """Whether a test takes steps of a method and compares weights with numbers of its own."""
    called = {
        ast.unparse(node.func).rpartition(".")[2] for node in ast.walk(function) if isinstance(node, ast.Call)
    }
    return bool(called & {"same", "close", "allclose"}) and bool(called & {"run", "step"})


def test_every_zeroth_order_method_is_compared_with_its_definition() -> None:
    """A method that joins the catalogue brings a trajectory by direct arithmetic with it."""
    names = {name for name in METHODS if lookup("methods", name).card.order in ("zeroth", "forward-mode")}
    compared = set()
    for file in Path(__file__).parent.glob("test_*.py"):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.FunctionDef) and compares_a_trajectory(node):
                words = (n.value for n in ast.walk(node) if isinstance(n, ast.Constant))
                compared |= {word for word in words if isinstance(word, str) and word in names}
    assert len(names) > 40
    assert names == compared
