"""Quantized convolutions: codes and scales by hand, the layer's output, removal, refusals, QZO on them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from zobench.zo import Objective, build_space
from zobench.zo.methods.qzo import Qzo


class Net(nn.Module):
    def __init__(self, **settings: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2, **settings)
        self.linear = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.linear(self.conv(x).mean((2, 3)))
        return found


X = torch.linspace(-1, 1, 2 * 2 * 6 * 6).reshape(2, 2, 6, 6)


def test_weights_are_rounded_to_a_scale_per_channel() -> None:
    net = Net()
    before = {n: p.detach().clone() for n, p in net.named_parameters()}
    weight = before["conv.weight"]
    space = build_space("conv-scales", {"bits": 4}, net)
    assert list(space) == ["conv.scales", "linear.scales"]
    assert space.numel == 4 + 2
    scales = weight.abs().amax((1, 2, 3)) / 7
    assert torch.allclose(space.entries("conv.scales")[:, 0], scales)
    conv: Any = net.conv
    expected = (weight / scales[:, None, None, None]).round() * scales[:, None, None, None]
    assert torch.allclose(conv.weight, expected)
    assert torch.equal(
        conv(X), nn.functional.conv2d(X, conv.weight, before["conv.bias"], stride=2, padding=1, groups=2)
    )
    space.remove()
    assert all(torch.equal(p, before[n]) for n, p in net.named_parameters())


def test_eight_bits_are_close_and_groups_closer() -> None:
    whole = Net()(X)
    errors = []
    for params in ({"bits": 2}, {"bits": 2, "group": 3}, {"bits": 8}):
        net = Net()
        build_space("conv-scales", {**params, "targets": ["conv"]}, net)
        errors.append(float((net(X) - whole).detach().abs().max()))
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.01


@pytest.mark.parametrize(
    ("params", "settings", "told"),
    [
        ({"targets": ["none"]}, {}, "match no linear layer or convolution; there are conv, linear"),
        ({"group": 2}, {}, "do not divide into groups of 2"),
        ({}, {"padding_mode": "reflect"}, "pads with reflect"),
        ({"bits": 9}, {}, "bits"),
    ],
)
def test_what_does_not_fit_is_refused(params: dict[str, Any], settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        build_space("conv-scales", params, Net(**settings))


def test_qzo_lowers_a_loss_by_the_scales_alone() -> None:
    net = Net()
    space = build_space("conv-scales", {"bits": 3}, net)
    codes: Any = net.conv
    kept = codes.codes.clone()
    objective = Objective(net, lambda module, batch: (module(batch) - 1).square().mean())
    objective.set_batch(X, sequences=2, tokens=0)
    method = Qzo(Qzo.Config(lr=1e-2), space, seed=1)
    first = objective.loss()
    for _ in range(50):
        method.step(objective)
    assert objective.loss() < 0.9 * first
    assert torch.equal(codes.codes, kept)
