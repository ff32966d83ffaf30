"""Exported weights can be loaded by other programs and give the same answers as the run's model."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "models"))

from tiny_models import save_tiny

from zobench.models.loading import load
from zobench.runner.exporting import Origin, export
from zobench.spec import Budget, Component, ModelRef, RunSpec, SpaceRef
from zobench.zo.space import build_space

SPACES = [
    SpaceRef(),
    SpaceRef(kind="masked", params={"share": 0.1}),
    SpaceRef(kind="lora", params={"r": 2, "alpha": 6.0, "targets": ["q_proj", "v_proj", "query"]}),
]


def prepared(folder: Path, family: str, space: SpaceRef):
    """A loaded model with moved weights in its space."""
    lm = load(ModelRef(name=str(save_tiny(family, folder / "base"))))
    spec = RunSpec(
        model=ModelRef(name=str(folder / "base")),
        task=Component(name="t"),
        method=Component(name="mezo"),
        space=space,
        seed=0,
        budget=Budget(forwards=2),
    )
    found = build_space(space.kind, space.params, lm.module)
    generator = torch.Generator().manual_seed(0)
    for name in found:
        values = found.entries(name)
        found.put_(name, values + 0.05 * torch.randn(values.shape, generator=generator))
    return lm, found, Origin("0a1b", "mezo", spec, 1, found.digest())


def answers(lm) -> torch.Tensor:
    ids = torch.arange(5, 17).reshape(2, 6)
    with torch.no_grad():
        out = lm.module(input_ids=ids, attention_mask=torch.ones_like(ids))
    return out if isinstance(out, torch.Tensor) else out.logits


@pytest.mark.parametrize("space", SPACES, ids=lambda s: s.kind)
@pytest.mark.parametrize("family", ["llama", "bert-masked"])
def test_a_model_folder_gives_the_same_logits(tmp_path, family, space):
    lm, tuned, origin = prepared(tmp_path, family, space)
    before = answers(lm)
    assert export(tmp_path / "out", lm, tuned, origin) == f"model: {tmp_path / 'out'}"
    again = load(ModelRef(name=str(tmp_path / "out")))
    # Merging an adapter adds in another order: W x + B A x against (W + B A) x, in float32.
    close = {"rtol": 1e-4, "atol": 1e-5} if space.kind == "lora" else {"rtol": 0, "atol": 0}
    torch.testing.assert_close(answers(again), before, **close)
    assert not torch.equal(answers(load(ModelRef(name=str(tmp_path / "base")))), before)
    assert again.tokenizer.get_vocab() == lm.tokenizer.get_vocab()
    assert json.loads((tmp_path / "out" / "zobench.json").read_text())["weights_digest"] == origin.digest


def test_an_encoder_comes_with_its_head(tmp_path):
    lm, tuned, origin = prepared(tmp_path, "bert-encoder", SPACES[0])
    before = answers(lm)
    assert "head.safetensors" in export(tmp_path / "out", lm, tuned, origin)
    again = load(ModelRef(name=str(tmp_path / "out")))
    again.module.head.load_state_dict(load_file(tmp_path / "out" / "head.safetensors"))
    torch.testing.assert_close(answers(again), before, rtol=0, atol=0)


@pytest.mark.parametrize("kind", ["prefix", "prompt"])
def test_what_cannot_be_merged_is_written_apart(tmp_path, kind):
    lm, tuned, origin = prepared(tmp_path, "llama", SpaceRef(kind=kind))
    assert "they belong on" in export(tmp_path / "out", lm, tuned, origin)
    written = load_file(tmp_path / "out" / "tuned.safetensors")
    assert written.keys() == set(tuned)
    assert all(torch.equal(written[n], tuned.entries(n)) for n in tuned)


def test_tuned_tensors_alone_and_nothing_overwritten(tmp_path):
    lm, tuned, origin = prepared(tmp_path, "llama", SPACES[1])
    export(tmp_path / "t.safetensors", lm, tuned, origin)
    assert load_file(tmp_path / "t.safetensors").keys() == set(tuned)
    with pytest.raises(ValueError, match="exists already"):
        export(tmp_path / "t.safetensors", lm, tuned, origin)
