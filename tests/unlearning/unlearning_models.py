"""Models small enough for finite differences: a causal toy in float64, and a random Llama of two blocks."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import nn

from zobench.unlearning.base import Batch, Tokens

VOCABULARY = 11
WIDTH = 6


class Toy(nn.Module):
    """Embedding, causal averages mixed by three tanh blocks, a head; the call signature of a causal LM."""

    def __init__(self, seed=0, blocks=3):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)

        def weight(*shape):
            return nn.Parameter(torch.randn(*shape, generator=generator, dtype=torch.float64) * 0.5)

        self.embedding = weight(VOCABULARY, WIDTH)
        self.blocks = nn.ParameterList([weight(2 * WIDTH, WIDTH) for _ in range(blocks)])
        self.head = weight(WIDTH, VOCABULARY)
        self.passes = 0

    def forward(self, input_ids, attention_mask=None, use_cache=False, output_hidden_states=False):
        self.passes += 1
        h = self.embedding[input_ids]
        count = torch.arange(1, h.shape[1] + 1, dtype=h.dtype)[:, None]
        states = [h]
        for block in self.blocks:
            h = h + torch.tanh(torch.cat([h, h.cumsum(1) / count], -1) @ block)
            states.append(h)
        return SimpleNamespace(logits=h @ self.head, hidden_states=tuple(states))


def tokens(seed=0, lengths=((3, 4), (2, 3)), vocabulary=VOCABULARY):
    """Rows of (prompt, answer) tokens; the last answer token is the end, the one before it the value."""
    generator = torch.Generator().manual_seed(seed)
    width = max(p + a for p, a in lengths)
    ids = torch.randint(1, vocabulary, (len(lengths), width), generator=generator)
    columns = torch.arange(width)
    total = torch.tensor([[p + a] for p, a in lengths])
    prompt = torch.tensor([[p] for p, _ in lengths])
    inputs = {"input_ids": ids, "attention_mask": (columns < total).long()}
    return Tokens(
        inputs=inputs,
        target=(columns >= prompt) & (columns < total),
        end=columns == total - 1,
        value=columns == total - 2,
    )


PARTS = ("forget", "retain", "refusal", "retain_refusal", "traces", "general", "invariance")


def batch():
    return Batch({name: tokens(seed) for seed, name in enumerate(PARTS)})


def tiny_llama(seed=0, vocabulary=32, layers=2, positions=64):
    """A random Llama; leaves the global random state as it was."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=16,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=2,
        intermediate_size=24,
        max_position_embeddings=positions,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config).eval()
