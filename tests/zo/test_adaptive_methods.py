"""Second-order, adaptive, population and one-point methods against their papers' arithmetic in float64."""

from __future__ import annotations

import math

import pytest
import torch
from zo_lab import SEED, H, Lab, T, flat, full, loss, same, slope, step_seed

from zobench.plugins import lookup
from zobench.zo import Engine, Objective, build_space
from zobench.zo.conformance import check, failures
from zobench.zo.conformance.problems import quadratic
from zobench.zo.hessian import two_sided_with_curvature

STEPS = 6
EPS = 1e-3


def one_sided(theta: torch.Tensor, us: list[torch.Tensor], eps: float = EPS) -> torch.Tensor:
    return sum((loss(theta + eps * u) - loss(theta)) / eps * u for u in us) / len(us)


@pytest.mark.parametrize("root", ["outside", "inside"])
def test_r_adazo(root: str) -> None:
    lr, b1, b2, zeta = 0.02, 0.9, 0.95, 1e-6
    lab = Lab("r-adazo", lr=lr, epsilon=EPS, n=2, beta1=b1, beta2=b2, zeta=zeta, root=root)
    theta, expected = lab.theta, []
    m = v = torch.zeros_like(theta)
    for t in range(STEPS):
        g = one_sided(theta, [full(step_seed(t, i)) for i in range(2)])
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * m * m
        theta = theta - lr * m / ((v + zeta).sqrt() if root == "inside" else v.sqrt() + zeta)
        expected.append(theta)
    same(lab.run(STEPS), expected)


@pytest.mark.parametrize("divide_by", ["largest", "latest"])
def test_zo_adamm(divide_by: str) -> None:
    lr, b1, b2, delta = 0.02, 0.9, 0.5, 1e-6
    lab = Lab("zo-adamm", lr=lr, epsilon=EPS, n=2, beta1=b1, beta2=b2, delta=delta, divide_by=divide_by)
    theta, expected, shrank = lab.theta, [], False
    m = v = w = torch.zeros_like(theta)
    for t in range(STEPS):
        g = one_sided(theta, [full(step_seed(t, i)) for i in range(2)])
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g * g
        shrank = shrank or bool((v < w).any())
        w = torch.maximum(w, v)
        theta = theta - lr * m / ((w if divide_by == "largest" else v).sqrt() + delta)
        expected.append(theta)
    same(lab.run(STEPS), expected)
    assert shrank, "the test must see the maximum at work"


@pytest.mark.parametrize("n", [1, 3])
def test_meazo(n: int) -> None:
    lr, beta, zeta = 0.01, 0.9, 1e-8
    lab = Lab("meazo", lr=lr, epsilon=EPS, n=n, beta=beta, zeta=zeta)
    theta, expected, v = lab.theta, [], 0.0
    for t in range(STEPS):
        us = [full(step_seed(t, i)) for i in range(n)]
        cs = [slope(theta, u, EPS) for u in us]
        v = beta * v + (1 - beta) * (sum(cs) / n) ** 2
        scale = math.sqrt(v / (1 - beta ** (t + 1))) + zeta
        theta = theta - lr / scale * sum(c * u for c, u in zip(cs, us, strict=True)) / n
        expected.append(theta)
    same(lab.run(STEPS), expected)


def test_spsa_gains() -> None:
    a, c, big_a = 0.5, 0.05, 10.0
    lab = Lab("spsa", lr=a, epsilon=c, n=2, stability=big_a)
    theta, expected = lab.theta, []
    for k in range(STEPS):
        ak, ck = a / (k + 1 + big_a) ** 0.602, c / (k + 1) ** 0.101
        us = [full(step_seed(k, i), "rademacher") for i in range(2)]
        theta = theta - ak * sum(slope(theta, u, ck) / u for u in us) / 2
        expected.append(theta)
    same(lab.run(STEPS), expected)
    assert lab.record.lr == pytest.approx(a / (STEPS + big_a) ** 0.602)


