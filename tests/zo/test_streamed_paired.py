"""Mode ``streamed-paired``: the bits of mode ``snapshot``, whatever the model does between its modules, or a
refusal."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from zobench.zo import Engine, Objective, build_space
from zobench.zo.conformance.problems import transformer
from zobench.zo.methods.mezo import Mezo
from zobench.zo.paired import StreamedPaired
from zobench.zo.perturb import Along

TAKEN: list[int] = []


class Routed(nn.Module):
    """Each input goes through the expert that the weights choose; the last expert is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.choice = nn.Linear(4, 1)
        self.experts = nn.ModuleList(nn.Linear(4, 4) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = int(self.choice(x).mean() > 0)
        TAKEN.append(first)
        return self.experts[1](torch.tanh(self.experts[1](torch.tanh(self.experts[first](x)))))


class Nested(nn.Module):
    """Owns a matrix and a layer that it calls while its matrix is displaced."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.eye(4))
        self.inner = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x @ self.matrix) @ self.matrix


class Dropped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.two(nn.functional.dropout(self.one(x), 0.5, self.training))


def start(make: Callable[[], nn.Module], mode: str, *, train: bool = False, lr: float = 0.1) -> tuple:
    torch.manual_seed(5)
    module = make().train(train)
    x = torch.linspace(-1, 1, 24).view(6, 4)
    space = build_space("full", {}, module)
    objective = Objective(module, lambda m, batch: m(batch).square().mean(), allow_train_mode=train)
    objective.set_batch(x, sequences=6, tokens=0)
    return Mezo(Mezo.Config(lr=lr, epsilon=0.3), space, seed=2, engine=Engine(mode=mode)), objective


@pytest.mark.parametrize("make", [Routed, Nested])
def test_calls_that_differ_in_their_modules_have_the_bits_of_the_snapshot(
    make: Callable[[], nn.Module],
) -> None:
    (one, first), (two, second) = (start(make, mode) for mode in ("snapshot", "streamed-paired"))
    TAKEN.clear()
    assert [one.step(first) for _ in range(12)] == [two.step(second) for _ in range(12)]
    assert one.space.digest() == two.space.digest()
    if make is Routed:
        pairs = list(zip(TAKEN[2:24:2], TAKEN[3:24:2], strict=True))
        assert any(a != b for a, b in pairs), "no paired step reached two experts"


class Remembers(nn.Module):
    """Keeps a value of one layer for a later one, in a way of its own."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)
        self.way, self.kept, self.parts = way, torch.zeros(()), [0.0]
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.one(x)
        if self.way == "attribute":
            self.kept = x.mean()
        elif self.way == "buffer":
            self.seen.add_(x.mean())
        else:
            self.parts[0] = float(x.mean())
        return self.two(x) + self.kept + self.seen + self.parts[0]


@pytest.mark.parametrize(("way", "named"), [("attribute", "kept"), ("buffer", "seen"), ("list", "parts")])
def test_a_model_that_keeps_something_in_its_modules_is_refused_by_name(way: str, named: str) -> None:
    method, objective = start(lambda: Remembers(way), "streamed-paired")
    with pytest.raises(ValueError, match=rf"{named} changes during the forward pass.*use mode 'streamed'"):
        method.step(objective)


def test_models_that_draw_and_autocast_are_refused() -> None:
    method, objective = start(Dropped, "streamed-paired", train=True)
    with pytest.raises(ValueError, match="draws at random; use mode 'streamed'"):
        method.step(objective)
    method, objective = start(Nested, "streamed-paired")
    with (
        torch.autocast("cpu", dtype=torch.bfloat16),
        pytest.raises(ValueError, match="under autocast; use mode 'streamed'"),
    ):
        method.step(objective)


@pytest.mark.parametrize("at", [1, 2])
def test_an_error_in_either_call_leaves_the_weights(at: int) -> None:
    method, objective = start(Nested, "streamed-paired", lr=0.0)
    method.step(objective)
    before, honest, calls = method.space.digest(), objective._loss, []

    def breaks(module: nn.Module, batch: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        if len(calls) == at:
            raise RuntimeError("out of memory")
        return honest(module, batch)

    objective._loss = breaks
    own = {name: id(p) for name, p in objective.module.named_parameters()}
    with pytest.raises(RuntimeError, match="out of memory"):
        method.step(objective)
    objective._loss = honest
    assert method.space.digest() == before
    assert own == {name: id(p) for name, p in objective.module.named_parameters()}
    assert all(map(math.isfinite, method.step(objective).losses))


def test_both_points_are_at_a_layer_before_either_leaves_it() -> None:
    problem = transformer()
    module = problem.make(torch.float32).eval()
    space = build_space("full", {}, module)
    method = Mezo(Mezo.Config(lr=0.0), space, seed=3, engine=Engine(mode="streamed-paired"))
    objective = Objective(module, problem.loss)
    objective.set_batch(problem.batch, sequences=4, tokens=24)
    seen: list[str] = []
    layers = [(name, part) for name, part in module.named_modules() if name.split(".")[-1].isdigit()]
    for name, part in layers:
        part.register_forward_hook(lambda m, args, out, name=name: seen.append(name))
    method.step(objective)
    seen.clear()
    method.step(objective)
    assert seen == [name for name, _ in layers for _ in range(2)]


class Position(nn.Module):
    """Its output is a view of its weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8, 4))

    def forward(self, count: int) -> dict[str, torch.Tensor]:
        return {"rows": self.weight[:count]}


class Views(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Position() for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        one, two, three = (layer(len(x))["rows"] for layer in self.layers)
        return (x * one - two) * three


def test_what_a_layer_returns_is_not_overwritten_by_the_next() -> None:
    (one, first), (two, second) = (start(Views, mode) for mode in ("streamed", "streamed-paired"))
    # Mode streamed runs it, because nothing but the module itself uses the weight.
    assert [one.step(first) for _ in range(4)] == [two.step(second) for _ in range(4)]


def test_weights_of_one_layer_are_held_for_both_points() -> None:
    method, objective = start(
        lambda: nn.ModuleDict({"layers": nn.ModuleList([Nested(), Dropped()])}), "snapshot"
    )
    del objective
    engine = Engine(mode="streamed-paired").bind(method.space, 0)
    kept = engine.perturbation
    assert isinstance(kept, StreamedPaired)
    largest = kept._laid_out()[1]
    assert len(largest.names) == 4
    # Two matrices and two vectors, each in a multiple of 64 bytes.
    assert [memory.numel() for memory in kept._memories] == [4 * 64] * 2


def test_weights_of_one_module_are_held_for_both_points() -> None:
    """The memory that the mode keeps is twice the largest module's, whatever the number of steps."""
    width = 192

    def make() -> nn.Module:
        return nn.Sequential(*(nn.Linear(width, width) for _ in range(5)))

    module = make()
    space = build_space("full", {}, module)
    objective = Objective(module, lambda m, batch: m(batch).square().mean())
    objective.set_batch(torch.ones(3, width), sequences=3, tokens=0)
    method = Mezo(Mezo.Config(lr=1e-3), space, seed=0, engine=Engine(mode="streamed-paired"))
    # The first pair is computed one point after the other.
    method.step(objective)
    for _ in range(3):
        method.step(objective)
        kept = method.engine.perturbation
        assert isinstance(kept, StreamedPaired)
        assert [memory.numel() for memory in kept._spare] == [4 * width * width] * 2


@pytest.mark.parametrize("scales", [(0.1, 0.0), (0.1, 0.1), (0.1, -0.2), (-0.2, 0.1)])
def test_any_two_scales(scales: tuple[float, float]) -> None:
    found = []
    for mode in ("snapshot", "streamed-paired"):
        method, objective = start(Nested, mode)
        points = [(Along(method.direction, 4, scale),) for scale in scales]
        found.append([method.engine.losses(objective, [(), *points, points[0]]) for _ in range(2)])
    assert found[0] == found[1]
