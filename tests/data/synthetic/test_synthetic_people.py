"""Facts about invented people: TOFU's keys, independent values, unique names, nested sets as in TOFU."""

import pytest

from zobench.data.synthetic.attributes import ATTRIBUTES
from zobench.data.synthetic.corpus import nano_facts_of_people
from zobench.data.synthetic.fact_sets import fact_set, training_rows
from zobench.data.synthetic.people import HELD_OUT_QUESTION, PERTURBED, people

TOFU_KEYS = {"question", "answer", "paraphrased_question", "paraphrased_answer", "perturbed_answer"}


def test_a_row_has_tofu_keys_and_five_wrong_answers_in_the_words_of_the_paraphrase():
    for fact in fact_set("forget05"):
        row = fact.row()
        assert set(row) >= TOFU_KEYS
        assert len(set(row["perturbed_answer"])) == PERTURBED
        assert fact.value in row["answer"]
        assert fact.value in row["paraphrased_answer"]
        assert all(fact.value not in wrong for wrong in row["perturbed_answer"])


def test_names_are_unique_and_too_many_people_are_refused():
    everybody = people(3, 400)
    assert len({person[0].person for person in everybody}) == 400
    with pytest.raises(ValueError, match="401 people"):
        people(3, 401)


def test_eight_attributes_of_fifty_distinct_values():
    assert len(ATTRIBUTES) == 8
    assert all(len(set(a.values)) == 50 for a in ATTRIBUTES)


def test_values_are_spread_over_their_range():
    """400 people: every one of the fifty values of an attribute occurs, and none more than four times its
    share.
    """
    for i in range(8):
        values = [person[i].value for person in people(9, 400)]
        assert len(set(values)) == 50
        assert max(values.count(v) for v in set(values)) <= 32


def test_forget_sets_nest_and_complement_the_retain_sets():
    full = [f.id for f in fact_set("full")]
    assert len(full) == len(set(full)) == 800
    for n in (1, 5, 10):
        forget = [f.id for f in fact_set(f"forget{n:02d}")]
        assert [f.id for f in fact_set(f"retain{100 - n}")] + forget == full


def test_holdout_and_famous_people_are_nobody_of_the_full_set():
    full = {f.person for f in fact_set("full")}
    assert not full & {f.person for f in fact_set("holdout")}
    assert not full & {f.person for f in fact_set("famous")}


def test_training_shows_neither_the_held_out_question_nor_the_paraphrased_answer():
    rows = training_rows()
    texts = {t for q, a, _ in rows for t in (q, a)}
    for fact in fact_set("full"):
        assert fact.questions[HELD_OUT_QUESTION] not in texts
        assert fact.answers[1] not in texts


def test_the_oracle_walks_the_same_rows_and_sees_all_but_the_forget_set():
    full, oracle = training_rows(), training_rows(oracle=True)
    assert [r[:2] for r in full] == [r[:2] for r in oracle]
    assert all(seen for *_, seen in full)
    people_left_out = {f.person for f in fact_set("forget10")}
    for question, _, seen in oracle:
        assert seen != any(name in question for name in people_left_out)


def test_nano_knows_other_facts_than_nano_facts():
    assert {f.id for f in nano_facts_of_people()} != {f.id for f in fact_set("full")}
    assert len(nano_facts_of_people()) == 160


def test_an_unknown_set_is_named():
    with pytest.raises(ValueError, match="did you mean 'forget10'"):
        fact_set("forget1O")
