"""ParZC (arXiv 2402.02105): a small network with Bayesian layers that learns to rank from node statistics.

Rows are blocks, columns their statistics; a mixer applies a layer across the columns of each block and one
across the blocks. Weights of the last layer are Gaussian, w = m + exp(s) e, trained by sampling e, with
the divergence KL(q || N(0, 1)) as penalty, and scored at their means. Training minimizes

    -mean over pairs of tanh(alpha * (p_i - p_j) * (y_i - y_j))

p the predictions, y the accuracies (both standardized): a differentiable Kendall rank correlation. Sizes,
alpha, penalty, learning rate and number of steps were not found: they are choices.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zobench.proxies.nets import DEPTHS
from zobench.proxies.scores import STATISTICS


@dataclass(frozen=True, slots=True)
class ParzcConfig:
    """Choices of the learned proxy."""

    width: int = 16
    alpha: float = 1.0
    penalty: float = 1e-3
    lr: float = 1e-2
    steps: int = 200


class Mixer(nn.Module):
    """Predictions for statistics of shape (networks, blocks, columns), zero for absent blocks."""

    def __init__(self, width: int, columns: int) -> None:
        super().__init__()
        self.across_columns = nn.Sequential(nn.Linear(columns, width), nn.GELU(), nn.Linear(width, width))
        self.across_blocks = nn.Sequential(nn.Linear(max(DEPTHS), width), nn.GELU(), nn.Linear(width, 1))
        self.mean = nn.Parameter(torch.zeros(width))
        self.spread = nn.Parameter(torch.full((width,), -3.0))

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        mixed = self.across_blocks(self.across_columns(x).transpose(1, 2))[..., 0]
        predicted: Tensor = mixed @ (self.mean + self.spread.exp() * noise)
        return predicted

    def divergence(self) -> Tensor:
        """KL(q || N(0, 1)) of the Bayesian layer."""
        variance = (2 * self.spread).exp()
        return 0.5 * (variance + self.mean.square() - 1 - 2 * self.spread).sum()


def padded(found: list[Tensor], sizes: list[int]) -> Tensor:
    """Statistics of networks of different depth, with the logarithm of their parameters as a further
    column; shape (networks, blocks, 4)."""
    out = torch.zeros(len(found), max(DEPTHS), STATISTICS + 1, dtype=torch.float64)
    for i, (rows, size) in enumerate(zip(found, sizes, strict=True)):
        out[i, : len(rows), :STATISTICS] = rows
        out[i, : len(rows), STATISTICS] = torch.tensor(float(size)).log()
    return out


def rank_loss(predicted: Tensor, accuracies: Tensor, alpha: float) -> Tensor:
    """Minus the mean of tanh(alpha dp dy) over all pairs."""
    p, y = predicted[:, None] - predicted, accuracies[:, None] - accuracies
    pairs = torch.triu(torch.ones_like(p, dtype=torch.bool), diagonal=1)
    return -torch.tanh(alpha * p * y)[pairs].mean()


def learned(
    statistics: Tensor, accuracies: Tensor, known: Tensor, *, seed: int, config: ParzcConfig | None = None
) -> Tensor:
    """Predictions for all networks after training on the ``known`` ones (a bool vector).

    ``ValueError`` for fewer than two known networks. The global random state is left unchanged."""
    c = config or ParzcConfig()
    if int(known.sum()) < 2:
        raise ValueError("a ranking is learned from at least two networks with known accuracy")
    flat = statistics[known].flatten(0, 1)
    spread = flat.std(0).clamp_min(1e-9)
    x = ((statistics - flat.mean(0)) / spread).float()
    y = accuracies[known].float()
    y = (y - y.mean()) / y.std().clamp_min(1e-9)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        mixer = Mixer(c.width, x.shape[2])
        draws = torch.Generator().manual_seed(seed)
        optimizer = torch.optim.Adam(mixer.parameters(), lr=c.lr)
        for _ in range(c.steps):
            noise = torch.randn(c.width, generator=draws)
            loss = rank_loss(mixer(x[known], noise), y, c.alpha) + c.penalty * mixer.divergence()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        found: Tensor = mixer(x, torch.zeros(c.width))
    return found
