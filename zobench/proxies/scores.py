"""Scores of untrained networks, from forward passes alone.

W-PCA (arXiv 2504.15983), for the feed-forward outputs H_l (rows: all tokens without padding) at random
initialization:

    score = parameters * (1/L) sum_l PC(H_l) / min(d_in, d_out)

PC is the number of principal components whose cumulative share of the variance first exceeds ``share``
(0.99); d_in and d_out are those of the layer that gives H_l. Covariances are centred, eigenvalues that
rounding made negative count as 0.

Statistics of each block, the nodes of the forward-only variant of ParZC (arXiv 2402.02105, whose usual
statistics need gradients; the choice of these three is ours): PC / min(d_in, d_out); the logarithm of the
root mean square of H_l; and, as in NASWOT (arXiv 2006.04647), log det K / n of the n examples' signs after
the first layer of the feed-forward part, K the share of equal signs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from zobench.proxies.nets import Classifier, TransformerBlock

SHARE = 0.99
STATISTICS = 3


def components(rows: Tensor, share: float = SHARE) -> int:
    """The number of principal components of ``rows`` (n x d) whose cumulative share of the variance first
    exceeds ``share``; 0 without variance. ``ValueError`` for fewer rows than columns, whose covariance has no
    full rank."""
    if rows.shape[0] <= rows.shape[1]:
        raise ValueError(f"{rows.shape[0]} rows of {rows.shape[1]} values: more rows than columns are needed")
    centred = rows.double() - rows.double().mean(0)
    values = torch.linalg.eigvalsh(centred.T @ centred).clamp_min(0).flip(0)
    total = float(values.sum())
    if total == 0:
        return 0
    return min(int((values.cumsum(0) / total <= share).sum()) + 1, len(values))


@contextmanager
def _watched(net: Classifier) -> Iterator[tuple[list[Tensor], list[Tensor]]]:
    """Outputs of the first layers and of the feed-forward parts of all blocks, as they are computed."""
    inner: list[Tensor] = []
    outer: list[Tensor] = []
    handles = []
    for block in net.blocks:
        assert isinstance(block, TransformerBlock)
        for layer, found in ((block.inner, inner), (block.outer, outer)):
            handles.append(layer.register_forward_hook(_keeping(found)))
    try:
        yield inner, outer
    finally:
        for handle in handles:
            handle.remove()


def _keeping(found: list[Tensor]) -> Callable[[nn.Module, Any, Tensor], None]:
    def hook(layer: nn.Module, args: Any, output: Tensor) -> None:
        found.append(output.detach())

    return hook


@torch.no_grad()
def statistics(net: Classifier, inputs: Tensor, padding: Tensor) -> Tensor:
    """The statistics of each block, shape (depth, 3). Cost: one forward pass."""
    with _watched(net) as (inner, outer):
        net(inputs, padding)
    design, rows = net.design, []
    for first, last in zip(inner, outer, strict=True):
        tokens = last[~padding]
        size = float(tokens.double().square().mean().sqrt())
        signs = (first > 0).masked_fill(padding[..., None], False).flatten(1).double()
        equal = (signs @ signs.T + (1 - signs) @ (1 - signs).T) / signs.shape[1]
        kernel = equal + 1e-6 * torch.eye(len(equal), dtype=equal.dtype)
        share = components(tokens) / min(design.hidden, design.width)
        rows.append([share, math.log(size + 1e-12), float(torch.linalg.slogdet(kernel)[1]) / len(equal)])
    return torch.tensor(rows, dtype=torch.float64)


def parameters(net: nn.Module) -> int:
    """Number of weights."""
    return sum(p.numel() for p in net.parameters())


def w_pca(net: Classifier, found: Tensor) -> float:
    """The score from :func:`statistics`."""
    return parameters(net) * float(found[:, 0].mean())
