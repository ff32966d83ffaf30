"""Examples packed with a shared prefix have the same logits as alone, and no shared prefix is computed
twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from zobench.models import load
from zobench.models.shared_prefix import (
    option_logits,
    packed,
    prefill,
    tail_logits,
    takes_packs,
    worth_packing,
)
from zobench.spec import ModelRef

Folder = Callable[[str], Path]
TOLERANCE = 2e-5
BASE = list(range(20, 60))
ROWS = [[*BASE[:i], 99, *BASE[i + 1 :]] for i in range(1, 40, 3)] + [BASE, BASE, BASE[:7], [5, 6]]
ROW_LISTS = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=9), min_size=1, max_size=12)


@given(rows=ROW_LISTS, nodes=st.integers(1, 40))
def test_every_path_spells_its_row(rows: list[list[int]], nodes: int) -> None:
    packs = packed(rows, nodes)
    seen: dict[int, list[int]] = {}
    for pack in packs:
        assert len(pack.ids) <= max(nodes, 4 * max(map(len, rows)))
        for row, path in pack.paths.items():
            seen[row] = [pack.ids[n] for n in path]
            assert [pack.depths[n] for n in path] == list(range(len(path)))
            assert [pack.parents[n] for n in path] == [-1, *path[:-1]]
    assert [seen[i] for i in range(len(rows))] == rows
    if len(packs) == 1:
        beginnings = {tuple(r[: i + 1]) for r in rows for i in range(len(r))}
        assert len(packs[0].ids) == len(beginnings)


def test_only_what_shares_is_packed() -> None:
    assert worth_packing(ROWS)
    assert not worth_packing([[1, 2, 3], [4, 5, 6], [7, 8]])
    assert not worth_packing([[1, 2, 3]])


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("family", ["llama", "gpt2", "opt"])
@torch.inference_mode()
def test_logits_are_those_of_each_row_alone(tiny_folder: Folder, family: str, attention: str) -> None:
    lm: Any = load(ModelRef(name=str(tiny_folder(family)), attention=attention))
    if not takes_packs(lm.module):
        assert family == "opt"  # positions from its own mask
        return
    tails = [1 + i % 3 if len(r) > 3 else 1 for i, r in enumerate(ROWS)]
    found = tail_logits(lm.module, ROWS, tails, tokens=300)
    for row, tail, logits in zip(ROWS, tails, found, strict=True):
        alone = lm.module(torch.tensor([row])).logits[0, -tail:]
        torch.testing.assert_close(logits, alone, atol=TOLERANCE, rtol=0)
    assert not lm.module.get_output_embeddings()._forward_pre_hooks


def test_a_window_or_a_deaf_module_is_refused(tiny_folder: Folder) -> None:
    lm: Any = load(ModelRef(name=str(tiny_folder("llama"))))
    lm.module.config.sliding_window = 4
    assert not takes_packs(lm.module)
    deaf: Any = load(ModelRef(name=str(tiny_folder("llama"))))
    whole = deaf.module.forward

    def forward(input_ids=None, position_ids=None, attention_mask=None, **kwargs):  # type: ignore[no-untyped-def]
        return whole(input_ids=input_ids, **kwargs)

    deaf.module.forward = forward
    assert not takes_packs(deaf.module)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@torch.inference_mode()
def test_prefill_leaves_the_cache_of_each_row(tiny_folder: Folder, family: str) -> None:
    lm: Any = load(ModelRef(name=str(tiny_folder(family))))
    logits, cache = prefill(lm.module, ROWS, tokens=200)
    width = max(map(len, ROWS))
    for i, row in enumerate(ROWS):
        alone = lm.module(torch.tensor([row]), use_cache=True)
        torch.testing.assert_close(logits[i], alone.logits[0, -1], atol=TOLERANCE, rtol=0)
        for mine, own in zip(cache.layers, alone.past_key_values.layers, strict=True):
            assert mine.keys.shape[2] == width
            torch.testing.assert_close(mine.keys[i, :, width - len(row) :], own.keys[0], atol=1e-5, rtol=0)
            torch.testing.assert_close(
                mine.values[i, :, width - len(row) :], own.values[0], atol=1e-5, rtol=0
            )


def test_prompts_that_begin_alike_get_the_answers_that_they_get_alone(tiny_folder: Folder) -> None:
    lm: Any = load(ModelRef(name=str(tiny_folder("llama"))))
    prompts = [f"Question: How many apples does Ann have? Answer: {i} {w}" for i in (1, 18) for w in "abcd"]
    assert worth_packing([lm.tokenizer(p)["input_ids"] for p in prompts])
    together = lm.generate(prompts, max_new_tokens=12)
    assert together == [lm.generate([p], max_new_tokens=12)[0] for p in prompts]


@torch.inference_mode()
def test_options_cost_no_forward_of_their_last_tokens(tiny_folder: Folder) -> None:
    """Options of one token after two contexts: the contexts alone run, and the head once for each."""
    lm: Any = load(ModelRef(name=str(tiny_folder("llama"))))
    contexts = [[5, 9, 11, 3], [5, 9, 2]]
    rows = [[*context, option] for context in contexts for option in (7, 8, 12)]
    seen: list[int] = []
    body = lm.module.get_input_embeddings().register_forward_hook(lambda m, a, out: seen.append(a[0].numel()))
    head = lm.module.get_output_embeddings().register_forward_hook(lambda m, a, o: seen.append(o.shape[1]))
    found = option_logits(lm.module, rows, [1] * len(rows), tokens=300)
    assert seen == [5, 2]
    longer = option_logits(lm.module, [[*row, 4] for row in rows], [2] * len(rows), tokens=300)
    body.remove(), head.remove()
    for row, one, two in zip(rows, found, longer, strict=True):
        alone = lm.module(torch.tensor([row])).logits[0, -2:]
        torch.testing.assert_close(one, alone[:1], atol=TOLERANCE, rtol=0)
        torch.testing.assert_close(two, alone, atol=TOLERANCE, rtol=0)
