"""Mode offload on models of transformers: the bits of mode snapshot, or a refusal that names the reason."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers as hf

from zobench.plugins import lookup
from zobench.zo import Engine, Objective, build_space

SMALL: dict[str, Any] = {
    "vocab_size": 60,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
}
OPT: dict[str, Any] = {**SMALL, "ffn_dim": 64, "word_embed_proj_dim": 16, "max_position_embeddings": 64}
T5: dict[str, Any] = {"vocab_size": 60, "d_model": 32, "d_ff": 64, "num_layers": 2, "num_heads": 4, "d_kv": 8}
MODELS = {
    "llama": lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**SMALL, tie_word_embeddings=True)),
    "opt": lambda: hf.OPTForCausalLM(hf.OPTConfig(**OPT)),
    "bert": lambda: hf.BertForMaskedLM(hf.BertConfig(**SMALL)),
    "albert": lambda: hf.AlbertForMaskedLM(hf.AlbertConfig(**SMALL, embedding_size=16)),
    "t5": lambda: hf.T5ForConditionalGeneration(hf.T5Config(**T5, decoder_start_token_id=0)),
}


def steps(make: Any, mode: str, count: int = 2) -> tuple[list[tuple[float, ...]], str]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = make().eval()
    ids = torch.arange(4, 22).view(2, 9)
    method = lookup("methods", "fzoo")
    space = build_space("full", {}, module)
    optimizer = method(method.Config(lr=1e-3), space, seed=1, engine=Engine(mode=mode))
    objective = Objective(module, lambda m, x: m(input_ids=x, labels=x).loss, inference=True)
    objective.set_batch(ids, sequences=2, tokens=18)
    return [optimizer.step(objective).losses for _ in range(count)], space.digest()


@pytest.mark.parametrize("name", list(MODELS))
def test_the_bits_are_those_of_the_snapshot(name: str) -> None:
    assert steps(MODELS[name], "offload") == steps(MODELS[name], "snapshot")


def test_a_model_that_reads_the_weights_of_a_layer_from_outside_is_refused() -> None:
    config = hf.MambaConfig(vocab_size=60, hidden_size=32, num_hidden_layers=2, state_size=4)
    with pytest.raises(ValueError, match=r"conv1d.*is used outside the forward of its module"):
        steps(lambda: hf.MambaForCausalLM(config), "offload")
