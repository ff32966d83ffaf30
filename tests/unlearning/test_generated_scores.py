"""Scores of generated answers and of value tokens, from answers and hits written by hand; MUSE's criteria as
metrics of a run."""

from __future__ import annotations

import pytest
from unlearning_text import word_tokenizer

from zobench.unlearning.evaluate import MeasuredFacts, PartScores, scores
from zobench.unlearning.metrics.overlap import halved, states
from zobench.unlearning.rows import FactRow, tail_tokens
from zobench.unlearning.scoring import ItemScore


def item(hits, value):
    n = len(hits)
    return ItemScore(
        log_probs=(-1.0,) * n,
        hits=tuple(map(bool, hits)),
        means=(0.0,) * n,
        variances=(1.0,) * n,
        end=(False,) * (n - 1) + (True,),
        value=tuple(map(bool, value)),
    )


def row(name, answer, value):
    return FactRow(id=name, question="?", answer=answer, value=value)


ROWS = (row("a", "Rosa lives in old Tarn", "old Tarn"), row("b", "Egon lives in new Pell", "new Pell"))
ITEMS = (
    item((0, 1, 1, 0, 1, 1), (0, 0, 0, 1, 1, 0)),
    item((1, 1, 1, 1, 1, 0), (0, 0, 0, 1, 1, 0)),
)


def test_value_tokens_alone_and_the_last_words():
    found = scores(MeasuredFacts({"forget": PartScores(ROWS, ITEMS, tails=(2, 2))}))
    assert found["forget_exact_memorization"] == pytest.approx((3 / 5 + 1) / 2)
    assert found["forget_value_exact_memorization"] == pytest.approx((1 / 2 + 1) / 2), "template left out"
    assert found["forget_value_extraction_strength"] == pytest.approx((1 / 2 + 1) / 2)
    assert found["forget_value_accuracy"] == 0.5
    assert found["forget_last_2_words"] == 0.5, "the first row misses the last word but one"
    one = scores(MeasuredFacts({"forget": PartScores(ROWS, ITEMS, tails=(1, 1))}))
    assert one["forget_last_2_words"] == 1.0, "tails say how many tokens count"


def test_tokens_of_the_last_words():
    tokenizer = word_tokenizer(["A : Rosa lives in old Tarn - upon - Sea"])
    answers = ("Rosa lives in Tarn", "Rosa", "lives in Tarn-upon-Sea")
    assert tail_tokens(tokenizer, answers, 2) == (2, 1, 6)


def test_open_questions_knowmem_and_verbmem_by_hand():
    texts = ("Rosa lives in Tarn", "egon LIVES in new pell.")
    continued = ("in old Tarn", "new Pell")
    found = scores(MeasuredFacts({"forget": PartScores(ROWS, ITEMS, texts=texts, continued=continued)}))
    assert found["forget_open_accuracy"] == 0.5, "a value half said is not said"
    assert found["forget_rouge_l_recall"] == pytest.approx((4 / 5 + 1) / 2)
    precision, recall = 4 / 4, 4 / 5
    assert found["forget_knowmem"] == pytest.approx((2 * precision * recall / (precision + recall) + 1) / 2)
    second = 2 * (2 / 3) * 1 / (2 / 3 + 1)
    assert halved(ROWS[0].answer) == ("Rosa lives in", "old Tarn")
    assert found["forget_verbmem"] == pytest.approx((second + 1) / 2)
    silent = PartScores(ROWS[:1], ITEMS[:1], texts=("",), continued=("",))
    assert scores(MeasuredFacts({"forget": silent}))["forget_knowmem"] == 0


def test_an_answer_of_one_word_has_no_second_half():
    one = (row("c", "Tarn", "Tarn"),)
    found = scores(MeasuredFacts({"forget": PartScores(one, ITEMS[1:], texts=("Tarn",), continued=("x",))}))
    assert "forget_verbmem" not in found
    assert found["forget_open_accuracy"] == 1


@pytest.mark.parametrize(
    ("answer", "fact", "said"),
    [
        ("She was born in Old Tarn, I think.", "old tarn", True),
        ("Tarn the Old", "old Tarn", False),
        ("Oldtarn", "old tarn", False),
        ("anything", "", False),
        ("", "Tarn", False),
    ],
)
def test_whether_an_answer_states_a_fact(answer, fact, said):
    assert states(answer, fact) is said