def test_hizoo() -> None:
    """Perturbs with H, updates with the new H; a large alpha so that H matters."""
    lr, alpha = 0.05, 0.02
    lab = Lab("hizoo", lr=lr, epsilon=EPS, alpha=alpha, weight_decay=0.1, decay_rule="all")
    theta, expected = lab.theta, []
    h = torch.ones_like(theta)
    for t in range(STEPS):
        z = full(step_seed(t, 0))
        p = z / h.sqrt()
        plus, minus = loss(theta + EPS * p), loss(theta - EPS * p)
        curvature = abs(plus + minus - 2 * loss(theta)) / (2 * EPS**2)
        h = (1 - alpha) * h + alpha * curvature * h * z * z
        theta = (1 - lr * 0.1) * theta - lr * (plus - minus) / (2 * EPS) * z / h.sqrt()
        expected.append(theta)
    same(lab.run(STEPS), expected, 1e-7)
    assert float((h - 1).abs().max()) > 0.1


def test_hizoo_l() -> None:
    lr, alpha = 0.05, 0.02
    lab = Lab("hizoo-l", lr=lr, epsilon=EPS, alpha=alpha)
    theta, expected = lab.theta, []
    rows, columns, rest = (torch.ones(k, dtype=torch.float64) for k in (3, 4, 5))
    for t in range(STEPS):
        z = full(step_seed(t, 0))
        h = flat(torch.outer(rows, columns) / rows.mean(), rest)
        p = z / h.sqrt()
        plus, minus = loss(theta + EPS * p), loss(theta - EPS * p)
        sample = abs(plus + minus - 2 * loss(theta)) / (2 * EPS**2) * h * z * z
        matrix = sample[:12].reshape(3, 4)
        rows = (1 - alpha) * rows + alpha * matrix.mean(dim=1)
        columns = (1 - alpha) * columns + alpha * matrix.mean(dim=0)
        rest = (1 - alpha) * rest + alpha * sample[12:]
        h = flat(torch.outer(rows, columns) / rows.mean(), rest)
        theta = theta - lr * (plus - minus) / (2 * EPS) * z / h.sqrt()
        expected.append(theta)
    same(lab.run(STEPS), expected, 1e-7)


@pytest.mark.parametrize("name", ["hizoo", "hizoo-l"])
def test_the_default_alpha_moves_the_curvature_in_float32(name: str) -> None:
    """Trap 9: the preset must not disable the method. 1 + 1e-8 is 1 in float32; the excess is not lost."""
    cls = lookup("methods", name)
    module = quadratic().make(torch.float32)
    method = cls(cls.Config(), build_space("full", {}, module), seed=SEED)
    objective = Objective(module, quadratic().loss)
    objective.set_batch(None, sequences=1, tokens=0)
    for _ in range(20):
        method.step(objective)
    moved = torch.cat([t.reshape(-1) for t in method.curvature.excess.values()])
    assert float(moved.abs().min()) > 0.0
    with pytest.raises(ValueError, match="alpha"):
        cls.Config(alpha=0.0)


def test_quadratic_forms_give_the_diagonal_of_the_hessian() -> None:
    """Unbiased on a quadratic with off-diagonal terms, within five standard errors; exact variance factor."""
    generator = torch.Generator().manual_seed(3)
    root = torch.randn(17, 17, generator=generator, dtype=torch.float64) / 4
    a = root @ root.T
    module = quadratic().make(torch.float64)

    def curved(module: torch.nn.Module, batch: object) -> torch.Tensor:
        theta = torch.cat([p.reshape(-1) for p in module.parameters()])
        return 0.5 * theta @ a @ theta

    engine = Engine().bind(build_space("full", {}, module), 0)
    direction, objective = engine.gaussian(), Objective(module, curved)
    objective.set_batch(None, sequences=1, tokens=0)
    draws = []
    for seed in range(4000):
        _, curvature = two_sided_with_curvature(engine, objective, direction, [seed], 1e-2)
        draws.append(torch.cat([curvature.diagonal(direction, n).reshape(-1) for n in direction.space]))
    samples = torch.stack(draws)
    error = samples.std(dim=0) / math.sqrt(len(samples))
    assert float(((samples.mean(dim=0) - a.diagonal()) / error).abs().max()) < 5.0
    assert objective.meter.forwards == 3 * 4000
    with pytest.raises(ValueError, match="Gaussian"):
        two_sided_with_curvature(engine, objective, engine.rademacher(), [0], 1e-2)


