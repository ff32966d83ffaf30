"""Spaces of quantized linear layers: their scales, or their weights and quantizer parameters.

``scales`` (for QZO): W = scale[o, g] * code[o, i], codes frozen integers in [-(2^(b-1) - 1), 2^(b-1) - 1],
one scale per output row and group of inputs. Only the scales are tuned.

``fake-quant`` (for ZeroQAT): y = ((x - shift) / smooth) Q(smooth * W)^T + shift W^T + bias with
Q(w) = (clamp(round(w / step + zero), 0, 2^b - 1) - zero) * step per output row; weights, smoothing (smooth,
shift) and quantizer (step, zero) are tuned. Values are clipped to the range of the codes, from -zero step to
(2^b - 1 - zero) step, so that tuning step and zero also tunes the clipping. With ``activations`` bits, the
input of the product, h = (x - shift) / smooth, is quantized in the same way by one tuned act_step and
act_zero per layer.

Both kinds replace linear layers of the model by small modules until ``space.remove()``. They serve
experiments with quantized training and are not fast: weights are unpacked at every call.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import torch
from torch import nn

from zobench.zo.parameters import Bounds, CountOrZero, Parameters, Patterns, Rate
from zobench.zo.space.base import ParameterSpace
from zobench.zo.space.prefix import random_tokens

LAYER = TypeVar("LAYER", bound=nn.Module)
FLOOR = 1e-7
"""Minimum of scales and steps, which keeps divisions by them finite."""


def rounded_to_codes(weight: torch.Tensor, bits: int, group: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes, shape (rows, groups, group), and scales, shape (rows, groups), of a matrix; ``group`` 0: one
    group per row."""
    size = min(group, weight.shape[1]) if group else weight.shape[1]
    top = 2 ** (bits - 1) - 1
    blocks = weight.float().reshape(weight.shape[0], -1, size)
    scales = (blocks.abs().amax(dim=2) / top).clamp_min(FLOOR)
    codes = (blocks / scales[:, :, None]).round().clamp(-top, top).to(torch.int8)
    return codes, scales.to(weight.dtype)


