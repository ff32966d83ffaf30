"""R-AdaZO on the sphere: the length of its directions, its estimate and its update by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from zobench.plugins import lookup
from zobench.zo import Objective
from zobench.zo.space import build_space

SLOPE = torch.tensor([1.0, -2.0, 0.5, 3.0, 0.0, 1.0], dtype=torch.float64)


class Plane(nn.Module):
    """L = <a, theta>, in two tensors."""

    def __init__(self):
        super().__init__()
        self.first = nn.Parameter(torch.zeros(4, dtype=torch.float64))
        self.second = nn.Parameter(torch.zeros(2, dtype=torch.float64))

    def forward(self):
        return (SLOPE * self.numbers()).sum()

    def numbers(self):
        return torch.cat([self.first, self.second])


@pytest.mark.parametrize("n", [1, 3])
def test_two_steps_by_hand(n):
    module, method = Plane(), lookup("methods", "r-adazo-sphere")
    lr, b1, b2, zeta = 0.1, 0.9, 0.95, 1e-6
    config = method.Config(lr=lr, n=n, beta1=b1, beta2=b2, zeta=zeta, epsilon=1e-2)
    optimizer = method(config, build_space("full", {}, module), seed=4)
    objective = Objective(module, lambda m, batch: m())
    objective.set_batch(None, sequences=1, tokens=1)
    theta = module.numbers().detach()
    m = v = torch.zeros_like(theta)
    for _ in range(2):
        record = optimizer.step(objective)
        us = [
            torch.cat([optimizer.direction.tensor(k, s) for k in ("first", "second")]) for s in record.seeds
        ]
        assert len(us) == n
        assert [float(x.norm()) for x in us] == pytest.approx([math.sqrt(6)] * n), "radius sqrt(d)"
        g = sum((SLOPE @ x) * x for x in us) / n
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * m * m
        theta = theta - lr * m / (v.sqrt() + zeta)
        assert torch.allclose(module.numbers(), theta, rtol=1e-6, atol=0)
        assert record.forwards == 2 * n
