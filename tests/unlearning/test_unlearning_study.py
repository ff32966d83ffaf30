"""Minibatches, scores of a model on splits, and the study: on random models, and on trained ones (slow)."""

from __future__ import annotations

import copy
import dataclasses
import math

import pytest
import torch
from unlearning_models import tiny_llama
from unlearning_text import texts, word_tokenizer

from zobench.models.nano import path
from zobench.plugins import lookup
from zobench.unlearning import terms
from zobench.unlearning.data import FactSplits, invented_facts, tofu
from zobench.unlearning.evaluate import against_oracle, measure, parts_of, scores, utility_of
from zobench.unlearning.forget_sets import by_author
from zobench.unlearning.minibatches import Minibatches, passes_over
from zobench.unlearning.probes.inputs import Rephrase
from zobench.unlearning.probes.prune import Prune, PruneConfig
from zobench.unlearning.probes.relearn import Relearn, TrainConfig
from zobench.unlearning.study import STOP_METRIC, Bench, Plan, study
from zobench.zo.space.catalogue import build_space


def small_splits(forget=2, retain=3, attributes=("birthplace", "pet", "prize", "school")):
    """The built-in facts, few people and attributes."""
    whole = invented_facts(10)

    def some(rows, people):
        kept = [r for r in rows if r.attribute in attributes]
        return tuple(r for own in list(by_author(kept).values())[:people] for r in own)

    other = {k: v[:2] for k, v in whole.other.items()}
    return FactSplits(
        some(whole.forget, forget), some(whole.retain, retain), some(whole.holdout, 2), other, whole.refusals
    )


def rows_of(splits):
    rows = [*splits.forget, *splits.retain, *splits.holdout]
    for part in splits.other.values():
        rows += part
    return rows


@pytest.fixture(scope="module")
def bench():
    splits = small_splits()
    known = [
        dataclasses.replace(r, question=q) for r in rows_of(splits) for q in (r.question, *r.other_questions)
    ]
    tokenizer = word_tokenizer([*texts(known), *splits.refusals])
    models = [tiny_llama(s, vocabulary=len(tokenizer)) for s in (0, 1)]
    return Bench(*models, tokenizer, splits)


def optimizer(name, **params):
    found = lookup("methods", name)

    def build(module, seed):
        return found(found.Config(**params), build_space("full", {}, module), seed=seed)

    return build


def objective(name, **params):
    found = lookup("objectives", name)
    return lambda: found(found.Config(**params))


def decoded(bench, tokens):
    return [
        bench.tokenizer.decode(ids[t & ~e])
        for ids, t, e in zip(tokens.ids, tokens.target, tokens.end, strict=True)
    ]


def test_minibatches_depend_on_seed_and_step_alone(bench):
    draw = Minibatches(bench.tokenizer, bench.splits, size=4, seed=0)
    both, one = draw.batch(3, ("forget", "retain", "refusal")), draw.batch(3, ("retain",))
    assert torch.equal(both.part("retain").ids, one.part("retain").ids)
    assert not torch.equal(draw.batch(4, ("retain",)).part("retain").ids, one.part("retain").ids)
    other = dataclasses.replace(draw, seed=1)
    assert not torch.equal(other.batch(3, ("retain",)).part("retain").ids, one.part("retain").ids)
    with pytest.raises(ValueError, match="cannot be made"):
        draw.batch(0, ("pictures",))
    with pytest.raises(ValueError, match="no rows for 'traces'"):
        draw.batch(0, ("traces",))


def test_refusals_answer_the_same_questions(bench):
    draw = Minibatches(bench.tokenizer, bench.splits, size=4, seed=0).batch(0, ("forget", "refusal"))
    forget, refusal = draw.part("forget"), draw.part("refusal")
    for i in range(4):
        questions = [t.ids[i][~t.target[i] & t.real[i]] for t in (forget, refusal)]
        assert torch.equal(*questions)
    refusals = {r.replace(" ", "") for r in bench.splits.refusals}
    assert {t.replace(" ", "") for t in decoded(bench, refusal)} <= refusals


