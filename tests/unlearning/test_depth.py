"""The unlearning depth score: its end points, its formula by patched copies, and what it refuses."""

from __future__ import annotations

import copy

import pytest
import torch
from unlearning_models import Toy, tiny_llama, tokens

from zobench.unlearning.depth import depth_score, drops, states

LENGTHS = ((3, 4), (2, 3), (5, 2))


def models():
    """Full model, oracle, and an unlearned model between them, in float64."""
    full, oracle = (tiny_llama(seed, layers=3).double() for seed in (1, 2))
    for p in (*full.parameters(), *oracle.parameters()):
        if p.dim() > 1:
            p.data.mul_(8)  # an untrained model hardly depends on its blocks
    middle = copy.deepcopy(full)
    for p, q in zip(middle.parameters(), oracle.parameters(), strict=True):
        p.data.lerp_(q.data, 0.3)
    return full, oracle, middle


def test_the_full_model_scores_zero_and_the_oracle_one():
    full, oracle, middle = models()
    rows = tokens(0, LENGTHS, vocabulary=32)
    found = drops(full, oracle, rows)
    assert found.shape == (3, 3)
    assert torch.equal(drops(full, full, rows), torch.zeros(3, 3).double())
    assert set(depth_score(found, drops(full, full, rows))) == {0.0}
    assert set(depth_score(found, found)) == {1.0}
    assert len(depth_score(found, found)) >= 2, "the oracle's states hurt the full model in some rows"
    between = depth_score(found, drops(full, middle, rows))
    assert all(0 <= x <= 1 for x in between)
    assert not set(between) <= {0.0, 1.0}


@pytest.mark.parametrize("value", [False, True])
def test_drops_are_those_of_a_block_whose_output_is_replaced(value):
    """Row by row without padding; the later blocks are run by hand on the patched state."""
    full, oracle, _ = models()
    rows = tokens(0, LENGTHS, vocabulary=32)
    got = drops(full, oracle, rows, value=value)
    keep = rows.value if value else rows.target & ~rows.end
    for row, (prompt, answer) in enumerate(LENGTHS):
        ids = rows.ids[row : row + 1, : prompt + answer]
        own, theirs = (m(ids, output_hidden_states=True, use_cache=False) for m in (full, oracle))
        asked = keep[row, : prompt + answer].nonzero().flatten()
        whole = own.logits[0].log_softmax(-1)[asked - 1, ids[0, asked]].mean()
        inner = full.model
        where = torch.arange(ids.shape[1])[None]
        turns = inner.rotary_emb(own.hidden_states[0], where)
        least = torch.finfo(torch.float64).min
        causal = torch.full((ids.shape[1],) * 2, least, dtype=torch.float64).triu(1)[None, None]
        for layer in range(2):  # the last state of ``hidden_states`` is normed already
            h = own.hidden_states[layer + 1].clone()
            h[0, asked - 1] = theirs.hidden_states[layer + 1][0, asked - 1]
            for block in inner.layers[layer + 1 :]:
                out = block(h, attention_mask=causal, position_ids=where, position_embeddings=turns)
                h = out[0] if isinstance(out, tuple) else out
            logs = full.lm_head(inner.norm(h))[0].log_softmax(-1)
            expected = float(whole - logs[asked - 1, ids[0, asked]].mean())
            assert float(got[layer, row]) == pytest.approx(expected, abs=1e-9), (layer, row)


def test_the_formula_by_hand():
    """Row 0: blocks 0 and 2 carry the fact, block 2 is over-erased; row 1: no block does."""
    oracle = torch.tensor([[1.0, 0.01], [0.05, -2.0], [3.0, 0.0]], dtype=torch.float64)
    unlearned = torch.tensor([[0.25, 9.0], [5.0, 9.0], [4.0, 9.0]], dtype=torch.float64)
    assert depth_score(oracle, unlearned) == [pytest.approx((0.25 + 3.0) / 4.0)]
    assert depth_score(oracle, -unlearned) == [0.0]


def test_models_without_blocks_or_of_other_depth_are_refused():
    rows = tokens(0, vocabulary=32)
    with pytest.raises(ValueError, match=r"blocks at model\.layers"):
        states(Toy(1), rows)
    with pytest.raises(ValueError, match="3 and 2 blocks"):
        drops(tiny_llama(1, layers=3), tiny_llama(1, layers=2), rows)
