"""Parameter spaces listed on the cards: every listed pair of method and space takes steps on a Hugging Face
model, every other pair is refused."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from zobench.plugins import entries, lookup
from zobench.zo import Objective, build_space
from zobench.zo.conformance.subject import loss_as_code
from zobench.zo.space import SPACES

BUILTIN = [name for name, entry in entries("methods").items() if entry.origin == "builtin"]
OFTEN = ("mezo", "p-rge", "qzo")
IDS = torch.arange(24).reshape(2, 12) % 50
PARAMS: dict[str, dict[str, Any]] = {
    "names": {"include": ["*mlp.down_proj*"]},  # 1,024 entries: cma-es takes 2,000
    "masked": {"share": 0.1},
    "pruned": {"criterion": "magnitude", "include": ["*mlp.down_proj.weight"]},
    "lora": {"r": 2},
    "prefix": {"tokens": 2},
    "prompt": {"tokens": 2},
    "scales": {"group": 8},
    "codes": {"group": 8},
}


def llama() -> nn.Module:
    """In float64: what the first token's attention does to the loss of an untrained model is less than
    float32 resolves."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=50,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        tie_word_embeddings=True,
        attention_bias=True,
        attn_implementation="eager",
        eos_token_id=None,
        bos_token_id=None,
        pad_token_id=49,
    )
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return LlamaForCausalLM(config).double().eval()


def loss(module: nn.Module, ids: torch.Tensor) -> torch.Tensor:
    """Next-token cross-entropy in the logits' own dtype: the model's own loss is float32."""
    logits = module(input_ids=ids).logits[:, :-1]
    return nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())


def losses(module: nn.Module, ids: torch.Tensor) -> torch.Tensor:
    """The loss of every row."""
    logits = module(input_ids=ids).logits[:, :-1]
    return nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none").mean(dim=1)


def gradient(module: nn.Module, ids: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The loss, and in the place of a residual its gradient: of |theta - y|^2 / 2 it is the residual."""
    tensors = {n: p for n, p in module.named_parameters() if p.is_floating_point()}
    with torch.enable_grad():
        for p in tensors.values():
            p.requires_grad_(True)
        value = loss(module, ids)
        found = torch.autograd.grad(value, list(tensors.values()), allow_unused=True)
        for p in tensors.values():
            p.requires_grad_(False)
    return value.detach(), {
        n: torch.zeros_like(p) if g is None else g for (n, p), g in zip(tensors.items(), found, strict=True)
    }


class Rows:
    """Supplies that know two rows."""

    def anchor(self, step: int, count: int) -> Sequence[Any]:
        return [(IDS, 2, 24)] * count

    def calibration(self, count: int) -> Sequence[Any]:
        return [(IDS, 2, 24)] * count

    def by_length(self, step: int, limit: int) -> tuple[Any, Any]:
        return (IDS[:1], 1, 12), (IDS[1:], 1, 12)


def steps(name: str, kind: str) -> None:
    """Three steps: losses and weights are finite, a step that moves nothing says why (probes that lie below
    what the loss resolves), the full space moves, what is not tuned keeps its bits."""
    cls = lookup("methods", name)
    module = llama()
    own = {n: p.detach().clone() for n, p in module.named_parameters()}
    space = build_space(kind, PARAMS.get(kind, {}), module)
    config = replace(cls.Config(), **cls.small_problem)
    optimizer = cls(config, space, seed=0)
    residual = gradient if "residual" in cls.card.needs else None
    code = loss_as_code(loss) if "code" in cls.card.needs else None
    objective = Objective(module, loss, items=losses, residual=residual, code=code)
    objective.set_batch(IDS, sequences=2, tokens=24)
    optimizer.supply(Rows())
    optimizer.prepare(objective)
    records = [optimizer.step(objective) for _ in range(3)]
    for record in records:
        assert all(map(math.isfinite, record.losses)), (name, kind)
        assert record.moved or record.reason, (name, kind)
    still = cls.card.order == "none" or kind != "full"
    assert still or any(record.moved for record in records), (name, kind)
    assert all(bool(space.entries(n).isfinite().all()) for n in space), (name, kind)
    frozen = {n for n in own if n not in space.tensors}
    left = dict(module.named_parameters())
    assert all(torch.equal(left[n], own[n]) for n in frozen & left.keys()), (name, kind)
    space.remove()


def as_the_card_says(name: str) -> None:
    listed = lookup("methods", name).card.spaces
    assert listed == ("*",) or set(listed) <= set(SPACES)
    for kind in SPACES:
        seen = "masked" if kind == "pruned" else kind
        if listed == ("*",) or seen in listed:
            steps(name, kind)
            continue
        cls = lookup("methods", name)
        space = build_space(kind, PARAMS.get(kind, {}), llama())
        with pytest.raises(ValueError, match=f"supports the spaces .*, not '{seen}'"):
            cls(cls.Config(), space, seed=0)


@pytest.mark.parametrize("name", OFTEN)
def test_pairs_are_as_the_card_says(name: str) -> None:
    as_the_card_says(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in BUILTIN if n not in OFTEN])
def test_pairs_of_the_others_are_as_the_card_says(name: str) -> None:
    as_the_card_says(name)
