"""Tiny random models of several families, built once per test session into a folder, in the Hugging Face
format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tokenizers
import torch
import transformers
from tokenizers.processors import TemplateProcessing

CORPUS = [
    "the film was great and the story was terrible",
    "It was great. It was terrible. It was okay, bad or good.",
    "Question: How many apples does Ann have? Answer: 18 apples.",
    "premise and hypothesis: Yes, No, or Maybe?\nYes\nNo\nMaybe",
    "What county is Modesto in? Location, Number, Human, Entity, Description, Expression",
] * 4


def byte_tokenizer(*, bos: bool = True) -> transformers.PreTrainedTokenizerFast:
    """Byte-level BPE with end, padding and (optionally, in front of every text) beginning tokens."""
    core = tokenizers.Tokenizer(tokenizers.models.BPE())
    core.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=["<s>", "</s>", "<pad>", "<mask>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(CORPUS, trainer)
    if bos:
        core.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", pad_token="<pad>", model_max_length=128
    )


def word_tokenizer() -> transformers.PreTrainedTokenizerFast:
    """Whole words with [CLS] and [SEP] around every text, for masked models and encoders."""
    core = tokenizers.Tokenizer(tokenizers.models.WordLevel(unk_token="[UNK]"))
    core.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = tokenizers.trainers.WordLevelTrainer(special_tokens=special, show_progress=False)
    core.train_from_iterator(CORPUS, trainer)
    core.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=core,
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        pad_token="[PAD]",
        mask_token="[MASK]",
        model_max_length=64,
    )


def _config(family: str, vocabulary: int) -> transformers.PreTrainedConfig:
    common = {"vocab_size": vocabulary, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
    if family == "llama":
        return transformers.LlamaConfig(
            **common,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=128,
            tie_word_embeddings=True,
        )
    if family == "gpt2":
        return transformers.GPT2Config(**common, n_embd=32, n_layer=2, n_head=4, n_positions=128)
    if family == "opt":
        return transformers.OPTConfig(
            **common,
            hidden_size=32,
            word_embed_proj_dim=32,
            ffn_dim=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=128,
        )
    if family == "t5":
        return transformers.T5Config(
            **{**common, "decoder_start_token_id": 2},
            d_model=32,
            d_kv=8,
            d_ff=64,
            num_layers=2,
            num_heads=4,
        )
    if family == "bart":
        return transformers.BartConfig(
            **{**common, "decoder_start_token_id": 1},
            d_model=32,
            encoder_layers=2,
            decoder_layers=2,
            encoder_attention_heads=4,
            decoder_attention_heads=4,
            encoder_ffn_dim=64,
            decoder_ffn_dim=64,
            max_position_embeddings=128,
        )
    return transformers.BertConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=64,
        pad_token_id=0,
    )


CLASSES = {
    "t5": transformers.T5ForConditionalGeneration,
    "bart": transformers.BartForConditionalGeneration,
    "llama-classifier": transformers.LlamaForSequenceClassification,
    "gpt2-classifier": transformers.GPT2ForSequenceClassification,
    "bert-classifier": transformers.BertForSequenceClassification,
    "llama": transformers.LlamaForCausalLM,
    "gpt2": transformers.GPT2LMHeadModel,
    "opt": transformers.OPTForCausalLM,
    "bert-masked": transformers.BertForMaskedLM,
    "bert-encoder": transformers.BertModel,
}


def ending_tokenizer(*, bos: bool) -> transformers.PreTrainedTokenizerFast:
    """The byte tokenizer with an end token behind every text, as those of encoder-decoder models."""
    made = byte_tokenizer(bos=False)
    single, special = ("<s> $A </s>", [("<s>", 0), ("</s>", 1)]) if bos else ("$A </s>", [("</s>", 1)])
    made._tokenizer.post_processor = TemplateProcessing(single=single, special_tokens=special)
    return made


def tokenizer_for(family: str) -> transformers.PreTrainedTokenizerFast:
    """The tokenizer of a family of :data:`CLASSES`."""
    if family in ("t5", "bart"):
        return ending_tokenizer(bos=family == "bart")
    return word_tokenizer() if family.startswith("bert") else byte_tokenizer()


def save_tiny(family: str, folder: Path, **settings: Any) -> Path:
    """A random model of the family with its tokenizer, saved as safetensors; the weights are the same every
    time. ``settings`` change its configuration."""
    tokenizer = tokenizer_for(family)
    state = torch.get_rng_state()
    torch.manual_seed(20)
    config = _config(family.split("-")[0], len(tokenizer))
    config.initializer_range = 0.3
    for name, value in settings.items():
        setattr(config, name, value)
    model = CLASSES[family](config).eval()
    torch.set_rng_state(state)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