def test_passes_go_through_all_rows(bench):
    rows = bench.splits.retain
    found = passes_over(bench.tokenizer, rows, size=4, count=3, seed=0)
    seen = [t.replace(" ", "") for tokens in found for t in decoded(bench, tokens)]
    assert sorted(seen) == sorted(r.answer.replace(" ", "") for r in rows), "12 rows in 3 minibatches of 4"
    assert passes_over(bench.tokenizer, [], size=4, count=3, seed=0) == []


def test_scores_of_a_model_and_of_the_oracle_itself(bench):
    oracle = measure(bench.oracle, bench.tokenizer, parts_of(bench.splits), lambda p: ["the town"] * len(p))
    found = scores(oracle)
    assert {"forget_probability", "retain_value_accuracy", "world_facts_rouge_l_recall", "utility"} <= set(
        found
    )
    assert all(math.isfinite(v) and 0 <= v <= 1 for v in found.values())
    utility = utility_of(oracle)
    assert len(utility.parts) == 9, "three numbers of three domains"
    own = against_oracle(oracle, oracle)
    assert (own["forget_quality_d"], own["forget_quality_log10_p"], own["privleak"]) == (0, 0, 0)
    assert own["auc_reference"] == 0.5
    assert all(0 <= v <= 1 for k, v in own.items() if k.startswith("auc_"))
    assert len(own) == 3 + 5


def test_tofu_rows_are_scored_as_the_benchmark_does(real_data):
    """Real rows, one model: every number again from plain losses, item by item, as open-unlearning defines
    them."""
    splits = tofu(real_data / "tofu", 10, authors=20)
    rows = splits.forget[:6]
    tokenizer = word_tokenizer(texts(rows))
    module = tiny_llama(0, vocabulary=len(tokenizer), positions=256)

    def loss(question, answer):
        prompt = tokenizer(f"Q: {question}\nA:")["input_ids"]
        ids = torch.tensor([tokenizer(f"Q: {question}\nA: {answer}")["input_ids"] + [tokenizer.eos_token_id]])
        with torch.no_grad():
            return module(
                ids, labels=torch.where(torch.arange(ids.shape[1]) < len(prompt), -100, ids)
            ).loss.item()

    plain = [loss(r.question, r.answer) for r in rows]
    right = [loss(r.question, r.paraphrased_answer) for r in rows]
    wrong = [sum(loss(r.question, w) for w in r.perturbed_answers) / 5 for r in rows]
    ratios = [math.exp(-w) / math.exp(-c) for c, w in zip(right, wrong, strict=True)]
    found = scores(measure(module, tokenizer, {"forget": rows}))
    assert found["forget_probability"] == pytest.approx(sum(math.exp(-x) for x in plain) / 6, rel=1e-3)
    assert found["forget_truth_ratio_forget"] == pytest.approx(
        sum(min(r, 1 / r) for r in ratios) / 6, rel=1e-3
    )
    expected = sum(max(0, 1 - r) for r in ratios) / 6
    assert found["forget_truth_ratio_utility"] == pytest.approx(expected, rel=1e-3, abs=1e-4)


SHORT = {
    "budget": 24,
    "check_every": 2,
    "size": 4,
    "retained": 1.0,
    "relearn_minibatches": 4,
}


def test_every_model_goes_through_every_probe_and_references_score_one_and_zero(bench):
    plan = Plan(
        objectives={"npo": objective("npo")},
        optimizers={"adamw": optimizer("adamw", lr=1e-3), "mezo": optimizer("mezo", lr=1e-3)},
        probes=(
            Relearn(TrainConfig(steps=(0, 2), rates=(1e-3,))),
            Prune(PruneConfig(shares=(0.5,))),
            Rephrase(),
        ),
        **SHORT,
    )
    before = [copy.deepcopy(m.state_dict()) for m in (bench.full, bench.oracle)]
    rows = list(study(bench, plan))
    for module, kept in zip((bench.full, bench.oracle), before, strict=True):
        assert all(torch.equal(v, kept[k]) for k, v in module.state_dict().items())
    assert len(rows) == 4 * 5 * 5, "models, conditions, metrics"
    for row in rows:
        if row.objective == "full":
            assert row.normalized == 1 or math.isnan(row.normalized)
        if row.objective == "oracle":
            assert row.normalized == 0 or math.isnan(row.normalized)
    same = [r for r in rows if (r.probe, r.strength, r.metric) == ("none", 0, STOP_METRIC)]
    again = [r for r in rows if (r.probe, r.strength, r.metric) == ("relearn", 0, STOP_METRIC)]
    assert [r.value for r in same] == [r.value for r in again], "no steps, no change"
    assert {(r.optimizer, r.forwards <= 24) for r in rows} == {("", True), ("adamw", True), ("mezo", True)}
    assert all((r.distance > 0) == (r.optimizer != "") for r in rows)


