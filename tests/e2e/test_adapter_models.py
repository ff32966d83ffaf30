"""Folders of PEFT adapters through ``zobench plan`` and ``zobench run``."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

pytest.importorskip("peft")
sys.path.insert(0, str(Path(__file__).parents[1] / "models"))

import peft
from safetensors import safe_open
from tiny_models import save_tiny
from transformers import AutoModelForCausalLM

from zobench.cli.app import app
from zobench.models import load
from zobench.models.inspection import problems
from zobench.spec import ModelRef
from zobench.store.reader import read
from zobench.suite import SuiteError
from zobench.suite import load as load_suite

SUITE = """\
suite: adapted
models:
  m: {name: ./adapter}
tasks:
  mine: {task: classification, params: {data: r.csv, template: "{text} It was", words: {a: bad, b: good}}}
methods:
  mezo: {params: {lr: 1e-2}, space: {kind: names, params: {include: ["*.adapter*"]}}}
  adamw: {params: {lr: 1e-2}, space: {kind: names, params: {include: ["*.adapter*"]}}, attacks: false}
  untrained: {method: none, group: control}
attacks:
  char-typos: {params: {budget: 12}}
seeds: [1]
budget: {forwards: 12, batch_size: 4}
evaluation: {test_items: 4, attack_items: 2}
executor: {kind: inline}
"""
IDS = torch.tensor([[5, 6, 7, 8, 9]])


def made(base: Path, folder: Path, family: str = "llama", **settings: Any) -> torch.Tensor:
    """Save an adapter with random weights beside ``base``; the logits with it."""
    save_tiny(family, base)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = AutoModelForCausalLM.from_pretrained(base)
        kind = settings.pop("kind", peft.LoraConfig)
        wrapped = peft.get_peft_model(model, kind(task_type="CAUSAL_LM", **settings)).eval()
        for name, parameter in wrapped.named_parameters():
            if "default" in name:
                parameter.data.add_(0.1 * torch.randn_like(parameter))
        wrapped.save_pretrained(folder)
        with torch.no_grad():
            logits: torch.Tensor = wrapped(input_ids=IDS).logits
    return logits


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made(tmp_path / "base", tmp_path / "adapter", r=2, target_modules=["q_proj", "v_proj"])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def named(folder: Path, base: str | None) -> None:
    path = folder / "adapter" / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "base_model_name_or_path": base}))


def refused(ref: ModelRef) -> str:
    (told,) = problems(ref)
    with pytest.raises(ValueError):
        load(ref)
    return told


def test_an_adapter_is_scored_tuned_and_attacked_on_its_frozen_base(folder: Path) -> None:
    named(folder, "../base")
    rows = "".join(f"a fine film number {i},{'ab'[i % 2]}\n" for i in range(20))
    (folder / "r.csv").write_text("text,label\n" + rows)
    (folder / "adapted.yaml").write_text(SUITE)
    done = CliRunner().invoke(app, ["run", "adapted.yaml"])
    assert done.exit_code == 0, done.output
    results = read(["reports/adapted"])
    assert set(results.runs["status"]) == {"done"}
    tuned = results.runs.set_index("row")["tuned_parameters"]
    assert tuned["mezo"] == tuned["adamw"] == 2 * 2 * 2 * 32 + 2 * 2 * (32 + 16)
    assert len(results.attacks)
    origin = json.loads(results.runs["environment"].iloc[0])["model_origin"]
    plain = load(ModelRef(name="./base"))
    assert origin["base"]["weights_digest"] == plain.identity.digest
    assert origin["title"] == "../base with LORA adapter adapter"
    assert len(origin["adapter"]["sha256"]) == 64
    assert plain.identity.digest not in set(results.runs["model_digest"])
    run = results.runs.set_index("row").loc["mezo", "run_id"]
    exported = CliRunner().invoke(app, ["replay", f"reports/adapted/runs/{run}", "--export", "out"])
    assert exported.exit_code == 0, exported.output
    assert "they belong on ./adapter" in exported.output.replace("\n", " ")
    with safe_open(folder / "out" / "tuned.safetensors", framework="pt") as file:
        assert all(".adapter." in name for name in file.keys())  # noqa: SIM118


def test_an_adapter_is_not_unlearned(folder: Path) -> None:
    shipped = (Path(__file__).parents[2] / "suites" / "unlearning.yaml").read_text()
    named(folder, "../base")
    text = shipped.replace('facts: {name: "builtin:nano-facts"}', "facts: {name: ./adapter}")
    assert text != shipped
    (folder / "forget.yaml").write_text(text)
    with pytest.raises(SuiteError, match=r"unlearning does not take the adapter './adapter'; merge it"):
        load_suite(folder / "forget.yaml")


@pytest.mark.parametrize(
    "settings",
    [
        {"r": 2, "target_modules": ["q_proj"], "use_dora": True},
        {"r": 2, "target_modules": ["q_proj", "embed_tokens", "lm_head"]},
        {"r": 2, "target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
        {"r": 2, "target_modules": ["c_attn"], "bias": "all", "family": "gpt2"},
        {
            "kind": peft.IA3Config,
            "target_modules": ["k_proj", "down_proj"],
            "feedforward_modules": ["down_proj"],
        },
        {"kind": peft.LoHaConfig, "target_modules": ["q_proj"]},
        {"kind": peft.OFTConfig, "target_modules": ["q_proj"], "oft_block_size": 8},
    ],
    ids=["dora", "tied", "head", "bias", "ia3", "loha", "oft"],
)
def test_logits_are_those_of_the_library(tmp_path: Path, settings: dict[str, Any]) -> None:
    wanted = made(tmp_path / "base", tmp_path / "adapter", **settings)
    lm = load(ModelRef(name=str(tmp_path / "adapter")))
    with torch.no_grad():
        found = lm.module(input_ids=IDS).logits
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    assert [n for n, _ in lm.module.named_parameters() if ".adapter" in n]


def test_the_base_is_found_in_the_order_of_the_manual(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    absolute = load(ModelRef(name="./adapter")).identity
    named(folder, "../base")
    monkeypatch.chdir(folder.parent)
    name = str(folder / "adapter")
    assert load(ModelRef(name=name)).identity.digest == absolute.digest
    named(folder, "someone/model")
    assert "its base model 'someone/model' is not on this machine; write base:" in refused(
        ModelRef(name=name)
    )
    given = load(ModelRef(name=name, base=str(folder / "base"))).identity
    assert given.digest == absolute.digest
    named(folder, None)
    assert "it names no base model; write base:" in refused(ModelRef(name=name))
    for path in (folder / "base").iterdir():
        shutil.copy(path, folder / "adapter")
    beside = load(ModelRef(name=name))
    assert beside.identity.digest == absolute.digest
    assert "base is that of an adapter" in refused(ModelRef(name=str(folder / "base"), base="builtin:nano"))


def test_an_adapter_that_does_not_fit_is_refused(folder: Path) -> None:
    ref = ModelRef(name="./adapter")
    other = ModelRef(name="./adapter", base="builtin:nano")
    with pytest.raises(ValueError, match=r"does not fit the base model|do not belong together"):
        load(other)
    path = folder / "adapter" / "adapter_config.json"
    whole = json.loads(path.read_text())
    path.write_text(json.dumps({**whole, "target_modules": ["q_proj", "v_proj", "k_proj"]}))
    with pytest.raises(ValueError, match=r"do not belong together: .*k_proj"):
        load(ref)
    path.write_text(json.dumps({**whole, "peft_type": "PREFIX_TUNING"}))
    assert "adapters of kind PREFIX_TUNING cannot be attached" in refused(ref)
    path.write_text("[]")
    assert "is not the configuration of an adapter" in refused(ref)
    path.write_text(json.dumps(whole))
    (folder / "adapter" / "adapter_model.safetensors").rename(folder / "adapter" / "adapter_model.bin")
    assert "only adapter_model.bin, which can run code when read" in refused(ref)


def test_a_gguf_file_and_an_adapter_on_it_are_named_on_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gguf_files = pytest.importorskip("tests.models.gguf_files", reason="needs the package gguf")
    monkeypatch.setenv("ZOBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    file = gguf_files.write(tmp_path / "tiny.gguf", gguf_files.llama(), quantized=True)
    wrapped = peft.get_peft_model(
        gguf_files.llama(), peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    )
    wrapped.save_pretrained(tmp_path / "adapter")
    rows = "".join(f"a film {i},{'ab'[i % 2]}\n" for i in range(20))
    (tmp_path / "r.csv").write_text("text,label\n" + rows)
    text = SUITE.replace(
        "m: {name: ./adapter}", "file: {name: ./tiny.gguf}\n  m: {name: ./adapter, base: ./tiny.gguf}"
    )
    (tmp_path / "adapted.yaml").write_text(text.replace("space: {kind", "models: [m], space: {kind"))
    done = CliRunner().invoke(app, ["run", "adapted.yaml"])
    assert done.exit_code == 0, done.output
    page = (tmp_path / "reports" / "adapted" / "index.html").read_text()
    title = "Tiny Llama (Q8_0, dequantized)"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert f"on {title} and {title} with LORA adapter adapter" in page
    assert f"{title}: file tiny.gguf, SHA-256 {digest}, licence apache-2.0." in page
    adapter = hashlib.sha256((tmp_path / "adapter" / "adapter_model.safetensors").read_bytes()).hexdigest()
    assert f"adapter file adapter_model.safetensors, SHA-256 {adapter}; base file tiny.gguf" in page
