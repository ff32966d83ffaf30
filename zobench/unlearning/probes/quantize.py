"""Round-to-nearest quantization of weights, per row or per group of columns, 8 to 2 bits.

    scale = max |w| / (2^(b-1) - 1),   w <- scale * clamp(round(w / scale), -(2^(b-1) - 1), 2^(b-1) - 1)

Quantization is symmetric and simulated in the model's precision. With two bits the codes are {-1, 0, 1}.
Applying it again changes nothing except by rounding of the scale. :func:`step_ratio` measures the size of the
weight change in quantization steps, :func:`rounding` what is left of it afterwards; both bear on whether
quantization can undo unlearning.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import nn

from zobench.parameters import Bounds, CountOrZero, NonEmpty, Parameters
from zobench.unlearning.base import Material, ModelProbe, Variant
from zobench.unlearning.probes.weights import matrices, write


@dataclass(frozen=True, kw_only=True)
class QuantizeConfig(Parameters):
    """Round-to-nearest quantization.

    Attributes:
        bits: bit widths, 2 to 8.
        groups: numbers of columns that share a scale; 0: the whole row of the matrix.
    """

    bits: Annotated[tuple[Annotated[int, Bounds(ge=2, le=8)], ...], NonEmpty()] = (8, 4, 3, 2)
    groups: Annotated[tuple[CountOrZero, ...], NonEmpty()] = (0, 64)


def steps(weight: torch.Tensor, bits: int, group: int = 0) -> torch.Tensor:
    """The quantization step of every entry, in the shape of ``weight`` (rows, columns).

    It is 0 if all entries of a group are 0. The last group of a row may be shorter."""
    top = 2 ** (bits - 1) - 1
    columns = weight.shape[1]
    size = columns if group == 0 else min(group, columns)
    parts = [part.abs().amax(1, keepdim=True).expand_as(part) for part in weight.split(size, dim=1)]
    return torch.cat(parts, 1) / top


def codes(weight: torch.Tensor, bits: int, group: int = 0) -> torch.Tensor:
    """The integer codes of the weights, in the weight's dtype."""
    top = 2 ** (bits - 1) - 1
    step = steps(weight, bits, group)
    safe = torch.where(step > 0, step, torch.ones_like(step))
    return (weight / safe).round().clamp(-top, top)


def round_to_nearest(weight: torch.Tensor, bits: int, group: int = 0) -> torch.Tensor:
    """The weights after quantization and dequantization."""
    return codes(weight, bits, group) * steps(weight, bits, group)


@dataclass(frozen=True, slots=True)
class StepRatio:
    """|W - W_original| / quantization step of W: median, and share of entries above half a step."""

    median: float
    above_half: float


@torch.no_grad()
def step_ratio(module: nn.Module, original: nn.Module, bits: int, group: int = 0) -> StepRatio:
    """Over all quantized weights. Well below 1, rounding undoes the change; well above, it cannot."""
    before = matrices(original)
    ratios = []
    for name, weight in matrices(module).items():
        step = steps(weight, bits, group)
        moved = (weight - before[name]).abs()
        ratios.append((moved / step)[step > 0].flatten().double())
    joined = torch.cat(ratios)
    return StepRatio(float(joined.median()), float((joined > 0.5).double().mean()))


@dataclass(frozen=True, slots=True)
class Rounding:
    """What rounding leaves of a change W - W_0 (arXiv 2602.13151): ``flipped``, the share of entries with
    another code, each matrix with the steps of its own; ``kept``, |Q(W) - Q(W_0)| / |W - W_0| over all of
    them (above 1 where steps are larger than changes), NaN without a change."""

    flipped: float
    kept: float


@torch.no_grad()
def rounding(module: nn.Module, original: nn.Module, bits: int, group: int = 0) -> Rounding:
    """Over all quantized weights. A change below half a step can cross the boundary between two codes, and
    one above it need not have changed what the model knows: read both beside the forget score."""
    before = matrices(original)
    flips = entries = 0
    moved = left = 0.0
    for name, weight in matrices(module).items():
        old = before[name]
        flips += int((codes(weight, bits, group) != codes(old, bits, group)).sum())
        entries += weight.numel()
        rounded = round_to_nearest(weight, bits, group) - round_to_nearest(old, bits, group)
        left += float(rounded.double().square().sum())
        moved += float((weight - old).double().square().sum())
    return Rounding(flips / entries, math.sqrt(left / moved) if moved else math.nan)


class Quantize(ModelProbe):
    """A copy with quantized matrices for each group size and bit width.

    ``strength`` is 16 minus the bits. With ``material.original`` the params contain the weight change in
    quantization steps. Cost: no forward pass."""

    Config = QuantizeConfig
    name: ClassVar[str] = "quantize"
    config: QuantizeConfig

    def variants(self, module: nn.Module, material: Material) -> Iterator[Variant]:
        for group in self.config.groups:
            for bits in self.config.bits:
                changed = copy.deepcopy(module)
                values = {n: round_to_nearest(w.detach(), bits, group) for n, w in matrices(changed).items()}
                write(changed, values)
                params = {"bits": float(bits), "group": float(group)}
                if material.original is not None:
                    ratio = step_ratio(module, material.original, bits, group)
                    params |= {"moved_steps": ratio.median, "moved_above_half": ratio.above_half}
                    crossed = rounding(module, material.original, bits, group)
                    params["codes_flipped"] = crossed.flipped
                    if math.isfinite(crossed.kept):
                        params["change_kept"] = crossed.kept
                yield Variant(16.0 - bits, changed, params)
