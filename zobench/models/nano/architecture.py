"""Configurations of the nano family and their seeded initialisation."""

from __future__ import annotations

import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForMaskedLM,
)
from transformers.modeling_utils import PreTrainedModel

CONTEXT = 256


def causal(
    tokenizer: PreTrainedTokenizerFast, *, width: int, layers: int, heads: int, mlp: int
) -> LlamaConfig:
    """Llama architecture, tied embeddings, no bias."""
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        intermediate_size=mlp,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def masked(
    tokenizer: PreTrainedTokenizerFast, *, width: int, layers: int, heads: int, mlp: int
) -> RobertaConfig:
    """RoBERTa architecture without dropout; its positions start after the padding index."""
    assert tokenizer.pad_token_id is not None
    return RobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=mlp,
        max_position_embeddings=CONTEXT + tokenizer.pad_token_id + 1,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        type_vocab_size=1,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )


def initialise(config: LlamaConfig | RobertaConfig, seed: int) -> PreTrainedModel:
    """A float32 model whose weights depend on ``seed`` alone; the global random state is left unchanged."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if isinstance(config, LlamaConfig):
            return LlamaForCausalLM(config)
        return RobertaForMaskedLM(config)
