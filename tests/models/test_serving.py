"""Servers: adapters in one batch agree with merged weights; requests to a stand-in for the API of vLLM."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from zobench.models.loading import load
from zobench.models.serving.base import Adapter, AnswerSettings
from zobench.models.serving.in_process import InProcess
from zobench.models.serving.vllm import Vllm
from zobench.spec import ModelRef

PROMPTS = ["Q: Reach 22 with 6, 4 and 12.\nA:", "Q: Reach 9 with 6, 3 and 3.\nA:"]
LAYERS = {"model.layers.0.self_attn.q_proj": 2, "model.layers.3.mlp.down_proj": 1}


def adapter(module: torch.nn.Module, seed: int, scale: float = 0.5) -> Adapter:
    generator = torch.Generator().manual_seed(seed)
    factors = {}
    for name, rank in LAYERS.items():
        out, into = module.get_submodule(name).weight.shape
        a, b = torch.randn(rank, into, generator=generator), torch.randn(out, rank, generator=generator)
        factors[name] = (a, b / 4)
    return Adapter(factors, scale)


def merged(module: torch.nn.Module, chosen: Adapter, sign: float) -> None:
    with torch.no_grad():
        for name, (a, b) in chosen.factors.items():
            module.get_submodule(name).weight.add_(sign * chosen.scale * (b @ a))


@pytest.fixture(scope="module")
def lm() -> Any:
    return load(ModelRef(name="builtin:nano-countdown"))


@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_adapters_in_one_batch_answer_as_merged_weights_do(lm: Any, temperature: float) -> None:
    server, seeds = InProcess(lm), (5, 6)
    how = AnswerSettings(12, ("\n",), temperature, seeds if temperature else ())
    adapters = [adapter(lm.module, 1), None, adapter(lm.module, 2)]
    found = server.generate(PROMPTS, adapters, how)
    scores = server.score(PROMPTS, [" 6 + 12 + 4", " 6 + 3"], adapters)
    for chosen, texts, sums in zip(adapters, found, scores, strict=True):
        before = {n: p.clone() for n, p in lm.module.named_parameters()}
        if chosen is not None:
            merged(lm.module, chosen, 1.0)
        assert server.generate(PROMPTS, [None], how) == [texts]
        assert server.score(PROMPTS, [" 6 + 12 + 4", " 6 + 3"], [None])[0] == pytest.approx(sums, rel=1e-4)
        with torch.no_grad():
            for n, p in lm.module.named_parameters():
                p.copy_(before[n])
    assert found[0] != found[1] != found[2]


def test_wrong_adapters_are_refused(lm: Any) -> None:
    server, how = InProcess(lm), AnswerSettings(2)
    with pytest.raises(ValueError, match="at least one adapter"):
        server.generate(PROMPTS, [], how)
    with pytest.raises(ValueError, match="'lm_headd', which is no linear layer"):
        server.generate(PROMPTS, [Adapter({"lm_headd": (torch.ones(1, 128), torch.ones(8, 1))})], how)
    with pytest.raises(ValueError, match="no factors"):
        Adapter({"x": (torch.ones(1, 4), torch.ones(4, 2))})


class Engine:
    """Stand-in for ``vllm.LLM``: answers with the adapter's number, reads its files, keeps the requests."""

    def __init__(self, **options: Any) -> None:
        self.options, self.calls = options, []

    def get_tokenizer(self) -> Any:
        return lambda text: {"input_ids": list(text.encode())}

    def generate(self, prompts: Any, params: Any, *, lora_request: Any, use_tqdm: bool) -> list[Any]:
        assert len(prompts) == len(params) == len(lora_request)
        read = {}
        for request in filter(None, lora_request):
            folder = Path(request.lora_path)
            tensors = load_file(folder / "adapter_model.safetensors")
            read[request.lora_int_id] = json.loads((folder / "adapter_config.json").read_text()), tensors
        self.calls.append((prompts, params, lora_request, read))
        return [self._answer(*one) for one in zip(prompts, params, lora_request, strict=True)]

    def _answer(self, prompt: str, params: Any, request: Any) -> Any:
        number = 0 if request is None else request.lora_int_id
        ids = list(prompt.encode())
        logs = None
        if params.prompt_logprobs is not None:
            logs = [None, *({i: types.SimpleNamespace(logprob=-float(number + 1))} for i in ids[1:])]
        text = f"{prompt}|{number}|{params.seed}"
        outputs = [types.SimpleNamespace(text=text)]
        return types.SimpleNamespace(outputs=outputs, prompt_token_ids=ids, prompt_logprobs=logs)


