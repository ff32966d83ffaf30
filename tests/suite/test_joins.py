"""A token that spans prompt and label is reported at planning, with template and label."""

from __future__ import annotations

from pathlib import Path

import tokenizers
import transformers

from zobench.spec import Budget, Component, ModelRef, PlannedRun, RunSpec
from zobench.suite.joins import joins, spanned
from zobench.suite.plan import Plan
from zobench.tasks.prompts import Prompt


def _merging() -> transformers.PreTrainedTokenizerFast:
    """Byte pairs without splitting at spaces: ``:`` and the following text are one token."""
    core = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="?"))
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=60, special_tokens=["?"], show_progress=False)
    core.train_from_iterator(["It was:great", "It was: bad"] * 8, trainer)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=core, unk_token="?")


def test_a_label_that_shares_a_token_with_the_template_is_named() -> None:
    tokenizer = _merging()
    assert spanned(tokenizer, Prompt("{text} It was:").tail, "", ("great", "zoo")) == ["great"]
    assert spanned(tokenizer, Prompt("{text}").tail, "", ("great",)) == []


def test_the_built_in_model_has_no_such_join_on_its_tasks() -> None:
    def run(task: str) -> PlannedRun:
        spec = RunSpec(
            model=ModelRef(name="builtin:nano"),
            task=Component(name=task),
            method=Component(name="mezo"),
            seed=0,
            budget=Budget(forwards=2),
        )
        return PlannedRun(row="mezo", spec=spec)

    plan = Plan(suite="s", runs=tuple(map(run, ("nano-sentiment", "nano-topic", "nano-inference"))))
    assert joins(plan) == []


def test_a_sentence_names_model_task_template_and_label(tmp_path: Path) -> None:
    tokenizer = _merging()
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(tmp_path)
    core = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="?"))
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=200, special_tokens=["?"], show_progress=False)
    prompts = ["Sentiment: great", "It was great", "It was terrible"] * 8
    core.train_from_iterator(prompts, trainer)
    transformers.PreTrainedTokenizerFast(tokenizer_object=core, unk_token="?").save_pretrained(tmp_path)
    spec = RunSpec(
        model=ModelRef(name=str(tmp_path)),
        task=Component(name="sst2"),
        method=Component(name="mezo"),
        seed=0,
        budget=Budget(forwards=2),
    )
    told = joins(Plan(suite="s", runs=(PlannedRun(row="mezo", spec=spec),)))
    assert told
    assert all(str(tmp_path) in t and "on sst2" in t and "template" in t and "label" in t for t in told)
