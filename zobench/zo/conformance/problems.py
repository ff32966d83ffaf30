"""Small problems with known answers: a quadratic, a logistic regression, a two-block causal transformer. They
need torch only.

Each ``Problem`` always builds the same module: the weights are fixed functions of their index, without random
state. Its loss runs the given module, so that functional calls, vmap and forward mode work.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from zobench.zo import noise


def _fixed(label: str, *shape: int) -> torch.Tensor:
    """Standard normal numbers, a function of the label, float64."""
    return noise.sample(shape, seed=20, key=noise.tensor_key(label), kind="gaussian").double()


@dataclass(frozen=True)
class Problem:
    """A test problem.

    Attributes:
        name: its name in messages.
        make: ``make(dtype)`` -> module.
        loss: ``loss(module, batch)`` -> scalar tensor.
        batch: its minibatch.
        sequences: number of sequences in the minibatch.
        tokens: number of tokens in the minibatch.
        items: ``items(module, batch)`` -> losses of the examples, whose mean is the loss; ``None``: one item.
    """

    name: str
    make: Callable[[torch.dtype], nn.Module]
    loss: Callable[[nn.Module, Any], torch.Tensor]
    batch: Any
    sequences: int
    tokens: int
    items: Callable[[nn.Module, Any], torch.Tensor] | None = None


class Quadratic(nn.Module):
    """L = 1/2 sum_i h_i (theta_i - t_i)^2 over a 3 x 4 matrix and a vector of 5; h from 0.5 to 2."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.matrix = nn.Parameter(_fixed("matrix", 3, 4).to(dtype))
        self.vector = nn.Parameter(_fixed("vector", 5).to(dtype))

    def forward(self) -> torch.Tensor:
        theta = torch.cat([self.matrix.reshape(-1), self.vector])
        return 0.5 * (hessian().to(theta) * (theta - target().to(theta)) ** 2).sum()


def hessian() -> torch.Tensor:
    """The diagonal of the quadratic's Hessian, 17 entries."""
    return torch.linspace(0.5, 2.0, 17, dtype=torch.float64)


def target() -> torch.Tensor:
    """The quadratic's minimizer."""
    return torch.linspace(-0.5, 0.5, 17, dtype=torch.float64)


class Attention(nn.Module):
    """One head of causal attention in plain operations, which support forward mode and vmap."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.o_proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        length = x.shape[1]
        scores = self.q_proj(x) @ self.k_proj(x).transpose(1, 2) / math.sqrt(x.shape[2])
        future = torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1)
        # -1e4 is finite in float16; its softmax is exactly 0.
        return self.o_proj(scores.masked_fill(future, -1e4).softmax(dim=2) @ self.v_proj(x))


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention = Attention(width)
        self.layer_norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.layer_norm(x))
        return x + self.down(torch.tanh(self.up(x)))


class Transformer(nn.Module):
    """Two blocks of width 8 over 11 tokens, output tied to the embedding."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        # The layers draw initial weights, which are overwritten below: the global state must not change.
        with torch.random.fork_rng():
            self.embedding = nn.Embedding(11, 8)
            self.layers = nn.ModuleList([Block(8), Block(8)])
            self.head = nn.Linear(8, 11, bias=False)
        self.head.weight = self.embedding.weight
        with torch.no_grad():
            for name, p in self.named_parameters():
                if "layer_norm" not in name:
                    p.copy_(_fixed(name, *p.shape) * 0.4)
        self.to(dtype)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.embedding(ids)
        for layer in self.layers:
            x = layer(x)
        return self.head(x)


def _next_token_of_each(module: nn.Module, ids: torch.Tensor) -> torch.Tensor:
    logits = module(ids)[:, :-1]
    logits = logits.float() if logits.dtype.itemsize < 4 else logits
    return nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none").mean(dim=1)


def _next_token(module: nn.Module, ids: torch.Tensor) -> torch.Tensor:
    logits = module(ids)[:, :-1].flatten(0, 1)
    return nn.functional.cross_entropy(
        logits.float() if logits.dtype.itemsize < 4 else logits, ids[:, 1:].flatten()
    )


class Logistic(nn.Module):
    """Binary classifier on 6 features."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        with torch.random.fork_rng():
            self.linear = nn.Linear(6, 1)
        with torch.no_grad():
            self.linear.weight.zero_()
            self.linear.bias.zero_()
        self.to(dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x.to(self.linear.weight.dtype))[:, 0]


def _logistic_loss(module: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    logits = module(batch[0])
    return nn.functional.binary_cross_entropy_with_logits(logits, batch[1].to(logits.dtype))


def _logistic_loss_of_each(module: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    logits = module(batch[0])
    return nn.functional.binary_cross_entropy_with_logits(logits, batch[1].to(logits.dtype), reduction="none")


def _logistic_batch() -> tuple[torch.Tensor, torch.Tensor]:
    x = _fixed("features", 32, 6)
    return x, (x @ torch.linspace(-1, 1, 6, dtype=torch.float64) > 0).double()


def quadratic() -> Problem:
    return Problem("quadratic", Quadratic, lambda module, batch: module(), None, 1, 0)


def logistic() -> Problem:
    return Problem(
        "logistic regression", Logistic, _logistic_loss, _logistic_batch(), 32, 0, _logistic_loss_of_each
    )


def transformer() -> Problem:
    ids = (torch.arange(24).reshape(4, 6) * torch.tensor([[1], [2], [3], [5]])) % 11
    return Problem("tiny transformer", Transformer, _next_token, ids, 4, 24, _next_token_of_each)