class Params:
    def __init__(self, **given: Any) -> None:
        known = {"temperature", "max_tokens", "stop", "seed", "prompt_logprobs"}
        assert given.keys() <= known
        self.__dict__.update(dict.fromkeys(known), **given)


class LoRARequest:
    def __init__(self, lora_name: str, lora_int_id: int, lora_path: str) -> None:
        assert lora_int_id >= 1
        self.lora_name, self.lora_int_id, self.lora_path = lora_name, lora_int_id, lora_path


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    fake, lora, request = (types.ModuleType(n) for n in ("vllm", "vllm.lora", "vllm.lora.request"))
    fake.LLM, fake.SamplingParams, request.LoRARequest = Engine, Params, LoRARequest
    for module in (fake, lora, request):
        monkeypatch.setitem(sys.modules, module.__name__, module)


def test_requests_to_vllm(vllm: None, lm: Any) -> None:
    server = Vllm("some/model", max_adapters=3, max_rank=2, dtype="float32")
    engine = server._llm
    assert engine.options == {
        "model": "some/model", "enable_lora": True, "max_loras": 3, "max_lora_rank": 2, "dtype": "float32",
    }  # fmt: skip
    adapters = [adapter(lm.module, 1), None, adapter(lm.module, 2)]
    found = server.generate(["p", "q"], adapters, AnswerSettings(7, ("\n",), 1.0, (11, 12)))
    assert found == [["p|1|11", "q|1|12"], ["p|0|11", "q|0|12"], ["p|2|11", "q|2|12"]]
    _, params, requests, read = engine.calls[0]
    assert (params[0].temperature, params[0].max_tokens, params[0].stop) == (1.0, 7, ["\n"])
    assert len({r.lora_int_id for r in requests if r is not None}) == 2
    config, tensors = read[1]
    assert config["r"] == 2
    assert config["lora_alpha"] / config["r"] == adapters[0].scale
    assert config["target_modules"] == ["down_proj", "q_proj"]
    for name, (a, b) in adapters[0].factors.items():
        big_a, big_b = (tensors[f"base_model.model.{name}.lora_{k}.weight"] for k in "AB")
        assert big_a.shape[0] == big_b.shape[1] == 2
        assert torch.allclose(big_b @ big_a, b @ a)
    assert not Path(requests[0].lora_path).exists()
    server.generate(["p"], [adapter(lm.module, 3)], AnswerSettings(7))
    assert engine.calls[1][2][0].lora_int_id == 3
    assert server.score(["ab", "c"], ["xyz", "w"], [None, adapters[0]]) == [[-3.0, -1.0], [-15.0, -5.0]]


def test_vllm_refuses_what_it_cannot_serve(vllm: None, lm: Any) -> None:
    server = Vllm("some/model", max_rank=1)
    with pytest.raises(ValueError, match="rank 2 exceeds max_rank 1"):
        server.generate(["p"], [adapter(lm.module, 1)], AnswerSettings(7))
    with pytest.raises(ValueError, match="0 seeds for 1 prompts"):
        server.generate(["p"], [None], AnswerSettings(7, (), 1.0))


def test_without_vllm_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(ValueError, match="needs the package vllm"):
        Vllm("some/model")
