"""The clients of a federated run: their method, and which training examples each of them has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from zobench.runner.data_order import stream

if TYPE_CHECKING:
    from zobench.distribution import Clients


def shares(labels: Sequence[int | None], clients: Clients, seed: int, task: str) -> list[tuple[int, ...]]:
    """Indices of the examples of every client; a function of its arguments.

    Without ``skew``, the examples are dealt at random in equal shares. With it, the shares of each class are
    drawn from a Dirichlet distribution over the clients with this concentration (arXiv 1909.06335): at 0.1
    most clients have examples of few classes, at 100 the shares are nearly equal. A client that would have
    none gets one from the client with the most.

    Raises:
        ValueError: there are fewer examples than clients, or skewed shares of examples without classes.
    """
    number, skew = clients.number, clients.skew
    if len(labels) < number:
        raise ValueError(f"{number} clients cannot share {len(labels)} training examples")
    rng = stream("clients", seed, task, number, skew)
    if skew is None:
        return [tuple(sorted(part.tolist())) for part in np.array_split(rng.permutation(len(labels)), number)]
    if None in labels:
        raise ValueError("clients.skew needs examples with classes; this task has none")
    held: list[list[int]] = [[] for _ in range(number)]
    for label in sorted({label for label in labels if label is not None}):
        members = rng.permutation([i for i, own in enumerate(labels) if own == label])
        ends = np.round(np.cumsum(rng.dirichlet([skew] * number)) * len(members)).astype(int)
        for client, part in enumerate(np.split(members, ends[:-1])):
            held[client] += part.tolist()
    for own in held:
        if not own:
            own.append(max(held, key=len).pop())
    return [tuple(sorted(own)) for own in held]


def rounds_of(clients: Clients, method: Any, config: Any) -> tuple[Any, Any]:
    """The optimizer class and config of federated rounds of this method."""
    from zobench.zo.rounds import Rounds, RoundsConfig

    limit = clients.limit
    return Rounds, RoundsConfig(
        method=method,
        inner=config,
        clients=clients.number,
        local_steps=clients.local_steps,
        drop_out=clients.drop_out,
        gradip=clients.gradip,
        window=0 if limit is None else limit.window,
        ratio=0.1 if limit is None else limit.ratio,
    )
