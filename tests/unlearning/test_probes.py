"""Probes: the given model is never changed; idempotent or reversible if documented."""

from __future__ import annotations

import copy
import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from unlearning_models import tiny_llama, tokens

from zobench.plugins import lookup
from zobench.unlearning import terms
from zobench.unlearning.base import Material
from zobench.unlearning.catalogue import PROBES
from zobench.unlearning.data import invented_facts
from zobench.unlearning.probes.inputs import (
    FewShot,
    FewShotProbeConfig,
    ForcedPrefix,
    InputMaterial,
    Rephrase,
)
from zobench.unlearning.probes.interpolate import Interpolate, between
from zobench.unlearning.probes.noise import WeightNoise, add_noise_, add_noise_of_norm_
from zobench.unlearning.probes.prune import Prune, PruneConfig, prune_
from zobench.unlearning.probes.quantize import (
    Quantize,
    QuantizeConfig,
    codes,
    round_to_nearest,
    rounding,
    step_ratio,
    steps,
)
from zobench.unlearning.probes.relearn import FineTune, FineTuneConfig, Relearn, TrainConfig
from zobench.unlearning.probes.weights import distance, matrices, state

ABSENT = ("bitsandbytes",)
"""Needs a package and a GPU; see test_bitsandbytes_probe."""
MODEL_PROBES = [n for n in PROBES if lookup("probes", n).kind == "model" and n not in ABSENT]
SHORT = {"relearn": {"steps": (0, 2), "rates": (1e-3,)}, "fine-tune": {"steps": (0, 2), "rates": (1e-3,)}}


def build(name):
    found = lookup("probes", name)
    return found(found.Config(**SHORT.get(name, {})))


def material(original=None):
    rows = [tokens(s, vocabulary=32) for s in range(2)]
    return Material(relearn=rows, benign={"retain": rows}, original=original or tiny_llama(9))


def bits(module):
    return {k: v.clone() for k, v in state(module).items()}


def same(a, b):
    return all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("name", MODEL_PROBES)
def test_the_model_given_is_untouched_and_variants_repeat(name):
    module, probe, random = tiny_llama(1), build(name), torch.get_rng_state()
    before, given = bits(module), material()
    first = [(v.strength, dict(v.params), bits(v.module)) for v in probe.variants(module, given)]
    second = [(v.strength, dict(v.params), bits(v.module)) for v in probe.variants(module, given)]
    assert same(before, bits(module))
    assert torch.equal(random, torch.get_rng_state())
    assert len(first) > 1
    for a, b in zip(first, second, strict=True):
        assert a[:2] == b[:2]
        assert same(a[2], b[2])
    assert any(not same(before, values) for _, _, values in first)
    keys = [(s, tuple(sorted(p.items()))) for s, p, _ in first]
    assert len(set(keys)) == len(keys), "strength and params tell variants apart"


@pytest.mark.parametrize("name", PROBES)
def test_probes_are_named_after_the_catalogue(name):
    assert lookup("probes", name).name == name


