"""The interface of servers: answers and log-likelihoods under a list of low-rank adapters of one base model.

    W_b = W + scale_b * B_b A_b      for adapter b;  ``None`` is the base model

A step of a zeroth-order method in a low-rank space asks for the same prompts under several adapters. A server
decides how: rows of one batch, or requests to an inference engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch


@dataclass(frozen=True)
class Adapter:
    """A low-rank change of some linear layers.

    Attributes:
        factors: name of the linear layer -> (A of shape (r, in), B of shape (out, r)).
        scale: factor of B A (alpha / r).

    Raises:
        ValueError: the ranks of A and B differ, or there is no layer.
    """

    factors: Mapping[str, tuple[torch.Tensor, torch.Tensor]]
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not self.factors:
            raise ValueError("an adapter changes at least one linear layer")
        for name, (a, b) in self.factors.items():
            if a.ndim != 2 or b.ndim != 2 or a.shape[0] != b.shape[1]:
                raise ValueError(
                    f"adapter of {name!r}: A {tuple(a.shape)} and B {tuple(b.shape)} are no factors"
                )

    @property
    def rank(self) -> int:
        """The largest rank of its layers."""
        return max(a.shape[0] for a, _ in self.factors.values())


@dataclass(frozen=True, slots=True)
class AnswerSettings:
    """How answers are generated. ``temperature`` 0: greedy; above 0: ``seeds``, one per prompt, which are the
    same under every adapter (common random numbers)."""

    max_new_tokens: int
    stop: tuple[str, ...] = ()
    temperature: float = 0.0
    seeds: tuple[int, ...] = ()


class Server(Protocol):
    """A base model that answers under adapters."""

    def generate(
        self, prompts: Sequence[str], adapters: Sequence[Adapter | None], decoding: AnswerSettings
    ) -> list[list[str]]:
        """For each adapter, the answer to each prompt, cut before the first stop string."""
        ...

    def score(
        self, prompts: Sequence[str], answers: Sequence[str], adapters: Sequence[Adapter | None]
    ) -> list[list[float]]:
        """For each adapter, the sum of log-probabilities of each answer's tokens after its prompt."""
        ...
