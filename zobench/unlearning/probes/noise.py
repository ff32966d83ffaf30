"""Gaussian noise on all weights, of given standard deviation or of given norm.

The noise of one (seed, draw) is the same direction for every size. It is drawn on the CPU, so it does not
depend on the device. Noise of equal norm is also a baseline of unlearning suites.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import nn

from zobench.parameters import Count, NonEmpty, Parameters, Rate
from zobench.unlearning.base import Material, ModelProbe, Variant


@dataclass(frozen=True, kw_only=True)
class NoiseConfig(Parameters):
    """Isotropic weight noise.

    Attributes:
        sigmas: standard deviations per weight.
        draws: number of independent draws.
    """

    sigmas: Annotated[tuple[Rate, ...], NonEmpty()] = (0.005, 0.01, 0.02)
    draws: Count = 1


def directions(module: nn.Module, seed: int) -> dict[str, torch.Tensor]:
    """A standard normal tensor per parameter, determined by (seed, order and shapes of parameters) alone."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(p.shape, generator=generator, dtype=torch.float32).to(p)
        for name, p in module.named_parameters()
    }


@torch.no_grad()
def add_noise_(module: nn.Module, sigma: float, seed: int) -> None:
    """theta <- theta + sigma z. The same call with ``-sigma`` undoes it up to rounding."""
    z = directions(module, seed)
    for name, p in module.named_parameters():
        p.add_(z[name], alpha=sigma)


@torch.no_grad()
def add_noise_of_norm_(module: nn.Module, norm: float, seed: int) -> None:
    """theta <- theta + norm * z / ||z||."""
    total = math.sqrt(sum(float((z.double() ** 2).sum()) for z in directions(module, seed).values()))
    add_noise_(module, norm / total, seed)


class WeightNoise(ModelProbe):
    """A noisy copy for each draw and standard deviation. Cost: no forward pass."""

    Config = NoiseConfig
    name: ClassVar[str] = "weight-noise"
    config: NoiseConfig

    def variants(self, module: nn.Module, material: Material) -> Iterator[Variant]:
        for draw in range(self.config.draws):
            for sigma in self.config.sigmas:
                changed = copy.deepcopy(module)
                # Seeds of up to 1,000 draws do not overlap with those of the next material seed.
                add_noise_(changed, sigma, seed=material.seed * 1000 + draw)
                yield Variant(sigma, changed, {"draw": float(draw)})
