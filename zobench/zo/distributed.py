"""One run in shards, on one process or several: the losses of a step are divided, and all are gathered.

Every process (rank) holds the model, the same minibatch and the same weights. A :class:`Grid` divides the
work of a step into shards: the k losses that the step queries among ``branches`` groups (group b has those at
positions b, b + branches, ...), and the minibatch into ``parts``; arXiv 2507.03211 combines both. A rank
computes a contiguous range of shards, one after another (in mode ``offload`` those of one part together, so
that a block of weights is visited once for all of them). Afterwards all ranks have all k losses, in the same
order, and compute the same update. Communication for any model size: one float64 per loss and part, one per
part for its number of items, and one per exchange that says whether the rank failed.

    dist.init_process_group("gloo", ...)
    optimizer = Fzoo(config, space, seed=0)
    distribute(optimizer, TorchExchange())

The loss of a divided minibatch is the mean of those of its parts, weighted by their numbers of items. It is
computed from the gathered values in the order of the parts: nothing is summed across ranks on the way. The
run is therefore bit-identical for any number of ranks with the same grid, provided that a single loss is
(same machine type, thread count, micro-batch shape). With one part, modes ``snapshot`` and ``streamed`` also
have the bits of a run without shards. ``batched`` stacks the points of a shard, so that results differ from
those without shards by the rounding of batched kernels (1e-5 relative in float32 in the tests). ``in-place``
is refused, because rounding errors would differ between ranks. In mode ``offload`` every rank has a scratch
copy of the weights of its own. The meter of every rank counts the forward
passes of all ranks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, Protocol

import torch

from zobench.zo.base import Optimizer
from zobench.zo.method import Method
from zobench.zo.method_data import Part
from zobench.zo.objective import Meter, Objective
from zobench.zo.perturb import Around, Perturbation, Point

By = Literal["branches", "data", "both"]
COUNTS = ("generated", "judged", "failed")
"""Counts of the meter that a loss makes itself; gathered if ``Spread`` is told to."""

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


class Alone:
    """A single process, which computes all shards."""

    rank, size = 0, 1

    def gather(self, values: Sequence[float]) -> list[list[float]]:
        return [list(values)]


class TorchExchange:
    """Ranks of an initialized ``torch.distributed`` process group (gloo, nccl, ...).

    Attributes:
        sent: bytes that this rank has contributed to collective calls.
        calls: number of collective calls.
    """

    def __init__(self, group: Any = None) -> None:
        from torch import distributed

        self._group = group
        self.rank = distributed.get_rank(group)
        self.size = distributed.get_world_size(group)
        self.sent = self.calls = 0
        cuda = distributed.get_backend(group) == "nccl"
        self._device = torch.device("cuda", torch.cuda.current_device()) if cuda else torch.device("cpu")

    def gather(self, values: Sequence[float]) -> list[list[float]]:
        from torch import distributed

        mine = torch.tensor(list(values), dtype=torch.float64, device=self._device)
        parts = [torch.empty_like(mine) for _ in range(self.size)]
        distributed.all_gather(parts, mine, group=self._group)
        self.sent += mine.nbytes
        self.calls += 1
        return [part.tolist() for part in parts]


@dataclass(frozen=True)
class Grid:
    """How the work of a step is divided into shards. Shard s is part s % parts of branch group s // parts."""

    branches: int = 1
    parts: int = 1

    @classmethod
    def of(cls, shards: int, by: By) -> Grid:
        """``both``: two groups of branches (the two sides of a direction), and shards / 2 parts."""
        if by == "both":
            return cls(2, shards // 2)
        return cls(shards, 1) if by == "branches" else cls(1, shards)

    @property
    def shards(self) -> int:
        return self.branches * self.parts

    def own(self, rank: int, size: int) -> range:
        """The shards of one of ``size`` ranks."""
        return range(rank * self.shards // size, (rank + 1) * self.shards // size)


class Division(Protocol):
    """How a minibatch is divided into parts."""

    def parts(self, batch: Any) -> Sequence[Part]:
        """The parts of the minibatch, at most as many as the grid has; the same on every rank."""
        ...

    def items(self, part: Any) -> int:
        """Number of items of a part (its minibatch) after its loss was computed."""
        ...

    def mean(self, losses: Sequence[float], items: Sequence[int]) -> float:
        """The loss of the minibatch from those of its parts."""
        ...


class Spread(Around):
    """Losses at several points, computed shard by shard, each by one rank. All ranks return all losses in
    order.

    An error on one rank is raised there, and as ``RuntimeError`` on the others, so that no rank waits
    forever.

    Args:
        division: how minibatches are divided; required if the grid has more than one part.
        counting: also gather what losses count themselves (``COUNTS``).
    """

    def __init__(
        self,
        inner: Perturbation,
        exchange: Exchange,
        grid: Grid | None = None,
        division: Division | None = None,
        *,
        counting: bool = False,
    ) -> None:
        super().__init__(inner)
        self.exchange = exchange
        self.grid = grid or Grid(exchange.size)
        assert division is not None or self.grid.parts == 1, "several parts need a division"
        assert exchange.size <= self.grid.shards, "every rank has a shard"
        self.division, self._counting = division, counting

    def loss(self, objective: Objective, point: Point) -> float:
        return self.losses(objective, [point])[0]

    def losses(self, objective: Objective, points: Sequence[Point]) -> list[float]:
        if objective.recorded:
            return self.inner.losses(objective, points)
        parts = [] if self.division is None else list(self.division.parts(objective.batch))
        widths = [self._width(rank, len(points), len(parts)) for rank in range(self.exchange.size)]
        # The first value sent is 1.0 after an error. A rank with fewer losses pads its list with zeros, since
        # all lists must have the same length.
        before = self._counted(objective)
        try:
            objective.elsewhere(len(points))
            own = self._own(objective, points, parts)
        except BaseException:
            self.exchange.gather([1.0] * (max(widths) + len(before) + 1))
            raise
        counted = [now - old for now, old in zip(self._counted(objective), before, strict=True)]
        said = self.exchange.gather([0.0, *counted, *own, *[0.0] * (max(widths) - len(own))])
        failed = [r for r, values in enumerate(said) if values[0]]
        if failed:
            raise RuntimeError(f"rank {failed[0]} failed while computing its losses of this step")
        self._add_counts(objective, said)
        return self._joined([values[1 + len(before) :] for values in said], len(points), len(parts))

    def _shards(self, rank: int | None = None) -> range:
        return self.grid.own(self.exchange.rank if rank is None else rank, self.exchange.size)

    def _values_of(self, shard: int, points: int, parts: int) -> int:
        """Number of values of a shard: its losses, and with several parts its number of items."""
        group, part = divmod(shard, self.grid.parts)
        losses = len(range(group, points, self.grid.branches))
        if not self.grid.parts > 1:
            return losses
        return losses + 1 if losses and part < parts else 0

    def _width(self, rank: int, points: int, parts: int) -> int:
        return sum(self._values_of(shard, points, parts) for shard in self._shards(rank))

    def _own(self, objective: Objective, points: Sequence[Point], parts: Sequence[Part]) -> list[float]:
        """The values of this rank's shards, in order."""
        shards = [s for s in self._shards() if self._values_of(s, len(points), len(parts))]
        # Shards of one part of the minibatch are computed together only where that changes no bits.
        call_of = {s: s % self.grid.parts if self.inner.by_visits else s for s in shards}
        found: dict[int, list[float]] = {}
        for call in dict.fromkeys(call_of.values()):
            found |= self._of_shards([s for s in shards if call_of[s] == call], objective, points, parts)
        return [value for shard in shards for value in found[shard]]

    def _of_shards(
        self, shards: Sequence[int], objective: Objective, points: Sequence[Point], parts: Sequence[Part]
    ) -> dict[int, list[float]]:
        """The values of shards that belong to one part of the minibatch."""
        mine = {s: points[s // self.grid.parts :: self.grid.branches] for s in shards}
        asked = [point for chosen in mine.values() for point in chosen]
        items: list[float] = []
        with uncharged(objective):
            if self.division is None or self.grid.parts == 1:
                losses = self.inner.losses(objective, asked)
            else:
                batch, sequences, tokens = parts[shards[0] % self.grid.parts]
                with objective.on(batch, sequences=sequences, tokens=tokens):
                    losses = self.inner.losses(objective, asked)
                items = [float(self.division.items(batch))]
        left = iter(losses)
        return {s: [*islice(left, len(chosen)), *items] for s, chosen in mine.items()}

    def _joined(self, said: Sequence[Sequence[float]], points: int, parts: int) -> list[float]:
        """The losses in order, from the values of all ranks."""
        values: list[list[float]] = []
        for rank, line in enumerate(said):
            at = 0
            for shard in self._shards(rank):
                width = self._values_of(shard, points, parts)
                values.append(list(line[at : at + width]))
                at += width
        found = []
        for point in range(points):
            row, group = divmod(point, self.grid.branches)
            first = group * self.grid.parts
            if self.division is None or self.grid.parts == 1:
                found.append(values[first][row])
                continue
            divided = values[first : first + parts]
            losses, items = [v[row] for v in divided], [int(v[-1]) for v in divided]
            found.append(self.division.mean(losses, items))
        return found

    def _counted(self, objective: Objective) -> list[float]:
        return [float(getattr(objective.meter, name)) for name in COUNTS] if self._counting else []

    def _add_counts(self, objective: Objective, said: Sequence[Sequence[float]]) -> None:
        """Add what the losses of the other ranks counted."""
        for at, name in enumerate(COUNTS if self._counting else (), start=1):
            others = sum(int(v[at]) for rank, v in enumerate(said) if rank != self.exchange.rank)
            setattr(objective.meter, name, getattr(objective.meter, name) + others)


@contextmanager
def uncharged(objective: Objective) -> Iterator[None]:
    """Inside the block, forward passes are not counted by the objective's meter."""
    own, objective.meter = objective.meter, Meter()
    try:
        yield
    finally:
        objective.meter = own


def distribute(
    optimizer: Optimizer,
    exchange: Exchange,
    grid: Grid | None = None,
    division: Division | None = None,
    *,
    counting: bool = False,
) -> None:
    """Distribute the optimizer's losses over the ranks from now on. Collective: every rank calls it with its
    own optimizer, with the same method, config, seed, weights and step.

    Args:
        grid: the shards; default: as many groups of branches as ranks.
        division, counting: as for :class:`Spread`.

    Raises:
        ValueError: the method uses more than losses, the mode is ``in-place``, the optimizer is distributed
            already, or the ranks differ at the start.
    """
    card = optimizer.card
    if problem := type(optimizer).indivisible(optimizer.config):
        raise ValueError(f"{problem}: it cannot be distributed")
    assert isinstance(optimizer, Method), "others are refused"
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
    optimizer.engine.perturbation = Spread(perturbation, exchange, grid, division, counting=counting)


def agree(exchange: Exchange, text: str, what: str) -> None:
    """``ValueError`` that names the ranks whose ``text`` differs from that of rank 0. Collective."""
    # ``gather`` transports floats: the digest is sent in parts that float64 represents exactly.
    digest = hashlib.sha256(text.encode()).hexdigest()
    parts = [float(int(digest[i : i + DIGITS], 16)) for i in range(0, len(digest), DIGITS)]
    said = exchange.gather(parts)
    odd = [str(rank) for rank, values in enumerate(said) if values != said[0]]
    if odd:
        raise ValueError(f"ranks {', '.join(odd)} differ from rank 0 in {what}")
