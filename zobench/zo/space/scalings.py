"""Two spaces of few numbers: a factor per linear layer, and offsets of the largest singular values.

``layer-scales``: y = gamma (W x + b), one gamma per layer, 1 at the start.

``singular-values``: y = (W + U diag(delta) V^T) x + b, where U and V are the first k singular vectors of W
and delta, k numbers per matrix, is 0 at the start: the k largest singular values move, their vectors are
frozen (arXiv 2507.04453). In a layer with an attached adapter of low rank (``lora_A``, ``lora_B`` of peft),
the matrices are the two factors of the adapter instead of the layer's weight.

Both are forward hooks on linear layers; no module is replaced.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from zobench.zo.parameters import Count, Parameters, Patterns, PositiveFraction
from zobench.zo.space.base import ParameterSpace

FACTORS = ("lora_A", "lora_B")
GRID = 2.0**-20
"""Singular vectors are rounded to multiples of this, so that the last bits of a decomposition, which differ
between machines, do not matter."""


@dataclass(frozen=True)
class LayerScales(Parameters):
    """One factor per linear layer.

    Attributes:
        targets: glob patterns that are matched with the last part of a linear layer's name and with the whole
            name.
    """

    targets: Patterns = ("*",)

    def build(self, module: nn.Module) -> ParameterSpace:
        chosen = _linears(module, "layer-scales", self.targets)
        starts = {n: torch.ones(1, dtype=m.weight.dtype, device=m.weight.device) for n, m in chosen.items()}
        return _hooked(module, "layer-scales", "layer_scale", chosen, starts, _scaled)


@dataclass(frozen=True)
class SingularValues(Parameters):
    """Offsets of the largest singular values of linear layers, or of the factors of their adapters.

    Attributes:
        targets: glob patterns that are matched with the last part of a layer's name and with the whole name.
        values: largest number of singular values per matrix.
        share: share of a matrix' singular values (of an adapter's rank), rounded down; limits ``values``.
    """

    targets: Patterns = ("q_proj", "k_proj", "v_proj", "o_proj", "query", "key", "value")
    values: Count = 8
    share: PositiveFraction = 1.0

    def build(self, module: nn.Module) -> ParameterSpace:
        kind = "singular-values"
        chosen = _factors_of_adapters(_linears(module, kind, self.targets))
        bases = {n: self._bases(n, m.weight) for n, m in chosen.items()}
        starts = {n: torch.zeros(len(v), dtype=v.dtype, device=v.device) for n, (_, v) in bases.items()}
        hooks = {n: _Offset(*pair) for n, pair in bases.items()}
        return _hooked(module, kind, "singular_offsets", chosen, starts, hooks)

    def _bases(self, name: str, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The first k singular vectors: U (out x k) and V^T (k x in) in the weight's dtype.

        Every vector of U has a positive entry of largest absolute value: decompositions leave signs open.
        """
        k = min(self.values, int(self.share * min(weight.shape)))
        if k < 1:
            raise ValueError(
                f"space 'singular-values': share {self.share:g} of {min(weight.shape)} singular values of "
                f"{name!r} is less than one"
            )
        if weight.is_meta:
            return weight[:, :1].expand(-1, k), weight[:1].expand(k, -1)
        wide = weight.detach().double().cpu()
        if not wide.any():
            raise ValueError(
                f"space 'singular-values': {name!r} is zero, so that it has no singular vectors (an adapter "
                "that was not trained): train it first"
            )
        u, _, v = torch.linalg.svd(wide, full_matrices=False)
        u, v = u[:, :k], v[:k]
        signs = u.gather(0, u.abs().argmax(dim=0, keepdim=True)).sign()
        u, v = u * signs, v * signs.T
        return (u / GRID).round().mul(GRID).to(weight), (v / GRID).round().mul(GRID).to(weight)


def _linears(module: nn.Module, kind: str, targets: Sequence[str]) -> dict[str, nn.Linear]:
    """The linear layers that match; for layers inside an adapted one (of peft), its own name must match."""
    linears = {n: m for n, m in module.named_modules() if isinstance(m, nn.Linear)}
    chosen = {n: m for n, m in linears.items() if _matches(_owner(n), targets)}
    if not chosen:
        there = sorted({_owner(n).rpartition(".")[2] for n in linears})
        raise ValueError(
            f"space {kind!r}: {list(targets)} match no linear layer; there are {', '.join(there) or 'none'}"
        )
    return chosen


def _owner(name: str) -> str:
    """The name of the layer as it was before an adapter was attached."""
    parts = name.split(".")
    inside = [i for i, part in enumerate(parts) if part in (*FACTORS, "base_layer")]
    return ".".join(parts[: inside[0]]) if inside else name


def _matches(name: str, targets: Sequence[str]) -> bool:
    leaf = name.rpartition(".")[2]
    return any(fnmatch.fnmatchcase(leaf, p) or fnmatch.fnmatchcase(name, p) for p in targets)


def _factors_of_adapters(linears: Mapping[str, nn.Linear]) -> dict[str, nn.Linear]:
    """The factors of adapters in place of the layers that hold them."""
    factors = {n for n in linears if any(part in FACTORS for part in n.split("."))}
    adapted = {_owner(n) for n in factors}
    return {n: m for n, m in linears.items() if n in factors or _owner(n) not in adapted}


def _scaled(linear: Any, args: Any, output: torch.Tensor) -> torch.Tensor:
    return output * linear.layer_scale


class _Offset:
    """Adds U diag(delta) V^T x to a layer's output."""

    def __init__(self, u: torch.Tensor, v: torch.Tensor) -> None:
        self.u, self.v = u, v

    def __call__(self, linear: Any, args: Any, output: torch.Tensor) -> torch.Tensor:
        inner = nn.functional.linear(args[0], self.v) * linear.singular_offsets
        return output + nn.functional.linear(inner, self.u)


Hook = Callable[[Any, Any, torch.Tensor], torch.Tensor]


def _hooked(
    module: nn.Module,
    kind: str,
    parameter: str,
    chosen: Mapping[str, nn.Linear],
    starts: Mapping[str, torch.Tensor],
    hooks: Hook | Mapping[str, Hook],
) -> ParameterSpace:
    """The space of one new parameter per layer, read by a forward hook."""
    for name, linear in chosen.items():
        if parameter in linear._parameters:
            raise ValueError(f"space {kind!r}: {name!r} has one already")
    handles = []
    for name, linear in chosen.items():
        linear.register_parameter(parameter, nn.Parameter(starts[name], requires_grad=False))
        handles.append(linear.register_forward_hook(hooks[name] if isinstance(hooks, Mapping) else hooks))

    def remove() -> None:
        for handle in handles:
            handle.remove()
        for linear in chosen.values():
            del linear._parameters[parameter]

    return ParameterSpace(module, [f"{n}.{parameter}" for n in chosen], kind=kind, remove=remove)
