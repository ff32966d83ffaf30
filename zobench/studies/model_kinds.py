"""Probes tiny models of many kinds and writes docs/model_kinds.md.

    python -m zobench.studies.model_kinds

Each model is created from transformers' configuration of its kind with small sizes and random weights (seed
0), so nothing is downloaded. The page states what the probe found and how zobench runs each kind.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import transformers

from zobench.models.inspection import AUTO, Architecture
from zobench.models.pooled import PooledEncoder
from zobench.models.probe import probe
from zobench.models.random_state import preserved_random_state
from zobench.studies import committed

PADDING = 1
SPECIAL = (0, 1, 2)

_WIDTH = dict.fromkeys(("hidden_size", "d_model", "n_embd", "dim", "emb_dim", "embedding_size"), 32)
_INNER = dict.fromkeys(
    (
        "intermediate_size",
        "ffn_dim",
        "d_ff",
        "n_inner",
        "decoder_ffn_dim",
        "encoder_ffn_dim",
        "hidden_dim",
        "d_inner",
    ),
    64,
)
_LAYERS = dict.fromkeys(
    ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers", "encoder_layers"), 2
)
_HEADS = dict.fromkeys(
    (
        "num_attention_heads",
        "n_head",
        "n_heads",
        "num_heads",
        "decoder_attention_heads",
        "encoder_attention_heads",
    ),
    4,
)
_LENGTH = dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len"), 64)
SIZES: dict[str, Any] = {
    **_WIDTH,
    **_INNER,
    **_LAYERS,
    **_HEADS,
    **_LENGTH,
    "vocab_size": 120,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "word_embed_proj_dim": 32,
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 32,
    "state_size": 8,
    "bos_token_id": 0,
    "pad_token_id": PADDING,
    "eos_token_id": 2,
    "initializer_range": 0.3,
    "init_std": 0.3,
}
"""Values for all configurations that have the key."""

_LINEAR = {"layer_types": ["linear_attention", "full_attention"]}
_MAMBA2 = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_n_groups": 1}
EXTRA: dict[str, dict[str, Any]] = {
    "bamba": {**_MAMBA2, "attn_layer_indices": [1]},
    "codegen": {"rotary_dim": 4},
    "falcon_h1": {**_MAMBA2, "mamba_d_ssm": 64, "mamba_expand": 2},
    "funnel": {"block_sizes": [1, 1], "d_head": 8},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "window_size": 8},
    "gptj": {"rotary_dim": 4},
    "granitemoehybrid": {**_MAMBA2, **_LINEAR},
    "jamba": {"attn_layer_offset": 1, "attn_layer_period": 2, "mamba_dt_rank": 4},
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "luke": {"entity_vocab_size": 8, "entity_emb_size": 8},
    "mamba2": {"num_heads": 8, "n_groups": 1},
    "nemotron_h": {"mamba_num_heads": 8, "mamba_head_dim": 8, "ssm_state_size": 8, "n_groups": 1},
    "qwen3_5_text": _LINEAR,
    "qwen3_next": _LINEAR,
    "recurrent_gemma": {
        "num_hidden_layers": 3,
        "lru_width": 32,
        "block_types": ["recurrent", "recurrent", "attention"],
    },
    "reformer": {
        "is_decoder": True,
        "axial_pos_embds": False,
        "attn_layers": ["local", "lsh"],
        "attention_head_size": 8,
    },
    "xlstm": {"num_blocks": 2, "num_heads": 2, "qk_dim_factor": 1.0},
    "xmod": {"default_language": "en_XX"},
}


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


CAUSAL = _words("""
    arcee bamba bart bert bert-generation big_bird biogpt bitnet blenderbot bloom camembert codegen cohere
    cohere2 ctrl data2vec-text electra ernie4_5 exaone4 falcon falcon_h1 falcon_mamba gemma gemma2
    gemma3_text glm glm4 gpt2 gpt_bigcode gpt_neo gpt_neox gpt_oss gptj granite granitemoe granitemoehybrid
    helium jamba lfm2 llama llama4_text mamba mamba2 marian mbart megatron-bert minimax mistral mixtral
    modernbert-decoder mpt nemotron nemotron_h olmo olmo2 olmo3 olmo_hybrid olmoe openai-gpt opt pegasus
    persimmon phi phi3 phimoe prophetnet qwen2 qwen2_moe qwen3 qwen3_5_text qwen3_moe qwen3_next
    recurrent_gemma reformer rembert roberta roberta-prelayernorm roformer rwkv seed_oss smollm3 stablelm
    starcoder2 trocr whisper xglm xlm xlm-roberta xlm-roberta-xl xlnet xlstm
""")
MASKED = _words("""
    albert bert big_bird convbert data2vec-text deberta deberta-v2 distilbert electra ernie esm flaubert
    fnet funnel ibert longformer megatron-bert mobilebert modernbert mpnet mra nomic_bert nystromformer
    rembert roberta roberta-prelayernorm roformer squeezebert xlm xlm-roberta xlm-roberta-xl xmod yoso
