"""The template of a zeroth-order method: measure -> refuse or update -> record.

A method file overrides ``measure`` (which losses are queried and how they are combined) and selects a
direction and an update. Refusals, learning rate 0, counting, state and replay are implemented here for all
methods. A minimal method::

    class Mine(ZerothOrder):
        Config = MineConfig
        card = MethodCard(name="mine", ...)

        @classmethod
        def cost(cls, config): return Cost(2, 2, 3, 0)

        def measure(self, objective):
            return two_sided(self.engine, objective, self.direction, self.seeds(1), self.smoothing())

``measure`` may spend forward passes and read ``self.t``. Its result must be a function of the losses, the
config and the seed, because ``replay`` runs it again on the recorded losses. Everything else that changes
between steps belongs into ``state_dict``.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch

from zobench.zo import noise
from zobench.zo.base import Optimizer, StepRecord
from zobench.zo.directions import Direction
from zobench.zo.engine import Engine
from zobench.zo.estimators import Estimate
from zobench.zo.objective import Objective
from zobench.zo.prepared import Coming
from zobench.zo.space.base import ParameterSpace
from zobench.zo.updates import Sgd, Update


class Method(Optimizer):
    """The common part of all methods: the bound engine, the step counter, flat state, records.

    Attributes:
        engine: the bound engine.
        t: number of steps taken, including refused ones.

    Raises:
        ValueError: the card does not list the kind of this parameter space.
    """

    def __init__(
        self, config: Any, space: ParameterSpace, *, seed: int, engine: Engine | None = None
    ) -> None:
        super().__init__(config, space, seed=seed)
        spaces = self.card.spaces
        if spaces != ("*",) and space.kind not in spaces:
            raise ValueError(f"{self.card.name} supports the spaces {', '.join(spaces)}, not {space.kind!r}")
        self.engine = (engine or Engine()).bind(space, seed)
        self.t = 0

    @classmethod
    def indivisible(cls, config: Any) -> str:
        card = cls.card
        if card.order not in ("zeroth", "none"):
            return super().indivisible(config)
        if "item-losses" in card.needs:
            return f"{card.name} uses the losses of single examples"
        if card.replay == "scalars+step-artifacts":
            return f"{card.name} reads activations of the whole minibatch"
        return ""

    def learning_rate(self) -> float:
        """Learning rate of the coming step. Override it for schedules (a function of ``self.t``)."""
        return float(self.config.lr)

    def seeds(self, n: int, stream: str = "", later: int = 0) -> tuple[int, ...]:
        """Direction seeds of the coming step, or of the one ``later`` steps after it: derive_seed(run seed,
        step, query). They are equal for all methods with the same run seed.

        ``stream`` names further independent lists of seeds in one step (for a second stage).
        """
        t = self.t + later
        if self.engine.legacy is not None:
            return tuple(self.engine.legacy.seed_at(t * n + query) for query in range(n))
        parts: tuple[int | str, ...] = (self.seed, t) if not stream else (self.seed, t, stream)
        return tuple(noise.derive_seed(*parts, query) for query in range(n))

    def artifacts(self) -> dict[str, torch.Tensor]:
        """Tensors that replay needs in addition to the scalars (masks, bases, anchors), for methods whose
        card says ``scalars+artifacts``."""
        return {}

    def load_artifacts(self, artifacts: Mapping[str, torch.Tensor]) -> None:
        """Load the ``artifacts()`` of the run that is replayed, before its first step. ``ValueError`` if the
        method has no artifacts and some are given."""
        if artifacts:
            raise ValueError(f"{self.card.name} has no artifacts, got {sorted(artifacts)[0]!r}")

    def settle(self) -> None:
        self.engine.settle()

    def settled(self) -> AbstractContextManager[None]:
        return self.engine.settled()

    def parts(self) -> dict[str, Any]:
        """Objects with ``state_dict``/``load_state_dict`` that make up this method's state, by prefix."""
        return {"engine": self.engine}

    def state_dict(self) -> dict[str, Any]:
        flat: dict[str, Any] = {"t": self.t}
        for prefix, part in self.parts().items():
            flat.update({f"{prefix}:{key}": value for key, value in part.state_dict().items()})
        return flat

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.t = int(state["t"])
        for prefix, part in self.parts().items():
            cut = len(prefix) + 1
            part.load_state_dict({k[cut:]: v for k, v in state.items() if k.startswith(f"{prefix}:")})

    def record(
        self, estimate: Estimate, lr: float, spent: tuple[int, int], reason: str, extras: dict[str, float]
    ) -> StepRecord:
        """The step's record. Its extras include, where they exist, the share of half-precision entries that
        changed (``moved_share``; not in mode ``offload``), the error of the restores in mode ``in-place``
        (``drift``), and the number of ties (``ties``)."""
        told = {
            # In mode offload the update is written after its record.
            "moved_share": None if self.engine.offload is not None else self.engine.writer.moved_share(),
            "drift": self.engine.drift(),
            "ties": float(estimate.ties) if estimate.ties and not reason else None,
        }
        measured = {key: value for key, value in told.items() if value is not None}
        return StepRecord(
            step=self.t,
            seeds=estimate.seeds,
            coefficients=estimate.coefficients,
            losses=estimate.losses,
            loss=estimate.loss,
            lr=lr,
            forwards=spent[0],
            tokens=spent[1],
            moved=not reason,
            reason=reason,
            extras={**estimate.extras, **extras, **measured},
        )


