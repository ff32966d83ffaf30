"""A few-shot set under a prompt of the suite's own: sampling, scoring, limits on length, errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from zobench.tasks.fewshot import SST2, FewShotConfig
from zobench.tasks.prompted import PromptedConfig, PromptedFewShot

Tiny = Callable[[str], Any]
REVIEW = {"set": "sst2", "template": "Review: {sentence}\nSentiment:", "words": ("bad", "good")}


def _task(**params: Any) -> PromptedFewShot:
    return PromptedFewShot(PromptedConfig(**{**REVIEW, "train": 12, "dev": 4, "test": 6, **params}))


@pytest.fixture(autouse=True)
def _data(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOBENCH_DATA", str(real_data))


def test_examples_are_those_of_the_sets_own_task() -> None:
    own = SST2(FewShotConfig(train=12, dev=4, test=6)).splits(3)
    assert _task().splits(3) == own


def test_one_sequence_per_example_and_the_label_words_logits(tiny: Tiny) -> None:
    lm, task = tiny("opt"), _task(max_words=6)
    rows = task.splits(0).train[:3]
    batch = task.batch(lm, rows)
    assert batch.sequences == 3
    text = task.prompt.context(rows[0])
    assert text == f"Review: {rows[0].text['sentence']}\nSentiment:"
    logits = lm.module(lm.tokenizer(text, return_tensors="pt").input_ids).logits[0, -1]
    words = logits[task._labels(lm)]
    alone = task.loss(lm, lm.module, task.batch(lm, rows[:1]))
    expected = torch.nn.functional.cross_entropy(words[None].float(), torch.tensor([rows[0].label]))
    assert alone.item() == pytest.approx(expected.item(), abs=1e-5)


def test_long_examples_are_left_out_of_every_part() -> None:
    splits = _task(max_words=9).splits(0)
    for part in (splits.train, splits.validation, splits.test):
        assert part
        assert all(len(e.text["sentence"].split()) <= 9 for e in part)
    pairs = {
        "set": "rte-pascal",
        "template": "{premise} Thus {hypothesis}? It is",
        "words": ("true", "false"),
    }
    short = _task(**pairs, max_words=30).splits(0)
    assert all(sum(len(t.split()) for t in e.text.values()) <= 30 for e in short.test)
    with pytest.raises(ValueError, match="no example of 'rte-pascal' has at most 2 words"):
        _task(**pairs, max_words=2).splits(0)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"words": ("bad", "fine", "good")}, r"words: 'sst2' has 2 classes \(terrible, great\), not 3"),
        ({"template": "{text} It was"}, r"template: no field 'text'; the fields of 'sst2' are \{sentence\}"),
        ({"template": "It was"}, r"template: a template needs one; the fields of 'sst2' are \{sentence\}"),
        ({"set": "sst"}, "set must be one of"),
        ({"calibrated": True}, "calibrated prediction needs scoring 'option-likelihood'"),
    ],
)
def test_mistakes_are_named(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        _task(**changes)