def test_zo_newton_diagonal() -> None:
    lr, eps, beta, floor, n = 0.05, 1e-2, 0.9, 2.0, 2
    lab = Lab("zo-newton-diagonal", lr=lr, epsilon=eps, n=n, beta=beta, floor=floor)
    theta, expected, floored = lab.theta, [], []
    d = torch.zeros_like(theta)
    for t in range(STEPS):
        us = [full(step_seed(t, i)) for i in range(n)]
        g = sum(slope(theta, u, eps) * u for u in us) / n
        forms = [(loss(theta + eps * u) + loss(theta - eps * u) - 2 * loss(theta)) / eps**2 for u in us]
        d = beta * d + (1 - beta) * sum(q * (u * u - 1) for q, u in zip(forms, us, strict=True)) / (2 * n)
        below = (d / (1 - beta ** (t + 1))).abs()
        floored.append(bool((below < floor).any()) and bool((below > floor).any()))
        theta = theta - lr * g / below.clamp_min(floor)
        expected.append(theta)
    same(lab.run(STEPS), expected, 1e-7)
    assert sum(floored) >= 2, "the test must see entries on both sides of the floor"


def test_es() -> None:
    lr, sigma, count = 0.05, 1e-2, 5
    lab = Lab("es", lr=lr, sigma=sigma, population=count)
    theta, expected = lab.theta, []
    for t in range(STEPS):
        us = [full(step_seed(t, i)) for i in range(count)]
        rewards = torch.tensor([-loss(theta + sigma * u) for u in us], dtype=torch.float64)
        fitness = (rewards - rewards.mean()) / rewards.std(unbiased=False)
        theta = theta + lr / count * sum(float(f) * u for f, u in zip(fitness, us, strict=True))
        expected.append(theta)
    same(lab.run(STEPS), expected, 1e-8)
    assert lab.record.forwards == count


def test_es_default_is_the_papers() -> None:
    config = lookup("methods", "es").Config()
    assert (config.population, config.sigma) == (30, 1e-3)


