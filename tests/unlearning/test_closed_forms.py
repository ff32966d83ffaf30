"""Objectives compared with closed forms: limits, invariances and fixed points known from theory."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch.nn import functional
from unlearning_models import VOCABULARY, Toy, batch, tokens

from zobench.plugins import lookup
from zobench.unlearning import terms
from zobench.unlearning.base import Batch, Context
from zobench.unlearning.objectives.constrained import Pdu, PduConfig
from zobench.unlearning.objectives.distillation import (
    Ceu,
    CeuConfig,
    MaximalEntropy,
    MeConfig,
    Undial,
    after_first,
)
from zobench.unlearning.objectives.invariance import Ilu
from zobench.unlearning.objectives.representation import Rmu, RmuConfig, control_vector
from zobench.unlearning.objectives.task_vector import TaskVector, TaskVectorConfig
from zobench.unlearning.objectives.two_gradients import Blur, BlurConfig
from zobench.unlearning.objectives.weighted import Wga, WgaConfig


def build(name, **params):
    found = lookup("objectives", name)
    return found(found.Config(**params))


def alone(name, **params):
    return build(name, gamma=1.0, retain="none", **params)


def gradient(loss, module):
    grads = torch.autograd.grad(loss, list(module.parameters()), allow_unused=True)
    return torch.cat(
        [
            (torch.zeros_like(p) if g is None else g).flatten()
            for g, p in zip(grads, module.parameters(), strict=True)
        ]
    )


def at_reference():
    module = Toy(1)
    return Context(module, copy.deepcopy(module))


def nll_rows(module, rows):
    """L(x) per row, written out token by token."""
    log_p = module(**rows.inputs).logits.log_softmax(-1)
    out = []
    for r in range(len(rows.ids)):
        out.append(
            sum(-log_p[r, t - 1, rows.ids[r, t]] for t in range(1, rows.ids.shape[1]) if rows.target[r, t])
        )
    return torch.stack(out)


@pytest.mark.parametrize("beta", [0.05, 0.5, 5.0])
def test_npo_at_the_reference_is_gradient_ascent_whatever_beta(beta):
    context, data = at_reference(), batch()
    loss = alone("npo", beta=beta).loss(context, data)
    assert loss.item() == pytest.approx(2 / beta * math.log(2))
    ascent = -nll_rows(context.module, data.part("forget")).mean()
    torch.testing.assert_close(gradient(loss, context.module), gradient(ascent, context.module))


def test_npo_tends_to_gradient_ascent_as_beta_vanishes():
    context, data, beta = Context(Toy(1), Toy(2)), batch(), 1e-6
    loss = alone("npo", beta=beta).loss(context, data) - 2 / beta * math.log(2)
    rows = data.part("forget")
    margin = (nll_rows(context.module, rows) - nll_rows(context.reference, rows)).mean()
    assert loss.item() == pytest.approx(-margin.item(), rel=1e-4)


def test_npo_sum_and_mean_differ_by_the_answers_length():
    """With rows of one length T, the mean form at beta T is 1/T of the sum form at beta."""
    context, data = Context(Toy(1), Toy(2)), Batch({"forget": tokens(0, ((3, 4), (2, 4)))})
    total = alone("npo", beta=0.3, reduction="sum").loss(context, data).item()
    mean = alone("npo", beta=1.2, reduction="mean").loss(context, data).item()
    assert mean == pytest.approx(total / 4)


def test_simnpo_without_margin_is_npo_on_means_against_a_certain_reference():
    context, data = Context(Toy(1)), batch()
    nll = nll_rows(context.module, data.part("forget")) / torch.tensor([4.0, 3.0])
    expected = -(2 / 4.5) * functional.logsigmoid(4.5 * nll).mean()
    assert alone("simnpo").loss(context, data).item() == pytest.approx(expected.item())


def test_the_muse_logit_form_is_not_npo_and_not_shift_invariant():
    data, shifted = batch(), at_reference()
    loss = alone("npo-muse-logits").loss(shifted, data).item()
    shifted.module.forward = lambda *a, forward=shifted.module.forward, **k: _raised(forward(*a, **k))
    assert alone("npo").loss(shifted, data).item() == pytest.approx(2 / 0.1 * math.log(2))
    assert alone("npo-muse-logits").loss(shifted, data).item() != pytest.approx(loss)


def _raised(output):
    output.logits = output.logits + 3.0
    return output


@pytest.mark.parametrize("name", ["dpo", "idk-dpo"])
def test_dpo_at_the_reference(name):
    context, data = at_reference(), batch()
    loss = alone(name).loss(context, data)
    assert loss.item() == pytest.approx(20 * math.log(2))
    refused, forgotten = (nll_rows(context.module, data.part(p)).mean() for p in ("refusal", "forget"))
    torch.testing.assert_close(gradient(loss, context.module), gradient(refused - forgotten, context.module))


def test_grad_diff_is_the_difference_of_two_token_means():
    context, data = Context(Toy(1)), batch()
    mean = {p: nll_rows(context.module, data.part(p)).sum() / 7 for p in ("forget", "retain")}
    loss = build("grad-diff", gamma=0.5, alpha=2.0).loss(context, data)
    assert loss.item() == pytest.approx((2 * mean["retain"] - 0.5 * mean["forget"]).item())


def test_kl_and_embedding_terms_vanish_at_the_reference_and_are_flat_there():
    context, data = at_reference(), batch()
    for retain in ("kl", "embedding"):
        objective = build("grad-diff", gamma=0.0, retain=retain, layer=1)
        loss = objective.loss(context, data)
        assert loss.item() == pytest.approx(0, abs=1e-12)
        assert gradient(loss, context.module).norm() < 1e-10


def test_idk_with_preservation_is_two_terms():
    context, data = Context(Toy(1)), batch()
    l_idk = nll_rows(context.module, data.part("refusal")).sum() / 7
    margin = nll_rows(context.module, data.part("retain_refusal")) - nll_rows(
        context.module, data.part("retain")
    )
    expected = l_idk - functional.logsigmoid(0.1 * margin).mean() / 0.1
    assert build("idk-ap").loss(context, data).item() == pytest.approx(expected.item())
    assert build("idk-nll", retain="none").loss(context, data).item() == pytest.approx(l_idk.item())


def test_undial_teacher_and_its_minimum():
    """The gradient in the logits is softmax(z) - teacher; without lowering, the reference is the minimum."""
    context, data = at_reference(), batch()
    flat = Undial(Undial.Config(beta=0.0)).loss(context, data)
    assert gradient(flat, context.module).norm() < 1e-10
    teacher = Undial().prepare(context, data).constants["teacher"]
    z = terms.logits(context.module, data.part("forget"))
    lowered = z - 10 * functional.one_hot(terms.labels(data.part("forget")), VOCABULARY)
    torch.testing.assert_close(teacher, lowered.softmax(-1))


def test_ceu_by_hand_and_skipping():
    context, rows = Context(Toy(1)), tokens(0, ((3, 4),))
    z = context.module(**rows.inputs).logits[0]
    each = []
    for t in range(3, 7):
        others = [v for v in range(VOCABULARY) if v != rows.ids[0, t]]
        target = z[t - 1, others].softmax(-1)
        each.append(-(target * z[t - 1].log_softmax(-1)[others]).sum())
    for skip in (0, 1):
        loss = Ceu(CeuConfig(skip=skip)).loss(context, Batch({"forget": rows}))
        assert loss.item() == pytest.approx(torch.stack(each[skip:]).mean().item())
    keep = torch.tensor([[False, True, True, True], [True, False, True, False]])
    assert after_first(keep, 1).tolist() == [[False, False, True, True], [False, False, True, False]]


def test_maximal_entropy_is_zero_exactly_at_uniform():
    data, uniform = batch(), Toy(1)
    with torch.no_grad():
        uniform.head.zero_()
    objective = MaximalEntropy(MeConfig(gamma=1.0, retain="none"))
    assert objective.loss(Context(uniform), data).item() == pytest.approx(0, abs=1e-12)
    assert objective.loss(Context(Toy(1)), data).item() > 0


def test_wga_of_exponent_zero_is_gradient_ascent_and_weights_are_detached():
    context, data = Context(Toy(1)), batch()
    ascent = build("grad-ascent").loss(context, data)
    plain = Wga(WgaConfig(beta=0.0, retain="none")).loss(context, data)
    torch.testing.assert_close(gradient(plain, context.module), gradient(ascent, context.module))
    rows = data.part("forget")
    nll = terms.token_nll(terms.logits(context.module, rows), rows)
    by_hand = -terms.over_tokens((-nll).exp().detach() * nll, terms.mask(rows))
    weighted = Wga(WgaConfig(retain="none")).loss(context, data)
    torch.testing.assert_close(gradient(weighted, context.module), gradient(by_hand, context.module))


def test_satimp_weights_peak_inside():
    p = torch.linspace(0, 1, 101, dtype=torch.float64)
    weights = build("satimp").weights(p)
    assert weights[0] == 0
    assert weights[-1] == 0
    assert p[weights.argmax()].item() == pytest.approx(5 / 6, abs=0.01), "b1/(b1+b2)"


def test_pdu_dual_variable_follows_the_constraint():
    context, data = Context(Toy(1)), batch()
    objective = Pdu(PduConfig(alpha=1.0, epsilon=0.3, dual_step=2.0, warmup=1))
    ready = objective.prepare(context, data)
    slack = ready.constants["retain"].item() - 0.3
    before = objective.loss(context, ready).item()
    objective.advance(ready)
    assert objective.weight == 1.0, "warm-up"
    objective.advance(ready)
    assert objective.weight == pytest.approx(1.0 + 2.0 * slack)
    assert objective.loss(context, ready).item() - before == pytest.approx(2.0 * slack * slack)
    other = Pdu(PduConfig(alpha=1.0))
    other.load_state_dict(objective.state_dict())
    assert other.state_dict() == objective.state_dict()
    relaxed = Pdu(PduConfig(alpha=1.0, epsilon=1e6))
    relaxed.advance(relaxed.prepare(context, data))
    assert relaxed.weight == 0.0, "never negative"


def test_pdu_forget_term_is_zero_only_for_equal_logits():
    uniform, data = Toy(1), batch()
    with torch.no_grad():
        uniform.head.zero_()
    assert Pdu().forget(Context(uniform), data, {}).item() == 0
    assert Pdu().forget(Context(Toy(1)), data, {}).item() > 0


def test_rmu_is_zero_where_activations_are_the_control_vector():
    data = batch()

    class Constant(Toy):
        def forward(self, *args, **kwargs):
            out = super().forward(*args, **kwargs)
            u = control_vector(6, 0, out.logits)
            out.hidden_states = tuple(torch.zeros_like(h) + 2 * u for h in out.hidden_states)
            return out

    objective = Rmu(RmuConfig(layer=1, retain="none"))
    assert objective.loss(Context(Constant(1)), data).item() == pytest.approx(0, abs=1e-20)
    far = Rmu(RmuConfig(layer=1, retain="none", c=3.0)).loss(Context(Constant(1)), data)
    assert far.item() == pytest.approx(1 / 6), "(3 - 2)^2 ||u||^2 / d"


def test_control_vector_is_a_unit_vector_of_its_seed():
    like = torch.zeros(1)
    assert control_vector(50, 3, like).norm().item() == pytest.approx(1)
    assert (control_vector(50, 3, like) >= 0).all()
    torch.testing.assert_close(control_vector(50, 3, like), control_vector(50, 3, like), rtol=0, atol=0)
    assert not torch.equal(control_vector(50, 3, like), control_vector(50, 4, like))


def test_ilu_penalty_is_the_derivative_in_the_logits_scale():
    context, data = Context(Toy(1)), batch()
    rows = data.part("invariance")
    w = torch.ones((), dtype=torch.float64, requires_grad=True)
    z = terms.logits(context.module, rows).detach()
    (slope,) = torch.autograd.grad(terms.over_tokens(terms.token_nll(w * z, rows), terms.mask(rows)), w)
    assert Ilu().penalty(context, data).item() == pytest.approx(slope.item() ** 2)


def test_blur_removes_the_conflict_and_needs_both_gradients():
    blur = Blur(BlurConfig(alpha=2.0, layer=1))
    f = {"a": torch.tensor([3.0, 0.0]), "b": torch.tensor([4.0])}
    r = {"a": torch.tensor([-1.0, 2.0]), "b": torch.tensor([1.0])}
    joined = blur.combine(f, r)
    rest = {k: (joined[k] - f[k]) / 2 for k in f}
    assert sum(float((rest[k] * f[k]).sum()) for k in f) == pytest.approx(0, abs=1e-6)
    same = blur.combine({k: 0 * v for k, v in f.items()}, r)
    assert all(torch.equal(same[k], 2 * r[k]) for k in r)
    forget, retain = blur.losses(Context(Toy(1), Toy(2)), batch())
    assert forget.requires_grad
    assert retain.requires_grad


def test_task_vector_mirrors_at_alpha_one_and_leaves_the_original():
    module, reinforced = Toy(1), Toy(2)
    changed = TaskVector(TaskVectorConfig(alpha=1.0)).apply(module, reinforced)
    for a, b, c in zip(module.parameters(), reinforced.parameters(), changed.parameters(), strict=True):
        torch.testing.assert_close(c, 2 * a - b)
    still = TaskVector(TaskVectorConfig(alpha=0.0)).apply(module, reinforced)
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), still.parameters(), strict=True))
    with pytest.raises(ValueError, match="differ in parameters"):
        TaskVector().apply(module, Toy(1, blocks=2))
