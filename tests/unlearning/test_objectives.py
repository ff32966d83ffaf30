"""Objectives: gradients against finite differences in float64, declared cost, refusals."""

from __future__ import annotations

import copy
import subprocess
import sys

import pytest
import torch
from unlearning_models import Toy, batch, tiny_llama, tokens

from zobench.plugins import entries, lookup
from zobench.unlearning.base import Batch, Context, UnlearningObjective, loss_function
from zobench.unlearning.catalogue import OBJECTIVES
from zobench.unlearning.metered import Counted, target_of
from zobench.zo.objective import Meter
from zobench.zo.objective import Objective as Metered

LAYERED = ("rmu", "r2mu", "blur", "sift")
SCALAR = [n for n in OBJECTIVES if n not in ("blur", "sift", "task-vector")]


def build(name, **params):
    found = lookup("objectives", name)
    if name in LAYERED:
        params.setdefault("layer", 1)
    return found(found.Config(**params))


def numbers(module):
    return torch.nn.utils.parameters_to_vector(module.parameters()).detach().clone()


def put(module, values):
    with torch.no_grad():
        torch.nn.utils.vector_to_parameters(values, module.parameters())


def moved(seed=1):
    """A model away from its reference, so that no term is zero."""
    return Context(Toy(seed), Toy(seed + 1))


