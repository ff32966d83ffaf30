"""vLLM as a server: every adapter is written as a folder in the format of peft and sent with the requests.

Written against vLLM's documented interface (``LLM(enable_lora=True, max_loras, max_lora_rank)``,
``LoRARequest(name, id, path)``, ``LLM.generate(prompts, params, lora_request=[...])``, log-probabilities of
prompt tokens by ``SamplingParams(prompt_logprobs=0)``) and tested with a stand-in for it. It was never run
with vLLM itself.
"""

from __future__ import annotations

import importlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zobench.models.serving.base import Adapter, AnswerSettings


class Vllm:
    """A vLLM engine in this process.

    Args:
        model: hub id or folder of the base model.
        max_adapters: most adapters in one batch.
        max_rank: largest rank of an adapter.
        options: further arguments of ``vllm.LLM``.

    Raises:
        ValueError: vLLM is not installed.
    """

    def __init__(self, model: str, *, max_adapters: int = 8, max_rank: int = 16, **options: Any) -> None:
        try:
            self._vllm = importlib.import_module("vllm")
            self._requests = importlib.import_module("vllm.lora.request")
        except ImportError as error:
            raise ValueError(f"serving with vLLM needs the package vllm: {error}") from error
        self._max_rank = max_rank
        self._llm = self._vllm.LLM(
            model=model, enable_lora=True, max_loras=max_adapters, max_lora_rank=max_rank, **options
        )
        self._served = 0

    def generate(
        self, prompts: Sequence[str], adapters: Sequence[Adapter | None], decoding: AnswerSettings
    ) -> list[list[str]]:
        """As :meth:`Server.generate`. Sampled answers use vLLM's generator with the prompt's seed, so their
        random numbers are common to all adapters but not those of other backends."""
        if decoding.temperature > 0 and len(decoding.seeds) != len(prompts):
            raise ValueError(f"{len(decoding.seeds)} seeds for {len(prompts)} prompts: each needs its own")
        params = [
            self._vllm.SamplingParams(
                temperature=decoding.temperature,
                max_tokens=decoding.max_new_tokens,
                stop=list(decoding.stop) or None,
                seed=decoding.seeds[i] if decoding.temperature > 0 else None,
            )
            for i in range(len(prompts))
        ]
        outputs = self._asked(list(prompts), params, adapters)
        return [[one.outputs[0].text for one in branch] for branch in outputs]

    def score(
        self, prompts: Sequence[str], answers: Sequence[str], adapters: Sequence[Adapter | None]
    ) -> list[list[float]]:
        """As :meth:`Server.score`. vLLM generates at least one token; it is ignored."""
        tokenizer = self._llm.get_tokenizer()
        starts = [len(tokenizer(prompt)["input_ids"]) for prompt in prompts]
        texts = [prompt + answer for prompt, answer in zip(prompts, answers, strict=True)]
        params = [self._vllm.SamplingParams(temperature=0.0, max_tokens=1, prompt_logprobs=0) for _ in texts]
        outputs = self._asked(texts, params, adapters)
        return [[_sum_from(one, at) for one, at in zip(branch, starts, strict=True)] for branch in outputs]

    def _asked(
        self, texts: list[str], params: list[Any], adapters: Sequence[Adapter | None]
    ) -> list[list[Any]]:
        """One output per adapter and text; all requests are sent together."""
        if not adapters:
            raise ValueError("serving needs at least one adapter (None is the base model)")
        folder = Path(tempfile.mkdtemp(prefix="zobench-adapters-"))
        try:
            requests = [self._request(adapter, folder) for adapter in adapters]
            outputs = self._llm.generate(
                texts * len(adapters),
                params * len(adapters),
                lora_request=[request for request in requests for _ in texts],
                use_tqdm=False,
            )
        finally:
            shutil.rmtree(folder)
        size = len(texts)
        return [outputs[b * size : (b + 1) * size] for b in range(len(adapters))]

    def _request(self, adapter: Adapter | None, folder: Path) -> Any:
        if adapter is None:
            return None
        if adapter.rank > self._max_rank:
            raise ValueError(f"an adapter of rank {adapter.rank} exceeds max_rank {self._max_rank}")
        # vLLM caches adapters by their number, and every step has new ones.
        self._served += 1
        place = folder / str(self._served)
        write_adapter(adapter, place)
        return self._requests.LoRARequest(f"zobench-{self._served}", self._served, str(place))


def write_adapter(adapter: Adapter, folder: Path) -> None:
    """Write the adapter in the format of peft: ``adapter_config.json`` and ``adapter_model.safetensors``.

    All layers have the largest rank; factors of smaller rank are padded with zeros."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    rank, tensors = adapter.rank, {}
    for name, (a, b) in adapter.factors.items():
        missing = rank - a.shape[0]
        wide_a = torch.nn.functional.pad(a, (0, 0, 0, missing))
        wide_b = torch.nn.functional.pad(b, (0, missing))
        tensors[f"base_model.model.{name}.lora_A.weight"] = wide_a.contiguous()
        tensors[f"base_model.model.{name}.lora_B.weight"] = wide_b.contiguous()
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": rank,
        "lora_alpha": adapter.scale * rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": sorted({name.rpartition(".")[2] for name in adapter.factors}),
    }
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")


def _sum_from(output: Any, start: int) -> float:
    """Sum of the log-probabilities of the prompt's tokens from position ``start`` on."""
    ids, known = output.prompt_token_ids, output.prompt_logprobs
    return sum(float(known[i][ids[i]].logprob) for i in range(start, len(ids)))
