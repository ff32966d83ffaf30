"""FlowOpt on a linear sampler with a known answer: trajectory, step-size bound, divergence above it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from zobench.zo.methods.flowopt import FlowOpt, FlowOptConfig, pair_bound
from zobench.zo.objective import Meter, Objective
from zobench.zo.space import build_space

SCALES = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
TARGET = torch.tensor([1.0, -2.0, 4.0], dtype=torch.float64)


class Stretched(nn.Module):
    """f(z) = s * z: the identity is not its Jacobian. Other parameters have no residual."""

    def __init__(self) -> None:
        super().__init__()
        self.code = nn.Parameter(torch.zeros(3, dtype=torch.float64))
        self.weight = nn.Parameter(torch.ones(2, dtype=torch.float64))

    def forward(self) -> torch.Tensor:
        return SCALES * self.code


def loss(module: nn.Module, batch: Any) -> torch.Tensor:
    return (module() - TARGET).square().sum() / 2


def residual(module: nn.Module, batch: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    return loss(module, batch), {"code": module() - TARGET}


def started(**params: Any) -> tuple[FlowOpt, Stretched, Objective]:
    module = Stretched().eval()
    objective = Objective(module, loss, Meter(), residual=residual)
    objective.set_batch(None, sequences=1, tokens=0)
    space = build_space("names", {"include": ["code"]}, module)
    return FlowOpt(FlowOptConfig(**params), space, seed=3), module, objective


def test_steps_follow_the_residual() -> None:
    """flowopt: z_t = (1 - (1 - eta s)^t) y / s, entry by entry."""
    flowopt, module, objective = started(lr=0.4)
    for step in range(1, 6):
        record = flowopt.step(objective)
        expected = (1 - (1 - 0.4 * SCALES) ** step) * TARGET / SCALES
        assert torch.allclose(module.code.detach(), expected)
        assert record.forwards == 1
        assert record.extras == {}
    assert objective.meter.forwards == 5


def test_the_catalogue_name_is_compared_with_its_definition() -> None:
    flowopt, module, objective = started(lr=0.25)
    assert flowopt.card.name == "flowopt"
    flowopt.step(objective)
    assert torch.allclose(module.code.detach(), 0.25 * TARGET)


def test_the_bound_lies_between_those_of_the_largest_and_the_smallest_scale() -> None:
    flowopt, module, objective = started(pairs=200, quantile=0.0)
    assert flowopt.cost(flowopt.config).max_forwards_in_step == 201
    first = flowopt.step(objective)
    assert first.forwards == objective.meter.forwards == 201
    assert torch.allclose(module.code.detach(), 0.01 * TARGET)
    # 2 sum s d^2 / sum s^2 d^2 is at least 2 / max s and at most 2 / min s.
    assert flowopt.bound is not None
    assert 1.0 <= flowopt.bound < 1.2
    record = flowopt.step(objective)
    assert record.forwards == 1
    assert first.extras["step_bound"] == record.extras["step_bound"] == flowopt.bound
    again, _, other = started(pairs=200, quantile=0.0)
    again.load_state_dict(flowopt.state_dict())
    assert again.step(other).extras["step_bound"] == flowopt.bound
    assert other.meter.forwards == 1


@pytest.mark.parametrize(("lr", "falls"), [(0.95, True), (1.05, False)])
def test_it_diverges_above_the_bound_alone(lr: float, falls: bool) -> None:
    flowopt, _, objective = started(lr=lr)
    losses = [flowopt.step(objective).loss for _ in range(60)]
    assert (losses[-1] < 1e-2) == falls
    assert (losses[-1] > losses[0]) != falls


def test_the_bound_of_a_pair() -> None:
    dz = {"code": torch.tensor([1.0, 2.0])}
    assert pair_bound(dz, {"code": torch.tensor([2.0, 1.0])}) == pytest.approx(2 * 4 / 5)
    assert pair_bound(dz, {"code": torch.tensor([-1.0, 0.0])}) == pytest.approx(-2.0)
    assert pair_bound(dz, {"code": torch.zeros(2)}) == float("inf")


def test_objectives_and_spaces_without_a_residual_are_refused() -> None:
    flowopt, module, objective = started()
    objective._residual = None
    with pytest.raises(ValueError, match="image-generation"):
        flowopt.step(objective)
    whole = FlowOpt(FlowOptConfig(), build_space("full", {}, module), seed=0)
    objective._residual = residual
    with pytest.raises(ValueError, match="include"):
        whole.step(objective)
