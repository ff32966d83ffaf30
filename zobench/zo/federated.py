"""Federated training by scalars: clients send projected gradients, the server replays them (arXiv
2506.03337).

In a round, every client starts from the server's weights, takes T local steps of one method with its own run
seed, and sends its records. The server rebuilds each client's displacement sum_t (-eta_t) sum_i c_ti
u(seed_ti) from the seeds and adds the mean over clients to its weights. Communication: 16 bytes per direction
and step, and 8 bytes per step, for any model size.

GradIP of a local step is <g_pre, ghat_t>, the inner product of a pre-training gradient with the client's
estimate. The server computes it from the same scalars. For clients with extremely skewed data it vanishes
along the path. ``VirtualPath`` detects these clients, and the server limits them to one step per round
(Meerkat-vp).

Only methods with the update theta <- theta - eta * sum_i c_i u_i can be replayed this way, with directions
that are a function of the seed and of a static mask (mezo, meerkat, random-mask with interval 0, ...). Others
are refused. Cost: T steps of the method per client and round; the server needs no forward pass.
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
"""Bytes per direction: a 64-bit seed and a float64 coefficient."""


@dataclass(frozen=True)
class Message:
    """The message of a client for one round: learning rate, seeds and coefficients of every step."""

    client: str
    steps: tuple[tuple[float, tuple[int, ...], tuple[float, ...]], ...]

    @property
    def bytes(self) -> int:
        """Size of the message in bytes: per step a float64 learning rate, then the directions."""
        return sum(8 + WIRE_BYTES * len(seeds) for _, seeds, _ in self.steps)


def message(client: str, records: Sequence[StepRecord]) -> Message:
    """The scalars of a client's local steps; a refused step is sent without directions (its GradIP is 0)."""
    return Message(
        client, tuple((r.lr, r.seeds, r.coefficients) if r.moved else (r.lr, (), ()) for r in records)
    )


def displacement(direction: Direction, sent: Message, name: str) -> torch.Tensor:
    """The sum of a client's steps on one tensor, float32 (float64 for float64 weights)."""
    seeds = tuple(s for _, group, _ in sent.steps for s in group)
    scales = tuple(-lr * c for lr, _, group in sent.steps for c in group)
    return dense(direction, Estimate(seeds, scales, (), math.nan), name)


def gradip(direction: Direction, sent: Message, gradient: Mapping[str, torch.Tensor]) -> list[float]:
    """<g_pre, ghat_t> for every step of a message. ``gradient`` is the pre-training gradient of the tuned
    entries."""
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
    below ``ratio`` times that over the first ``window``. The paper's thresholds are not known.

    Attributes:
        window: number of local steps at either end.
        ratio: limit for the ratio of the two means.
    """

    window: Count = 10
    ratio: Annotated[float, Bounds(gt=0, lt=1)] = 0.1

    def vanished(self, path: Sequence[float]) -> bool:
        """Whether the criterion holds; False if the path is shorter than two windows."""
        if len(path) < 2 * self.window:
            return False
        first, last = (
            math.fsum(abs(x) for x in part) / self.window
            for part in (path[: self.window], path[-self.window :])
        )
        return last < self.ratio * first


@dataclass
class Client:
    """One client.

    Attributes:
        name: its name.
        optimizer: an optimizer on the objective's module; the server's weights are loaded before every round.
        objective: its loss.
        next_batch: sets the next minibatch of the objective.
        path: GradIP of its local steps so far.
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
            records.append(self.step())
        return message(self.name, records)

    def step(self) -> StepRecord:
        """One local step on the minibatch of the objective."""
        return self.optimizer.step(self.objective)


class Server:
    """Aggregates clients' scalars on its own copy of the weights.

    Args:
        space: the server's space, with the same tensors as the clients' spaces.
        direction: the direction of the clients' method bound to this space (``method.direction`` of an
            optimizer on it).
        gradient: pre-training gradient for GradIP. Without it, no path is computed and no client is limited.
        rule: criterion for limiting a client to one step per round.

    Attributes:
        stopped: names of the limited clients.
        received: bytes received so far.
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
        """One round of ``steps`` local steps (1 for limited clients). Returns the clients' messages.

        Raises:
            ValueError: there is no client, or a client's method cannot be replayed (see ``replayable``).
        """
        if not clients:
            raise ValueError("a round needs at least one client")
        for client in clients:
            replayable(client.optimizer)
        weights = self.space.snapshot()
        sent = [c.run(weights, 1 if c.name in self.stopped else steps) for c in clients]
        self.received += sum(m.bytes for m in sent)
        self.space.load_state_dict(weights)  # the last client may have trained on the server's own copy
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
    if problem := type(optimizer).unsummable(optimizer.config):
        raise ValueError(problem)
    assert isinstance(optimizer.updater, Sgd), "summable methods have this update"