class QuantizedLinear(nn.Module):
    """A linear layer of frozen integer codes and tunable scales (symmetric round-to-nearest)."""

    codes: torch.Tensor

    def __init__(self, linear: nn.Linear, bits: int, group: int) -> None:
        super().__init__()
        codes, scales = rounded_to_codes(linear.weight.detach(), bits, group)
        self.group = codes.shape[2]
        self.register_buffer("codes", codes)
        self.scales = nn.Parameter(scales, requires_grad=False)
        self.bias = linear.bias

    @property
    def weight(self) -> torch.Tensor:
        """The dequantized weights (out x in)."""
        return (self.codes.to(self.scales.dtype) * self.scales[:, :, None]).flatten(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(x, self.weight, self.bias)


def asymmetric(low: torch.Tensor, high: torch.Tensor, levels: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Step and zero-point of ``levels`` + 1 codes over [min(low, 0), max(high, 0)], so that 0 has a code."""
    low, high = low.clamp_max(0), high.clamp_min(0)
    step = ((high - low) / levels).clamp_min(FLOOR)
    return step, (-low / step).round()


def quantize(values: torch.Tensor, step: torch.Tensor, zero: torch.Tensor, levels: int) -> torch.Tensor:
    """(clamp(round(values / step + zero), 0, levels) - zero) step."""
    return ((values / step + zero).round().clamp(0, levels) - zero) * step


class FakeQuantLinear(nn.Module):
    """A linear layer with quantized smoothed weights; weights, smoothing and quantizer are tunable.

    Args:
        linear: the layer that is replaced; its bias is kept and not tuned.
        bits: bits per weight.
        activations: bits per entry of the layer's input; 0: not quantized.
        reach: (low, high) of the inputs, for the initial activation quantizer.
    """

    def __init__(
        self, linear: nn.Linear, bits: int, activations: int = 0, reach: tuple[float, float] = (-1.0, 1.0)
    ) -> None:
        super().__init__()
        weight = linear.weight.detach()
        self.levels = 2**bits - 1
        self.act_levels = 2**activations - 1
        step, zero = asymmetric(weight.float().amin(dim=1), weight.float().amax(dim=1), self.levels)
        frozen = {"requires_grad": False}
        self.weight = nn.Parameter(weight.clone(), **frozen)
        self.bias = linear.bias
        self.smooth = nn.Parameter(torch.ones_like(weight[0]), **frozen)
        self.shift = nn.Parameter(torch.zeros_like(weight[0]), **frozen)
        self.step = nn.Parameter(step.to(weight.dtype), **frozen)
        self.zero = nn.Parameter(zero.to(weight.dtype), **frozen)
        if activations:
            low, high = (weight.new_tensor([bound]).float() for bound in reach)
            act_step, act_zero = asymmetric(low, high, self.act_levels)
            self.act_step = nn.Parameter(act_step.to(weight.dtype), **frozen)
            self.act_zero = nn.Parameter(act_zero.to(weight.dtype), **frozen)

    def quantized(self) -> torch.Tensor:
        """Q(smooth * W)."""
        return quantize(self.weight * self.smooth, self.step[:, None], self.zero[:, None], self.levels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        smoothed = (x - self.shift) / self.smooth
        if self.act_levels:
            smoothed = quantize(smoothed, self.act_step, self.act_zero, self.act_levels)
        out = nn.functional.linear(smoothed, self.quantized(), self.bias)
        return out + nn.functional.linear(self.shift, self.weight)


def chosen_linears(module: nn.Module, kind: str, targets: Sequence[str]) -> dict[str, nn.Linear]:
    """The linear layers that match; ``ValueError`` if there is no match."""
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
    return chosen


def misfit(chosen: Mapping[str, nn.Linear], group: int) -> str:
    """A message with the first layer whose inputs do not divide into groups, and the next smaller size that
    fits all layers; empty if all layers fit."""
    widths = {name: linear.in_features for name, linear in chosen.items()}

    def fits(size: int) -> list[bool]:
        return [width <= size or width % size == 0 for width in widths.values()]

    if not group or all(fits(group)):
        return ""
    layer = next(name for name, good in zip(widths, fits(group), strict=True) if not good)
    smaller = next(size for size in range(group, 0, -1) if all(fits(size)))
    return (
        f"space 'scales': the {widths[layer]} inputs of {layer!r} do not divide into groups of {group}; "
        f"groups of {smaller} fit every layer, 0 uses one group per output row"
    )


def replace_layers(
    module: nn.Module, chosen: Mapping[str, LAYER], make: Callable[[str, LAYER], nn.Module]
) -> tuple[list[str], Callable[[], None]]:
    """Replace every chosen layer by ``make(name, layer)``. Returns the names and a function that undoes
    it."""
    made = {name: make(name, layer) for name, layer in chosen.items()}
    for name, layer in made.items():
        _put(module, name, layer)

    def remove() -> None:
        for name, layer in chosen.items():
            _put(module, name, layer)

    return list(made), remove


def _put(module: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, leaf = name.rpartition(".")
    setattr(module.get_submodule(parent), leaf, layer)


@dataclass(frozen=True)
class Scales(Parameters):
    """Scales of linear layers quantized by rounding to nearest.

    Attributes:
        bits: bits per code, 2 to 8.
        group: number of inputs that share a scale; 0: all inputs. A layer with fewer inputs has one scale per
            output row.
        targets: glob patterns that are matched with a linear layer's name and with its last part.
    """

    bits: Annotated[int, Bounds(ge=2, le=8)] = 4
    group: CountOrZero = 128
    targets: Patterns = ("*",)

    def build(self, module: nn.Module) -> ParameterSpace:
        chosen = chosen_linears(module, "scales", self.targets)
        if problem := misfit(chosen, self.group):
            raise ValueError(problem)
        names, remove = replace_layers(
            module, chosen, lambda name, linear: QuantizedLinear(linear, self.bits, self.group)
        )
        return ParameterSpace(module, [f"{n}.scales" for n in names], kind="scales", remove=remove)


@dataclass(frozen=True)
class FakeQuant(Parameters):
    """Weights, smoothing and quantizer parameters of quantized linear layers.

    Attributes:
        bits: bits per weight, 2 to 8.
        targets: glob patterns that are matched with a linear layer's name and with its last part. ZeroQAT's
            light variant selects the query and value projections.
        activations: bits per activation, 2 to 16; 0: not quantized.
        act_range: the initial activation quantizer covers -act_range to act_range; 0: the range of each
            layer's input for 4 x 16 random tokens (needs a Hugging Face model).
    """

    bits: Annotated[int, Bounds(ge=2, le=8)] = 4
    targets: Patterns = ("*",)
    activations: CountOrZero = 0
    act_range: Rate = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.activations == 1 or self.activations > 16:
            raise ValueError(f"activations must be 0 or 2 to 16, not {self.activations}")

    def build(self, module: nn.Module) -> ParameterSpace:
        chosen = chosen_linears(module, "fake-quant", self.targets)
        reach = self._reach(module, chosen) if self.activations else {}
        names, remove = replace_layers(
            module,
            chosen,
            lambda name, linear: FakeQuantLinear(
                linear, self.bits, self.activations, reach.get(name, (-1.0, 1.0))
            ),
        )
        known = {n for n, _ in module.named_parameters()}
        parts = ("weight", "smooth", "shift", "step", "zero", "act_step", "act_zero")
        tuned = [f"{n}.{part}" for n in names for part in parts if f"{n}.{part}" in known]
        return ParameterSpace(module, tuned, kind="fake-quant", remove=remove)

    def _reach(self, module: Any, chosen: dict[str, nn.Linear]) -> dict[str, tuple[float, float]]:
        """The input range of every chosen layer, for its initial quantizer."""
        if self.act_range:
            return dict.fromkeys(chosen, (-self.act_range, self.act_range))
        if not callable(getattr(module, "get_input_embeddings", None)):
            raise ValueError("space 'fake-quant': set act_range for a model without token embeddings")
        reach: dict[str, tuple[float, float]] = {}

        def watch(name: str) -> Callable[..., None]:
            def see(layer: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
                low, high = float(args[0].min()), float(args[0].max())
                before = reach.get(name, (0.0, 0.0))
                reach[name] = (min(low, before[0]), max(high, before[1]))

            return see

        handles = [layer.register_forward_pre_hook(watch(name)) for name, layer in chosen.items()]
        weights = module.get_input_embeddings().weight
        ids = random_tokens(64, weights.shape[0], 0, weights.device).reshape(4, 16)
        try:
            with torch.no_grad():
                module(input_ids=ids)
        finally:
            for handle in handles:
                handle.remove()
        return reach
