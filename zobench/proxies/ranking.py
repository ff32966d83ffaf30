"""What proxies say about untrained networks, and the loss of the one that learns (ParZC, arXiv 2402.02105).

The learned proxy sees, for each block of a network, its statistics (:mod:`zobench.proxies.scores`) and the
logarithm of the network's number of weights. It is trained on networks with known accuracy y by

    -mean over pairs of tanh(alpha * (p_i - p_j) * (y_i - y_j))

p the predictions and y the standardized accuracies: a differentiable Kendall rank correlation. alpha was not
found: it is a choice.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from zobench.data.synthetic.draw import stream
from zobench.proxies import nets, scores, training

ALPHA = 1.0
FIXED = ("parameters", "random", "w-pca", "pca-alone")
"""Proxies without training: the number of weights, a random order, W-PCA, and W-PCA without the number of
weights."""
BLOCKS, COLUMNS = max(nets.DEPTHS), scores.STATISTICS + 1


@functools.lru_cache(maxsize=1024)
def statistics(kind: training.DataKind, design: nets.Design, seed: int, inits: int) -> Tensor:
    """Statistics of the blocks, means over ``inits`` initializations of the seed, on its first minibatch.
    Shape (BLOCKS, COLUMNS), zero for absent blocks. Cost: ``inits`` forward passes."""
    found = training.data(kind)
    inputs, padding, _ = found.batch(seed, 0)
    networks = [found.network(design, 1000 * seed + i) for i in range(inits)]
    rows = torch.stack([scores.statistics(net, inputs, padding) for net in networks]).mean(0)
    out = torch.zeros(BLOCKS, COLUMNS, dtype=torch.float64)
    out[: len(rows), : scores.STATISTICS] = rows
    out[: len(rows), scores.STATISTICS] = float(scores.parameters(networks[0]))
    out[: len(rows), scores.STATISTICS].log_()
    return out


def fixed(kind: training.DataKind, design: nets.Design, seed: int, inits: int) -> dict[str, float]:
    """The scores of the proxies ``FIXED``."""
    rows = statistics(kind, design, seed, inits)[: design.depth]
    share, size = float(rows[:, 0].mean()), float(rows[0, scores.STATISTICS].exp().round())
    drawn = stream(seed, "random proxy", kind, str(design)).random()
    return {"parameters": size, "random": drawn, "w-pca": size * share, "pca-alone": share}


def rank_loss(predicted: Tensor, accuracies: Tensor, alpha: float = ALPHA) -> Tensor:
    """Minus the mean of tanh(alpha dp dy) over all pairs; 0 for a single network."""
    p, y = predicted[:, None] - predicted, accuracies[:, None] - accuracies
    pairs = torch.triu(torch.ones_like(p, dtype=torch.bool), diagonal=1)
    return -torch.tanh(alpha * p * y)[pairs].sum() / max(1, int(pairs.sum()))
