"""The space ``codes``: integer codes of quantized linear layers, with frozen scales.

W[o, i] = scale[o, i // group] code[o, i],  code in {-top .. top}, top = 2^(bits - 1) - 1

Codes start as the rounding of W / scale to nearest, scale = max |W| / top over the group (symmetric, as in
space ``scales``). They are stored as floating-point numbers in the layer's dtype, which holds integers up to
127 exactly. Methods for quantized weights (``qes``, ``quzo``, ``zoqo``) move them by whole levels. Other
methods treat a code as a real number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import nn

from zobench.zo.parameters import Bounds, CountOrZero, Parameters, Patterns
from zobench.zo.space.base import ParameterSpace
from zobench.zo.space.quantized import QuantizedLinear, chosen_linears, misfit, replace_layers


class CodedLinear(nn.Module):
    """A linear layer of tunable integer codes and frozen scales."""

    scales: torch.Tensor

    def __init__(self, linear: nn.Linear, bits: int, group: int) -> None:
        super().__init__()
        quantized = QuantizedLinear(linear, bits, group)
        self.group = quantized.group
        scales = quantized.scales.detach()
        self.register_buffer("scales", scales)
        self.codes = nn.Parameter(quantized.codes.flatten(1).to(scales.dtype), requires_grad=False)
        self.bias = linear.bias

    def step(self) -> torch.Tensor:
        """The size of one level for every code, out x in."""
        return self.scales.repeat_interleave(self.group, dim=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        blocks = self.codes.unflatten(1, (-1, self.group))
        return nn.functional.linear(x, (blocks * self.scales[:, :, None]).flatten(1), self.bias)


class CodeSpace(ParameterSpace):
    """Integer codes of the replaced layers.

    Attributes:
        top: largest code; the smallest is -top.
    """

    top: int

    def step(self, name: str) -> torch.Tensor:
        """The size of one level of every code of this tensor, in units of the weight."""
        layer = self.module.get_submodule(name.removesuffix(".codes"))
        assert isinstance(layer, CodedLinear)
        return layer.step()


@dataclass(frozen=True)
class Codes(Parameters):
    """Integer codes of linear layers quantized by rounding to nearest.

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
        chosen = chosen_linears(module, "codes", self.targets)
        if problem := misfit(chosen, self.group):
            raise ValueError(problem)
        names, remove = replace_layers(
            module, chosen, lambda name, linear: CodedLinear(linear, self.bits, self.group)
        )
        space = CodeSpace(module, [f"{n}.codes" for n in names], kind="codes", remove=remove)
        space.top = 2 ** (self.bits - 1) - 1
        return space
