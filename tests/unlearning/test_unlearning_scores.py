"""Minibatches and scores of a model on splits, on random models and on the built-in pair."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn
from unlearning_models import tiny_llama
from unlearning_text import texts, word_tokenizer

from zobench.models.nano import path
from zobench.unlearning.data import FactSplits, invented_facts, tofu
from zobench.unlearning.evaluate import against_oracle, measure, scores, utility_of
from zobench.unlearning.forget_sets import by_author
from zobench.unlearning.minibatches import Minibatches, passes_over


class Bench(NamedTuple):
    """A model, an oracle and what they are scored on."""

    full: nn.Module
    oracle: nn.Module
    tokenizer: Any
    splits: FactSplits


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
    with pytest.raises(ValueError, match="no examples for 'traces'"):
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
    splits = bench.splits
    parts = {"forget": splits.forget, "retain": splits.retain, "holdout": splits.holdout, **splits.other}
    oracle = measure(bench.oracle, bench.tokenizer, parts, lambda p: ["the town"] * len(p))
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
