"""Special tokens added by tokenizers are never scored and never end a prompt; token types of pairs reach
encoders."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tiny_models import byte_tokenizer, word_tokenizer
from tokenizers.processors import TemplateProcessing

from zobench.data.example import Example, Splits
from zobench.models.encoding import closing, encode_prompts, trims_more
from zobench.tasks import encoding
from zobench.tasks.classification import PromptedClassification
from zobench.tasks.encoder import encoder_rows, encoder_scores
from zobench.tasks.prompts import Prompt
from zobench.unlearning.rows import FactRow, tokenize

Tiny = Callable[[str], Any]


def test_what_a_tokenizer_writes_behind_a_text_is_no_part_of_a_prompt() -> None:
    """``[CLS] x [SEP]`` without an end token: ``[SEP]`` was the scored token of every option."""
    tokenizer = word_tokenizer()
    assert tokenizer.eos_token_id is None
    assert closing(tokenizer) == [tokenizer.sep_token_id]
    assert trims_more(tokenizer)
    assert not trims_more(byte_tokenizer())
    plain = tokenizer("the film was great", add_special_tokens=False)["input_ids"]
    assert encode_prompts(tokenizer, ["the film was great", ""]) == [
        [tokenizer.cls_token_id, *plain],
        [tokenizer.cls_token_id],
    ]
    assert closing(byte_tokenizer()) == closing(byte_tokenizer(bos=False)) == []


def test_an_end_token_that_stands_in_the_text_itself_stays() -> None:
    tokenizer = byte_tokenizer()
    ids = encode_prompts(tokenizer, ["It was</s>"])[0]
    assert ids[-1] == tokenizer.eos_token_id
    ending = byte_tokenizer()
    ending.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    assert encode_prompts(ending, ["It was"])[0] == ids[:-1]


def test_options_and_answers_are_scored_without_the_separator(tiny: Tiny) -> None:
    lm = dataclasses.replace(tiny("bert-masked"), architecture="causal")
    rows = encoding.option_rows(lm, ["the film was"] * 2, ["the film was great", "the film was terrible"])
    words = lm.tokenizer("great terrible", add_special_tokens=False)["input_ids"]
    assert [r.ids[-r.option :] for r in rows] == [[w] for w in words]
    fact = FactRow(id="a", question="the film was", answer="great")
    tokens = tokenize(lm.tokenizer, [fact], layout="{question}")
    assert tokens.ids[tokens.target].tolist() == [words[0]]


def test_a_prompt_that_is_empty_is_one_token_before_the_option_too() -> None:
    """Without a beginning token, an option of two tokens behind an empty prompt was scored by its second."""
    tokenizer = byte_tokenizer(bos=False)
    lm: Any = type("Stub", (), {"tokenizer": tokenizer, "max_length": 64, "chat": None})()
    (row,) = encoding.option_rows(lm, [""], [" great okay"])
    plain = tokenizer(" great okay")["input_ids"]
    assert len(plain) >= 2
    assert row.ids == [tokenizer.bos_token_id, *plain]
    assert row.option == len(plain)


def _pairs(tiny: Tiny) -> Any:
    lm = tiny("bert-encoder")
    tokenizer = word_tokenizer()
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    return dataclasses.replace(lm, tokenizer=tokenizer)


@torch.inference_mode()
def test_an_encoder_reads_which_text_of_a_pair_a_token_belongs_to(tiny: Tiny) -> None:
    lm = _pairs(tiny)
    texts = [("the film was great", "It was bad"), ("okay", "the story was terrible and bad")]
    examples = [Example(id=a, text={"a": a, "b": b}, label=0) for a, b in texts]
    rows = encoder_rows(lm, examples, ["a", "b"])
    assert lm.way.token_types
    found = encoder_scores(lm.module, {"padded": encoding.padded(lm, rows), "classes": 3})
    for scores, (a, b) in zip(found, texts, strict=True):
        given = lm.tokenizer(a, b, return_tensors="pt")
        assert given["token_type_ids"].sum() > 0
        hidden = lm.module.encoder(**given).last_hidden_state.mean(1)
        torch.testing.assert_close(scores, lm.module.head(hidden)[0, :3], atol=2e-5, rtol=0)
        without = lm.module.encoder(given["input_ids"]).last_hidden_state.mean(1)
        assert (hidden - without).abs().max() > 0.05


@pytest.mark.parametrize(("template", "revision"), [("{a} {b}", 2), ("{a}", 1)])
def test_only_pairs_of_an_encoder_are_scored_by_another_revision(
    tiny: Tiny, template: str, revision: int
) -> None:
    class Fixed(PromptedClassification):
        def splits(self, seed: int) -> Splits:
            return Splits([], [], [])

    task = Fixed(None, prompt=Prompt(template, ("bad", "great")))
    assert task.revision(_pairs(tiny)) == revision
    assert task.revision(tiny("llama")) == 1
