"""Federated rounds as one optimizer: a step is a round, and its record holds the scalars of all clients.

    theta <- theta + mean over the clients k of the round of sum_t (-eta) c_kt u(seed_kt)

Every client takes its local steps from the server's weights, with a seed and minibatches of its own, and
sends the scalars of these steps (:mod:`zobench.zo.federated`, arXiv 2506.03337). A client misses a round with
probability ``drop_out``, drawn from (seed, round, client); if all would miss it, the last of them takes part.
Clients are computed one after another on one model; the result does not depend on their order.

With ``gradip`` the server computes GradIP of every local step, with the gradient at the starting weights on
calibration minibatches. With ``window`` it limits clients whose GradIP has vanished to one local step per
round (Meerkat-vp). Cost: the method's forward passes for every local step of every client, and 3 for each
calibration minibatch before the first round.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol

import torch

from zobench.zo import noise
from zobench.zo.base import Cost, MethodCard, StepRecord
from zobench.zo.engine import Engine
from zobench.zo.federated import Client, Message, Server, VirtualPath, replayable
from zobench.zo.method import Method, ZerothOrder
from zobench.zo.method_data import MethodData, Part
from zobench.zo.objective import FORWARDS_PER_GRADIENT, Objective
from zobench.zo.parameters import Bounds, Count, Parameters
from zobench.zo.space.base import ParameterSpace

CALIBRATION_BATCHES = 4
GRADIENT = "pre-training gradient/"
"""Prefix of the gradient's tensors in state and artifacts."""


class ClientData(MethodData, Protocol):
    """``MethodData`` that also has the minibatches of clients."""

    def client(self, number: int, index: int) -> Part:
        """Minibatch ``index`` of a client, from its own examples."""
        ...


@dataclass(frozen=True)
class RoundsConfig(Parameters):
    """Parameters of federated rounds.

    Attributes:
        method: class of the clients' method.
        inner: its config.
        clients: number of clients.
        local_steps: steps of a client in a round.
        drop_out: probability that a client misses a round.
        gradip: whether the server computes GradIP.
        window, ratio: criterion of ``VirtualPath``; window 0: no client is limited.
    """

    method: Any
    inner: Any
    clients: Annotated[int, Bounds(ge=2)] = 8
    local_steps: Count = 1
    drop_out: Annotated[float, Bounds(ge=0, lt=1)] = 0.0
    gradip: bool = False
    window: Annotated[int, Bounds(ge=0)] = 0
    ratio: Annotated[float, Bounds(gt=0, lt=1)] = 0.1

    @property
    def lr(self) -> float:
        return float(self.inner.lr)

    @property
    def watches(self) -> bool:
        return self.gradip or self.window > 0


@dataclass
class Turn(Client):
    """A client that shares the optimizer with the others: its seed and step are set before its local steps.

    Attributes:
        seed: its run seed.
        t: number of its local steps so far.
        records: the records of its last round.
    """

    seed: int = 0
    t: int = 0
    records: list[StepRecord] = field(default_factory=list)

    def run(self, weights: Mapping[str, torch.Tensor], steps: int) -> Message:
        own = self.optimizer.seed, self.optimizer.t
        self.optimizer.seed, self.optimizer.t = self.seed, self.t
        try:
            return super().run(weights, steps)
        finally:
            self.t = self.optimizer.t
            self.optimizer.seed, self.optimizer.t = own

    def step(self) -> StepRecord:
        record = super().step()
        self.records.append(record)
        return record