class ZerothOrder(Method):
    """A method whose step is: measure an estimate, refuse it or pass it to the update, record.

    Attributes:
        direction: the distribution of directions (``make_direction``).
        updater: the update rule (``make_update``).
        watch: callback for diagnostics, called with every estimate before the weights change; or ``None``.
    """

    watch: Callable[[Estimate], None] | None = None

    def __init__(
        self, config: Any, space: ParameterSpace, *, seed: int, engine: Engine | None = None
    ) -> None:
        super().__init__(config, space, seed=seed, engine=engine)
        self.direction = self.make_direction()
        self.updater = self.make_update()

    def make_direction(self) -> Direction:
        """The distribution of directions; Gaussian by default."""
        return self.engine.gaussian()

    def make_update(self) -> Update:
        """The update rule; plain SGD without weight decay by default."""
        return Sgd()

    @abstractmethod
    def measure(self, objective: Objective) -> Estimate:
        """Query losses and combine them. The weights must be unchanged afterwards (the engine ensures
        this)."""

    def smoothing(self) -> float:
        """Smoothing radius eps of the coming step. Override it for schedules (a function of ``self.t``)."""
        return float(self.config.epsilon)

    def coming(self) -> Coming | None:
        """The first points that the next step will ask for, if they are known before this step's update (see
        ``Engine.ahead``). A wrong answer costs time and changes no result."""
        return None

    def update(self, estimate: Estimate, lr: float) -> dict[str, float]:
        """Update the weights. The returned scalars are added to the record's extras."""
        self.updater.apply(self.engine, self.direction, estimate, lr)
        return {}

    def after(self, estimate: Estimate, moved: bool) -> None:
        """Store what the next step needs (a previous loss, a history). Called after refused steps too."""

    @torch.no_grad()
    def step(self, objective: Objective) -> StepRecord:
        before = (objective.meter.forwards, objective.meter.tokens)
        # Before the first query, so that measurement and update use the basis of the same interval.
        self.direction.refresh(self.t)
        lr = self.learning_rate()
        try:
            estimate = self.measure(objective)
        except BaseException:
            self.engine.home()
            raise
        spent = (objective.meter.forwards - before[0], objective.meter.tokens - before[1])
        reason = estimate.refusal()
        if not reason and not math.isfinite(lr):
            reason = "non-finite learning rate"
        if reason:
            # In mode in-place the update removes the last displacement. A refused step has no update.
            self.engine.home()
        if self.watch is not None:
            self.watch(estimate)
        if not reason and not objective.recorded and self.engine.looks_ahead():
            self.engine.expect(self.coming())
        extras = {} if reason else self.update(estimate, lr)
        self.after(estimate, moved=not reason)
        record = self.record(estimate, lr, spent, reason, extras)
        self.t += 1
        return record

    def parts(self) -> dict[str, Any]:
        return {**super().parts(), "update": self.updater}
