"""Missing question, StressTest, CheckList, option order."""

import dataclasses
import json

import pytest
from attack_fakes import example, predict_with, run

from zobench.attacks.appended import TAUTOLOGIES, CheckList, OptionOrder, OptionOrderConfig, StressTest
from zobench.attacks.base import AttackContext, AttackRecord, Victim
from zobench.attacks.missing_question import MissingQuestion, MissingQuestionConfig, without_question
from zobench.attacks.words import sentences
from zobench.tasks.base import Prediction


@pytest.mark.parametrize(
    ("text", "edited", "case"),
    [
        ("Ann has 3 cats. How many cats does she have?", "Ann has 3 cats.", "question"),
        ("Ann has 3 cats. Calculate their legs.", "Ann has 3 cats.", "no-question-mark"),
        ("Is it so? Ann has 3 cats. How many legs?", "Is it so? Ann has 3 cats.", "several-questions"),
        (
            "Ann sells eggs. If she sells 5 at $2 each, how much does she earn?",
            "Ann sells eggs. If she sells 5 at $2 each.",
            "question+data-kept",
        ),
        ("Ann sells eggs. How much for 5 of them?", "Ann sells eggs.", "question+data-removed"),
        ("Ann sells eggs. Find the price of 5.", "Ann sells eggs.", "no-question-mark+data-removed"),
        ("How many? Ann has 3 cats.", "Ann has 3 cats.", "question"),
    ],
)
def test_three_cases_and_data_in_the_question(text, edited, case):
    draft = without_question(text)
    assert (draft.text.strip(), draft.source) == (edited, case)


def test_data_goes_with_the_question_where_asked():
    text = "Ann sells eggs. If she sells 5 at $2 each, how much does she earn?"
    assert without_question(text, keep_data=False).source == "question+data-removed"
    assert without_question("Only one sentence?") is None
    assert without_question("") is None


def test_missing_question_is_one_query_and_counts_its_case():
    text = "Ann has 3 cats. How many cats does she have?"
    records, victim = run(
        MissingQuestion(),
        [example("a", text), example("b", "What?")],
        lambda e: float("?" in e.text["sentence"]),
    )
    assert [r.outcome for r in records] == ["success", "skipped"]
    assert [r.source for r in records] == ["question", ""]
    assert victim.total == 3


def test_missing_question_never_takes_a_word_of_the_task():
    [record], _ = run(
        MissingQuestion(MissingQuestionConfig()), [example("a", "It ends. Is it great or terrible?")]
    )
    assert record.outcome == "skipped"


def test_case_counts_of_gsm8k(real_data):
    """Of 1,319 test items, 1,259 have exactly one question mark and 60 none."""
    file = real_data / "gsm8k" / "test.jsonl"
    rows = [json.loads(line)["question"] for line in file.read_text().splitlines()]
    drafts = [without_question(r) for r in rows]
    none = [d for d, r in zip(drafts, rows, strict=True) if "?" not in r]
    one = [d for d, r in zip(drafts, rows, strict=True) if r.count("?") == 1]
    assert (len(rows), len(one), len(none)) == (1319, 1259, 60)
    assert {d.source.split("+")[0] for d in none if d} == {"no-question-mark"}
    for draft, row in zip(drafts, rows, strict=True):
        assert draft is not None or len(sentences(row)) == 1
        assert draft is None or draft.text.count("?") == max(0, row.count("?") - 1)


def test_stresstest_appends_its_three_strings():
    [record], victim = run(StressTest(), [example("a", "a moving film")])
    assert victim.total == 4
    assert record.edited == f"a moving film {TAUTOLOGIES[0]}"
    protected = AttackContext(fields=("sentence",), protected=("true",), seed=0)
    victim = Victim(predict_with(lambda e: 0.9), weights_digest="d")
    [record] = StressTest().run(victim, [example("a", "a moving film")], protected)
    assert record.outcome == "skipped"


def test_checklist_edits():
    texts = []
    predict = predict_with(lambda e: 0.9)
    victim = Victim(
        lambda es: texts.extend(e.text["sentence"] for e in es) or predict(es), weights_digest="d"
    )
    CheckList().run(victim, [example("a", "it is not a dull film.")], AttackContext(("sentence",), (), 0))
    assert texts[:3] == ["it is not a dull film.", "it is not a dull film", "it's not a dull film."] or (
        "it isn't a dull film." not in texts and len(texts) >= 5
    )
    assert all(len(t.split()[-1]) == 10 for t in texts[-3:])


def multiple_choice(name, label):
    return dataclasses.replace(example(name, "which one", label), candidates=("one", "two", "three"))


def test_option_order_moves_the_label_with_its_option():
    seen = []

    def predict(examples):
        seen.extend(examples)
        return predict_with(lambda e: 0.9)(examples)

    victim = Victim(predict, weights_digest="d")
    example_ = multiple_choice("a", 1)
    [record] = OptionOrder(OptionOrderConfig(tries=5)).run(
        victim, [example_], AttackContext(("sentence",), (), 0)
    )
    assert (record.queries, len(seen)) == (6, 6)
    assert {e.candidates[e.label] for e in seen} == {"two"}
    assert len({e.candidates for e in seen}) == 6
    assert record.edited == record.original


def test_option_order_finds_a_position_bias_and_its_null_does_not():
    def always_second(examples):
        return [
            dataclasses.replace(p, correct=e.label == 1)
            for p, e in zip(predict_with(lambda e: 0.9)(examples), examples, strict=True)
        ]

    examples = [multiple_choice(str(i), 1) for i in range(5)]
    where = AttackContext(("sentence",), (), 0)
    attack = OptionOrder()
    found = attack.run(Victim(always_second, weights_digest="d"), examples, where)
    null = attack.null().run(Victim(always_second, weights_digest="d"), examples, where)
    assert {r.outcome for r in found} == {"success"}
    assert {r.position for r in found} == {None}, "an order stands nowhere in the text"
    assert {r.outcome for r in null} == {"failure"}
    [record] = attack.run(
        Victim(always_second, weights_digest="d"), [dataclasses.replace(examples[0], candidates=())], where
    )
    assert record.outcome == "skipped"


def test_cases_of_the_missing_question_are_counted_with_what_was_skipped():
    right, skipped = Prediction("a", "", True), AttackRecord(
        "c", "skipped", "q", "x", "x", Prediction("c", "", True), Prediction("c", "", True), 1,
        reason="nothing to edit",
    )  # fmt: skip
    records = [
        AttackRecord("a", "failure", "q", "x", "y", right, right, 2, source="question"),
        AttackRecord("b", "success", "q", "x", "y", right, right, 2, source="question"),
        skipped,
    ]
    found = MissingQuestion(MissingQuestion.Config()).measures(records)
    assert {m.metric: (m.value, m.n) for m in found} == {
        "count:question": (2, 3), "count:nothing to edit": (1, 3)
    }  # fmt: skip
