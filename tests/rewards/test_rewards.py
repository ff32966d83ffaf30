"""Scores of the built-in rewards, computed by hand, and failed scores."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from zobench.data.example import Example
from zobench.parameters import Parameters, configure
from zobench.plugins import lookup
from zobench.rewards.base import Answered, Reward
from zobench.rewards.catalogue import REWARDS

PUZZLE = Example("p", {"question": "?"}, answer="18", meta={"numbers": (3, 5, 7), "target": 22})


def scored(name: str, answer: str, prompt: str = "Q: ?\nA:", **params: object) -> float:
    found = lookup("rewards", name)
    reward = found(configure(found.Config, params))
    (score,) = reward.scores([Answered(prompt, answer, PUZZLE)])
    assert not score.failure
    return score.value


@pytest.mark.parametrize(
    ("name", "answer", "value"),
    [
        ("exact", " 18 ", 1.0),
        ("exact", "18.0", 0.0),
        ("number", "so 36/2", 1.0),
        ("number", "17", 0.0),
        ("math", r"\boxed{18}", 1.0),
        ("countdown", " 3 * 5 + 7", 1.1),
        ("countdown", " 3 * 5 + 7 = 22\nQ:", 1.1),
        ("countdown", " 3 * 7 + 1", 0.1),
        ("countdown", " it is 22", 0.0),
        ("format", "<think>a</think>\n<answer>b</answer>", 1.0),
        ("format", "<think>a</think> <answer>b</answer>", 0.6),
        ("format", "<answer>b</answer>", 0.5),
        ("format", "b", 0.0),
    ],
)
def test_scores(name: str, answer: str, value: float) -> None:
    assert scored(name, answer) == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize(
    ("answer", "prompt", "value"),
    [
        ("<think>try</think>\n<answer>3 * 5 + 7</answer>", "", 1.1),
        ("try</think>\n<answer>3 * 5 + 7</answer>", "Solve it. <think>", 1.1),
        ("<answer>3 * 5 + 7</answer>", "", 1.05),
        ("<think>try</think>\n<answer>7 + 5 + 5 + 5</answer>", "", 0.1),
        ("<answer>1</answer><answer>\n3 * 5 + 7\n</answer>", "", 1.05),
        ("3 * 5 + 7", "", 0.0),
    ],
)
def test_countdown_in_blocks(answer: str, prompt: str, value: float) -> None:
    assert scored("countdown", answer, prompt, form="tags") == pytest.approx(value, abs=1e-12)


def test_length_costs_a_share_of_a_right_answer() -> None:
    at = {"match": "number", "free": 2, "limit": 4, "penalty": 0.5}
    assert scored("short-match", "is 18", **at) == 1.0
    assert scored("short-match", "I say it is 18", **at) == 1.0 - 0.5 * 3 / 4
    assert scored("short-match", "a b c d e f g h i 18", **at) == 0.5
    assert scored("short-match", "17", **at) == 0.0


def test_a_pattern_must_match_the_whole_answer() -> None:
    assert scored("format", "ok 12", pattern=r"ok \d+") == 1.0
    assert scored("format", "ok 12!", pattern=r"ok \d+") == 0.0
    with pytest.raises(ValueError, match="not a regular expression"):
        configure(lookup("rewards", "format").Config, {"pattern": "("})


@dataclass(frozen=True)
class _Nothing(Parameters):
    """No parameters."""


class _Given(Reward):
    Config: ClassVar[type] = _Nothing

    def score(self, one: Answered) -> float:
        return eval(one.answer)


def test_failed_scores_count_zero() -> None:
    answers = ["0.5", "1 / 0", "float('nan')", "float('inf')", "'text'", "None", "True"]
    found = _Given(_Nothing()).scores([Answered("", a, PUZZLE) for a in answers])
    assert [s.value for s in found] == [0.5, 0, 0, 0, 0, 0, 1.0]
    assert [bool(s.failure) for s in found] == [False, True, True, True, True, True, False]


def test_every_reward_has_parameters_with_a_description() -> None:
    for name in REWARDS:
        assert lookup("rewards", name).__doc__, name


def test_a_judge_gives_the_probability_of_yes_and_counts_what_it_reads() -> None:
    found = lookup("rewards", "judge")
    config = configure(
        found.Config, {"model": "builtin:nano", "template": "Q: {prompt}\nA: {answer}", "batch": 2}
    )
    judge = found(config)
    asked = [Answered("{answer} is odd", a, PUZZLE) for a in ("3", "4", "{gold}")]
    scores = judge.scores(asked)
    assert all(0 <= s.value <= 1 for s in scores)
    lm = judge.lm
    texts = [f"Q: {{answer}} is odd\nA: {a}" for a in ("3", "4", "{gold}")]
    assert [judge.question(one) for one in asked] == texts
    ids = [lm.tokenizer(text)["input_ids"] for text in texts]
    assert judge.tokens_read == sum(map(len, ids))
    logits = lm.module(torch.tensor([ids[0]])).logits[0, -1].double().detach()
    yes, no = (lm.tokenizer(word)["input_ids"][0] for word in (" yes", " no"))
    expected = math.exp(logits[yes]) / (math.exp(logits[yes]) + math.exp(logits[no]))
    assert scores[0].value == pytest.approx(expected, rel=1e-5)
    assert judge.digests() == {"judge": lm.identity.digest}


def test_a_classifier_gives_the_probability_of_its_label(tmp_path: Path) -> None:
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    from zobench.models.nano import path

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(path("nano"))
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    names = {"id2label": {0: "bad", 1: "good"}, "label2id": {"bad": 0, "good": 1}}
    config = BertConfig(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **sizes, **names)
    model = BertForSequenceClassification(config).eval()
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    found = lookup("rewards", "classifier")
    reward = found(configure(found.Config, {"model": str(tmp_path), "label": "good"}))
    answers = ["Tom has 12 pens.", "3"]
    scores = reward.scores([Answered("Q", a, PUZZLE) for a in answers])
    for answer, score in zip(answers, scores, strict=True):
        ids = tokenizer(answer, return_tensors="pt")["input_ids"]
        assert score.value == pytest.approx(
            float(model(input_ids=ids).logits.softmax(1)[0, 1].detach()), rel=1e-5
        )
    assert set(reward.digests()) == {"judge"}
    wrong = found(configure(found.Config, {"model": str(tmp_path), "label": "best"}))
    with pytest.raises(ValueError, match="no label 'best'"):
        wrong.scores([Answered("Q", "a", PUZZLE)])
