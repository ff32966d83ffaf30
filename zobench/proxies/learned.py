"""The learned proxy outside a run, for measurements: trained by Adam on networks with known accuracy.

The loss is that of task ``proxy``; here the last layer starts at zero and one sample of its noise is drawn
for each step. Sizes, alpha, penalty, learning rate and number of steps were not found: they are choices.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zobench.models.ranker.network import initialise_ranker
from zobench.proxies.nets import DEPTHS
from zobench.proxies.ranking import rank_loss
from zobench.proxies.scores import STATISTICS

PENALTY, LR, STEPS = 1e-3, 1e-2, 200


def padded(found: list[Tensor], sizes: list[int]) -> Tensor:
    """Statistics of networks of different depth, with the logarithm of their parameters as a further
    column; shape (networks, blocks, 4)."""
    out = torch.zeros(len(found), max(DEPTHS), STATISTICS + 1, dtype=torch.float64)
    for i, (rows, size) in enumerate(zip(found, sizes, strict=True)):
        out[i, : len(rows), :STATISTICS] = rows
        out[i, : len(rows), STATISTICS] = torch.tensor(float(size)).log()
    return out


def learned(statistics: Tensor, accuracies: Tensor, known: Tensor, *, seed: int) -> Tensor:
    """Predictions for all networks after training on the ``known`` ones (a bool vector).

    ``ValueError`` for fewer than two known networks. The global random state is left unchanged."""
    if int(known.sum()) < 2:
        raise ValueError("a ranking is learned from at least two networks with known accuracy")
    flat = statistics[known].flatten(0, 1)
    spread = flat.std(0).clamp_min(1e-9)
    x = ((statistics - flat.mean(0)) / spread).float()
    y = accuracies[known].float()
    y = (y - y.mean()) / y.std().clamp_min(1e-9)
    mixer = initialise_ranker(seed)
    with torch.no_grad():
        mixer.mean.zero_()
    draws = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(mixer.parameters(), lr=LR)
    for _ in range(STEPS):
        predicted, divergence = mixer(x[known], torch.randn(len(mixer.mean), generator=draws))
        loss = rank_loss(predicted, y) + PENALTY * divergence
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        found: Tensor = mixer(x, torch.zeros(len(mixer.mean)))[0]
    return found
