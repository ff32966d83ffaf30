"""Probes of the question: the edited question asks for the same fact, and edits come only from the documented
sources."""

from __future__ import annotations

import dataclasses

import pytest
from unlearning_models import tiny_llama
from unlearning_text import texts, word_tokenizer

from zobench.attacks.words import changed_words
from zobench.unlearning.data import invented_facts
from zobench.unlearning.probes.inputs import InputMaterial
from zobench.unlearning.probes.questions import (
    MscrConfig,
    MscrEdits,
    OptionOrderProbe,
    OptionOrderProbeConfig,
)


@pytest.fixture(scope="module")
def facts():
    return invented_facts(10).forget[:12]


@pytest.fixture(scope="module")
def material(facts):
    tokenizer = word_tokenizer(texts(facts))
    return InputMaterial(
        seed=3, original=tiny_llama(0, vocabulary=len(tokenizer), positions=256), tokenizer=tokenizer
    )


def test_options_hold_the_right_answer_at_the_asked_place_and_nothing_else_changes(facts, material):
    probe = OptionOrderProbe(OptionOrderProbeConfig(places=(0, 2, -1)))
    for setting, at in zip(probe.settings(), (0, 2, 5), strict=True):
        changed = probe.rows_at(setting, facts, material)
        for row, before in zip(changed, facts, strict=True):
            right = before.paraphrased_answer
            assert row.options[at] == right
            assert sorted(row.options) == sorted((right, *before.perturbed_answers))
            assert dataclasses.replace(row, options=()) == before
            assert all(o.rstrip(".") in row.prompt() for o in row.options)
        assert probe.rows_at(setting, changed, material) == changed, "idempotent"
    first, last = (probe.rows_at(s, facts, material)[0].options for s in probe.settings()[::2])
    assert first[1:] == last[:-1], "wrong options keep their order"
    assert first != OptionOrderProbe().rows(facts, InputMaterial(seed=4))[0].options


def test_options_need_wrong_answers_and_a_place(facts, material):
    plain = [dataclasses.replace(facts[0], perturbed_answers=())]
    assert not OptionOrderProbe().takes(plain[0])
    with pytest.raises(ValueError, match="no perturbed answers"):
        OptionOrderProbe().rows(plain, material)
    with pytest.raises(ValueError, match="6 options, so it has no place 6"):
        OptionOrderProbe(OptionOrderProbeConfig(places=(6,))).rows(facts, material)
    with pytest.raises(ValueError, match="different"):
        OptionOrderProbeConfig(places=(1, 1))


@pytest.mark.wordnet
def test_mscr_edits_words_of_the_question_but_never_the_name(facts, material):
    probe = MscrEdits(MscrConfig(words=2, draws=3, sources=("embedding", "wordnet")))
    seen = set()
    for setting in probe.settings():
        changed = probe.rows_at(setting, facts, material)
        assert changed == probe.rows_at(setting, facts, material), "a function of seed and row"
        for row, before in zip(changed, facts, strict=True):
            assert dataclasses.replace(row, question=before.question) == before
            assert changed_words(before.question, row.question) <= 2
            names = [w for w in before.question.split()[1:] if w[0].isupper()]
            assert all(n in row.question for n in names)
        seen.add(tuple(r.question for r in changed))
        assert sum(r.question != b.question for r, b in zip(changed, facts, strict=True)) > len(facts) / 2
    assert len(seen) == 3, "draws differ"


@pytest.mark.wordnet
def test_mscr_takes_candidates_from_the_named_sources_alone(facts, material):
    from zobench.attacks.wordnet import synonyms

    row = dataclasses.replace(facts[0], question="Which animal does the writer keep?")
    probe = MscrEdits(MscrConfig(draws=8, sources=("wordnet",)))
    for setting in probe.settings():
        edited = probe.rows_at(setting, [row], material)[0].question
        new = [(b, a) for b, a in zip(row.question.split(), edited.split(), strict=True) if a != b]
        assert len(new) == 1
        word, chosen = (w.strip("?").lower() for w in new[0])
        assert chosen in {s.lower() for s in synonyms(word)}


def test_mscr_says_what_it_lacks(facts):
    with pytest.raises(ValueError, match="the model before unlearning"):
        MscrEdits().rows(facts, InputMaterial())
    with pytest.raises(ValueError, match=r"sources must be a non-empty list .one of 'embedding', 'wordnet'"):
        MscrConfig(sources=("thesaurus",))
    with pytest.raises(ValueError, match=r"protect must be a list .one of 'numerals'"):
        MscrConfig(protect=("nouns",))
