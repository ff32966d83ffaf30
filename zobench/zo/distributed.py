"""One run on several processes: the points of a step are distributed over ranks, and all losses are gathered.

Every rank holds the model, the same minibatch and the same weights. Of the k losses that a step queries, rank
r computes those at positions r, r + size, r + 2 size ... Afterwards all ranks have all k losses, in the same
order as in a single process, and compute the same update. Communication: 8 bytes per loss, for any model
size.

    dist.init_process_group("gloo", ...)
    optimizer = Fzoo(config, space, seed=0)
    distribute(optimizer, TorchExchange())

Nothing is summed across ranks. The run is therefore bit-identical to one on a single process, provided that a
single loss is (same machine type, thread count, micro-batch shape) and the mode is ``snapshot`` or
``streamed``. ``batched`` stacks different branches together than a single process: results are equal up to
the rounding of batched kernels (1e-5 relative in float32 in the tests). ``in-place`` is refused, because
rounding errors would differ between ranks. Losses queried one at a time (a line search) are computed by rank
0. The meter of every rank counts the forward passes of all ranks.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any, Protocol

import torch

from zobench.zo.base import Optimizer
from zobench.zo.method import Method
from zobench.zo.objective import Objective
from zobench.zo.perturb import Around, Perturbation, Point

DIGITS = 13
"""Number of hexadecimal digits that a float64 represents exactly (52 bits)."""


class Exchange(Protocol):
    """Communication between ranks. ``gather`` is collective: every rank must call it, with lists of the same
    length."""

    rank: int
    size: int

    def gather(self, values: Sequence[float]) -> list[list[float]]:
        """The lists of all ranks, by rank, bit-identical."""
        ...


class TorchExchange:
    """Ranks of an initialized ``torch.distributed`` process group (gloo, nccl, ...)."""

    def __init__(self, group: Any = None) -> None:
        from torch import distributed

        self._group = group
        self.rank = distributed.get_rank(group)
        self.size = distributed.get_world_size(group)
        cuda = distributed.get_backend(group) == "nccl"
        self._device = torch.device("cuda", torch.cuda.current_device()) if cuda else torch.device("cpu")

    def gather(self, values: Sequence[float]) -> list[list[float]]:
        from torch import distributed

        mine = torch.tensor(list(values), dtype=torch.float64, device=self._device)
        parts = [torch.empty_like(mine) for _ in range(self.size)]
        distributed.all_gather(parts, mine, group=self._group)
        return [part.tolist() for part in parts]


class Spread(Around):
    """Losses at several points, each computed by one rank. All ranks return all losses in order.

    An error on one rank is raised there, and as ``RuntimeError`` on the others, so that no rank waits
    forever.
    """

    def __init__(self, inner: Perturbation, exchange: Exchange) -> None:
        super().__init__(inner)
        self.exchange = exchange

    def loss(self, objective: Objective, point: Point) -> float:
        return self.losses(objective, [point])[0]

    def losses(self, objective: Objective, points: Sequence[Point]) -> list[float]:
        if objective.recorded:
            return self.inner.losses(objective, points)
        rank, size = self.exchange.rank, self.exchange.size
        width = math.ceil(len(points) / size)
        mine = list(points[rank::size])
        # The first value sent is 1.0 after an error. A rank with fewer losses pads its list with zeros, since
        # all lists must have the same length.
        try:
            objective.elsewhere(len(points) - len(mine))
            own = self.inner.losses(objective, mine) if mine else []
        except BaseException:
            self.exchange.gather([1.0] * (width + 1))
            raise
        said = self.exchange.gather([0.0, *own, *[0.0] * (width - len(own))])
        failed = [r for r, values in enumerate(said) if values[0]]
        if failed:
            raise RuntimeError(f"rank {failed[0]} failed while computing its losses of this step")
        return [said[i % size][1 + i // size] for i in range(len(points))]


def distribute(optimizer: Optimizer, exchange: Exchange) -> None:
    """Distribute the optimizer's losses over the ranks from now on. Collective: every rank calls it with its
    own optimizer, with the same method, config, seed, weights and step.

    Raises:
        ValueError: the method uses more than losses, the mode is ``in-place``, the optimizer is distributed
            already, or the ranks differ at the start.
    """
    card = optimizer.card
    if not isinstance(optimizer, Method) or card.order not in ("zeroth", "none"):
        raise ValueError(f"{card.name} uses more than losses ({card.order} order): it cannot be distributed")
    perturbation = optimizer.engine.perturbation
    if isinstance(perturbation, Spread):
        raise ValueError(f"{card.name} is distributed over ranks already")
    if not perturbation.exact:
        raise ValueError(
            f"mode {optimizer.engine.mode!r} has rounding errors that differ by rank; use 'snapshot'"
        )
    agree(
        exchange,
        f"{card.name}|{optimizer.config}|{optimizer.seed}|{optimizer.t}",
        "method, config, seed, step",
    )
    agree(exchange, optimizer.space.digest(), "weights")
    optimizer.engine.perturbation = Spread(perturbation, exchange)


def agree(exchange: Exchange, text: str, what: str) -> None:
    """``ValueError`` that names the ranks whose ``text`` differs from that of rank 0. Collective."""
    # ``gather`` transports floats: the digest is sent in parts that float64 represents exactly.
    digest = hashlib.sha256(text.encode()).hexdigest()
    parts = [float(int(digest[i : i + DIGITS], 16)) for i in range(0, len(digest), DIGITS)]
    said = exchange.gather(parts)
    odd = [str(rank) for rank, values in enumerate(said) if values != said[0]]
    if odd:
        raise ValueError(f"ranks {', '.join(odd)} differ from rank 0 in {what}")
