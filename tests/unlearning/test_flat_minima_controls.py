"""Averaging, curvature and gradient penalties and SAM as optimizers, on an unlearning objective. The
penalties are compared with ones that autograd differentiates twice, and those with finite differences.

With g = grad l(theta) and v = g/||g|| held fixed: gradient penalty l + rho ||g||, curvature penalty
l + rho ||H v||, SAM grad l(theta + rho v).
"""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from unlearning_models import Toy, batch

from zobench.plugins import lookup
from zobench.unlearning import terms
from zobench.unlearning.base import Batch, loss_function
from zobench.zo import Objective
from zobench.zo.space import build_space


def forget(module):
    return -terms.mean_nll(module, batch().part("forget"))


def gradient(loss, module, *, graph=False):
    """Loss and its gradient by name; with ``graph`` the gradient can be differentiated again."""
    named = dict(module.named_parameters())
    value = loss(module)
    found = torch.autograd.grad(value, list(named.values()), create_graph=graph, allow_unused=True)
    pairs = zip(named.items(), found, strict=True)
    return value, {n: torch.zeros_like(p) if g is None else g for (n, p), g in pairs}


def norm(values):
    return torch.stack([(v**2).sum() for v in values.values()]).sum().sqrt()


def gradient_penalty(module, rho=0.7):
    value, g = gradient(forget, module, graph=True)
    return value + rho * norm(g)


def curvature_penalty(module, rho=0.7):
    value, g = gradient(forget, module, graph=True)
    length = norm(g).detach()
    inner = torch.stack([(x * (x.detach() / length)).sum() for x in g.values()]).sum()
    weights = list(module.parameters())
    curved = torch.autograd.grad(inner, weights, create_graph=True, allow_unused=True)
    return value + rho * norm({str(i): h for i, h in enumerate(curved) if h is not None})


def shifted(module, by, h):
    changed = copy.deepcopy(module)
    with torch.no_grad():
        for n, p in changed.named_parameters():
            p.add_(by[n], alpha=h)
    return changed


@pytest.mark.parametrize("penalty", [gradient_penalty, curvature_penalty])
def test_the_references_are_what_they_say(penalty):
    module, h = Toy(1), 1e-5
    value, g = gradient(forget, module)
    length = norm(g)
    if penalty is gradient_penalty:
        expected = length
    else:
        ahead = gradient(forget, shifted(module, g, h / length.item()))[1]
        behind = gradient(forget, shifted(module, g, -h / length.item()))[1]
        expected = ((flat(ahead) - flat(behind)) / (2 * h)).norm()
    assert (penalty(module) - value).item() == pytest.approx(0.7 * expected.item(), rel=1e-6)


def test_gradient_of_the_gradient_penalty_equals_finite_differences():
    module, h = Toy(1), 1e-5
    found = gradient(gradient_penalty, module)[1]
    generator = torch.Generator().manual_seed(0)
    u = {n: torch.randn(p.shape, generator=generator, dtype=p.dtype) for n, p in module.named_parameters()}
    sides = [gradient_penalty(shifted(module, u, s * h)).item() for s in (1, -1)]
    slope = sum((found[n] * u[n]).sum().item() for n in u)
    assert (sides[0] - sides[1]) / (2 * h) == pytest.approx(slope, rel=1e-6)


def measured(name, module, **params):
    """The gradient that the optimizer takes on gradient ascent of the forget set."""
    method, target = lookup("methods", name), lookup("objectives", "grad-ascent")
    objective = target()
    optimizer = method(method.Config(**params), build_space("full", {}, module), seed=1)
    metered = Objective(module, loss_function(objective))
    metered.set_batch(Batch({"forget": batch().part("forget")}), sequences=2, tokens=12)
    found = optimizer.measured(metered)[1]
    assert metered.meter.forwards == method.cost(method.Config(**params)).forwards_per_step
    return found


def flat(values):
    return torch.cat([v.detach().flatten() for v in values.values()])


@pytest.mark.parametrize(
    ("name", "params", "exact"),
    [
        ("gradient-penalty", {"rho": 0.7, "mu": 1e-6}, gradient_penalty),
        ("curvature-penalty", {"rho": 0.7, "mu": 1e-4}, curvature_penalty),
    ],
)
def test_penalties_of_the_optimizers_are_those_that_autograd_differentiates(name, params, exact):
    module = Toy(1)
    before = flat(dict(module.named_parameters()))
    found, expected = flat(measured(name, module, **params)), flat(gradient(exact, module)[1])
    plain = flat(gradient(forget, module)[1])
    assert torch.equal(before, flat(dict(module.named_parameters())))
    torch.testing.assert_close(found, expected, rtol=2e-3, atol=2e-4)
    assert (expected - plain).norm() > 1e-2 * plain.norm(), "the penalty moves the gradient"
    assert (found - expected).norm() < 0.02 * (expected - plain).norm()


def test_sam_as_an_optimizer_takes_the_gradient_at_the_ascent_point():
    module = Toy(1)
    g = gradient(forget, module)[1]
    ascent = gradient(forget, shifted(module, g, 0.05 / norm(g).item()))[1]
    torch.testing.assert_close(flat(measured("sam", module, rho=0.05)), flat(ascent))


class Line(nn.Module):
    """L = theta: every gradient is 1, so Adam's steps are all lr."""

    def __init__(self):
        super().__init__()
        self.theta = nn.Parameter(torch.zeros(1, dtype=torch.float64))


def averaged(steps, lr=1.0, **params):
    module, method = Line(), lookup("methods", "weight-averaging")
    space = build_space("full", {}, module)
    optimizer = method(method.Config(lr=lr, delta=1e-300, **params), space, seed=0)
    objective = Objective(module, lambda m, b: m.theta.sum())
    objective.set_batch(None, sequences=1, tokens=1)
    seen = []
    for _ in range(steps):
        optimizer.step(objective)
        seen.append(module.theta.item())
    return seen, optimizer, objective


def test_the_model_is_the_mean_of_the_weights_that_count():
    seen, _, _ = averaged(8, start=2, every=2)
    # Trained weights are -1, -2, ...; those after steps 3, 5 and 7 count, theta itself stands before them.
    assert seen == pytest.approx([-1, -2, -3, -3, -4, -4, -5, -5])


def test_averaging_goes_on_from_a_checkpoint_to_the_same_bits():
    whole, _, _ = averaged(7, start=2, every=2)
    _, half, objective = averaged(4, start=2, every=2)
    again = lookup("methods", "weight-averaging")
    resumed = again(half.config, half.space, seed=0)
    resumed.load_state_dict(half.state_dict())
    found = []
    for _ in range(3):
        resumed.step(objective)
        found.append(objective.module.theta.item())
    assert found == whole[4:]


def test_averaging_without_a_step_size_moves_nothing():
    assert averaged(5, lr=0.0, start=1, every=1)[0] == [0.0] * 5
