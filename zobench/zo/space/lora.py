"""Low-rank adapters on linear layers: y = W x + b + (alpha / r) B A x, A and B tuned (arXiv 2106.09685).

A and B become parameters ``lora_A`` (r x in) and ``lora_B`` (out x r) of the linear layer, and a forward hook
adds their product. No module is replaced, and the base model keeps its parameter names. A is initialized
uniformly in +-1/sqrt(in) from counter noise and B with zeros, so that the initial model is unchanged.
"""

from __future__ import annotations

import fnmatch
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from zobench.zo import noise
from zobench.zo.parameters import Count, Parameters, Patterns, Positive
from zobench.zo.space.base import ParameterSpace


@dataclass(frozen=True)
class Lora(Parameters):
    """Low-rank adapters.

    Attributes:
        r: rank.
        alpha: scale; the product is multiplied by alpha / r.
        targets: glob patterns that are matched with the last part of a linear layer's name and with the whole
            name.
        freeze_a: tune B only (LoRA-FA).
        seed: seed of the initial A.
    """

    r: Count = 8
    alpha: Positive = 16.0
    targets: Patterns = ("q_proj", "v_proj", "query", "value")
    freeze_a: bool = False
    seed: int = 0

    def build(self, module: nn.Module) -> ParameterSpace:
        linears = {n: m for n, m in module.named_modules() if isinstance(m, nn.Linear)}
        chosen = {n: m for n, m in linears.items() if self._matches(n)}
        if not chosen:
            there = sorted({n.rpartition(".")[2] for n in linears})
            raise ValueError(
                f"space 'lora': {list(self.targets)} match no linear layer; there are {', '.join(there)}"
            )
        handles, names = [], []
        for name, linear in chosen.items():
            if "lora_A" in linear._parameters:
                raise ValueError(f"space 'lora': {name!r} has an adapter already")
            self._attach(name, linear)
            handles.append(linear.register_forward_hook(self._hook))
            names += [f"{name}.lora_B"] if self.freeze_a else [f"{name}.lora_A", f"{name}.lora_B"]

        def remove() -> None:
            for handle in handles:
                handle.remove()
            for linear in chosen.values():
                del linear._parameters["lora_A"], linear._parameters["lora_B"]

        return ParameterSpace(module, names, kind="lora", remove=remove)

    def _matches(self, name: str) -> bool:
        leaf = name.rpartition(".")[2]
        return any(fnmatch.fnmatchcase(leaf, p) or fnmatch.fnmatchcase(name, p) for p in self.targets)

    def _attach(self, name: str, linear: nn.Linear) -> None:
        weight = linear.weight
        start = noise.sample(
            (self.r, linear.in_features),
            seed=self.seed,
            key=noise.tensor_key(f"{name}.lora_A|start"),
            kind="uniform",
            device=weight.device,
        )
        bound = 1.0 / math.sqrt(linear.in_features)
        a = ((2 * start - 1) * bound).to(weight.dtype)
        linear.register_parameter("lora_A", nn.Parameter(a, requires_grad=False))
        b = torch.zeros(linear.out_features, self.r, dtype=weight.dtype, device=weight.device)
        linear.register_parameter("lora_B", nn.Parameter(b, requires_grad=False))

    def _hook(self, linear: Any, args: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
        if linear.lora_A.dim() == 3 or linear.lora_B.dim() == 3:
            return output + self._stacked(linear, args[0]).view(output.shape) * (self.alpha / self.r)
        low = nn.functional.linear(nn.functional.linear(args[0], linear.lora_A), linear.lora_B)
        return output + low * (self.alpha / self.r)

    @staticmethod
    def _stacked(linear: Any, x: torch.Tensor) -> torch.Tensor:
        """Several adapters side by side (mode ``grouped``): each takes its share of the rows."""
        count = max(len(t) for t in (linear.lora_A, linear.lora_B) if t.dim() == 3)
        inner = torch.matmul(x.reshape(count, -1, x.shape[-1]), linear.lora_A.transpose(-1, -2))
        return torch.matmul(inner, linear.lora_B.transpose(-1, -2))


def merged(space: ParameterSpace, alpha_over_r: float) -> dict[str, torch.Tensor]:
    """The base weights W + (alpha / r) B A by base parameter name, for export as a plain model."""
    out: dict[str, torch.Tensor] = {}
    for name, linear in space.module.named_modules():
        if isinstance(linear, nn.Linear) and "lora_A" in linear._parameters:
            product = linear._parameters["lora_B"].float() @ linear._parameters["lora_A"].float()  # type: ignore[union-attr]
            out[f"{name}.weight"] = (linear.weight.float() + alpha_over_r * product).to(linear.weight.dtype)
    return out
