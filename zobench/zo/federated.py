"""Federated training by scalars: clients send projected gradients, the server replays them (arXiv
2506.03337).

A round: every client starts from the server's weights, takes T local steps of one method with its own run
seed, and sends its records; the server rebuilds each client's displacement sum_t (-eta_t) sum_i c_ti
u(seed_ti) from the seeds and moves by the mean over clients. Bytes on the wire: 16 per direction and step,
whatever the model.

GradIP of a local step is <g_pre, ghat_t>, the inner product of a pre-training gradient with the client's
estimate, computed by the server from the same scalars. On clients with extremely skewed data it vanishes
along the path; ``VirtualPath`` finds them and cuts them to one step per round (Meerkat-vp).

Only methods whose update is theta <- theta - eta * sum_i c_i u_i with directions that are a function of the
seed and of a static mask (mezo, meerkat, random-mask with interval 0, ...) can be replayed this way; others
are refused. Cost: T steps of the method per client and round; the server spends no forward.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import torch

from zobench.zo.base import StepRecord
from zobench.zo.directions import Direction
from zobench.zo.estimators import Estimate, dense
from zobench.zo.method import ZerothOrder
from zobench.zo.objective import Objective
from zobench.zo.parameters import Bounds, Count, Parameters
from zobench.zo.space.base import ParameterSpace
from zobench.zo.updates import Sgd

WIRE_BYTES = 16
"""Per direction: a 64-bit seed and a float64 coefficient."""

REPLAYABLE = ("mezo", "mezo-one-sided", "meerkat", "random-mask", "kerzoo", "zo-sgd-block")


@dataclass(frozen=True)
class Message:
    """What a client sends for one round: per step its learning rate, seeds and coefficients."""

    client: str
    steps: tuple[tuple[float, tuple[int, ...], tuple[float, ...]], ...]

    @property
    def bytes(self) -> int:
        """Size on the wire."""
        return sum(8 + WIRE_BYTES * len(seeds) for _, seeds, _ in self.steps)


def message(client: str, records: Sequence[StepRecord]) -> Message:
    """The scalars of a client's local steps; a refused step is sent without directions (its GradIP is 0)."""
    return Message(
        client, tuple((r.lr, r.seeds, r.coefficients) if r.moved else (r.lr, (), ()) for r in records)
    )


def displacement(direction: Direction, sent: Message, name: str) -> torch.Tensor:
    """What a client's steps add to one tensor: float32 (float64 for float64 weights)."""
    seeds = tuple(s for _, group, _ in sent.steps for s in group)
    scales = tuple(-lr * c for lr, _, group in sent.steps for c in group)
    return dense(direction, Estimate(seeds, scales, (), math.nan), name)


def gradip(direction: Direction, sent: Message, gradient: Mapping[str, torch.Tensor]) -> list[float]:
    """<g_pre, ghat_t> of every step of a message; ``gradient`` holds the tuned entries' pre-training
    gradient."""
    values = []
    for _, seeds, coefficients in sent.steps:
        estimate = Estimate(seeds, coefficients, (), math.nan)
        parts = (
            float((dense(direction, estimate, n).double() * gradient[n].double()).sum())
            for n in direction.space
        )
        values.append(math.fsum(parts))
    return values


@dataclass(frozen=True)
class VirtualPath(Parameters):
    """When a client's GradIP has vanished: the mean magnitude over the last ``window`` of its virtual path is
    below ``ratio`` times that over the first ``window``. The paper's thresholds were not found.

    Attributes:
        window: local steps at either end.
        ratio: how small the end must be beside the start.
    """

    window: Count = 10
    ratio: Annotated[float, Bounds(gt=0, lt=1)] = 0.1

    def vanished(self, path: Sequence[float]) -> bool:
        """False while the path is shorter than two windows."""
        if len(path) < 2 * self.window:
            return False
        first, last = (
            math.fsum(abs(x) for x in part) / self.window
            for part in (path[: self.window], path[-self.window :])
        )
        return last < self.ratio * first


@dataclass
class Client:
    """One client: a name, its objective, and how it sets its next minibatch.

    The optimizer works on the objective's module; the server hands its weights over before every round.
    """

    name: str
    optimizer: ZerothOrder
    objective: Objective
    next_batch: Callable[[Objective], None]
    path: list[float] = field(default_factory=list)

    def run(self, weights: Mapping[str, torch.Tensor], steps: int) -> Message:
        """``steps`` local steps from the server's weights."""
        self.optimizer.space.load_state_dict(weights)
        records = []
        for _ in range(steps):
            self.next_batch(self.objective)
            records.append(self.optimizer.step(self.objective))
        return message(self.name, records)


class Server:
    """Aggregates clients' scalars on its own copy of the weights.

    Args:
        space: the server's space, with the same tensors as the clients'.
        direction: the direction of the clients' method bound to this space (``method.direction`` of an
            optimizer on it).
        gradient: pre-training gradient for GradIP; without it no path is kept and no client cut.
        rule: when a client is cut to one step per round.
    """

    def __init__(
        self,
        space: ParameterSpace,
        direction: Direction,
        *,
        gradient: Mapping[str, torch.Tensor] | None = None,
        rule: VirtualPath | None = None,
    ) -> None:
        self.space, self.direction = space, direction
        self.gradient, self.rule = gradient, rule
        self.stopped: set[str] = set()
        self.received = 0

    def round(self, clients: Sequence[Client], steps: int) -> list[Message]:
        """One round of ``steps`` local steps (one for cut clients); returns what was sent.

        Raises:
            ValueError: no client, a method whose path does not follow from its scalars, or one with weight
                decay.
        """
        if not clients:
            raise ValueError("a round needs at least one client")
        for client in clients:
            replayable(client.optimizer)
        weights = self.space.snapshot()
        sent = [c.run(weights, 1 if c.name in self.stopped else steps) for c in clients]
        self.received += sum(m.bytes for m in sent)
        for name in self.space:
            total = torch.stack([displacement(self.direction, m, name) for m in sent]).mean(dim=0)
            self.space.put_(name, self.space.entries(name).to(total.dtype) + total)
        self._watch(clients, sent)
        return sent

    def _watch(self, clients: Sequence[Client], sent: Sequence[Message]) -> None:
        if self.gradient is None:
            return
        for client, said in zip(clients, sent, strict=True):
            client.path += gradip(self.direction, said, self.gradient)
            if self.rule is not None and self.rule.vanished(client.path):
                self.stopped.add(client.name)


def replayable(optimizer: ZerothOrder) -> None:
    """``ValueError`` unless the optimizer's path is the sum of its recorded directions."""
    name = optimizer.card.name
    interval = getattr(optimizer.config, "interval", 0)
    if name not in REPLAYABLE or interval:
        raise ValueError(f"{name} cannot be rebuilt by a server; these can: {', '.join(REPLAYABLE)}")
    if not isinstance(optimizer.updater, Sgd) or optimizer.updater.decay.rate:
        raise ValueError(f"{name} with weight decay is no sum of its directions; set weight_decay to 0")
