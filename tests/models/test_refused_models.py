"""Folders that contain another model than requested, or one that cannot run, are refused by name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tiny_models import byte_tokenizer

from zobench.models import load
from zobench.models.inspection import problems, with_attention
from zobench.models.loading import _max_length
from zobench.spec import Budget, Component, ModelRef, RunSpec
from zobench.studies import model_kinds
from zobench.suite import load as load_suite
from zobench.unlearning.rows import FactRow, refuse_longer

Folder = Callable[[str], Path]


@pytest.fixture
def llama(tiny_folder: Folder, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_folder("llama"), tmp_path / "llama"))


def _configure(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    body = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({k: v for k, v in body.items() if v is not None}))


def _refused(ref: ModelRef) -> str:
    """What plan says of it; loading must refuse it too."""
    (told,) = problems(ref)
    with pytest.raises(ValueError):
        load(ref)
    assert repr(ref.name) in told
    return told


def test_a_broken_adapter_is_not_left_out_in_silence(llama: Path) -> None:
    (llama / "adapter_config.json").write_text("{}")
    assert "not the configuration of an adapter" in _refused(ModelRef(name=str(llama)))


def test_no_tokenizer(llama: Path) -> None:
    for path in llama.glob("tokenizer*"):
        path.unlink()
    assert "cannot be loaded" in _refused(ModelRef(name=str(llama)))


def test_quantized_weights(llama: Path) -> None:
    _configure(llama, quantization_config={"quant_method": "gptq", "bits": 4})
    assert "quantized weights (gptq)" in _refused(ModelRef(name=str(llama)))


def test_a_tokenizer_larger_than_the_embedding(llama: Path) -> None:
    tokenizer = byte_tokenizer()
    rows = len(tokenizer)
    tokenizer.add_tokens(["<one-more>"])
    tokenizer.save_pretrained(llama)
    assert f"token ids up to {rows}, but its embedding has {rows} rows" in _refused(ModelRef(name=str(llama)))


@pytest.mark.parametrize(
    ("architecture", "says"),
    [
        ("auto", "has decoder_start_token_id"),
        ("causal", "encoder-decoder"),
        ("encoder", "encoder-decoder"),
        ("masked", "encoder-decoder"),
    ],
)
def test_an_encoder_decoder_model_without_a_first_token(tmp_path: Path, architecture: Any, says: str) -> None:
    size = {"d_model": 32, "d_ff": 64, "num_layers": 1, "num_heads": 2, "d_kv": 8}
    config = transformers.T5Config(vocab_size=len(byte_tokenizer()), **size)
    transformers.T5ForConditionalGeneration(config).save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    assert says in _refused(ModelRef(name=str(tmp_path), architecture=architecture))


def test_a_layer_more_in_the_file_than_in_the_config(llama: Path) -> None:
    _configure(llama, num_hidden_layers=1, layer_types=None)
    with pytest.raises(ValueError, match=r"layers that its config.json does not have: model.layers.1"):
        load(ModelRef(name=str(llama)))


def test_a_head_that_is_not_used_is_no_layer_more(tiny_folder: Folder) -> None:
    assert load(ModelRef(name=str(tiny_folder("bert-masked")), architecture="encoder")).max_length == 64


def test_weights_that_are_not_finite(llama: Path) -> None:
    module = transformers.LlamaForCausalLM.from_pretrained(llama)
    with torch.no_grad():
        module.model.layers[1].mlp.up_proj.weight[3, 2] = torch.nan
    module.save_pretrained(llama)
    with pytest.raises(
        ValueError, match=r"layers\.1\.mlp\.up_proj\.weight' contains values that are not finite"
    ):
        load(ModelRef(name=str(llama)))


@pytest.fixture
def bloom(tmp_path: Path) -> Path:
    config = transformers.BloomConfig(vocab_size=len(byte_tokenizer()), hidden_size=32, n_layer=1, n_head=4)
    transformers.BloomForCausalLM(config).save_pretrained(tmp_path / "bloom")
    byte_tokenizer().save_pretrained(tmp_path / "bloom")
    return tmp_path / "bloom"


def test_attention_is_what_the_model_has(bloom: Path, llama: Path) -> None:
    assert with_attention(ModelRef(name=str(bloom))).attention == "eager"
    assert with_attention(ModelRef(name=str(llama))).attention == "sdpa"
    assert with_attention(ModelRef(name=str(llama), attention="eager")).attention == "eager"
    assert load(ModelRef(name=str(bloom))).module.config._attn_implementation == "eager"  # type: ignore[union-attr]
    assert "BloomForCausalLM does not support attention 'sdpa'" in _refused(
        ModelRef(name=str(bloom), attention="sdpa")
    )


def test_an_unresolved_attention_counts_as_sdpa_in_the_identity() -> None:
    def canonical(attention: Any) -> str:
        return RunSpec(
            model=ModelRef(name="a/model", attention=attention),
            task=Component(name="t"),
            method=Component(name="m"),
            seed=0,
            budget=Budget(forwards=1),
        ).canonical()

    assert canonical("auto") == canonical("sdpa") != canonical("eager")


def test_a_plan_holds_the_attention_and_names_the_model_that_cannot_run(bloom: Path, tmp_path: Path) -> None:
    from zobench.suite import SuiteError, expand

    def suite(model: str) -> Path:
        path = tmp_path / "suite.yaml"
        path.write_text(
            f"suite: s\nmodels:\n  m: {model}\ntasks: {{nano-topic: {{}}}}\nmethods: {{mezo: {{}}}}\n"
            "seeds: [1]\nbudget: {forwards: 4}\n"
        )
        return path

    (run,) = expand(load_suite(suite(f"{{name: {bloom}}}"))).runs
    assert run.spec.model.attention == "eager"
    (nano,) = expand(load_suite(suite("{name: 'builtin:nano'}"))).runs
    assert nano.spec.model.attention == "sdpa"
    with pytest.raises(SuiteError, match=r"models\.m\.name.*does not support attention 'sdpa'"):
        load_suite(suite(f"{{name: {bloom}, attention: sdpa}}"))


@pytest.mark.parametrize(
    "name",
    [
        "mpnet",
        "longformer",
        "esm",
        "ibert",
        "luke",
        "data2vec-text",
        "roberta",
        "roberta-prelayernorm",
        "xmod",
        "xlm-roberta-xl",
        "camembert",
        "bert",
        "electra",
        "xlm",
    ],
)
@pytest.mark.parametrize("padding", [1, 3])
@torch.no_grad()
def test_the_longest_row_is_the_longest_that_runs(name: str, padding: int, tmp_path: Path) -> None:
    """Tables of 64 positions of which those up to the padding index are left out."""
    module: Any = model_kinds.tiny(model_kinds.ModelKind(name, "masked", (("pad_token_id", padding),)))
    tokenizer = type("Stub", (), {"model_max_length": 1 << 30})()
    longest = _max_length(module, module.config, tokenizer, tmp_path)
    module(torch.full((1, longest), 7))
    with pytest.raises((IndexError, RuntimeError)):
        module(torch.full((1, longest + 1), 7))


def test_facts_longer_than_the_model_are_refused_by_name() -> None:
    rows = [
        FactRow(id="short", question="Who?", answer="Ann."),
        FactRow(id="long", question="Who?", answer="x " * 40),
    ]
    tokenizer = byte_tokenizer()
    refuse_longer(tokenizer, rows[:1], 64, "tiny")
    with pytest.raises(
        ValueError, match=r"fact 'long' has \d+ tokens with its answer, but model 'tiny' takes at most 64"
    ):
        refuse_longer(tokenizer, rows, 64, "tiny")


@pytest.mark.parametrize("key", ["paraphrased_question", "other_questions"])
def test_another_wording_longer_than_the_model_is_refused_as_the_question_is(key: str) -> None:
    long = "x " * 40 + "?"
    row = FactRow(id="long", question="Who?", answer="Ann.", **{key: (long,) if key[0] == "o" else long})
    with pytest.raises(ValueError, match=r"'long' has \d+ tokens .* model 'tiny' takes at most 64"):
        refuse_longer(byte_tokenizer(), [row], 64, "tiny")
