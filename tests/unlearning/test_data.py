"""Facts: built-in people, TOFU's files, splits by author, variants of the forget set, tokens and scores."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from unlearning_models import tiny_llama
from unlearning_text import texts, word_tokenizer

from zobench.unlearning.data import invented_facts, tofu
from zobench.unlearning.forget_sets import (
    NOISES,
    halves,
    incomplete,
    keyword_coreset,
    noisy,
    random_coreset,
    requests,
)
from zobench.unlearning.metrics.truth_ratio import truth_ratio
from zobench.unlearning.rows import FactRow, row_from_json, tokenize, with_answer
from zobench.unlearning.scoring import score_rows, truth_losses


def authors(rows):
    return {r.author for r in rows}


@pytest.mark.parametrize(("percent", "count"), [(1, 8), (5, 40), (10, 80)])
def test_invented_splits_are_disjoint_and_complete(percent, count):
    splits = invented_facts(percent)
    assert len(splits.forget) == count
    assert len(splits.forget) + len(splits.retain) == 800
    people = [authors(splits.forget), authors(splits.retain), authors(splits.holdout)]
    assert sum(map(len, people)) == len(set.union(*people))
    rows = [*splits.forget, *splits.retain, *splits.holdout]
    assert len({r.id for r in rows}) == len(rows)
    for row in rows:
        assert row.value in row.answer
        assert row.value in row.paraphrased_answer
        assert len(row.perturbed_answers) == 5
        assert all(row.value not in wrong for wrong in row.perturbed_answers)
    assert splits.chance == 0.02
    assert set(splits.other) == {"real_authors", "world_facts"}


def test_forget_sets_are_nested():
    small, large = invented_facts(1).forget, invented_facts(10).forget
    assert small == large[-len(small) :]
    with pytest.raises(ValueError, match="one of 1, 5, 10"):
        invented_facts(3)


@pytest.fixture(scope="module")
def tofu_folder(real_data):
    folder = real_data / "tofu"
    if not folder.is_dir():
        pytest.skip("ZOBENCH_DATA has no folder tofu")
    return folder


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


@pytest.mark.parametrize("percent", [1, 5, 10])
def test_tofu_splits_are_those_of_the_release(tofu_folder, percent):
    splits = tofu(tofu_folder, percent)
    for name, rows in ((f"forget{percent:02d}", splits.forget), (f"retain{100 - percent}", splits.retain)):
        released = [(r["question"], r["answer"]) for r in lines(tofu_folder / f"{name}.json")]
        assert [(r.question, r.answer) for r in rows] == released
    perturbed = lines(tofu_folder / f"forget{percent:02d}_perturbed.json")
    assert [list(r.perturbed_answers) for r in splits.forget] == [p["perturbed_answer"] for p in perturbed]
    assert [r.paraphrased_question for r in splits.forget] == [p["paraphrased_question"] for p in perturbed]
    assert sum(bool(r.perturbed_answers) for r in splits.retain) == 400
    assert (len(splits.other["real_authors"]), len(splits.other["world_facts"])) == (100, 117)
    assert len(splits.refusals) == 100
    assert splits.holdout == ()


def test_tofu_of_twenty_authors_with_a_holdout(tofu_folder):
    splits = tofu(tofu_folder, 10, authors=20, holdout=2)
    assert (len(splits.forget), len(splits.holdout), len(splits.retain)) == (40, 40, 320)
    assert not authors(splits.forget) & authors(splits.retain)
    assert all(r.perturbed_answers for r in splits.retain)
    assert splits.forget == tofu(tofu_folder, 1).forget
    with pytest.raises(ValueError, match="need at least one author"):
        tofu(tofu_folder, 1, authors=20)


def test_missing_tofu_files_and_keys_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"has no file full\.json"):
        tofu(tmp_path)
    with pytest.raises(ValueError, match="no text under 'answer'"):
        row_from_json({"question": "Who?"}, "a", "here")


def test_coresets_are_nested_and_of_the_asked_size():
    rows = invented_facts(10).forget
    one, five, ten = (random_coreset(rows, s, seed=1) for s in (0.01, 0.05, 0.1))
    assert [len(c) for c in (one, five, ten)] == [1, 4, 8]
    assert set(one) < set(five) < set(ten)
    assert random_coreset(rows, 0.1, seed=2) != ten
    chosen = keyword_coreset(rows, ["College", "school"])
    assert chosen
    assert all(
        "college" in f"{r.question} {r.answer}".lower() or "school" in r.question.lower() for r in chosen
    )
    with pytest.raises(ValueError, match="none of 80 facts"):
        keyword_coreset(rows, ["xyzzy"])


@pytest.mark.parametrize("noise", NOISES)
def test_noise_changes_the_asked_share_and_nothing_else(noise):
    rows = invented_facts(10).forget
    changed = noisy(rows, noise, 0.25, seed=0)
    assert [r.id for r in changed] == [r.id for r in rows]
    assert [r.question for r in changed] == [r.question for r in rows]
    assert sum(a.answer != b.answer for a, b in zip(rows, changed, strict=True)) == 20
    assert all(r.value in r.answer for r in changed)


def test_incomplete_answers_lose_the_value_first():
    row = FactRow("a", "Where?", "Ann Lee was born in Norvale.", value="Norvale")
    cut = incomplete(row)
    assert cut.answer == "Ann Lee was"
    assert cut.value == ""


def test_requests_are_disjoint_or_nested_and_by_author():
    rows = invented_facts(10).forget
    apart, nested = requests(rows, 4, nested=False), requests(rows, 4, nested=True)
    assert [r for request in apart for r in request] == list(rows)
    assert nested[-1] == rows
    for small, large in itertools.pairwise(nested):
        assert large[: len(small)] == small
    people = [authors(r) for r in apart]
    assert sum(map(len, people)) == len(set.union(*people)) == 10


@given(st.integers(0, 50))
@settings(max_examples=20, deadline=None)
def test_what_is_relearned_is_never_scored(seed):
    rows = invented_facts(10).forget
    split = halves(rows, seed)
    assert not {r.attribute for r in split.relearn} & {r.attribute for r in split.scored}
    assert len(split.relearn) == len(split.scored) == 40
    assert authors(split.relearn) == authors(split.scored) == authors(rows)


@pytest.fixture(scope="module")
def small():
    rows = invented_facts(1).forget
    tokenizer = word_tokenizer(texts(rows))
    return rows, tokenizer, tiny_llama(0, vocabulary=len(tokenizer))


def test_tokens_mark_answer_end_and_value(small):
    rows, tokenizer, _ = small
    tokens = tokenize(tokenizer, rows)
    for i, row in enumerate(rows):
        ids = tokens.ids[i]
        assert tokenizer.decode(ids[tokens.target[i] & ~tokens.end[i]]).replace(
            " ", ""
        ) == row.answer.replace(" ", "")
        assert tokenizer.decode(ids[tokens.value[i]]).replace(" ", "") == row.value.replace(" ", "")
        assert tokens.end[i].sum() == 1
    assert not (tokens.target & ~tokens.real).any()


def test_prefix_and_context_are_never_scored(small):
    rows, tokenizer, _ = small
    plain = tokenize(tokenizer, rows[:1])
    changed = dataclasses.replace(rows[0], context="Where was ", answer_prefix="was born in")
    longer = tokenize(tokenizer, [changed])
    assert longer.ids.shape[1] == plain.ids.shape[1] + 5
    assert longer.ids[longer.target].tolist() == plain.ids[plain.target].tolist()


def test_scores_are_those_of_a_plain_forward(small):
    rows, tokenizer, module = small
    scores = score_rows(module, tokenizer, rows, batch=3)
    for row, score in zip(rows, scores, strict=True):
        text = f"Q: {row.question}\nA: {row.answer}"
        ids = torch.tensor([tokenizer(text)["input_ids"] + [0]])
        prompt = len(tokenizer(f"Q: {row.question}\nA:")["input_ids"])
        loss = module(ids, labels=torch.where(torch.arange(ids.shape[1]) < prompt, -100, ids)).loss.item()
        assert score.loss == pytest.approx(loss, rel=1e-4)
        assert len(score.log_probs) == ids.shape[1] - prompt
        assert len(score.hits_of()) == len(score.log_probs) - 1
        assert len(score.hits_of("value")) == len(tokenizer(row.value)["input_ids"])
        assert 0 < score.value_probability() < 1
        entropies = [-m for m in score.means]
        assert all(0 < e <= math.log(len(tokenizer)) + 1e-4 for e in entropies)


def test_a_model_that_knows_nothing_has_truth_ratio_near_one(small):
    rows, tokenizer, module = small
    losses = truth_losses(module, tokenizer, rows)
    assert len(losses.correct) == len(rows)
    assert all(len(w) == 5 for w in losses.wrong)
    assert truth_ratio(losses.correct, losses.wrong, "knowledge") == pytest.approx(0.5, abs=0.1)
    by_hand = score_rows(module, tokenizer, [with_answer(rows[0], rows[0].perturbed_answers[2])])[0].loss
    assert losses.wrong[0][2] == pytest.approx(by_hand, rel=1e-4)
    with pytest.raises(ValueError, match="no perturbed answers"):
        truth_losses(module, tokenizer, [FactRow("a", "b", "c")])
