"""Mode streamed-sliced: the losses of mode streamed, without a whole copy of a large layer."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from zobench.plugins import lookup
from zobench.zo import Engine, Objective, build_space
from zobench.zo.conformance.problems import transformer

TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-5, torch.bfloat16: 2e-2}


@pytest.fixture(autouse=True)
def slices_of_a_few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zobench.zo.sliced.LARGE", 1)
    monkeypatch.setattr("zobench.zo.sliced.SLICE", 300)


def start(name: str, mode: str, dtype: torch.dtype, kind: str = "full"):
    problem, cls = transformer(), lookup("methods", name)
    module = problem.make(dtype).eval()
    space = build_space(kind, {}, module)
    config = cls.Config(**{"lr": 1e-3, **cls.small_problem})
    method = cls(config, space, seed=3, engine=Engine(mode=mode))
    objective = Objective(module, problem.loss, inference=True)
    objective.set_batch(problem.batch, sequences=4, tokens=24)
    return method, objective


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("kind", ["full", "masked", "bias"])
@pytest.mark.parametrize("name", ["mezo", "fzoo", "lozo", "lezo"])
def test_losses_are_those_of_whole_layers(name: str, kind: str, dtype: torch.dtype) -> None:
    (whole, objective), (sliced, other) = (
        start(name, mode, dtype, kind) for mode in ("streamed", "streamed-sliced")
    )
    expected, got = whole.step(objective), sliced.step(other)
    assert got.losses == pytest.approx(expected.losses, rel=TOLERANCE[dtype])
    assert len(set(got.losses)) > 1
    if dtype != torch.bfloat16:  # there the updates differ by roundings as the losses do
        state, other_state = whole.space.state_dict(), sliced.space.state_dict()
        torch.testing.assert_close(other_state, state, rtol=1e-3, atol=1e-4)
    assert all(vars(m).get("forward") is None for m in sliced.space.module.modules())


def test_every_row_of_a_slice_has_the_displaced_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """One input per weight entry: the outputs are the displaced weights themselves."""
    module = nn.Linear(5, 37)
    space = build_space("full", {}, module)
    eye = torch.eye(5)
    seen: list[torch.Tensor] = []

    def loss(module: nn.Module, batch: torch.Tensor) -> torch.Tensor:
        seen.append(module(batch))
        return seen[-1].square().mean()

    for mode in ("streamed", "streamed-sliced"):
        engine = Engine(mode=mode).bind(space, 0)
        objective = Objective(module, loss, inference=True)
        objective.set_batch(eye, sequences=1, tokens=0)
        engine.loss(objective, *engine.along(engine.gaussian(), 7, 0.5))
    # Products with 0 and 1 and sums with 0 are exact in any order.
    assert torch.equal(seen[0], seen[1])


def test_no_tensor_is_larger_than_a_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    method, objective = start("mezo", "streamed-sliced", torch.float32)
    made: list[int] = []
    linear = nn.functional.linear

    def watched(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        made.append(weight.numel() * weight.element_size())
        return linear(x, weight, bias)

    monkeypatch.setattr(nn.functional, "linear", watched)
    method.step(objective)
    assert made
    assert max(made) <= max(
        300, 4 * max(m.in_features for m in method.space.module.modules() if isinstance(m, nn.Linear))
    )


def test_a_layer_used_outside_its_forward_is_still_refused() -> None:
    class Outside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(6, 6)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x) @ self.inner.weight

    module = Outside()
    space = build_space("full", {}, module)
    engine = Engine(mode="streamed-sliced").bind(space, 0)
    objective = Objective(module, lambda m, x: m(x).sum(), inference=True)
    objective.set_batch(torch.ones(2, 6), sequences=2, tokens=0)
    with pytest.raises(ValueError, match="used outside the forward"):
        engine.loss(objective, *engine.along(engine.gaussian(), 7, 0.5))
    assert "forward" not in vars(module.inner)
