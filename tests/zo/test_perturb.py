"""Perturbation modes: exactness, bit-identity, drift, fused update, refusals; and half-precision updates."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from zobench.plugins import lookup
from zobench.zo import BudgetExhausted, Engine, Objective, build_space, noise
from zobench.zo.conformance.problems import transformer
from zobench.zo.directions import Blocks
from zobench.zo.methods.mezo import Mezo
from zobench.zo.perturb import Along, Displaced
from zobench.zo.precision import Writer, stochastic_round

DTYPES = [torch.float32, torch.bfloat16, torch.float16]


def start(dtype: torch.dtype = torch.float32, engine: Engine | None = None, kind: str = "full", **params):
    problem = transformer()
    module = problem.make(dtype).eval()
    space = build_space(kind, {}, module)
    objective = Objective(module, problem.loss)
    objective.set_batch(problem.batch, sequences=4, tokens=24)
    return Mezo(Mezo.Config(**params), space, seed=3, engine=engine), space, objective


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["full", "lora", "masked", "last-layer", "bias"])
def test_snapshot_and_streamed_are_equal_to_the_bit_and_exact(dtype: torch.dtype, kind: str) -> None:
    modes = ("snapshot", "streamed", "streamed-paired")
    runs = [start(dtype, Engine(mode=mode), kind=kind, lr=1e-3, n=2) for mode in modes]
    storage = {n: p.data_ptr() for n, p in runs[0][1].tensors.items()}
    before = [run[1].digest() for run in runs]
    frozen, _, objective = start(dtype, Engine(mode="streamed"), kind=kind, lr=0.0)
    frozen.step(objective)
    assert frozen.space.digest() == before[0] == before[1]
    records = [[method.step(objective) for _ in range(3)] for method, _, objective in runs]
    assert records[0] == records[1] == records[2]
    assert runs[0][1].digest() == runs[1][1].digest() == runs[2][1].digest() != before[0]
    assert storage == {n: p.data_ptr() for n, p in runs[0][1].tensors.items()}


def test_streamed_never_writes_the_weights() -> None:
    method, space, objective = start(engine=Engine(mode="streamed"))
    versions = {n: (p._version, p.data_ptr()) for n, p in space.tensors.items()}
    method.engine.loss(objective, Along(method.direction, 5, 0.1))
    assert versions == {n: (p._version, p.data_ptr()) for n, p in space.tensors.items()}


class Elsewhere(nn.Module):
    """Uses its layer's weight without calling the layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.layer.weight.data = torch.eye(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.layer.weight


def test_streamed_refuses_weights_used_outside_their_module() -> None:
    module = Elsewhere()
    space = build_space("names", {"include": ["layer.weight"]}, module)
    objective = Objective(module, lambda m, x: m(x).square().mean())
    objective.set_batch(torch.ones(2, 3), sequences=2, tokens=0)
    with pytest.raises(ValueError, match=r"'layer\.weight' is used outside"):
        Mezo(Mezo.Config(), space, seed=0, engine=Engine(mode="streamed")).step(objective)


@pytest.mark.parametrize("mode", ["snapshot", "streamed", "streamed-paired", "in-place", "batched"])
@pytest.mark.parametrize("n", [1, 3])
def test_an_error_in_the_model_leaves_the_weights(mode: str, n: int) -> None:
    method, space, objective = start(engine=Engine(mode=mode), lr=1e-3, n=n)
    before = space.snapshot()
    honest, calls = objective._loss, []

    def breaks(module, batch):
        calls.append(1)
        if len(calls) == 2 or mode == "batched":
            raise RuntimeError("out of memory")
        return honest(module, batch)

    objective._loss = breaks
    with pytest.raises((RuntimeError, ValueError), match="out of memory"):
        method.step(objective)
    for name in space:
        assert torch.allclose(
            space.entries(name), before[name], rtol=0, atol=0 if mode != "in-place" else 1e-6
        )


