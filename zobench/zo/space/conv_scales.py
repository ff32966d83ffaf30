"""Scales of quantized convolutions and linear layers (for QZO on image models, arXiv 2505.13430).

W[o, ...] = scale[o, g] * code[o, ...]: the weights of one output channel, flattened, are divided into groups
that share a scale, as the inputs of a linear layer are in space ``scales``. Only the scales are tuned.
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import nn

from zobench.zo.parameters import Bounds, CountOrZero, Parameters, Patterns
from zobench.zo.space.base import ParameterSpace
from zobench.zo.space.quantized import QuantizedLinear, replace_layers, rounded_to_codes

KIND = "conv-scales"


class QuantizedConv2d(nn.Module):
    """A convolution of frozen integer codes and tunable scales (symmetric round-to-nearest)."""

    codes: torch.Tensor

    def __init__(self, convolution: nn.Conv2d, bits: int, group: int) -> None:
        super().__init__()
        weight = convolution.weight.detach()
        self.shape = weight.shape
        codes, scales = rounded_to_codes(weight.flatten(1), bits, group)
        self.register_buffer("codes", codes)
        self.scales = nn.Parameter(scales, requires_grad=False)
        self.bias = convolution.bias
        self.settings: dict[str, Any] = {
            name: getattr(convolution, name) for name in ("stride", "padding", "dilation", "groups")
        }

    @property
    def weight(self) -> torch.Tensor:
        """The dequantized weights, of the convolution's shape."""
        return (self.codes.to(self.scales.dtype) * self.scales[:, :, None]).reshape(self.shape)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.conv2d(x, self.weight, self.bias, **self.settings)


@dataclass(frozen=True)
class ConvScales(Parameters):
    """Scales of convolutions and linear layers quantized by rounding to nearest.

    Attributes:
        bits: bits per code, 2 to 8.
        group: number of weights of an output channel that share a scale; 0: all. A layer with fewer weights
            per channel has one scale per channel.
        targets: glob patterns that are matched with a layer's name and with its last part.
    """

    bits: Annotated[int, Bounds(ge=2, le=8)] = 4
    group: CountOrZero = 0
    targets: Patterns = ("*",)

    def build(self, module: nn.Module) -> ParameterSpace:
        chosen = self._chosen(module)
        names, remove = replace_layers(module, chosen, lambda name, layer: self._quantized(layer))
        return ParameterSpace(module, [f"{n}.scales" for n in names], kind=KIND, remove=remove)

    def _quantized(self, layer: nn.Module) -> nn.Module:
        if isinstance(layer, nn.Conv2d):
            return QuantizedConv2d(layer, self.bits, self.group)
        assert isinstance(layer, nn.Linear)
        return QuantizedLinear(layer, self.bits, self.group)

    def _chosen(self, module: nn.Module) -> dict[str, nn.Module]:
        layers = {n: m for n, m in module.named_modules() if n and isinstance(m, (nn.Conv2d, nn.Linear))}
        chosen: dict[str, nn.Module] = {
            n: m
            for n, m in layers.items()
            if any(fnmatch.fnmatchcase(part, p) for p in self.targets for part in (n, n.rpartition(".")[2]))
        }
        if not chosen:
            there = sorted({n.rpartition(".")[2] for n in layers})
            raise ValueError(
                f"space {KIND!r}: {list(self.targets)} match no linear layer or convolution; there are "
                f"{', '.join(there)}"
            )
        for name, layer in chosen.items():
            width = layers[name].weight[0].numel()
            if self.group and width > self.group and width % self.group:
                raise ValueError(
                    f"space {KIND!r}: the {width} weights per channel of {name!r} do not divide into groups "
                    f"of {self.group}; 0 uses one group per channel"
                )
            if isinstance(layer, nn.Conv2d) and layer.padding_mode != "zeros":
                raise ValueError(f"space {KIND!r}: {name!r} pads with {layer.padding_mode}, not with zeros")
        return chosen