class Rounds(Method):
    """Federated rounds of one method. ``watch`` of diagnostics is not supported.

    Attributes:
        inner: the clients' method.
        turns: the clients.
        server: aggregates, and holds GradIP paths.
    """

    Config = RoundsConfig
    card = MethodCard(
        name="rounds",
        title="Federated rounds",
        source="arXiv 2506.03337",
        formula="theta <- theta + mean over clients of sum_t (-eta) c_t u(seed_t)",
        order="zeroth",
        replay="scalars+artifacts",
        in_span=True,
    )

    def __init__(
        self, config: RoundsConfig, space: ParameterSpace, *, seed: int, engine: Engine | None = None
    ) -> None:
        super().__init__(config, space, seed=seed, engine=engine)
        self.inner: ZerothOrder = config.method(config.inner, space, seed=seed, engine=engine)
        replayable(self.inner)
        self.engine = self.inner.engine
        rule = VirtualPath(config.window, config.ratio) if config.window else None
        self.server = Server(space, self.inner.direction, rule=rule)
        self.turns: list[Turn] = []
        self._data: Any = None

    @classmethod
    def cost(cls, config: RoundsConfig) -> Cost:
        inner, most = config.method.cost(config.inner), config.clients * config.local_steps
        mean = most * (1 - config.drop_out)
        watching = FORWARDS_PER_GRADIENT * CALIBRATION_BATCHES if config.watches else 0
        return Cost(
            inner.forwards_per_step * (mean if config.drop_out or config.window else most),
            inner.max_forwards_in_step * most,
            inner.passes_per_step * mean + 2,
            inner.state_bytes_per_parameter + (4 if config.watches else 0),
            inner.preparation_forwards + watching,
        )

    def supply(self, supplies: MethodData) -> None:
        self._data = supplies
        self.inner.supply(supplies)

    def prepare(self, objective: Objective) -> None:
        """The method's own preparation, and the gradient for GradIP."""
        self.inner.prepare(objective)
        if not self.config.watches:
            return
        sums: dict[str, torch.Tensor] = {}
        for batch, sequences, tokens in self._data.calibration(CALIBRATION_BATCHES):
            with objective.on(batch, sequences=sequences, tokens=tokens):
                found = objective.gradient(self.space.tensors)[1]
            for name in self.space:
                index = self.space.indices(name)
                g = found[name].detach() if index is None else found[name].detach().reshape(-1)[index]
                sums[name] = sums[name] + g.float() if name in sums else g.float()
        self.server.gradient = {name: total / CALIBRATION_BATCHES for name, total in sums.items()}

    def present(self) -> list[int]:
        """The clients of the coming round."""
        draws = [noise.derive_seed(self.seed, "round", self.t, k) % 2**53 for k in range(self.config.clients)]
        found = [k for k, draw in enumerate(draws) if draw >= self.config.drop_out * 2**53]
        return found or [max(range(len(draws)), key=draws.__getitem__)]

    @torch.no_grad()
    def step(self, objective: Objective) -> StepRecord:
        if not self.turns or self.turns[0].objective is not objective:
            self._seat(objective)
        before = (objective.meter.forwards, objective.meter.tokens)
        present = [self.turns[k] for k in self.present()]
        for turn in present:
            turn.records = []
        watched = {turn.name: len(turn.path) for turn in present}
        sent = self.server.round(present, self.config.local_steps)
        extras = {
            "clients": float(len(present)),
            "bytes": float(sum(m.bytes for m in sent)),
            "limited": float(len(self.server.stopped)),
        }
        for turn in present:
            if path := turn.path[watched[turn.name] :]:
                extras[f"gradip_{turn.name}"] = math.fsum(path) / len(path)
        spent = (objective.meter.forwards - before[0], objective.meter.tokens - before[1])
        record = self._record_of([r for turn in present for r in turn.records], len(present), spent, extras)
        self.t += 1
        return record

    def _record_of(
        self, steps: Sequence[StepRecord], clients: int, spent: tuple[int, int], extras: dict[str, float]
    ) -> StepRecord:
        moved, losses = [r for r in steps if r.moved], [x for r in steps for x in r.losses]
        finite = [r.loss for r in steps if math.isfinite(r.loss)]
        return StepRecord(
            step=self.t,
            seeds=tuple(s for r in moved for s in r.seeds),
            coefficients=tuple(c / clients for r in moved for c in r.coefficients),
            losses=tuple(losses),
            loss=math.fsum(finite) / len(finite) if finite else math.nan,
            lr=self.config.lr,
            forwards=spent[0],
            tokens=spent[1],
            moved=bool(moved),
            reason="" if moved else next((r.reason for r in steps if r.reason), "no local step moved"),
            extras={**extras, "refused_local_steps": float(len(steps) - len(moved))},
        )

    def _seat(self, objective: Objective) -> None:
        """Clients on this objective, with the paths and step counts of those before."""
        before, self.turns = self.turns, []
        for k in range(self.config.clients):
            old = before[k] if before else None
            turn = Turn(str(k), self.inner, objective, self._feeder(k))
            turn.seed = noise.derive_seed(self.seed, "client", k)
            if old is not None:
                turn.t, turn.path = old.t, old.path
            self.turns.append(turn)

    def _feeder(self, k: int) -> Any:
        def next_batch(objective: Objective) -> None:
            # A replay reads losses from the record; it has no minibatches.
            if not objective.recorded:
                batch, sequences, tokens = self._data.client(k, self.inner.t)
                objective.set_batch(batch, sequences=sequences, tokens=tokens)

        return next_batch

    def artifacts(self) -> dict[str, torch.Tensor]:
        """The method's own, and the gradient if it decides which clients are limited."""
        gradient = self.server.gradient if self.config.window else None
        return {**self.inner.artifacts(), **{f"{GRADIENT}{n}": g for n, g in (gradient or {}).items()}}

    def load_artifacts(self, artifacts: Mapping[str, torch.Tensor]) -> None:
        self.server.gradient = _gradient(artifacts) or self.server.gradient
        own = {n: t for n, t in artifacts.items() if not n.startswith(GRADIENT)}
        if own:
            self.inner.load_artifacts(own)

    def parts(self) -> dict[str, Any]:
        return {"inner": self.inner}

    def state_dict(self) -> dict[str, Any]:
        gradient = {f"{GRADIENT}{n}": g for n, g in (self.server.gradient or {}).items()}
        return {
            **super().state_dict(),
            **gradient,
            "local": [turn.t for turn in self.turns],
            "paths": [turn.path for turn in self.turns],
            "stopped": sorted(self.server.stopped),
            "received": self.server.received,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.server.gradient = _gradient(state)
        self.server.stopped, self.server.received = set(state["stopped"]), int(state["received"])
        self.turns = []
        for k, (t, path) in enumerate(zip(state["local"], state["paths"], strict=True)):
            turn = Turn(str(k), self.inner, None, self._feeder(k), list(path))  # type: ignore[arg-type]
            turn.t = int(t)
            self.turns.append(turn)


def _gradient(tensors: Mapping[str, Any]) -> dict[str, torch.Tensor] | None:
    found = {n.removeprefix(GRADIENT): g for n, g in tensors.items() if n.startswith(GRADIENT)}
    return found or None
