"""Scores with padding, reduced logits and split batches equal those of one example at a time."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from zobench.models import load
from zobench.models.batching import chunks_by_length, pad
from zobench.models.encoding import encode_prompts, truncate_around, truncate_left
from zobench.models.scoring import causal_logits, masked_logits, option_log_likelihoods
from zobench.spec import ModelRef

Folder = Callable[[str], Path]
TOLERANCE = 2e-5
"""Largest difference of a float32 logit between batch shapes (logits of these models are of order 10)."""
ROWS = [[0, 20, 30, 40], [0, 50], [0, 60, 61, 62, 63, 64, 65, 66], [0, 70, 71]]


def _padded(lm: Any, rows: list[list[int]]) -> dict[str, torch.Tensor]:
    causal = lm.architecture == "causal"
    return pad(
        rows,
        fill=2,
        side="left" if causal else "right",
        device=lm.device,
        first_position=lm.way.first_position if causal else None,
    )


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("family", ["llama", "gpt2", "opt"])
@torch.inference_mode()
def test_left_padding_does_not_change_logits(tiny_folder: Folder, family: str, attention: str) -> None:
    lm = load(ModelRef(name=str(tiny_folder(family)), attention=attention))
    together = causal_logits(lm.module, _padded(lm, ROWS))[:, -1]
    alone = torch.stack([lm.module(torch.tensor([r])).logits[0, -1] for r in ROWS])
    assert torch.isfinite(together).all()
    torch.testing.assert_close(together, alone, atol=TOLERANCE, rtol=0)


@torch.inference_mode()
def test_masked_logits_are_those_at_the_mask(tiny_folder: Folder) -> None:
    lm = load(ModelRef(name=str(tiny_folder("bert-masked"))))
    rows = [[2, 4, 9, 3], [2, 10, 11, 12, 4, 13, 3], [2, 7, 4, 3]]
    places = torch.tensor([1, 4, 2])
    found = masked_logits(lm.module, _padded(lm, rows), places)
    alone = torch.stack(
        [lm.module(torch.tensor([r])).logits[0, p] for r, p in zip(rows, places, strict=True)]
    )
    torch.testing.assert_close(found, alone, atol=TOLERANCE, rtol=0)
    # A copy that lost the hook, and a functional view that keeps it, give the same numbers.
    bare = copy.deepcopy(lm.module)
    bare.get_output_embeddings()._forward_pre_hooks.clear()
    assert bare(torch.tensor([rows[0]])).logits.shape[1] == 4
    torch.testing.assert_close(masked_logits(bare, _padded(lm, rows), places), found, atol=TOLERANCE, rtol=0)

    class View(torch.nn.Module):
        def forward(self, **kwargs: Any) -> Any:
            return torch.func.functional_call(lm.module, dict(lm.module.named_parameters()), (), kwargs)

    assert torch.equal(masked_logits(View(), _padded(lm, rows), places), found)


def test_the_head_computes_only_what_is_asked(tiny_folder: Folder) -> None:
    for family in ("llama", "bert-masked"):
        lm = load(ModelRef(name=str(tiny_folder(family))))
        seen: list[int] = []
        handle = lm.module.get_output_embeddings().register_forward_hook(
            lambda m, i, o, seen=seen: seen.append(o.shape[1])
        )
        if family == "llama":
            causal_logits(lm.module, _padded(lm, ROWS))
        else:
            masked_logits(lm.module, _padded(lm, [[2, 5, 4, 3], [2, 4, 3]]), torch.tensor([2, 1]))
        handle.remove()
        assert seen == [1]


@torch.inference_mode()
def test_option_log_likelihood_is_the_sum_over_the_options_tokens(tiny_folder: Folder) -> None:
    lm = load(ModelRef(name=str(tiny_folder("llama"))))
    options = [2, 1, 4, 1]
    targets = torch.tensor([[0] * (4 - n) + r[-n:] for r, n in zip(ROWS, options, strict=True)])
    mask = torch.tensor([[0.0] * (4 - n) + [1.0] * n for n in options])
    found = option_log_likelihoods(lm.module, _padded(lm, ROWS), targets, mask)
    for row, n, value in zip(ROWS, options, found, strict=True):
        logs = lm.module(torch.tensor([row])).logits[0].log_softmax(-1)
        expected = sum(logs[i - 1, row[i]] for i in range(len(row) - n, len(row)))
        assert abs(float(value) - float(expected)) < 1e-4


@given(st.lists(st.integers(1, 60), max_size=60), st.integers(1, 200), st.integers(1, 9))
def test_chunks_hold_every_row_once_within_the_limits(
    lengths: list[int], max_tokens: int, max_rows: int
) -> None:
    chunks = chunks_by_length(lengths, max_tokens=max_tokens, max_rows=max_rows)
    assert sorted(i for c in chunks for i in c) == list(range(len(lengths)))
    for chunk in chunks:
        assert len(chunk) <= max_rows
        assert len(chunk) == 1 or len(chunk) * max(lengths[i] for i in chunk) <= max_tokens


@given(st.integers(3, 40), st.data())
def test_truncation_around_a_place_keeps_ends_and_place(n: int, data: st.DataObject) -> None:
    place = data.draw(st.integers(1, n - 2))
    limit = data.draw(st.integers(3, 45))
    ids = list(range(n))
    kept, moved = truncate_around(ids, limit, place)
    assert len(kept) == min(n, limit)
    assert kept[moved] == place
    assert (kept[0], kept[-1]) == (0, n - 1)
    assert kept == sorted(kept)


def test_left_truncation_keeps_the_beginning_token(tiny_folder: Folder) -> None:
    lm = load(ModelRef(name=str(tiny_folder("llama"))))
    ids = encode_prompts(lm.tokenizer, ["It was great"])[0]
    assert ids[0] == lm.tokenizer.bos_token_id
    assert truncate_left(ids, 3, lm.tokenizer) == [ids[0], *ids[-2:]]
    assert truncate_left(ids[1:], 3, lm.tokenizer) == ids[-3:]
    assert encode_prompts(lm.tokenizer, [""]) == [[lm.tokenizer.bos_token_id]]
