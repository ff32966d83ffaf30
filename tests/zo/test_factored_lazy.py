"""Mode factored-lazy: steps are summed in the small factor, and only the end of a period writes a weight."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from zobench.plugins import lookup
from zobench.zo import Engine, Objective, build_space
from zobench.zo.conformance.problems import transformer
from zobench.zo.factored_lazy import FactoredLazy
from zobench.zo.trajectory import replay

STANDING = {"lozo": {"rank": 2, "interval": 3}, "subzero": {"rank": 2, "interval": 3}, "tezo": {"rank": 3}}
LAZY = Engine(mode="factored-lazy")


def start(
    name: str,
    dtype: torch.dtype = torch.float64,
    engine: Engine = LAZY,
    tuned: tuple[str, ...] = ("*",),
    **params: object,
):
    problem, cls = transformer(), lookup("methods", name)
    module = problem.make(dtype).eval()
    config = cls.Config(**{"lr": 1e-3, **cls.small_problem, **STANDING.get(name, {}), **params})
    space = (
        build_space("full", {}, module)
        if tuned == ("*",)
        else build_space("names", {"include": tuned}, module)
    )
    method = cls(config, space, seed=3, engine=engine)
    objective = Objective(module, problem.loss, inference=True)
    objective.set_batch(problem.batch, sequences=4, tokens=24)
    return method, objective


@pytest.mark.parametrize("name", sorted(STANDING))
def test_trajectories_are_those_of_formed_steps(name: str) -> None:
    """In float64, over two changes of the basis; the losses of every step and the weights at the end."""
    (formed, objective), (lazy, other) = start(name, engine=Engine(mode="snapshot")), start(name)
    for _ in range(8):
        expected, got = formed.step(objective), lazy.step(other)
        assert got.losses == pytest.approx(expected.losses, rel=1e-10)
    lazy.settle()
    for n in formed.space:
        assert torch.allclose(formed.space.entries(n), lazy.space.entries(n), rtol=1e-9, atol=1e-9), n


def test_no_weight_of_a_layer_is_written_before_the_period_ends() -> None:
    method, objective = start("lozo", torch.float32)
    layers = [n for n in method.space if method.space.entries(n).dim() == 2]
    before = method.space.snapshot()
    for step in range(4):
        method.step(objective)
        same = {n: torch.equal(before[n], method.space.entries(n)) for n in layers}
        assert all(same.values()) if step < 3 else not any(same.values())
    assert not torch.equal(before["layers.0.up.bias"], method.space.entries("layers.0.up.bias"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", sorted(STANDING))
def test_looking_and_resuming_change_no_bit(name: str, dtype: torch.dtype) -> None:
    whole, objective = start(name, dtype)
    looked, other = start(name, dtype)
    records = []
    for step in range(7):
        records.append(whole.step(objective))
        if step == 4:
            weights, state = whole.space.state_dict(), whole.state_dict()
        assert looked.step(other) == records[-1]
        digest = looked.space.digest()
        with looked.settled():
            assert looked.space.digest() != digest
            assert other.loss() == pytest.approx(whole.engine.loss(objective), rel=2e-2)
        assert looked.space.digest() == digest
    again, third = start(name, dtype)
    again.space.load_state_dict(weights)
    again.load_state_dict(state)
    assert [again.step(third) for _ in range(2)] == records[5:]
    fourth, _ = start(name, dtype)
    digest = replay(records, fourth.space, type(fourth), fourth.config, seed=3, engine=LAZY)
    for method in (whole, looked, again):
        method.settle()
        assert method.space.digest() == digest


def test_what_is_read_in_between_is_what_is_written_at_the_end() -> None:
    for dtype in (torch.float32, torch.bfloat16):
        method, objective = start("lozo", dtype, interval=100)
        for _ in range(5):
            method.step(objective)
        with method.settled():
            read = method.space.digest()
        method.settle()
        assert method.space.digest() == read
        method.settle()
        assert method.space.digest() == read


def test_the_direction_that_is_measured_is_the_one_that_is_applied() -> None:
    """The step of an embedding tied to its head and of a linear layer, against the direction itself."""
    method, objective = start("lozo", lr=0.5, interval=100)
    for _ in range(3):
        with method.settled():
            before = method.space.snapshot()
        record = method.step(objective)
        with method.settled():
            after = method.space.snapshot()
        for name in ("embedding.weight", "layers.1.up.weight", "layers.1.up.bias"):
            u = method.direction.tensor(name, record.seeds[0])
            moved = after[name] - before[name]
            assert torch.allclose(moved, -0.5 * record.coefficients[0] * u, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", ["mezo", "eggroll", "lozo-m"])
def test_where_no_basis_stands_it_is_mode_factored(name: str) -> None:
    runs = [start(name, torch.float32, Engine(mode=mode)) for mode in ("factored", "factored-lazy")]
    for _ in range(4):
        first, second = (method.step(objective) for method, objective in runs)
        assert second.losses == pytest.approx(first.losses, rel=1e-5)
    assert not runs[1][0].engine.perturbation.put_off


def test_a_draw_is_made_once_a_step_and_no_matrix_along_it() -> None:
    method, objective = start("lozo", torch.float32)
    method.step(objective)
    source = method.engine.source
    generated, swept = source.generated, source.swept
    method.step(objective)
    small = sum(2 * t.shape[0] if t.dim() == 2 else t.numel() for t in method.space.tensors.values())
    vectors = sum(t.numel() for t in method.space.tensors.values() if t.dim() == 1)
    assert source.generated - generated == small
    assert source.swept - swept == 3 * vectors


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("rows", "width", "rank"), [(1, 1, 1), (5, 33, 2), (16, 576, 4)])
def test_one_pass_has_the_bits_of_torch(dtype: torch.dtype, rows: int, width: int, rank: int) -> None:
    """Columns added by the kernel and by ``addcmul_`` on a float32 copy, rounded once."""
    columns = pytest.importorskip("zobench.zo.columns")
    torch.manual_seed(rows)
    output, inner = torch.randn(1, rows, width).to(dtype), torch.randn(rows, rank)
    if not columns.serves(output):
        pytest.skip("another instruction set, or several threads")
    terms = torch.randn(rank, width)
    output[0, 0, 0], inner[-1, -1] = torch.inf, torch.nan if rows == 5 else 1e-30
    total = output.float()
    for k in range(rank):
        total.addcmul_(inner[:, k : k + 1], terms[k])
    columns.add_columns_(output, inner, terms)
    assert torch.equal(output.float().nan_to_num(7.0), total.to(dtype).float().nan_to_num(7.0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_layer_is_completed_in_one_pass(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every linear layer of a step goes through the kernel; without it the trajectory has the same bits."""
    calls: list[int] = []
    columns = pytest.importorskip("zobench.zo.columns")
    if not columns.serves(torch.empty(1)):
        pytest.skip("another instruction set, or several threads")
    honest = columns.add_columns_

    def counting(*given: torch.Tensor) -> None:
        calls.append(1)
        honest(*given)

    monkeypatch.setattr(columns, "add_columns_", counting)
    # At the first step of a period two bases are in use, and torch adds the columns.
    method, objective = start("lozo", dtype, interval=5)
    fast = [method.step(objective) for _ in range(5)]
    layers = {n for n in method.space if method.space.entries(n).dim() == 2}
    assert len(calls) == 2 * 5 * len(layers)
    monkeypatch.setattr(columns, "serves", lambda output: False)
    slow, other = start("lozo", dtype, interval=5)
    assert [slow.step(other) for _ in range(5)] == fast
    assert all(torch.equal(method.space.entries(n), slow.space.entries(n)) for n in method.space)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["lozo", "subzero", "tezo"])
def test_layers_that_only_add_columns_have_the_bits_of_those_with_stand_ins(
    name: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    def path(count: int) -> list[tuple[float, ...]]:
        method, objective = start(name, dtype, tuned=("*.weight",))
        return [method.step(objective).losses for _ in range(count)]

    seen: list[int] = []
    ready = FactoredLazy._ready

    def watched(self: FactoredLazy, point: Any) -> Any:
        found = ready(self, point)
        seen.append(len(found))
        return found

    monkeypatch.setattr(FactoredLazy, "_ready", watched)
    quick = path(4)
    assert max(seen) > 4
    monkeypatch.setattr(FactoredLazy, "_ready", lambda self, point: {})
    assert quick == path(4)
