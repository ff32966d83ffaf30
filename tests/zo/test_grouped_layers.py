"""Mode grouped, layer by layer: the bits of module by module, one sweep for each layer and point."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from zobench.zo import Engine, Objective, build_space
from zobench.zo.conformance.problems import transformer
from zobench.zo.grouped import Grouped


class Stack(nn.Module):
    """Two layers of a kind."""

    def __init__(self, kind: type[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList([kind(), kind()])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x, *self.more(x))
        return x

    def more(self, x: torch.Tensor) -> tuple[object, ...]:
        return ()


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(5, 5)

    def forward(self, x: torch.Tensor, *more: object) -> torch.Tensor:
        return torch.tanh(self.inner(x))


class OverRows(Plain):
    """Centres its inputs over all rows of a call."""

    def forward(self, x: torch.Tensor, *more: object) -> torch.Tensor:
        return super().forward(x - x.mean(0, keepdim=True))


class Counting(Plain):
    """Counts its calls."""

    calls = 0

    def forward(self, x: torch.Tensor, *more: object) -> torch.Tensor:
        self.calls += 1
        return super().forward(x)


class Both(Plain):
    """Returns something besides the rows."""

    def forward(self, x: torch.Tensor, *more: object) -> torch.Tensor:
        return super().forward(x[0] if isinstance(x, tuple) else x), 1  # type: ignore[return-value]


def bound(module: nn.Module, batch: torch.Tensor, loss: object = None, kind: str = "full"):
    space = build_space(kind, {"targets": ["*_proj"]} if kind == "lora" else {}, module)
    engine = Engine(mode="grouped").bind(space, 0)
    objective = Objective(module, loss or (lambda m, x: m(x).square().mean()), inference=True)
    objective.set_batch(batch, sequences=len(batch), tokens=len(batch))
    mode = engine.perturbation
    assert isinstance(mode, Grouped)
    return engine, mode, objective


def small(kind: type[nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return Stack(kind).double()


def verdicts(mode: Grouped) -> list[bool] | None:
    return None if mode._layers is None else list(mode._layers._same.values())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ["gaussian", "rademacher"])
def test_the_bits_of_module_by_module(kind: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = transformer()
    engine, mode, objective = bound(problem.make(dtype).eval(), problem.batch, problem.loss)
    direction = engine.gaussian() if kind == "gaussian" else engine.rademacher()
    points = [(), *(engine.along(direction, seed, 0.1) for seed in range(3))]
    by_module = engine.losses(objective, points)
    assert len(set(by_module)) == 4
    assert engine.losses(objective, points) == by_module
    assert verdicts(mode) == [True, True]
    sweeps: list[int] = []
    honest = type(direction).displace_many_

    def counting(self: object, out: dict, base: dict, *rest: object) -> None:
        sweeps.append(len(out))
        honest(self, out, base, *rest)

    monkeypatch.setattr(type(direction), "displace_many_", counting)
    assert engine.losses(objective, points) == by_module
    # Each of two layers and three points at once; table and head, which are outside, point by point.
    assert sorted(sweeps)[-6:] == [14] * 6
    assert max(sorted(sweeps)[:-6]) == 1


def test_a_layer_that_mixes_the_rows_of_a_call_stays_module_by_module() -> None:
    engine, mode, objective = bound(small(OverRows), torch.arange(10.0).double().reshape(2, 5))
    points = [engine.along(engine.gaussian(), seed, 0.1) for seed in range(3)]
    losses = [engine.losses(objective, points) for _ in range(4)]
    assert losses == [losses[0]] * 4
    # All groups of the first layer have the same rows, and so the same mean.
    assert (verdicts(mode) or [])[-1] is False


def test_a_layer_that_keeps_something_of_a_call_stays_module_by_module() -> None:
    module = small(Counting)
    engine, mode, objective = bound(module, torch.ones(2, 5).double())
    points = [engine.along(engine.gaussian(), seed, 0.1) for seed in range(3)]
    losses = [engine.losses(objective, points) for _ in range(3)]
    assert losses == [losses[0]] * 3
    assert verdicts(mode) is None
    assert module.layers[0].calls == 3


@pytest.mark.parametrize("more", [object(), {"cache": [object()]}, "vector", "matrix", "odd"])
def test_arguments_whose_rows_are_unknown(more: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """An object that a layer may change, a vector or matrix that may be of positions."""
    made = {"vector": torch.ones(6), "matrix": torch.ones(6, 2), "odd": torch.ones(4, 2, 2)}
    given = made.get(more) if isinstance(more, str) else more
    monkeypatch.setattr(Stack, "more", lambda self, x: (given,))
    engine, mode, objective = bound(small(Plain), torch.ones(2, 5).double())
    points = [engine.along(engine.gaussian(), seed, 0.1) for seed in range(3)]
    losses = [engine.losses(objective, points) for _ in range(3)]
    assert losses == [losses[0]] * 3
    assert verdicts(mode) == []


def test_outputs_that_are_no_rows() -> None:
    module = small(Both)
    engine, mode, objective = bound(module, torch.ones(2, 5).double(), lambda m, x: m(x)[0].square().mean())
    points = [engine.along(engine.gaussian(), seed, 0.1) for seed in range(3)]
    losses = [engine.losses(objective, points) for _ in range(3)]
    assert losses == [losses[0]] * 3
    assert False in (verdicts(mode) or [])


def test_points_along_something_else_stay_module_by_module() -> None:
    """A layer that only some points displace (LeZO's blocks), two shifts at once."""
    engine, mode, objective = bound(small(Plain), torch.ones(2, 5).double())
    point = engine.along(engine.gaussian(), 1, 0.1)
    points = [point, (*point, *engine.along(engine.gaussian(), 2, 0.1))]
    losses = [engine.losses(objective, points) for _ in range(3)]
    assert losses == [losses[0]] * 3
    assert verdicts(mode) == []


@pytest.mark.parametrize("kind", ["bias", "lora"])
def test_layers_with_parts_that_the_groups_share_stay_module_by_module(kind: str) -> None:
    problem = transformer()
    engine, mode, objective = bound(problem.make(torch.float64).eval(), problem.batch, problem.loss, kind)
    points = [engine.along(engine.gaussian(), seed, 0.1) for seed in range(2)]
    for _ in range(2):
        engine.losses(objective, points)
    assert mode._layers is not None
    assert mode._layers._layers == []


def test_an_error_inside_a_layer_leaves_everything_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    module = small(Plain)
    engine, _, objective = bound(module, torch.ones(2, 5).double())
    points = [engine.along(engine.gaussian(), seed, 0.1) for seed in range(3)]
    *_, losses = [engine.losses(objective, points) for _ in range(3)]
    own = list(module.parameters())
    calls = iter(range(100))

    def breaks(self: Plain, x: torch.Tensor, *more: object) -> torch.Tensor:
        if next(calls) == 4:
            raise RuntimeError("out of memory")
        return torch.tanh(self.inner(x))

    with monkeypatch.context() as patched:
        patched.setattr(Plain, "forward", breaks)
        with pytest.raises(RuntimeError, match="out of memory"):
            engine.losses(objective, points)
    assert all(one is other for one, other in zip(own, module.parameters(), strict=True))
    assert not [part for part in module.modules() if "forward" in part.__dict__]
    assert engine.losses(objective, points) == losses


def test_memory_of_one_layer_serves_all() -> None:
    engine, mode, objective = bound(small(Plain), torch.ones(2, 5).double())
    points = [engine.along(engine.gaussian(), seed, 0.1) for seed in range(3)]
    for _ in range(3):
        engine.losses(objective, points)
    assert mode._layers is not None
    (memory,) = mode._layers._memory
    assert memory.numel() == 256 + 64  # 25 and 5 float64, each to a multiple of 64 bytes