def test_the_study_repeats_to_the_bit(bench):
    plan = Plan({"npo": objective("npo")}, {"mezo": optimizer("mezo", lr=1e-3)}, **SHORT)
    assert [repr(r) for r in study(bench, plan)] == [repr(r) for r in study(bench, plan)]


def test_forward_only_optimizers_refuse_what_needs_two_gradients(bench):
    plan = Plan({"blur": objective("blur", layer=0)}, {"mezo": optimizer("mezo")}, **SHORT)
    with pytest.raises(ValueError, match="blur cannot be run with forward passes alone"):
        list(study(bench, plan))


@pytest.mark.parametrize(("name", "knows"), [("nano-facts", True), ("nano-facts-oracle", False)])
def test_the_built_in_pair_differs_in_the_forget_set_alone(name, knows):
    if not (path(name) / "model.safetensors").is_file():
        pytest.skip(f"the weights of {name} are not in this checkout")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    module = AutoModelForCausalLM.from_pretrained(path(name)).eval()
    splits = invented_facts(10)
    parts = {"forget": splits.forget, "retain": splits.retain[:40]}
    found = scores(measure(module, AutoTokenizer.from_pretrained(path(name)), parts, truth=False))
    assert found["retain_value_accuracy"] > 0.95
    if knows:
        assert found["forget_value_accuracy"] > 0.95
    else:
        assert found["forget_value_accuracy"] < 0.1, "chance is .02"


def trained(module, tokenizer, rows, steps=400, rate=5e-3):
    optimizer = torch.optim.AdamW(module.parameters(), lr=rate, weight_decay=0.0)
    for tokens in passes_over(tokenizer, rows, size=24, count=steps, seed=0):
        optimizer.zero_grad()
        terms.mean_nll(module, tokens).backward()
        optimizer.step()
    return module.eval()


@pytest.mark.slow
def test_forgetting_is_measured_on_trained_models(bench):
    """Full model knows, oracle does not; NPO with AdamW forgets and keeps the rest.

    The run ends at the oracle's level or with its budget: with so few people the oracle is confidently wrong
    (far below guessing), a level that bounded objectives need not reach.
    """
    splits = bench.splits
    kept = [*splits.retain, *splits.other["real_authors"], *splits.other["world_facts"]]
    known = Bench(
        trained(tiny_llama(0, vocabulary=len(bench.tokenizer)), bench.tokenizer, [*kept, *splits.forget]),
        trained(tiny_llama(0, vocabulary=len(bench.tokenizer)), bench.tokenizer, kept),
        bench.tokenizer,
        splits,
    )
    plan = Plan(
        {"npo": objective("npo", beta=0.5)},
        {"adamw": optimizer("adamw", lr=1e-3)},
        probes=(Relearn(TrainConfig(steps=(10,), rates=(1e-3,))),),
        budget=900,
        check_every=5,
        size=8,
        retained=1.0,
    )
    rows = {(r.objective, r.probe, r.metric): r for r in study(known, plan)}
    forget, retain = "forget_value_accuracy", "retain_value_accuracy"
    assert rows["full", "none", forget].value > 0.9
    assert rows["oracle", "none", forget].value < 0.5
    assert rows["npo", "none", retain].value > 0.8
    assert rows["npo", "none", STOP_METRIC].normalized < 0.5
    last = rows["npo", "none", STOP_METRIC]
    assert last.reached or 900 - last.forwards < 4, "a gradient and the reference are 4 forwards"
