"""OAT-Rephrase as a transform: labels and ids are kept, only accepted texts change, test examples never
do."""

from __future__ import annotations

import pytest

from zobench.data.example import Example, Splits
from zobench.data.rephrase import (
    Rephrased,
    Verdict,
    prompted_judge,
    prompted_rewriter,
    rephrase,
    rephrase_training,
)

ROWS = [
    Example(id=f"r{i}", text={"sentence": text, "other": "x"}, label=i % 2, answer=text[:3], meta={"k": i})
    for i, text in enumerate(["the film was not bad", "utterly dull", "fine"])
]


def upper(row: Example, field: str) -> list[str]:
    return [row.text[field].upper(), row.text[field] + " indeed"]


def accept(row: Example, field: str, proposal: str) -> Verdict:
    return Verdict(True, score=float(len(proposal)), reason="longer is better")


def test_the_best_accepted_proposal_replaces_the_text_and_nothing_else() -> None:
    done = rephrase(ROWS, "sentence", upper, accept)
    for before, after in zip(ROWS, done.rows, strict=True):
        assert after.text == {"sentence": before.text["sentence"] + " indeed", "other": "x"}
        assert (after.id, after.label, after.answer) == (before.id, before.label, before.answer)
        assert after.meta == {**before.meta, "rephrased_from": before.text["sentence"]}
    assert done.share == 1.0
    assert done.calls == 3 * 3
    assert [r.text["sentence"] for r in ROWS] == ["the film was not bad", "utterly dull", "fine"]


def test_the_judge_has_the_last_word() -> None:
    def judge(row: Example, field: str, proposal: str) -> Verdict:
        return Verdict(proposal == "FINE")

    done = rephrase(ROWS, "sentence", upper, judge)
    assert [r.text["sentence"] for r in done.rows] == ["the film was not bad", "utterly dull", "FINE"]
    assert done.rows[0] is ROWS[0]
    assert [c.reason for c in done.changes][:2] == ["nothing accepted"] * 2
    assert done.share == pytest.approx(1 / 3)


def test_empty_equal_and_repeated_proposals_are_not_judged() -> None:
    judged = []

    def judge(row: Example, field: str, proposal: str) -> Verdict:
        judged.append(proposal)
        return Verdict(True)

    rephrase([ROWS[2]], "sentence", lambda row, field: ["", "  ", "fine", "ok", "ok ", " fine "], judge)
    assert judged == ["ok"]


def test_ties_go_to_the_first() -> None:
    done = rephrase([ROWS[2]], "sentence", lambda row, field: ["b", "a"], lambda *_: Verdict(True, 1.0))
    assert done.rows[0].text["sentence"] == "b"


def test_only_training_rows_change() -> None:
    splits = Splits(train=ROWS[:1], validation=ROWS[1:2], test=ROWS[2:], demonstrations=ROWS[:1])
    done = rephrase_training(splits, "sentence", upper, accept)
    assert done.train[0].text["sentence"].endswith("indeed")
    assert (done.validation, done.test, done.demonstrations) == (ROWS[1:2], ROWS[2:], ROWS[:1])
    assert done.digest() != splits.digest()


def test_bad_fields_and_verdicts_are_named() -> None:
    with pytest.raises(ValueError, match="'r0' has no text field 'text'"):
        rephrase(ROWS, "text", upper, accept)
    with pytest.raises(ValueError, match="'r0' it gave True"):
        rephrase(ROWS, "sentence", upper, lambda *_: True)
    with pytest.raises(ValueError, match="score"):
        rephrase(ROWS, "sentence", upper, lambda *_: Verdict(True, float("nan")))
    with pytest.raises(ValueError, match="count"):
        prompted_rewriter(str, count=0)


def test_no_rows() -> None:
    assert rephrase([], "sentence", upper, accept) == Rephrased((), (), 0)
    assert Rephrased((), (), 0).share == 0.0


def test_prompted_rewriter_reads_numbered_lines_and_asks_once() -> None:
    asked = []

    def generate(prompt: str) -> str:
        asked.append(prompt)
        return "Sure!\n1. It was good.\n2) The film pleased me. \n\n3: One more.\n4. Too many."

    rewriter = prompted_rewriter(generate)
    expected = ["It was good.", "The film pleased me.", "One more."]
    assert rewriter(ROWS[0], "sentence") == rewriter(ROWS[0], "sentence") == expected
    assert len(asked) == 1
    assert "the film was not bad" in asked[0]


@pytest.mark.parametrize(
    ("answer", "same", "score"),
    [
        ("yes 4", True, 4.0),
        ("Yes, 5", True, 5.0),
        ("yes", True, 0.0),
        ("No.", False, 0.0),
        ("3", False, 0.0),
        ("yesterday 3", False, 0.0),
    ],
)
def test_prompted_judge_reads_its_answer(answer: str, same: bool, score: float) -> None:
    verdict = prompted_judge(lambda prompt: answer)(ROWS[0], "sentence", "a good film")
    assert (verdict.same, verdict.score, verdict.reason) == (same, score, answer)


def test_prompted_pair_end_to_end() -> None:
    def generate(prompt: str) -> str:
        if prompt.startswith("Rewrite"):
            return "1. it was good\n2. it was bad"
        return "yes 3" if "Second: it was good" in prompt else "no"

    done = rephrase(ROWS[:1], "sentence", prompted_rewriter(generate), prompted_judge(generate))
    assert done.rows[0].text["sentence"] == "it was good"
