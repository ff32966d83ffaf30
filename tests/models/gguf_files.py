"""Small GGUF files written with the ``gguf`` package: a Llama of two layers with a byte-level tokenizer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import transformers
from gguf import GGMLQuantizationType, GGUFWriter, TokenType, quants

WIDTH, HEADS, KEY_HEADS, INNER, LAYERS = 64, 4, 2, 128, 2
SPECIAL = ["<|end|>", "<|start|>"]


def byte_letters() -> list[str]:
    """The 256 letters with which GPT-2 writes bytes, in the order of the bytes."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [b for b in range(256) if b not in shown]
    letters = {b: chr(b) for b in shown} | {b: chr(256 + n) for n, b in enumerate(hidden)}
    return [letters[b] for b in range(256)]


def vocabulary() -> tuple[list[str], list[str]]:
    """Tokens and merges: bytes, two newlines, a space with a digit, a word."""
    newline, space = "Ċ", "Ġ"
    merges = [f"{newline} {newline}", f"{space} 1", "t h", "th e"]
    return [*SPECIAL, *byte_letters(), *(m.replace(" ", "") for m in merges)], merges


def llama(seed: int = 0) -> transformers.LlamaForCausalLM:
    torch.manual_seed(seed)
    config = transformers.LlamaConfig(
        vocab_size=len(vocabulary()[0]),
        hidden_size=WIDTH,
        intermediate_size=INNER,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KEY_HEADS,
        max_position_embeddings=96,
        tie_word_embeddings=True,
    )
    return transformers.LlamaForCausalLM(config).eval()


def write(
    file: Path,
    model: transformers.LlamaForCausalLM,
    *,
    rule: str = "smollm",
    architecture: str = "llama",
    quantized: bool = False,
    left_out: str = "",
) -> Path:
    """Write the model; ``quantized`` stores matrices as Q8_0."""
    writer = GGUFWriter(file, architecture)
    writer.add_name("Tiny Llama")
    writer.add_license("apache-2.0")
    writer.add_context_length(96)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(model.config.vocab_size)
    tokens, merges = vocabulary()
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(rule)
    writer.add_token_list(tokens)
    kinds = [TokenType.CONTROL] * len(SPECIAL) + [TokenType.NORMAL] * (len(tokens) - len(SPECIAL))
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_eos_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_pad_token_id(0)
    for name, values in _tensors(model).items():
        if name == left_out:
            continue
        if quantized and values.ndim == 2:
            kind = GGMLQuantizationType.Q8_0
            writer.add_tensor(name, quants.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def _tensors(model: transformers.LlamaForCausalLM) -> dict[str, np.ndarray]:
    state = {name: values.numpy() for name, values in model.state_dict().items()}
    out = {
        "token_embd.weight": state["model.embed_tokens.weight"],
        "output_norm.weight": state["model.norm.weight"],
    }
    for layer in range(LAYERS):
        at = f"model.layers.{layer}."
        out |= {
            f"blk.{layer}.attn_q.weight": _interleaved(state[at + "self_attn.q_proj.weight"], HEADS),
            f"blk.{layer}.attn_k.weight": _interleaved(state[at + "self_attn.k_proj.weight"], KEY_HEADS),
            f"blk.{layer}.attn_v.weight": state[at + "self_attn.v_proj.weight"],
            f"blk.{layer}.attn_output.weight": state[at + "self_attn.o_proj.weight"],
            f"blk.{layer}.ffn_gate.weight": state[at + "mlp.gate_proj.weight"],
            f"blk.{layer}.ffn_up.weight": state[at + "mlp.up_proj.weight"],
            f"blk.{layer}.ffn_down.weight": state[at + "mlp.down_proj.weight"],
            f"blk.{layer}.attn_norm.weight": state[at + "input_layernorm.weight"],
            f"blk.{layer}.ffn_norm.weight": state[at + "post_attention_layernorm.weight"],
        }
    return {name: np.ascontiguousarray(values, dtype=np.float32) for name, values in out.items()}


def _interleaved(matrix: np.ndarray, heads: int) -> np.ndarray:
    """GGUF stores the two halves of each rotary head interleaved."""
    rows, columns = matrix.shape
    return matrix.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)
