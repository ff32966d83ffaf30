"""Greedy generation: equal to that of transformers for every batch, and ending at the right token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from zobench.models import load
from zobench.models.generation import generate
from zobench.spec import ModelRef

Folder = Callable[[str], Path]
PROMPTS = ["the film was", "It", "Question: How many apples does Ann have? Answer:", "", "premise and"]


@pytest.mark.parametrize("family", ["llama", "gpt2", "opt"])
def test_batched_generation_is_what_the_library_generates_alone(tiny_folder: Folder, family: str) -> None:
    lm = load(ModelRef(name=str(tiny_folder(family))))
    expected = []
    for prompt in PROMPTS:
        ids = torch.tensor([lm.tokenizer(prompt)["input_ids"]])
        out = lm.module.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False, pad_token_id=2
        )
        expected.append(lm.tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True))
    assert lm.generate(PROMPTS, max_new_tokens=12) == expected
    assert len(set(expected)) > 1


def test_rows_that_end_early_leave_the_others_unchanged(tiny_folder: Folder) -> None:
    lm = load(ModelRef(name=str(tiny_folder("llama"))))
    free = lm.generate(PROMPTS, max_new_tokens=16)
    stop = free[0][3]
    cut = lm.generate(PROMPTS, max_new_tokens=16, stop=[stop])
    assert cut == [text.split(stop)[0] for text in free]
    assert cut[0] == free[0][:3].split(stop)[0]


@pytest.mark.parametrize("stop", ["<|im_end|>", "<|im_end|>\nQ", "8<|im_end|>"])
def test_a_stop_string_may_hold_a_special_token_that_is_not_the_end_token(
    tiny_folder: Folder, stop: str
) -> None:
    lm = load(ModelRef(name=str(tiny_folder("llama"))))
    lm.tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_end|>"]})
    lm.module.resize_token_embeddings(len(lm.tokenizer))
    script = lm.tokenizer(" 18<|im_end|>\nQ: more 25", add_special_tokens=False)["input_ids"]
    steps = iter(script)

    def scripted(logits: torch.Tensor, rows: Sequence[int]) -> torch.Tensor:
        return torch.tensor([next(steps)])

    answer = generate(lm, ["It was"], max_new_tokens=len(script), stop=[stop], choose=scripted)[0]
    assert answer.strip() == ("1" if stop.startswith("8") else "18")


def test_end_of_text_ends_a_row(tiny_folder: Folder) -> None:
    lm = load(ModelRef(name=str(tiny_folder("gpt2"))))
    prompt = torch.tensor([lm.tokenizer("It")["input_ids"]])
    out = lm.module.generate(
        prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=10, do_sample=False
    )
    ids = out[0, prompt.shape[1] :].tolist()
    first = ids.index(ids[2])
    lm.module.generation_config.eos_token_id = [ids[2]]
    assert lm.generate(["It"], max_new_tokens=10) == [lm.tokenizer.decode(ids[:first])]


def test_long_prompts_lose_their_left_and_generation_still_fits(tiny_folder: Folder) -> None:
    lm = load(ModelRef(name=str(tiny_folder("opt"))))
    long = "It was great and terrible. " * 60
    assert lm.generate([long + "It was"], max_new_tokens=8) == lm.generate(
        ["bad " * 300 + long + "It was"], max_new_tokens=8
    )
    with pytest.raises(ValueError, match="max_new_tokens"):
        lm.generate(["It"], max_new_tokens=128)


def test_only_causal_models_generate(tiny_folder: Folder) -> None:
    lm = load(ModelRef(name=str(tiny_folder("bert-masked"))))
    with pytest.raises(ValueError, match="only causal and encoder-decoder models generate"):
        lm.generate(["It"], max_new_tokens=2)


def test_generation_leaves_the_global_random_state_alone(tiny_folder: Folder) -> None:
    lm = load(ModelRef(name=str(tiny_folder("llama"))))
    before = torch.get_rng_state()
    lm.generate(PROMPTS, max_new_tokens=3)
    assert torch.equal(torch.get_rng_state(), before)