""")
ENCODER = _words("""
    albert bert distilbert electra fnet mpnet modernbert nystromformer roberta xlnet
""")


ENCODER_DECODER = _words("""
    bart bigbird_pegasus blenderbot blenderbot-small led longt5 m2m_100 marian mbart mt5 mvp nllb-moe
    pegasus pegasus_x plbart prophetnet switch_transformers t5 umt5
""")
CLASSIFIER = _words("""
    albert bart bert big_bird bloom deberta deberta-v2 distilbert electra ernie esm falcon flaubert funnel
    gemma gemma2 gemma3_text glm gpt2 gpt_neo gpt_neox gptj jamba llama mbart minimax mistral mixtral
    mobilebert modernbert mpnet mpt mt5 nemotron openai-gpt opt persimmon phi phi3 plbart qwen2 qwen3 reformer
    roberta smollm3 squeezebert stablelm starcoder2 t5 xlm xlm-roberta xlnet
""")


@dataclass(frozen=True)
class ModelKind:
    """A model type with one of the architectures; ``changes``: changes of its configuration."""

    name: str
    architecture: Architecture
    changes: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        told = ", ".join(f"{k}: {str(v).lower()}" for k, v in self.changes)
        return f"{self.name} ({told})" if told else self.name


def kinds() -> Iterator[ModelKind]:
    """All kinds in the order of the page. Models of the BERT family are causal only with ``is_decoder``."""
    for name in CAUSAL:
        decoder = "is_decoder" in config(name).to_dict()
        yield ModelKind(name, "causal", (("is_decoder", True),) if decoder else ())
    yield ModelKind("bert", "causal", (("is_decoder", False),))
    yield ModelKind("roberta", "causal", (("is_decoder", False),))
    yield ModelKind("llama", "causal", (("is_causal", False),))
    yield from (ModelKind(name, "masked") for name in MASKED)
    yield from (ModelKind(name, "encoder") for name in ENCODER)
    yield from (ModelKind(name, "encoder-decoder") for name in ENCODER_DECODER)
    yield from (ModelKind(name, "classifier") for name in CLASSIFIER)


def config(name: str, **changes: Any) -> Any:
    """A small configuration of the kind."""
    made = transformers.AutoConfig.for_model(name)
    known = {k: v for k, v in SIZES.items() if k in made.to_dict() or k in made.attribute_map}
    return transformers.AutoConfig.for_model(name, **{**known, **EXTRA.get(name, {}), **changes})


def tiny(kind: ModelKind) -> torch.nn.Module:
    """A random model of the kind, in eval mode. Vectors are moved away from 0 and 1, and embeddings of
    padding away from 0, as they would be after training."""
    with preserved_random_state():
        torch.manual_seed(0)
        made = config(kind.name, **dict(kind.changes))
        if made.is_encoder_decoder and kind.architecture in ("encoder-decoder", "classifier"):
            made.decoder_start_token_id = 2
        module = AUTO[kind.architecture].from_config(made).eval()
        with torch.no_grad():
            for parameter in module.parameters():
                if parameter.ndim == 1:
                    parameter.add_(0.1 * torch.randn_like(parameter))
            if module.get_input_embeddings() is not None:
                module.get_input_embeddings().weight[PADDING].normal_(std=0.3)
    return PooledEncoder(module, int(made.hidden_size)) if kind.architecture == "encoder" else module


def examined(kind: ModelKind) -> tuple[str, str]:
    """What was found on the kind and how it is run."""
    module = tiny(kind)
    try:
        probed = probe(module, kind.architecture, kind.name, fill=PADDING, special=SPECIAL)
    except ValueError as error:
        return str(error).removeprefix(f"model {kind.name!r} "), "refused"
    failed = [f for f in probed.findings if not f.passed]
    found = [f"{f.trial}: " + (f.error or f"{f.difference:.1g}") for f in failed]
    return "; ".join(found) or "nothing", str(probed.way)


def page() -> str:
    """The whole page."""
    lines = [
        "# Kinds of model",
        "",
        "What the probe of a loaded model (`zobench/models/probe.py`) finds on tiny random models of each",
        "kind, and how zobench runs them. Numbers are the largest difference of a logit from the reference.",
        "Written by",
        f"`python -m zobench.studies.model_kinds` with transformers {transformers.__version__} and torch",
        f"{torch.__version__.split('+')[0]}. `zobench doctor --model FOLDER` says the same of your model.",
        "",
        "| kind | as | what was found | how it is run |",
        "|---|---|---|---|",
    ]
    for kind in kinds():
        found, run = examined(kind)
        lines.append(f"| {kind} | {kind.architecture} | {found.replace('|', '/')} | {run} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    warnings.filterwarnings("ignore", category=FutureWarning)
    transformers.logging.set_verbosity_error()
    committed.write_page("model_kinds", page())


if __name__ == "__main__":
    main()