def assert_gradient(objective, context, data):
    ready = objective.prepare(context, data)
    loss = objective.loss(context, ready)
    assert loss.shape == ()
    assert torch.isfinite(loss)
    parameters = list(context.module.parameters())
    grads = torch.autograd.grad(loss, parameters, allow_unused=True)
    flat = torch.cat(
        [(torch.zeros_like(p) if g is None else g).flatten() for g, p in zip(grads, parameters, strict=True)]
    )
    assert flat.norm() > 1e-6
    theta, h = numbers(context.module), 1e-5
    for seed in range(4):
        u = torch.randn(len(theta), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        sides = []
        for sign in (1, -1):
            put(context.module, theta + sign * h * u)
            with torch.no_grad():
                sides.append(objective.loss(context, ready).item())
        put(context.module, theta)
        slope = (sides[0] - sides[1]) / (2 * h)
        assert slope == pytest.approx((flat @ u).item(), rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("name", SCALAR)
def test_gradient_equals_finite_differences(name):
    assert_gradient(build(name), moved(), batch())


@pytest.mark.parametrize("name", ["sift", "task-vector"])
def test_what_a_first_order_method_trains_on_has_a_true_gradient(name):
    found = lookup("objectives", name)
    assert_gradient(target_of(found, build(name).config), moved(), batch())


@pytest.mark.parametrize("name", ["blur", "sift", "npo"])
def test_two_gradients_are_those_of_the_two_terms(name):
    """What an optimizer is handed apart, each along a direction against the differences of its own term."""
    found = lookup("objectives", name)
    target, context = target_of(found, build(name).config), moved()
    counted = Counted(context.module, target, context.reference, Meter())
    ready = target.prepare(context, batch())
    counted.set_batch(ready, sequences=ready.sequences, tokens=ready.tokens)
    loss, *both = counted.gradients(dict(context.module.named_parameters()))
    assert loss == pytest.approx(target.loss(context, ready).item())
    theta, h = numbers(context.module), 1e-5
    u = torch.randn(len(theta), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sides = []
    for sign in (1, -1):
        put(context.module, theta + sign * h * u)
        with torch.no_grad():
            sides.append([x.item() for x in counted._terms()[0]])
    put(context.module, theta)
    for gradient, ahead, behind in zip(both, *sides, strict=True):
        slope = torch.cat([g.flatten() for g in gradient.values()]) @ u
        assert (ahead - behind) / (2 * h) == pytest.approx(slope.item(), rel=1e-6, abs=1e-8)
        assert abs(slope) > 1e-6
    if name == "blur":
        joined = counted.gradient(dict(context.module.named_parameters()))[1]
        expected = target.method.combine(*both)
        assert all(torch.equal(joined[k], expected[k]) for k in expected)


@pytest.mark.parametrize("retain", ["nll", "kl", "embedding", "constraint", "none"])
@pytest.mark.parametrize("retain_tokens", ["answer", "all"])
def test_retain_terms_have_true_gradients(retain, retain_tokens):
    assert_gradient(build("npo", retain=retain, retain_tokens=retain_tokens, layer=1), moved(), batch())


@pytest.mark.parametrize("name", SCALAR)
def test_declared_passes_and_parts_are_the_real_ones(name):
    objective, context = build(name), moved()
    data = Batch({part: batch().part(part) for part in objective.parts()})
    ready = objective.prepare(context, data)
    declared = objective.passes()
    assert (context.module.passes, context.reference.passes) == (declared.prepare, declared.reference)
    objective.loss(context, ready)
    assert context.module.passes == declared.prepare + declared.loss
    assert context.reference.passes == declared.reference, "the reference is run once per minibatch"


@pytest.mark.parametrize("name", SCALAR)
def test_an_unprepared_batch_gives_the_same_loss(name):
    objective, context, data = build(name), moved(), batch()
    assert (
        objective.loss(context, data).item()
        == objective.loss(context, objective.prepare(context, data)).item()
    )


@pytest.mark.parametrize("name", SCALAR)
def test_padding_has_no_influence(name):
    objective, context = build(name), moved()
    longer = {}
    for part, rows in batch().parts.items():
        more = torch.full((len(rows.ids), 3), 7)
        none = torch.zeros_like(more, dtype=torch.bool)
        inputs = {
            "input_ids": torch.cat([rows.ids, more], 1),
            "attention_mask": torch.cat([rows.inputs["attention_mask"], more * 0], 1),
        }
        masks = {k: torch.cat([getattr(rows, k), none], 1) for k in ("target", "end", "value")}
        longer[part] = type(rows)(inputs=inputs, **masks)
    expected = objective.loss(context, batch()).item()
    assert objective.loss(context, Batch(longer)).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", SCALAR)
def test_runs_on_a_llama_and_all_blocks_get_gradients(name):
    module = tiny_llama(1, layers=3)
    objective = build(name, layer=1)
    context = Context(module, copy.deepcopy(tiny_llama(2, layers=3)))
    data = Batch({n: tokens(i, vocabulary=32) for i, n in enumerate(objective.parts())})
    loss = objective.loss(context, data)
    loss.backward()
    grads = [p.grad for n, p in module.named_parameters() if "layers.0." in n]
    assert all(g is not None and torch.isfinite(g).all() for g in grads)
    assert max(g.abs().max() for g in grads) > 0
    assert all(p.grad is None for p in context.reference.parameters())


def test_stop_gradient_objectives_hold_their_weights_during_a_step():
    """Queried at theta + eps u, a prepared batch uses the weights of theta; an unprepared one does not."""
    for name in ("wga", "satimp", "ce-u"):
        objective, context, data = build(name), moved(), batch()
        ready = objective.prepare(context, data)
        put(context.module, numbers(context.module) + 0.1)
        assert objective.loss(context, ready).item() != objective.loss(context, data).item()


@pytest.mark.parametrize("name", ["blur", "sift", "task-vector"])
def test_what_forward_passes_cannot_run_says_why(name):
    assert len(lookup("objectives", name).card.zo_refusal) > 20


@pytest.mark.parametrize("name", SCALAR)
def test_scalar_objectives_are_open_to_zeroth_order(name):
    found = lookup("objectives", name)
    assert not found.card.zo_refusal
    assert issubclass(found, UnlearningObjective)
    assert found.card.form == "scalar"


def test_the_catalogue_needs_no_torch():
    code = "import sys, zobench.unlearning.catalogue; print(sorted({'torch', 'numpy'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_cards_are_named_after_the_catalogue():
    for name, entry in entries("objectives").items():
        if entry.origin == "builtin":
            card = entry.load().card
            assert card.name == name
            assert card.source
            assert card.formula


@pytest.mark.parametrize("name", SCALAR)
def test_batched_branches_and_forward_mode_work(name):
    """What batched and forward-mode optimizers ask for: losses of stacked weights, slope along a tangent."""
    objective, context = build(name), moved()
    metered = Metered(context.module, loss_function(objective, context.reference))
    ready = objective.prepare(context, batch())
    metered.set_batch(ready, sequences=ready.sequences, tokens=ready.tokens)
    named = dict(context.module.named_parameters())
    generator = torch.Generator().manual_seed(0)
    u = {n: torch.randn(p.shape, generator=generator, dtype=p.dtype) for n, p in named.items()}
    stacked = {n: torch.stack([p.detach(), p.detach() + 0.01 * u[n]]) for n, p in named.items()}
    here, there = metered.branches(stacked)
    assert here == pytest.approx(metered.loss(), rel=1e-12)
    value, slope = metered.jvp(u)
    loss, found = metered.gradient(named)
    assert value == pytest.approx(loss, rel=1e-12)
    assert slope == pytest.approx(sum((found[n] * u[n]).sum().item() for n in u), rel=1e-9)
    put(context.module, numbers(context.module) + 0.01 * torch.cat([v.flatten() for v in u.values()]))
    assert there == pytest.approx(metered.loss(), rel=1e-12)


@pytest.mark.parametrize("name", ["npo", "wga", "rmu"])
def test_a_zeroth_order_optimizer_runs_it(name):
    from zobench.zo.methods.mezo import Mezo, MezoConfig
    from zobench.zo.space.catalogue import build_space

    context = moved()
    objective = build(name)
    metered = Metered(context.module, loss_function(objective, context.reference))
    ready = objective.prepare(context, batch())
    metered.set_batch(ready, sequences=ready.sequences, tokens=ready.tokens)
    space = build_space("full", {}, context.module)
    before = numbers(context.module)
    record = Mezo(MezoConfig(lr=1e-3, epsilon=1e-4), space, seed=0).step(metered)
    assert record.forwards == 2
    assert record.moved
    assert not torch.equal(before, numbers(context.module))


def test_a_missing_part_or_reference_is_named():
    with pytest.raises(ValueError, match="no part 'retain'"):
        build("grad-diff").loss(moved(), Batch({"forget": tokens()}))
    with pytest.raises(ValueError, match="give a reference"):
        build("npo").loss(Context(Toy(1)), batch())
    with pytest.raises(ValueError, match="3 blocks, valid are 0 to 1"):
        build("rmu", layer=7).loss(moved(), batch())


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("npo", {"beta": 0.0}),
        ("npo", {"reduction": "median"}),
        ("npo", {"retain": "nothing"}),
        ("npo", {"gamma": -1.0}),
        ("ce-u", {"skip": -1}),
        ("idk-ap", {"retain": "kl"}),
    ],
)
def test_senseless_parameters_are_refused(name, params):
    with pytest.raises(ValueError):
        build(name, **params)