@given(st.integers(2, 8), st.sampled_from([0, 1, 3, 64]), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_rounding_is_idempotent_and_off_by_half_a_step_at_most(width, group, seed):
    w = torch.randn(5, 7, generator=torch.Generator().manual_seed(seed))
    w[2] = 0
    rounded = round_to_nearest(w, width, group)
    assert torch.equal(codes(w, width, group), codes(rounded, width, group))
    torch.testing.assert_close(round_to_nearest(rounded, width, group), rounded, rtol=1e-6, atol=0)
    assert ((rounded - w).abs() <= steps(w, width, group) * 0.5001).all()
    assert codes(w, width, group).abs().max() <= 2 ** (width - 1) - 1
    assert (rounded[2] == 0).all()


def test_smaller_groups_and_more_bits_are_closer():
    w = torch.randn(8, 128, generator=torch.Generator().manual_seed(0))

    def error(*how):
        return (round_to_nearest(w, *how) - w).norm().item()

    assert error(4, 16) < error(4, 64) < error(4, 0)
    assert error(8) < error(4) < error(3) < error(2)
    assert torch.equal(round_to_nearest(w, 4, 128), round_to_nearest(w, 4, 0))


def test_two_bits_leave_three_values():
    w = torch.tensor([[1.0, 0.6, 0.4, -0.51, -1.0]])
    assert round_to_nearest(w, 2).tolist() == [[1, 1, 0, -1, -1]]


def test_embeddings_head_and_norms_are_left_alone():
    module = tiny_llama(1)
    names = set(matrices(module))
    assert len(names) == 2 * 7
    assert not any("embed" in n or "norm" in n or "head" in n for n in names)
    for name in ("quantize", "prune"):
        for variant in build(name).variants(module, Material()):
            after = state(variant.module)
            assert all(torch.equal(v, after[k]) for k, v in state(module).items() if k not in names)
    with pytest.raises(ValueError, match="no linear layer"):
        matrices(torch.nn.Embedding(3, 4))


def test_step_ratio_of_known_moves():
    original = tiny_llama(1)
    moved = copy.deepcopy(original)
    with torch.no_grad():
        for w in matrices(moved).values():
            top = w.abs().amax(1, keepdim=True)
            w.add_(torch.where(w.abs() < top, 0.25 * top / 7, torch.zeros_like(w)))
    ratio = step_ratio(moved, original, 4)
    assert ratio.median == pytest.approx(0.25, rel=0.05)
    assert ratio.above_half == 0
    still = step_ratio(original, original, 4)
    assert (still.median, still.above_half) == (0, 0)
    (variant,) = Quantize(QuantizeConfig(bits=(4,), groups=(0,))).variants(moved, Material(original=original))
    assert variant.params["moved_steps"] == ratio.median


def test_what_rounding_leaves_of_known_moves():
    """On the grid of 4 bits, entries of even rows move by a whole step towards 0 (by 0 where they are 0), of
    odd rows by a tenth of one; the largest entry of a row stays, and with it the step."""
    original = tiny_llama(1)
    for w in matrices(original).values():
        w.data.copy_(round_to_nearest(w.data, 4))
    moved, whole, tenths, entries = copy.deepcopy(original), 0.0, 0.0, 0
    flips = 0
    for w in matrices(moved).values():
        top = w.data.abs().amax(1, keepdim=True)
        size = torch.full_like(top, 0.1)
        size[::2] = 1.0
        move = torch.where(w.data.abs() < 0.999 * top, -w.data.sign() * size * top / 7, torch.zeros(()))
        w.data.add_(move)
        flips += int((move[::2] != 0).sum())
        whole += float(move[::2].double().square().sum())
        tenths += float(move[1::2].double().square().sum())
        entries += move.numel()
    found = rounding(moved, original, 4)
    assert found.flipped == flips / entries > 0.2
    assert found.kept == pytest.approx(math.sqrt(whole / (whole + tenths)), rel=1e-4)
    assert found.kept < 0.999, "tenths of a step are lost"
    still = rounding(original, original, 4)
    assert still.flipped == 0
    assert math.isnan(still.kept)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_pruning_zeroes_the_smallest_and_is_idempotent(share):
    module = tiny_llama(1)
    weights = torch.cat([w.detach().flatten() for w in matrices(module).values()])
    (variant,) = Prune(PruneConfig(shares=(share,))).variants(module, Material())
    pruned = torch.cat([w.detach().flatten() for w in matrices(variant.module).values()])
    gone = pruned == 0
    assert gone.sum() == int(share * len(weights))
    assert torch.equal(pruned[~gone], weights[~gone])
    if 0 < share < 1:
        assert weights[gone].abs().max() <= weights[~gone].abs().min()
    again = bits(variant.module)
    prune_(variant.module, share)
    assert same(again, bits(variant.module))


def test_pruning_breaks_ties_without_pruning_more():
    module = tiny_llama(1)
    with torch.no_grad():
        for w in matrices(module).values():
            w.fill_(0.5)
    prune_(module, 0.25)
    flat = torch.cat([w.flatten() for w in matrices(module).values()])
    assert (flat == 0).sum() == len(flat) // 4


def test_noise_has_the_asked_size_and_is_taken_back():
    module = tiny_llama(1)
    changed = copy.deepcopy(module)
    add_noise_of_norm_(changed, 3.0, seed=4)
    assert distance(module, changed) == pytest.approx(3.0, rel=1e-5)
    add_noise_of_norm_(changed, -3.0, seed=4)
    assert distance(module, changed) < 1e-5
    add_noise_(changed, 0.01, seed=5)
    n = sum(p.numel() for p in module.parameters())
    assert distance(module, changed) == pytest.approx(0.01 * n**0.5, rel=0.05)
    one, two = (next(iter(WeightNoise().variants(module, Material(seed=s)))) for s in (0, 1))
    assert not same(bits(one.module), bits(two.module))


def test_interpolation_ends_are_the_models_to_the_bit():
    a, b = tiny_llama(1), tiny_llama(2)
    assert same(bits(a), bits(between(a, b, 0)))
    assert same(bits(b), bits(between(a, b, 1)))
    half = between(a, b, 0.5)
    assert distance(a, half) == pytest.approx(distance(half, b), rel=1e-5)
    assert distance(a, half) == pytest.approx(distance(a, b) / 2, rel=1e-5)
    back = list(Interpolate().variants(b, Material(original=a)))
    assert [v.strength for v in back] == [1, 0.75, 0.5, 0.25, 0]
    with pytest.raises(ValueError, match="before unlearning"):
        next(iter(Interpolate().variants(b, Material())))


def test_relearning_lowers_the_loss_and_a_curve_is_one_run():
    module, given = tiny_llama(1), material()
    probe = Relearn(TrainConfig(steps=(0, 5, 20), rates=(1e-2,)))
    losses, at_five = [], None
    for v in probe.variants(module, given):
        losses.append(terms.mean_nll(v.module, given.relearn[0]).item())
        at_five = bits(v.module) if v.strength == 5 else at_five
    assert losses[0] == terms.mean_nll(module, given.relearn[0]).item()
    assert losses[0] > losses[1] > losses[2]
    (alone,) = Relearn(TrainConfig(steps=(5,), rates=(1e-2,))).variants(module, given)
    assert same(at_five, bits(alone.module))


def test_relearning_in_half_precision_keeps_steps_that_its_format_loses():
    module, given = tiny_llama(1), material()
    probe = Relearn(TrainConfig(steps=(10,), rates=(1e-5,)))
    half = copy.deepcopy(module).to(torch.bfloat16)
    whole = copy.deepcopy(half).float()
    (precise,) = probe.variants(whole, given)
    (rounded,) = probe.variants(half, given)
    assert {p.dtype for p in rounded.module.parameters()} == {torch.bfloat16}
    moved, ours = (
        [
            a.detach().float() - b.detach().float()
            for a, b in zip(*(m.parameters() for m in pair), strict=True)
        ]
        for pair in ((precise.module, whole), (rounded.module, half))
    )
    along = sum(float((a * b).sum()) for a, b in zip(ours, moved, strict=True))
    assert along / sum(float((b * b).sum()) for b in moved) == pytest.approx(1, abs=0.2)


def test_training_moves_only_what_is_asked_and_says_what_is_missing():
    module = tiny_llama(1)
    probe = FineTune(FineTuneConfig(steps=(3,), trainable=("down_proj",)))
    variant = next(iter(probe.variants(module, material())))
    for name, value in state(module).items():
        assert torch.equal(value, state(variant.module)[name]) == ("down_proj" not in name)
    with pytest.raises(ValueError, match="facts that are not scored"):
        next(iter(Relearn().variants(module, Material())))
    with pytest.raises(ValueError, match="'code': the material has"):
        next(iter(FineTune(FineTuneConfig(on="code")).variants(module, material())))
    with pytest.raises(ValueError, match="steps must increase"):
        TrainConfig(steps=(10, 5))


def test_input_probes_keep_ids_answers_and_the_given_rows():
    rows = invented_facts(1).forget
    kept, given = copy.deepcopy(rows), InputMaterial(shots=invented_facts(10).retain)
    for probe in (Rephrase(), ForcedPrefix(), FewShot()):
        once = probe.rows(rows, given)
        assert rows == kept
        assert probe.rows(once, given) == once, "idempotent"
        assert [(r.id, r.answer, r.value) for r in once] == [(r.id, r.answer, r.value) for r in rows]
        assert all(a.prompt() != b.prompt() for a, b in zip(rows, once, strict=True))


def test_shots_never_tell_the_answer():
    rows = invented_facts(10).forget
    own = FewShot().rows(rows, InputMaterial(shots=rows))
    for row, shown in zip(rows, own, strict=True):
        assert row.answer not in shown.context
        assert shown.context.count("\nA:") == 4
        assert shown.context.count(row.answer.split()[0]) >= 4, "the same author's facts"
    other = FewShot(FewShotProbeConfig(same_author=False)).rows(rows, InputMaterial(shots=rows))
    assert [r.context for r in other] != [r.context for r in own]
    assert FewShot().rows(rows[5:6], InputMaterial(shots=rows)) == own[5:6], "whatever the other rows"
    with pytest.raises(ValueError, match="0 facts to show, 4 needed"):
        FewShot().rows(rows[:1], InputMaterial())


def test_rephrase_refuses_rows_without_a_paraphrase():
    row = dataclasses.replace(invented_facts(1).forget[0], paraphrased_question="")
    with pytest.raises(ValueError, match="no paraphrased question"):
        Rephrase().rows([row], InputMaterial())
