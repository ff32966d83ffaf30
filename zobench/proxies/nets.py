"""Small transformer classifiers that differ in depth, width, feed-forward size, heads and activation.

Each has a linear embedding of its inputs (one-hot words, or 4 by 4 pixel blocks) with learned positions,
blocks of attention and a feed-forward part with layer normalization before them, the mean over positions, and
a linear classification layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from zobench.data.synthetic.draw import stream

DEPTHS, WIDTHS, RATIOS, HEADS = (1, 2, 3, 4), (8, 16, 32, 64), (0.5, 1.0, 2.0, 4.0), (1, 2, 4)
ACTIVATIONS: tuple[Literal["relu", "gelu"], ...] = ("relu", "gelu")


@dataclass(frozen=True, slots=True)
class Design:
    """One architecture. ``ratio``: hidden units of the feed-forward part, in multiples of ``width``."""

    depth: int
    width: int
    ratio: float
    heads: int
    activation: Literal["relu", "gelu"]

    @property
    def hidden(self) -> int:
        return max(1, round(self.ratio * self.width))


def designs(count: int, seed: int = 0) -> list[Design]:
    """``count`` different designs. ``ValueError`` if there are fewer."""
    every = [
        Design(depth, width, ratio, heads, activation)
        for depth in DEPTHS
        for width in WIDTHS
        for ratio in RATIOS
        for heads in HEADS
        for activation in ACTIVATIONS
    ]
    if count > len(every):
        raise ValueError(f"there are {len(every)} designs, not {count}")
    return stream(seed, "designs").sample(every, count)


class TransformerBlock(nn.Module):
    """Attention and feed-forward part, each with a skip connection."""

    def __init__(self, design: Design) -> None:
        super().__init__()
        width = design.width
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, design.heads, batch_first=True)
        self.inner = nn.Linear(width, design.hidden)
        self.activation = nn.ReLU() if design.activation == "relu" else nn.GELU()
        self.outer = nn.Linear(design.hidden, width)

    def forward(self, x: Tensor, padding: Tensor) -> Tensor:
        y = self.norm1(x)
        attended, _ = self.attention(y, y, y, key_padding_mask=padding, need_weights=False)
        x = x + attended
        fed: Tensor = self.outer(self.activation(self.inner(self.norm2(x))))
        return x + fed


class Classifier(nn.Module):
    """``model(inputs, padding)``: logits for inputs of shape (examples, positions, features); ``padding`` is
    True at positions that are left out."""

    def __init__(self, design: Design, features: int, positions: int, classes: int) -> None:
        super().__init__()
        self.design = design
        self.embed = nn.Linear(features, design.width)
        self.place = nn.Parameter(torch.zeros(positions, design.width))
        self.blocks = nn.ModuleList(TransformerBlock(design) for _ in range(design.depth))
        self.head = nn.Linear(design.width, classes)

    def forward(self, inputs: Tensor, padding: Tensor) -> Tensor:
        x = self.embed(inputs) + self.place
        for block in self.blocks:
            x = block(x, padding)
        kept = (~padding)[..., None].to(x)
        logits: Tensor = self.head((x * kept).sum(1) / kept.sum(1).clamp_min(1))
        return logits


def initialised(design: Design, features: int, positions: int, classes: int, seed: int) -> Classifier:
    """A network whose weights depend on ``seed`` alone; the global random state is left unchanged."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = Classifier(design, features, positions, classes).eval()
        with torch.no_grad():
            net.place.normal_(std=0.02)
    return net
