"""Methods on quantized models, and the spaces they tune, against their definitions."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from zo_lab import start, step_seed

from zobench.zo import build_space, noise

STEPS = 5


def test_scales_space_is_round_to_nearest() -> None:
    linear = nn.Sequential(nn.Linear(8, 3))
    weight = linear[0].weight.detach().clone()
    space = build_space("scales", {"bits": 4, "group": 4}, linear)
    assert list(space) == ["0.scales"]
    assert space.shape("0.scales") == (3, 2)
    scale = (weight.reshape(3, 2, 4).abs().amax(dim=2) / 7)[:, :, None]
    expected = ((weight.reshape(3, 2, 4) / scale).round() * scale).reshape(3, 8)
    assert torch.allclose(linear[0].weight, expected)
    space.remove()
    assert torch.equal(linear[0].weight, weight)


def test_qzo_clips_the_derivative_and_floors_the_scales() -> None:
    method, space, objective = start("qzo", "scales", {"group": 4}, lr=0.02, clip=0.05, floor=0.01)
    clipped = floored = 0
    for t in range(12):
        before = space.snapshot()
        z = {
            n: noise.sample(
                tuple(before[n].shape), seed=step_seed(t, 0), key=noise.tensor_key(n), kind="gaussian"
            )
            for n in space
        }
        losses = []
        for sign in (1, -1):
            space.restore({n: before[n] + sign * 1e-3 * z[n].double() for n in space})
            losses.append(objective.loss())
        space.restore(before)
        c = (losses[0] - losses[1]) / 2e-3
        d = min(max(c, -0.05), 0.05)
        clipped += d != c
        expected = {n: (before[n] - 0.02 * d * z[n].double()).clamp_min(0.01) for n in space}
        record = method.step(objective)
        floored += record.extras["floored"]
        for n in space:
            assert torch.allclose(space.entries(n), expected[n], rtol=1e-9, atol=1e-12), (t, n)
    assert clipped, "the run must meet the clip"
    assert floored, "the run must meet the floor"


def test_fake_quant_is_exact_in_smoothing_and_quantizes() -> None:
    model = nn.Sequential(nn.Linear(6, 4)).double()
    x = torch.randn(5, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    plain = model(x).detach()
    build_space("fake-quant", {"bits": 8}, model)
    layer = model[0]
    assert all(len(row.unique()) <= 256 for row in layer.quantized())
    layer.smooth.data.uniform_(0.5, 1.0, generator=torch.Generator().manual_seed(1))
    layer.shift.data.normal_(generator=torch.Generator().manual_seed(2))
    half_a_step = (
        0.5 * layer.step[None, :] * ((x - layer.shift) / layer.smooth).abs().sum(dim=1, keepdim=True)
    )
    error = (model(x).detach() - plain).abs()
    assert bool((error <= half_a_step + 1e-12).all()), "smoothing costs no more than rounding does"
    assert float(error.max()) > 0.0


@pytest.mark.parametrize("bits", [4, 8])
def test_fake_quant_activations_are_codes_of_a_tuned_step_and_zero(bits: int) -> None:
    """On a grid of 2^bits values, no further from the input than half a step inside the range; clipped
    outside."""
    model = nn.Sequential(nn.Linear(6, 4)).double()
    space = build_space("fake-quant", {"bits": 8, "activations": bits, "act_range": 2.0}, model)
    assert {"0.act_step", "0.act_zero"} <= set(space)
    layer, levels = model[0], 2**bits - 1
    layer.act_zero.data += 0.25
    x = torch.linspace(-3, 3, 600, dtype=torch.float64).reshape(100, 6)
    step, zero = float(layer.act_step), float(layer.act_zero)
    assert step == pytest.approx(4.0 / levels)
    codes = (x / step + zero).round().clamp(0, levels)
    expected = (codes - zero) * step @ layer.quantized().T + layer.bias
    assert torch.allclose(model(x), expected, rtol=0, atol=1e-12)
    assert len(codes.unique()) == levels + 1
    inside = (x > -zero * step) & (x < (levels - zero) * step)
    assert float(((codes - zero) * step - x)[inside].abs().max()) <= 0.5 * step + 1e-12


def test_activation_quantizers_start_from_the_range_of_random_tokens() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForCausalLM(LlamaConfig(vocab_size=20, **sizes)).eval()
    ids = torch.arange(12).reshape(2, 6)
    plain = model(input_ids=ids, labels=ids).loss.item()
    space = build_space("fake-quant", {"bits": 8, "activations": 8, "targets": ["*_proj"]}, model)
    seen: list[torch.Tensor] = []
    layer = model.model.layers[0].mlp.down_proj
    layer.register_forward_pre_hook(lambda m, args: seen.append(args[0].detach()))
    quantized = model(input_ids=ids, labels=ids).loss.item()
    assert 0 < abs(quantized - plain) < 0.02
    low, high = -layer.act_zero * layer.act_step, (255 - layer.act_zero) * layer.act_step
    assert bool((low < 0.3 * seen[0].min()) & (high > 0.3 * seen[0].max())), "of the inputs' order"
    again = LlamaForCausalLM(model.config).eval()
    space.remove()
    again.load_state_dict(model.state_dict())
    second = build_space("fake-quant", {"bits": 8, "activations": 8, "targets": ["*_proj"]}, again)
    assert second.digest() == space.digest(), "the start is a function of the model alone"


def test_activation_ranges_must_be_given_where_there_are_no_tokens() -> None:
    with pytest.raises(ValueError, match="set act_range"):
        build_space("fake-quant", {"activations": 8}, nn.Sequential(nn.Linear(4, 4)))
    with pytest.raises(ValueError, match="activations must be 0 or 2 to 16"):
        build_space("fake-quant", {"activations": 1}, nn.Sequential(nn.Linear(4, 4)))


def test_zeroqat_is_mezo_on_all_of_it_through_both_quantizers() -> None:
    """Five steps by direct arithmetic: the loss at w +- eps s z, w - eta c s z, steps and scales floored."""
    params = {"bits": 4, "activations": 6, "act_range": 3.0, "targets": ["*_proj"]}
    method, space, objective = start("zeroqat", "fake-quant", params, lr=0.02, floor=0.11, epsilon=1e-2)
    floored = 0
    for t in range(STEPS):
        before = space.snapshot()
        u = {}
        for n in space:
            z = noise.sample(
                tuple(before[n].shape), seed=step_seed(t, 0), key=noise.tensor_key(n), kind="gaussian"
            )
            u[n] = z.double() * (1.0 if n.endswith("weight") else 0.1)
        losses = []
        for sign in (1, -1):
            space.restore({n: before[n] + sign * 1e-2 * u[n] for n in space})
            losses.append(objective.loss())
        space.restore(before)
        c = (losses[0] - losses[1]) / 2e-2
        expected = {n: before[n] - 0.02 * c * u[n] for n in space}
        for n in space:
            if n.rpartition(".")[2] in ("step", "smooth", "act_step"):
                floored += int((expected[n] < 0.11).sum())
                expected[n] = expected[n].clamp_min(0.11)
        method.step(objective)
        for n in space:
            assert torch.allclose(space.entries(n), expected[n], rtol=1e-9, atol=1e-12), (t, n)
    assert floored, "the run must meet the floor"


@pytest.mark.parametrize(("name", "kind", "lr"), [("qzo", "scales", 3e-5), ("zeroqat", "fake-quant", 0.003)])
def test_quantized_training_lowers_the_loss(name: str, kind: str, lr: float) -> None:
    method, _, objective = start(name, kind, {}, lr=lr, epsilon=1e-3 if name == "qzo" else 1e-2)
    before = objective.loss()
    for _ in range(40):
        method.step(objective)
    assert objective.loss() < 0.8 * before


def test_zeroqat_scales_probe_and_update_alike() -> None:
    method, space, objective = start("zeroqat", "fake-quant", {"targets": ["q_proj"]}, lr=0.01)
    before = space.snapshot()
    record = method.step(objective)
    for n in space:
        s = 1.0 if n.endswith("weight") else 0.1
        z = noise.sample(
            tuple(before[n].shape), seed=step_seed(0, 0), key=noise.tensor_key(n), kind="gaussian"
        )
        step = -0.01 * record.coefficients[0] * s * z.double()
        assert torch.allclose(space.entries(n) - before[n], step, rtol=1e-6, atol=1e-12), n
