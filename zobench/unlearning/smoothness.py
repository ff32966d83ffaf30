"""Smoothness controls: first-order variants that are said to make unlearning robust (arXiv 2502.05374).

With l_f the forget term, l_r the weighted retain term and g = grad l_f:

    SAM  grad l_f(theta + rho g/||g||) + grad l_r(theta)
    RS   mean_i grad l_f(theta + sigma z_i) + grad l_r(theta),  z_i standard normal
    GP   grad [l_f + rho ||grad l_f||] + grad l_r
    CR   grad [l_f + rho ||H v||] + grad l_r,  H the Hessian of l_f, v = g/||g|| held fixed
    WA   average of the weights seen from a step on

RS is the natural first-order control for a zeroth-order estimator, which too follows the gradient of a
smoothed loss. In GP and CR the penalty is differentiated by a second backward pass; the released code of
these two adds a Python number to the loss, through which no gradient flows. Cost in gradients: SAM 2, RS one
per draw, GP 2, CR 3, and one for the retain term.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import nn

from zobench.unlearning.probes.noise import directions

Gradient = dict[str, torch.Tensor]
Loss = Callable[[nn.Module], torch.Tensor]


def gradient(loss: Loss, module: nn.Module, *, graph: bool = False) -> tuple[torch.Tensor, Gradient]:
    """Loss and its gradient by parameter name; with ``graph`` the gradient can be differentiated again."""
    named = dict(module.named_parameters())
    with torch.enable_grad():
        value = loss(module)
        found = torch.autograd.grad(value, list(named.values()), create_graph=graph, allow_unused=True)
    pairs = zip(named.items(), found, strict=True)
    return value, {n: torch.zeros_like(p) if g is None else g for (n, p), g in pairs}


def norm(values: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Euclidean norm over all tensors together."""
    squares = [(v**2).sum() for v in values.values()]
    return torch.stack(squares).sum().sqrt()


def total(first: Gradient, second: Gradient) -> Gradient:
    """Their sum, by name."""
    return {n: first[n] + second[n] for n in first}


@torch.no_grad()
def _displaced(module: nn.Module, move: Mapping[str, torch.Tensor], scale: float) -> dict[str, torch.Tensor]:
    """Add ``scale * move`` to the parameters and return what they were, to the bit."""
    before = {n: p.detach().clone() for n, p in module.named_parameters()}
    for n, p in module.named_parameters():
        p.add_(move[n], alpha=scale)
    return before


@torch.no_grad()
def _restore(module: nn.Module, before: Mapping[str, torch.Tensor]) -> None:
    for n, p in module.named_parameters():
        p.copy_(before[n])


def _gradient_at(loss: Loss, module: nn.Module, move: Mapping[str, torch.Tensor], scale: float) -> Gradient:
    before = _displaced(module, move, scale)
    try:
        return gradient(loss, module)[1]
    finally:
        _restore(module, before)


def sam(forget: Loss, module: nn.Module, rho: float = 0.01) -> Gradient:
    """Gradient of the forget term at the ascent point; plain where the gradient is zero. Published: 0.01."""
    plain = gradient(forget, module)[1]
    length = float(norm(plain))
    return plain if length == 0 else _gradient_at(forget, module, plain, rho / length)


def randomized_smoothing(
    forget: Loss, module: nn.Module, *, sigma: float = 1e-4, draws: int = 3, seed: int = 0
) -> Gradient:
    """Mean gradient at ``draws`` Gaussian displacements of one step; draw fresh ones by another seed.
    Published setting: sigma 1e-4, 3 draws."""
    if draws < 1 or sigma < 0:
        raise ValueError(f"draws must be positive and sigma not negative: {draws}, {sigma}")
    found = [_gradient_at(forget, module, directions(module, seed * draws + i), sigma) for i in range(draws)]
    return {n: torch.stack([g[n] for g in found]).mean(0) for n in found[0]}


def gradient_penalty(forget: Loss, module: nn.Module, rho: float) -> torch.Tensor:
    """l_f + rho ||grad l_f||, differentiable in the parameters."""
    value, found = gradient(forget, module, graph=True)
    return value + rho * norm(found)


def curvature_penalty(forget: Loss, module: nn.Module, rho: float) -> torch.Tensor:
    """l_f + rho ||H v||, differentiable in the parameters; v is the gradient's direction, held fixed."""
    value, found = gradient(forget, module, graph=True)
    length = norm(found).detach()
    inner = torch.stack([(g * (g.detach() / length)).sum() for g in found.values()]).sum()
    named = list(module.parameters())
    curved = torch.autograd.grad(inner, named, create_graph=True, allow_unused=True)
    return value + rho * norm({str(i): h for i, h in enumerate(curved) if h is not None})


@dataclass(slots=True)
class WeightAverage:
    """Running mean of weights.

    Attributes:
        start: first step that counts; every: steps between two that count (published: 100 and 5).
    """

    start: int = 100
    every: int = 5
    count: int = 0
    mean: dict[str, torch.Tensor] = field(default_factory=dict)

    @torch.no_grad()
    def see(self, module: nn.Module, step: int) -> None:
        """Call after each step with its number from 0."""
        if step < self.start or (step - self.start) % self.every:
            return
        self.count += 1
        for n, p in module.named_parameters():
            before = self.mean.get(n)
            self.mean[n] = (
                p.detach().clone() if before is None else before + (p.detach() - before) / self.count
            )

    @torch.no_grad()
    def write(self, module: nn.Module) -> None:
        """Put the mean into the module; ``ValueError`` if nothing was seen."""
        if not self.count:
            raise ValueError(f"no weights were averaged: averaging starts at step {self.start}")
        _restore(module, self.mean)
