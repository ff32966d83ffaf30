"""Quantized linear layers and what is tuned in them: their scales, or weights with quantizer parameters.

``scales`` (for QZO): W = scale[o, g] * code[o, i], codes frozen integers in [-(2^(b-1) - 1), 2^(b-1) - 1],
one scale per output row and group of inputs; only the scales are tuned.

``fake-quant`` (for ZeroQAT): y = ((x - shift) / smooth) Q(smooth * W)^T + shift W^T + bias with
Q(w) = (clamp(round(w / step + zero), 0, 2^b - 1) - zero) * step per output row; weights, smoothing (smooth,
shift) and quantizer (step, zero) are tuned.

Both replace linear layers by small modules of their own, in place, until ``space.remove()``. They are for
experiments with quantized training at any size, not fast kernels: weights are unpacked at every call.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from zobench.zo.space.base import ParameterSpace

FLOOR = 1e-7


class QuantizedLinear(nn.Module):
    """A linear layer of frozen integer codes and tunable scales (symmetric round-to-nearest)."""

    codes: torch.Tensor

    def __init__(self, linear: nn.Linear, bits: int, group: int) -> None:
        super().__init__()
        weight = linear.weight.detach()
        self.group = min(group, weight.shape[1]) if group else weight.shape[1]
        if weight.shape[1] % self.group:
            raise ValueError(f"{weight.shape[1]} inputs do not divide into groups of {self.group}")
        top = 2 ** (bits - 1) - 1
        blocks = weight.float().reshape(weight.shape[0], -1, self.group)
        scales = (blocks.abs().amax(dim=2) / top).clamp_min(FLOOR)
        codes = (blocks / scales[:, :, None]).round().clamp(-top, top).to(torch.int8)
        self.register_buffer("codes", codes)
        self.scales = nn.Parameter(scales.to(weight.dtype), requires_grad=False)
        self.bias = linear.bias

    @property
    def weight(self) -> torch.Tensor:
        """The dequantized weights (out x in)."""
        return (self.codes.to(self.scales.dtype) * self.scales[:, :, None]).flatten(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(x, self.weight, self.bias)


class FakeQuantLinear(nn.Module):
    """A linear layer that computes with quantized smoothed weights, all of it tunable."""

    def __init__(self, linear: nn.Linear, bits: int) -> None:
        super().__init__()
        weight = linear.weight.detach()
        self.levels = 2**bits - 1
        low, high = weight.float().amin(dim=1).clamp_max(0), weight.float().amax(dim=1).clamp_min(0)
        step = ((high - low) / self.levels).clamp_min(FLOOR)
        frozen = {"requires_grad": False}
        self.weight = nn.Parameter(weight.clone(), **frozen)
        self.bias = linear.bias
        self.smooth = nn.Parameter(torch.ones_like(weight[0]), **frozen)
        self.shift = nn.Parameter(torch.zeros_like(weight[0]), **frozen)
        self.step = nn.Parameter(step.to(weight.dtype), **frozen)
        self.zero = nn.Parameter((-low / step).round().to(weight.dtype), **frozen)

    def quantized(self) -> torch.Tensor:
        """Q(smooth * W)."""
        step, zero = self.step[:, None], self.zero[:, None]
        codes = (self.weight * self.smooth / step + zero).round().clamp(0, self.levels)
        return (codes - zero) * step

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = nn.functional.linear((x - self.shift) / self.smooth, self.quantized(), self.bias)
        return out + nn.functional.linear(self.shift, self.weight)


def _check(kind: str, bits: int, targets: Sequence[str]) -> None:
    if not 2 <= bits <= 8:
        raise ValueError(f"space {kind!r}: bits must be from 2 to 8, got {bits}")
    if isinstance(targets, str) or not targets:
        raise ValueError(f"space {kind!r}: targets must be a list of name patterns, got {targets!r}")


def _replace(
    module: nn.Module, kind: str, targets: Sequence[str], make: Callable[[nn.Linear], nn.Module]
) -> tuple[list[str], Callable[[], None]]:
    """Put ``make(linear)`` in the place of every matching linear layer; names, and how to undo it."""
    linears = {n: m for n, m in module.named_modules() if n and isinstance(m, nn.Linear)}
    chosen = {
        n: m
        for n, m in linears.items()
        if any(fnmatch.fnmatchcase(part, p) for p in targets for part in (n, n.rpartition(".")[2]))
    }
    if not chosen:
        there = sorted({n.rpartition(".")[2] for n in linears})
        raise ValueError(
            f"space {kind!r}: {list(targets)} match no linear layer; there are {', '.join(there)}"
        )
    made = {name: make(linear) for name, linear in chosen.items()}
    for name, layer in made.items():
        _put(module, name, layer)

    def remove() -> None:
        for name, linear in chosen.items():
            _put(module, name, linear)

    return list(made), remove


def _put(module: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, leaf = name.rpartition(".")
    setattr(module.get_submodule(parent), leaf, layer)


@dataclass(frozen=True)
class Scales:
    """Scales of linear layers quantized by rounding to nearest.

    Attributes:
        bits: bits per code, 2 to 8.
        group: inputs that share a scale; 0: the whole row; rows shorter than it have one scale.
        targets: glob patterns against a linear layer's name or its last part.
    """

    bits: int = 4
    group: int = 128
    targets: Sequence[str] = ("*",)

    def __post_init__(self) -> None:
        _check("scales", self.bits, self.targets)
        if self.group < 0:
            raise ValueError(f"space 'scales': group must be at least 0, got {self.group}")

    def build(self, module: nn.Module) -> ParameterSpace:
        names, remove = _replace(
            module, "scales", self.targets, lambda linear: QuantizedLinear(linear, self.bits, self.group)
        )
        return ParameterSpace(module, [f"{n}.scales" for n in names], kind="scales", remove=remove)


@dataclass(frozen=True)
class FakeQuant:
    """Weights and quantizer parameters of linear layers that compute quantized.

    Attributes:
        bits: bits per weight, 2 to 8.
        targets: glob patterns against a linear layer's name or its last part; ZeroQAT's light variant names
            the query and value projections.
    """

    bits: int = 4
    targets: Sequence[str] = ("*",)

    def __post_init__(self) -> None:
        _check("fake-quant", self.bits, self.targets)

    def build(self, module: nn.Module) -> ParameterSpace:
        names, remove = _replace(
            module, "fake-quant", self.targets, lambda linear: FakeQuantLinear(linear, self.bits)
        )
        known = {n for n, _ in module.named_parameters()}
        parts = ("weight", "smooth", "shift", "step", "zero")
        tuned = [f"{n}.{part}" for n in names for part in parts if f"{n}.{part}" in known]
        return ParameterSpace(module, tuned, kind="fake-quant", remove=remove)
