"""Quantization by the package bitsandbytes, as used to load released checkpoints: NF4, FP4 and row-wise int8.

The matrices are quantized and dequantized to the model's precision, so the scored model differs only by the
package's rounding. Requires a release of the package with kernels for the model's device (from 0.47 on also
for CPUs); :mod:`.quantize` answers the same question by plain rounding without the package.
"""

from __future__ import annotations

import copy
import importlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from torch import nn

from zobench.parameters import NonEmpty, OneOf, Parameters
from zobench.unlearning.base import Material, ModelProbe, Variant
from zobench.unlearning.probes.weights import matrices, write

SCHEMES = {"nf4": 4, "fp4": 4, "int8": 8}
"""Scheme -> bits."""
BLOCK = 64
"""Entries that share a scale in the four-bit schemes, the package's default."""


def installed() -> bool:
    """Whether the package can be imported."""
    return importlib.util.find_spec("bitsandbytes") is not None


@dataclass(frozen=True, kw_only=True)
class BitsAndBytesConfig(Parameters):
    """The package's schemes to apply.

    Attributes:
        schemes: any of ``nf4``, ``fp4``, ``int8``.
    """

    schemes: Annotated[tuple[Annotated[str, OneOf(tuple(SCHEMES))], ...], NonEmpty()] = ("nf4", "int8")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not installed():
            raise ValueError(
                "the package bitsandbytes is not installed (pip install 'zobench[bitsandbytes]'); the probe "
                "'quantize' rounds to 8, 4, 3 and 2 bits without it"
            )


def rounded(weight: torch.Tensor, scheme: str, functional: Any) -> torch.Tensor:
    """A matrix quantized and dequantized by ``bitsandbytes.functional``."""
    if scheme == "int8":
        codes, scales, _ = functional.int8_vectorwise_quant(weight.to(torch.float16))
        found: torch.Tensor = functional.int8_vectorwise_dequant(codes, scales)
    else:
        # Blocks run over the flattened matrix. Laid out as rows of one block each, because the CPU kernel of
        # releases from 0.49 takes the wrong scales where a row is no multiple of the block.
        flat = weight.flatten()
        blocks = nn.functional.pad(flat, (0, -len(flat) % BLOCK)).view(-1, BLOCK)
        codes, state = functional.quantize_4bit(blocks, blocksize=BLOCK, quant_type=scheme)
        found = functional.dequantize_4bit(codes, state).flatten()[: len(flat)]
    return found.to(weight).view_as(weight)


class BitsAndBytes(ModelProbe):
    """A copy with quantized matrices for each scheme. ``strength`` is 16 minus the bits. No forward pass."""

    Config = BitsAndBytesConfig
    name: ClassVar[str] = "bitsandbytes"
    config: BitsAndBytesConfig

    def variants(self, module: nn.Module, material: Material) -> Iterator[Variant]:
        functional = importlib.import_module("bitsandbytes.functional")
        for scheme in self.config.schemes:
            changed = copy.deepcopy(module)
            write(changed, {n: _rounded_here(w, scheme, functional) for n, w in matrices(changed).items()})
            yield Variant(16.0 - SCHEMES[scheme], changed, {"scheme": scheme})


def _rounded_here(weight: torch.Tensor, scheme: str, functional: Any) -> torch.Tensor:
    """:func:`rounded`; ``ValueError`` if the installed release has no kernel for the weight's device."""
    try:
        return rounded(weight.detach(), scheme, functional)
    except RuntimeError as error:
        raise ValueError(
            f"the installed bitsandbytes cannot round {scheme} on {weight.device}: {error}"
        ) from error