def test_budget_is_enforced_before_the_forward() -> None:
    method, space, objective = start(lr=1e-3)
    objective.meter.budget = 3
    method.step(objective)
    digest = space.digest()
    with pytest.raises(BudgetExhausted):
        method.step(objective)
    assert space.digest() == digest
    assert objective.meter.forwards == 3


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cycles", [64, pytest.param(1024, marks=pytest.mark.slow)])
def test_arithmetic_restore_drifts_like_a_random_walk(dtype: torch.dtype, cycles: int) -> None:
    """After c cycles the drift is of the order of sqrt(c) roundings; exact modes have none. Each step's own
    part stands in its record."""
    method, space, objective = start(dtype, Engine(mode="in-place", precision="nearest"), lr=0.0)
    before, sizes, told = space.snapshot(), {}, 0.0
    norm = math.sqrt(float(sum(t.double().square().sum() for t in before.values())))
    for cycle in range(1, cycles + 1):
        told += method.step(objective).extras["drift"]
        if cycle in (1, cycles // 4, cycles):
            squares = [(space.entries(n).double() - t.double()).square().sum() for n, t in before.items()]
            sizes[cycle] = math.sqrt(float(sum(squares)))
        if cycle == 1:
            assert told == pytest.approx(sizes[1] / norm)
    unit = torch.finfo(dtype).eps
    assert 0 < sizes[cycles] < 3 * cycles * unit * norm
    assert 1.2 < sizes[cycles] / sizes[cycles // 4] < 3.5
    assert sizes[cycles] / norm < told, "a random walk is shorter than its path"


@pytest.mark.parametrize("fused", [False, True])
def test_drift_is_told_where_the_weights_come_back(fused: bool) -> None:
    method, _, objective = start(engine=Engine(mode="in-place", fused=fused), lr=1e-3)
    assert ("drift" in method.step(objective).extras) == (not fused)
    exact, _, objective = start(engine=Engine(mode="snapshot"), lr=1e-3)
    assert "drift" not in exact.step(objective).extras


def test_drift_is_measured_on_a_sample_of_a_large_space(monkeypatch) -> None:
    from zobench.zo import inplace

    monkeypatch.setattr(inplace, "SAMPLE", 64)
    method, space, objective = start(engine=Engine(mode="in-place"), lr=1e-3)
    assert method.engine.perturbation._sample().numel() <= 64 + len(space)
    assert 0 < method.step(objective).extras["drift"] < 1e-5


def test_fused_update_equals_two_passes_within_rounding() -> None:
    engines = [Engine(mode="in-place", fused=fused) for fused in (False, True)]
    runs = [start(torch.float64, engine, lr=1e-2) for engine in engines]
    for method, _, objective in runs:
        for _ in range(5):
            method.step(objective)
    for name in runs[0][1]:
        assert torch.allclose(runs[0][1].entries(name), runs[1][1].entries(name), rtol=1e-10, atol=1e-10)
    draws = [method.engine.source.drawn / space.numel for method, space, _ in runs]
    assert draws == [5 * 4, 5 * 3], "the fused form saves one sweep of four"


def test_displaced_points_take_any_shift() -> None:
    method, space, objective = start()
    away = {name: torch.full_like(space.entries(name), 0.01) for name in space}
    moved = method.engine.loss(objective, Displaced(away), Along(method.direction, 4, 1e-2))
    before = space.snapshot()
    with torch.no_grad():
        for name in space:
            space.entries(name).add_(away[name])
            method.direction.add_(space.entries(name), name, 4, 1e-2)
    assert objective.loss() == moved
    space.restore(before)


def test_batched_refuses_a_loss_that_vmap_cannot_run() -> None:
    method, _, objective = start(engine=Engine(mode="batched"), n=2)
    honest = objective._loss
    objective._loss = lambda module, batch: float(honest(module, batch))
    with pytest.raises(ValueError, match="batched branches"):
        method.step(objective)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_small_updates_survive_but_for_nearest(dtype: torch.dtype) -> None:
    """400 steps of a fiftieth of a unit in the last place: nearest loses all, the other rules keep their
    sum."""
    step = torch.finfo(dtype).eps / 50
    moved = {}
    for rule in ("nearest", "stochastic", "compensated", "master"):
        module = nn.Linear(2000, 1, bias=False).to(dtype)
        module.weight.data.fill_(1.0)
        writer = Writer(build_space("full", {}, module), rule, seed=1)
        shares = []
        for _ in range(400):
            with writer.editing("weight") as theta:
                theta.add_(step)
            shares.append(writer.moved_share())
        moved[rule] = float(module.weight.detach().double().mean()) - 1.0
        wanted = 0.0 if rule == "nearest" else 1 / 50
        if rule in ("nearest", "stochastic"):
            assert abs(sum(shares) / 400 - wanted) < 2e-3, rule
    assert moved["nearest"] == 0.0
    for rule in ("stochastic", "compensated", "master"):
        assert moved[rule] == pytest.approx(400 * step, rel=0.15), rule


def test_stochastic_rounding_is_unbiased_and_hits_neighbours_only() -> None:
    values = noise.sample((4000,), seed=1, key=2, kind="gaussian")
    down = torch.stack([stochastic_round(values, torch.bfloat16, seed=s).float() for s in range(200)])
    gap = (down.max(dim=0).values - down.min(dim=0).values).abs()
    assert bool((gap <= values.abs() * 2**-7 + 1e-30).all())
    largest_deviation = 0.5 * gap / math.sqrt(200)
    error = ((down.mean(dim=0) - values) / largest_deviation)[gap > 0]
    assert abs(float(error.mean())) < 5 / math.sqrt(len(error))
    assert float(error.abs().max()) < 5
    exact = torch.tensor([0.0, 1.0, -2.5])
    assert torch.equal(stochastic_round(exact, torch.bfloat16, seed=0).float(), exact)


@pytest.mark.parametrize("rule", ["compensated", "master", "stochastic"])
def test_half_precision_state_resumes_to_the_bit(rule: str) -> None:
    engine = Engine(precision=rule)
    whole, space, objective = start(torch.bfloat16, engine, lr=1e-4)
    for _ in range(3):
        whole.step(objective)
    weights, state = space.state_dict(), whole.state_dict()
    for _ in range(3):
        last = whole.step(objective)
    again, other, objective = start(torch.bfloat16, engine, lr=1e-4)
    other.load_state_dict(weights)
    again.load_state_dict(state)
    for _ in range(3):
        got = again.step(objective)
    assert got == last
    assert other.digest() == space.digest()
    assert 0 < last.extras["moved_share"] < 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "inplace"}, "mode must be one of"),
        ({"noise": "philox"}, "noise must be one of"),
        ({"precision": "fp32"}, "precision must be one of"),
        ({"branches": 0}, "branches"),
        ({"fused": True}, "fused needs mode 'in-place'"),
    ],
)
def test_engine_options_are_validated(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Engine(**options)


def test_streamed_displaces_a_part_of_the_tensors_and_watches_each_at_its_first_displacement() -> None:
    """Tensors that a point does not touch are used by their modules as they are: no reason to refuse."""

    class Head(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(2, 2)
            self.outer = nn.Linear(2, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x) @ self.outer.weight

    module = Head()
    bound = Engine(mode="streamed").bind(build_space("names", {"include": ["*.weight"]}, module), 0)
    objective = Objective(module, lambda module, batch: module(batch).sum())
    objective.set_batch(torch.ones(1, 2), sequences=1, tokens=0)
    blocks = Blocks(bound.gaussian(), [["inner.weight"], ["outer.weight"]], active=1)
    seeds = {next(iter(blocks.chosen(seed))): seed for seed in range(20)}
    bound.loss(objective, *bound.along(blocks, seeds["inner.weight"], 0.1))
    with pytest.raises(ValueError, match=r"'outer.weight' is used outside"):
        bound.loss(objective, *bound.along(blocks, seeds["outer.weight"], 0.1))


@pytest.mark.parametrize("mode", ["streamed", "factored"])
def test_what_stands_in_for_a_weight_asks_for_a_gradient_as_it_does(mode: str) -> None:
    """torch chooses the product by that: other bits and, in bfloat16, a hundred times the time elsewhere."""
    torch.manual_seed(0)
    hidden, module = torch.randn(8, 32, 64)[:, -1:], nn.Linear(64, 2000, bias=False)
    seen: list[tuple[bool, bool]] = []

    def loss(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return module(x).square().mean()

    module.register_forward_hook(
        lambda m, args, out: seen.append((m.weight.requires_grad, m.weight.is_inference()))
    )
    objective = Objective(module, loss, inference=True)
    objective.set_batch(hidden, sequences=8, tokens=8)
    space = build_space("full", {}, module)
    for asks in (True, False):
        module.requires_grad_(asks)
        losses = []
        for chosen in ("snapshot", mode):
            bound = Engine(mode=chosen).bind(space, 0)
            losses.append(bound.loss(objective, Along(bound.gaussian(), 4, 1e-2)))
        assert losses[0] == losses[1]
        assert seen == [(asks, False), (asks, False)]
        seen.clear()


class Lookup(nn.Module):
    """An embedding of many rows, tied to its head."""

    def __init__(self, dtype: torch.dtype, padding: int | None) -> None:
        super().__init__()
        self.embedding = nn.Embedding(97, 8, padding_idx=padding, dtype=dtype)
        self.head = nn.Linear(8, 97, bias=False, dtype=dtype)
        self.head.weight = self.embedding.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.embedding(ids)))


@pytest.mark.parametrize("name", ["mezo", "fzoo", "lozo", "lezo", "zo-sgd-sign", "subzero"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_only_the_rows_that_are_read_are_made_of_an_embedding(dtype: torch.dtype, name: str) -> None:
    cls, runs = lookup("methods", name), []
    for mode, padding in (("snapshot", None), ("streamed", None), ("streamed", 1), ("streamed", 90)):
        torch.manual_seed(0)
        module = Lookup(dtype, padding)
        with torch.no_grad():
            module.embedding.weight.copy_(torch.linspace(-1, 1, 97 * 8).reshape(97, 8))
        space = build_space("full", {}, module)
        method = cls(cls.Config(lr=1e-3), space, seed=3, engine=Engine(mode=mode))
        objective = Objective(module, lambda m, ids: m(ids).float().square().mean(), inference=True)
        objective.set_batch(torch.tensor([[3, 50, 3], [96, 0, 1]]), sequences=2, tokens=6)
        records = [method.step(objective) for _ in range(2)]
        runs.append((records, space.digest(), method.engine.source.swept))
    assert runs[0][:2] == runs[1][:2] == runs[2][:2] == runs[3][:2]
    if name in ("mezo", "fzoo") and dtype != torch.float64:
        assert runs[1][2] < runs[3][2], "a padding row beyond the rows that are read takes the whole table"