@pytest.mark.parametrize("form", ["paper", "code"])
def test_fzoo_r_takes_the_spread_over_two_steps(form: str) -> None:
    n, lr = 8, 1e-5 if form == "paper" else 1e-2
    lab = Lab("fzoo-r", lr=lr, epsilon=EPS, n=n, step_size=form)
    theta, expected, before = lab.theta, [], []
    for t in range(STEPS):
        us = [full(step_seed(t, i), "rademacher") for i in range(n // 2)]
        losses = [loss(theta + EPS * u) for u in us]
        union = torch.tensor([*before, *losses], dtype=torch.float64)
        sigma = float(union.std(unbiased=form == "paper"))
        g = sum((value - loss(theta)) * u for value, u in zip(losses, us, strict=True)) / (n // 2 * sigma)
        theta = theta - lr * (g / EPS if form == "paper" else g)
        before = losses
        expected.append(theta)
    same(lab.run(STEPS), expected, 1e-8)
    assert lab.record.forwards == n // 2 + 1


@pytest.mark.parametrize("which", ["second", "first"])
@pytest.mark.parametrize("rho", [0.0, 1e-4])
def test_zosa(which: str, rho: float) -> None:
    m, lr = 4, 2e-5
    lab = Lab("zosa", lr=lr, epsilon=EPS, n=m, rho=rho, step_scale=which)
    theta, expected = lab.theta, []

    def estimate(at: torch.Tensor, us: list[torch.Tensor]) -> tuple[torch.Tensor, float]:
        losses = torch.tensor([loss(at + EPS * u) for u in us], dtype=torch.float64)
        return one_sided(at, us), float(losses.std(unbiased=True))

    for t in range(STEPS):
        g, sigma = estimate(theta, [full(step_seed(t, i), "rademacher") for i in range(m)])
        ascent = theta + rho * g / sigma
        again, sharp = estimate(ascent, [full(step_seed(t, i, "ascent"), "rademacher") for i in range(m)])
        theta = theta - lr * again / (sharp if which == "second" else sigma)
        expected.append(theta)
    same(lab.run(STEPS), expected, 1e-7)
    assert lab.record.forwards == 2 * (m + 1)


@pytest.mark.parametrize("form", ["residual", "classic"])
def test_one_point(form: str) -> None:
    lr, eps = 1e-4, 0.05
    lab = Lab("one-point", lr=lr, epsilon=eps, form=form)
    theta, expected, before = lab.theta, [], None
    for t in range(STEPS):
        u = full(step_seed(t, 0))
        here = loss(theta + eps * u)
        if form == "classic":
            theta = theta - lr * here / eps * u
        elif before is not None:
            theta = theta - lr * (here - before) / eps * u
        before = here
        expected.append(theta)
    same(lab.run(STEPS), expected)
    assert lab.objective.meter.forwards == STEPS


@pytest.mark.parametrize("form", ["residual", "classic"])
def test_one_point_is_unbiased_at_rest(form: str) -> None:
    lab = Lab("one-point", lr=0.0, epsilon=1.0, form=form)
    gradient = H * (lab.theta - T)
    records = [lab.method.step(lab.objective) for _ in range(4000)][1:]
    draws = torch.stack([r.coefficients[0] * full(step_seed(r.step, 0)) for r in records])
    error = draws.std(dim=0) / math.sqrt(len(records))
    assert float(((draws.mean(dim=0) - gradient) / error).abs().max()) < 5.0


@pytest.mark.parametrize("variant", ["variance", "expectation"])
@pytest.mark.parametrize("norm", ["parameter", "gradient"])
def test_layer_scaled(variant: str, norm: str) -> None:
    """Two layers (the matrix, the vector); D is made anew every third step."""
    lr = 0.005
    layers = 2 if norm == "gradient" else 0
    lab = Lab("mezo-layer-scaled", lr=lr, epsilon=EPS, variant=variant, norm=norm, layers=layers, refresh=3)
    theta, expected, spent = lab.theta, [], []
    masks = [
        flat(torch.full((3, 4), float(i == 0)), torch.full((5,), float(i == 1))).double() for i in range(2)
    ]
    for t in range(STEPS):
        if t % 3 == 0:
            if norm == "parameter":
                norms = [float((mask * theta).norm()) for mask in masks]
            else:
                probes = [mask * full(step_seed(t, i, "layers")) for i, mask in enumerate(masks)]
                norms = [abs(slope(theta, z, EPS)) for z in probes]
            norms = [max(value, 1e-2 * max(norms)) for value in norms]
            middle = math.exp((12 * math.log(norms[0]) + 5 * math.log(norms[1])) / 17)
            d = sum(value / middle * mask for value, mask in zip(norms, masks, strict=True))
        z = full(step_seed(t, 0))
        c = slope(theta, z / d, EPS)
        theta = theta - lr * c * (d * z if variant == "variance" else z)
        expected.append(theta)
        spent.append(2 + (4 if norm == "gradient" and t % 3 == 0 else 0))
    path = []
    for _ in range(STEPS):
        assert lab.method.step(lab.objective).forwards == spent[len(path)]
        path.append(lab.theta)
    same(path, expected, 1e-5)


def test_variance_modified_estimate_is_unbiased_and_the_other_is_not() -> None:
    lab = Lab("mezo-layer-scaled", lr=0.0)
    gradient = H * (lab.theta - T)
    records = [lab.method.step(lab.objective) for _ in range(3000)]
    scales = lab.method.scales
    d = flat(torch.full((3, 4), scales["matrix"]), torch.full((5,), scales["vector"])).double()
    assert float((d.max() / d.min()).abs()) > 1.2
    for factor, limit in ((d, gradient), (torch.ones_like(d), gradient / d)):
        draws = torch.stack([r.coefficients[0] * factor * full(step_seed(r.step, 0)) for r in records])
        error = draws.std(dim=0) / math.sqrt(len(records))
        assert float(((draws.mean(dim=0) - limit) / error).abs().max()) < 5.0


def test_gradient_norms_need_the_right_number_of_layers() -> None:
    with pytest.raises(ValueError, match="layers must be 2"):
        Lab("mezo-layer-scaled", norm="gradient", layers=3)
    config = lookup("methods", "mezo-layer-scaled").Config(norm="gradient", layers=3, refresh=4)
    cost = lookup("methods", "mezo-layer-scaled").cost(config)
    assert (cost.forwards_per_step, cost.max_forwards_in_step) == (3.5, 8)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("mezo-layer-scaled", {"norm": "gradient", "layers": 3, "refresh": 2}),
        ("eggroll", {"mirrored": True, "population": 8}),
        ("zosa", {"n": 2, "rho": 1e-4}),
        ("fzoo-r", {"n": 4, "step_size": "paper"}),
    ],
)
def test_options_replay_and_resume(name: str, params: dict) -> None:
    method = lookup("methods", name)
    only = ["forwards", "replay", "resume", "refusals", "modes"]
    assert failures(check(method, method.Config(**params), only=only)) == []
