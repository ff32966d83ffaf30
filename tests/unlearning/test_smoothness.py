"""Smoothness controls: gradients that really flow, against finite differences; and the logit lens."""

from __future__ import annotations

import copy

import pytest
import torch
from unlearning_models import Toy, batch, tiny_llama, tokens

from zobench.unlearning import terms
from zobench.unlearning.lens import logit_lens
from zobench.unlearning.smoothness import (
    WeightAverage,
    curvature_penalty,
    gradient,
    gradient_penalty,
    norm,
    randomized_smoothing,
    sam,
)


def forget(module):
    return -terms.mean_nll(module, batch().part("forget"))


def flat(values):
    return torch.cat([v.detach().flatten() for v in values.values()])


def shifted(module, by, h):
    changed = copy.deepcopy(module)
    with torch.no_grad():
        for n, p in changed.named_parameters():
            p.add_(by[n], alpha=h)
    return changed


@pytest.mark.parametrize("penalty", [gradient_penalty, curvature_penalty])
def test_penalties_are_what_they_say_and_their_gradient_flows(penalty):
    module, rho, h = Toy(1), 0.7, 1e-5
    value, g = gradient(forget, module)
    length = norm(g)
    if penalty is gradient_penalty:
        expected = length
    else:
        ahead = gradient(forget, shifted(module, g, h / length.item()))[1]
        behind = gradient(forget, shifted(module, g, -h / length.item()))[1]
        expected = ((flat(ahead) - flat(behind)) / (2 * h)).norm()
    assert (penalty(forget, module, rho) - value).item() == pytest.approx(rho * expected.item(), rel=1e-6)
    plain = flat(g)
    through = flat(gradient(lambda m: penalty(forget, m, rho), module)[1])
    assert (through - plain).norm() > 1e-3 * plain.norm(), "the penalty moves the gradient"


def test_gradient_of_the_gradient_penalty_equals_finite_differences():
    module, h = Toy(1), 1e-5
    found = gradient(lambda m: gradient_penalty(forget, m, 0.7), module)[1]
    generator = torch.Generator().manual_seed(0)
    u = {n: torch.randn(p.shape, generator=generator, dtype=p.dtype) for n, p in module.named_parameters()}
    sides = [gradient_penalty(forget, shifted(module, u, s * h), 0.7).item() for s in (1, -1)]
    slope = sum((found[n] * u[n]).sum().item() for n in u)
    assert (sides[0] - sides[1]) / (2 * h) == pytest.approx(slope, rel=1e-6)


def test_sam_is_the_gradient_at_the_ascent_point():
    module = Toy(1)
    before = flat(dict(module.named_parameters()))
    g = gradient(forget, module)[1]
    expected = gradient(forget, shifted(module, g, 0.05 / norm(g).item()))[1]
    torch.testing.assert_close(flat(sam(forget, module, 0.05)), flat(expected))
    torch.testing.assert_close(flat(sam(forget, module, 0.0)), flat(g))
    assert torch.equal(before, flat(dict(module.named_parameters()))), "weights restored to the bit"


def test_randomized_smoothing_tends_to_the_gradient_and_repeats():
    module = Toy(1)
    g = flat(gradient(forget, module)[1])
    torch.testing.assert_close(flat(randomized_smoothing(forget, module, sigma=0.0)), g)
    near = flat(randomized_smoothing(forget, module, sigma=1e-7))
    torch.testing.assert_close(near, g, rtol=1e-4, atol=1e-6)
    one, two, other = (flat(randomized_smoothing(forget, module, sigma=0.1, seed=s)) for s in (3, 3, 4))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    with pytest.raises(ValueError, match="draws"):
        randomized_smoothing(forget, module, draws=0)


def test_weight_average_is_the_mean_of_what_was_seen():
    average, module = WeightAverage(start=1, every=2), Toy(0)
    for step in range(5):
        average.see(Toy(step), step)
    average.write(module)
    mean = (flat(dict(Toy(1).named_parameters())) + flat(dict(Toy(3).named_parameters()))) / 2
    torch.testing.assert_close(flat(dict(module.named_parameters())), mean)
    with pytest.raises(ValueError, match="starts at step 100"):
        WeightAverage().write(module)


def test_the_last_layer_of_the_lens_is_the_model_itself():
    module, rows = tiny_llama(1, layers=3), tokens(0, vocabulary=32)
    layers = logit_lens(module, rows)
    assert len(layers) == 3
    scores = terms.logits(module, rows).argmax(-1) == terms.labels(rows)
    assert layers[-1] == pytest.approx(scores[terms.mask(rows)].double().mean().item())
    assert len(logit_lens(module, rows, value=True)) == 3
    with pytest.raises(ValueError, match=r"model\.norm"):
        logit_lens(Toy(1), rows)


def test_the_lens_reads_an_unfinished_block_through_the_final_norm():
    """A block that adds nothing leaves its layer's reading equal to the one before."""
    module, rows = tiny_llama(1, layers=3), tokens(0, vocabulary=32)
    with torch.no_grad():
        module.model.layers[2].self_attn.o_proj.weight.zero_()
        module.model.layers[2].mlp.down_proj.weight.zero_()
    layers = logit_lens(module, rows)
    assert layers[1] == layers[2]
