"""Scores of encoder-decoder models and of trained heads, against the library's own loss, generation and
pipeline."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from zobench.data.example import Example
from zobench.models import load
from zobench.spec import ModelRef
from zobench.tasks.classification import PromptedClassification
from zobench.tasks.generation import GenerationTask
from zobench.tasks.prompts import Prompt

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))

from tiny_models import save_tiny

WORDS = ("terrible indeed", "great", "so so")
ROWS = [
    Example(
        str(i), {"text": "the film was " + "good and " * (i % 4) + f"n {i}"}, label=i % 3, answer=WORDS[i % 3]
    )
    for i in range(6)
]


class Fixed(PromptedClassification):
    def splits(self, seed: int) -> Any:
        raise NotImplementedError


class Written(GenerationTask):
    def splits(self, seed: int) -> Any:
        raise NotImplementedError


def classes(**settings: Any) -> PromptedClassification:
    return Fixed(None, prompt=Prompt("{text} It was", WORDS), **settings)


@pytest.mark.parametrize("family", ["t5", "bart"])
@pytest.mark.parametrize("rows", ["padded", "equal"])
def test_options_have_the_likelihood_that_the_library_gives_them(
    tiny: Callable[[str], Any], family: str, rows: Any
) -> None:
    plain = tiny(family)
    lm = dataclasses.replace(plain, way=dataclasses.replace(plain.way, rows=rows))
    task = classes(scoring="option-likelihood", normalized=False)
    batch = task.scored_batch(lm, ROWS)
    expected = []
    for example in ROWS:
        given = lm.tokenizer(f"{example.text['text']} It was", return_tensors="pt")
        for word in WORDS:
            labels = lm.tokenizer(text_target=word, return_tensors="pt")["input_ids"]
            with torch.no_grad():
                logits = lm.module(**given, labels=labels).logits.log_softmax(-1)
            chosen = logits[0].gather(1, labels[0][:, None])[:, 0]
            first, behind = (1, 1) if family == "bart" else (0, 1)
            expected.append(float(chosen[first : len(chosen) - behind].sum()))
    wanted = torch.tensor(expected).view(-1, 3)
    predicted = torch.tensor([p.log_probs for p in task.predict(lm, ROWS)])
    torch.testing.assert_close(predicted, wanted.log_softmax(1), atol=1e-4, rtol=0)
    lengths = batch.inputs["lengths"].view(-1, 3)
    loss = torch.nn.functional.cross_entropy(wanted / lengths, torch.tensor([e.label for e in ROWS]))
    with torch.no_grad():
        torch.testing.assert_close(task.loss(lm, lm.module, batch), loss, atol=1e-4, rtol=0)
        torch.testing.assert_close(task.item_losses(lm, lm.module, batch).mean(), loss, atol=1e-4, rtol=0)


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_answers_are_those_of_the_library(tiny: Callable[[str], Any], family: str) -> None:
    lm = tiny(family)
    task = Written(None, prompt=Prompt("{text} It was"), max_new_tokens=6)
    given = [f"{e.text['text']} It was" for e in ROWS]
    rows = lm.tokenizer(given, return_tensors="pt", padding=True)
    start = [lm.module.config.decoder_start_token_id, *([0] if family == "bart" else [])]
    theirs = lm.module.generate(
        **rows,
        decoder_input_ids=torch.tensor([start] * len(ROWS)),
        max_new_tokens=6,
        do_sample=False,
        num_beams=1,
        forced_bos_token_id=None,
        forced_eos_token_id=None,
    )
    texts = lm.tokenizer.batch_decode(theirs, skip_special_tokens=True)
    assert [p.raw for p in task.predict(lm, ROWS)] == texts
    labels = lm.tokenizer(text_target=[str(e.answer) for e in ROWS], return_tensors="pt", padding=True)[
        "input_ids"
    ]
    scored = labels.clone()
    scored[scored == lm.tokenizer.pad_token_id] = -100
    if family == "bart":
        scored[:, 0] = -100
    decoder = torch.cat([torch.full((len(ROWS), 1), start[0]), labels[:, :-1]], 1)
    with torch.no_grad():
        wanted = lm.module(**rows, labels=scored, decoder_input_ids=decoder).loss
        ours = task.loss(lm, lm.module, task.batch(lm, ROWS))
    torch.testing.assert_close(ours, wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", ["bert-classifier", "llama-classifier", "gpt2-classifier"])
@pytest.mark.parametrize("padding", ["both", "tokenizer", "other", "neither"])
def test_a_trained_head_is_read_at_the_last_real_token(tmp_path: Path, family: str, padding: str) -> None:
    """The configuration's padding token decides, whatever the tokenizer's is."""
    labels = {0: "so so", 1: "GREAT", 2: "terrible indeed"}
    settings: dict[str, Any] = {"id2label": labels}
    if padding != "both" and family != "bert-classifier":
        settings["pad_token_id"] = {"tokenizer": None, "other": 3, "neither": None}[padding]
    folder = save_tiny(family, tmp_path, **settings)
    if padding == "neither" and family != "bert-classifier":
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        tokenizer.pad_token = None
        tokenizer.save_pretrained(folder)
    lm = load(ModelRef(name=str(folder)))
    assert lm.architecture == "classifier"
    alone = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    wanted = []
    for example in ROWS:
        with torch.no_grad():
            logits = alone(**lm.tokenizer(example.text["text"], return_tensors="pt")).logits[0]
        wanted.append(logits[[2, 1, 0]].log_softmax(0))
    predicted = torch.tensor([p.log_probs for p in classes().predict(lm, ROWS)])
    torch.testing.assert_close(predicted, torch.stack(wanted), atol=1e-4, rtol=0)
    assert lm.way.rows == "padded"
