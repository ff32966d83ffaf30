"""The engine: how directions are drawn, losses at displaced weights obtained, and updates written.

``Engine`` holds the choices, independent of any method; a method binds it to its space::

    optimizer = Mezo(Mezo.Config(lr=1e-3), space, seed=0, engine=Engine(mode="snapshot", noise="counter"))

``BoundEngine`` is what methods work with: ``losses`` at points, ``editing`` of tensors, ``gaussian()`` and
friends.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import torch

from zobench.zo.directions import Direction, Gaussian, Rademacher
from zobench.zo.factored_forward import Factored
from zobench.zo.inplace import InPlace
from zobench.zo.objective import Objective
from zobench.zo.parameters import Count, OneOf, Parameters
from zobench.zo.perturb import Along, Batched, Perturbation, Point, Snapshot
from zobench.zo.precision import HALF, RULES, Writer
from zobench.zo.source import CounterSource, LegacySource, NoiseSource
from zobench.zo.space.base import ParameterSpace
from zobench.zo.streamed import Streamed

MODES: dict[str, type[Perturbation]] = {
    "snapshot": Snapshot,
    "in-place": InPlace,
    "streamed": Streamed,
    "batched": Batched,
    "factored": Factored,
}


@dataclass(frozen=True)
class Engine(Parameters):
    """Choices that belong to the run, not to the method.

    Attributes:
        mode: ``snapshot`` (exact; what ``auto`` takes), ``streamed`` (exact, no second copy), ``in-place``
            (arithmetic, drifts), ``batched`` (branches of one query list in one vmapped forward),
            ``factored`` (low-rank displacements of linear layers without forming them).
        noise: ``counter``, or ``legacy`` to draw exactly as the MeZO code base does.
        precision: rounding of half-precision weights: ``auto`` (compensated), ``nearest``, ``stochastic``,
            ``compensated``, ``master``.
        fused: in mode ``in-place``: restore and update in one sweep where the update allows it.
        branches: in mode ``batched``: most branches in one forward.
        legacy_seeds: with ``legacy`` noise, the direction seeds of the run that is followed, query by query;
            empty: numpy's legacy generator seeded with the run seed.
    """

    mode: Annotated[str, OneOf(("auto", *MODES))] = "auto"
    noise: Annotated[str, OneOf(("counter", "legacy"))] = "counter"
    precision: Annotated[str, OneOf(("auto", *RULES))] = "auto"
    fused: bool = False
    branches: Count = 16
    legacy_seeds: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.legacy_seeds and self.noise != "legacy":
            raise ValueError("engine: legacy_seeds need noise 'legacy'")
        if self.fused and self.mode != "in-place":
            raise ValueError(f"engine: fused needs mode 'in-place', not {self.mode!r}")

    def bind(self, space: ParameterSpace, seed: int) -> BoundEngine:
        return BoundEngine(self, space, seed)


class BoundEngine:
    """The engine bound to one space.

    Attributes:
        options: the choices.
        mode: the mode in force (``auto`` resolved), for the record.
        source: noise bound to the space.
        legacy: the source if it is the legacy one, else ``None``.
    """

    def __init__(self, options: Engine, space: ParameterSpace, seed: int) -> None:
        self.options = options
        self.space = space
        self.mode = "snapshot" if options.mode == "auto" else options.mode
        self.legacy = LegacySource(space, options.legacy_seeds, seed) if options.noise == "legacy" else None
        keeps = self.mode in ("snapshot", "batched")
        self.source: NoiseSource = self.legacy or CounterSource(space, keep_large=keeps)
        self.perturbation = self._perturbation()
        self.writer = Writer(space, options.precision, seed)

    def _perturbation(self) -> Perturbation:
        if self.mode == "batched":
            return Batched(self.space, self.options.branches)
        return MODES[self.mode](self.space)

    def gaussian(self) -> Direction:
        return Gaussian(self.source)

    def rademacher(self) -> Direction:
        return Rademacher(self.source)

    def loss(self, objective: Objective, *point: Any) -> float:
        """The loss at theta plus the given shifts (none: at theta). 1 forward."""
        return self.perturbation.loss(objective, point)

    def losses(self, objective: Objective, points: Sequence[Point]) -> list[float]:
        """The losses at several points in order, batched where the mode is. One forward each."""
        return self.perturbation.losses(objective, points)

    def along(self, direction: Direction, seed: int, scale: float) -> tuple[Along]:
        """The point theta + scale u(seed)."""
        return (Along(direction, seed, scale),)

    def home(self) -> None:
        """Bring displaced weights back to theta (a no-op in the exact modes)."""
        self.perturbation.home()

    def pending(self) -> dict[int, float]:
        """Seeds and scales by which the weights are still displaced (fused mode); the caller must remove
        them."""
        return self.perturbation.take() if isinstance(self.perturbation, InPlace) else {}

    def drift(self) -> float | None:
        """What arithmetic restore has left behind since the last call (see ``InPlace``); ``None`` in the
        exact modes."""
        return self.perturbation.drift() if isinstance(self.perturbation, InPlace) else None

    def descend(
        self,
        direction: Direction,
        names: Sequence[str],
        moving: Mapping[int, float],
        factors: Mapping[str, float],
    ) -> list[str]:
        """theta <- factor theta + sum of scale u(seed), rounded once, in one sweep over the tensors where
        that can be done; the names of the others."""
        if direction.kind is None or self.legacy is not None or not moving:
            return list(names)
        return self.writer.descend(direction.source, direction.kind, names, moving, factors)

    def batches(self) -> list[list[str]]:
        """Groups of tensors to edit together: all that are edited in their own storage; the others singly."""
        # A half-precision or masked tensor is copied to float32 while it is edited; one at a time bounds the
        # memory to one such copy. The others cost nothing to group, and one kernel call serves them all.
        own = [n for n in self.space if self.space.dtype(n) not in HALF and self.space.indices(n) is None]
        return [own, *([n] for n in self.space if n not in set(own))]

    @contextmanager
    def editing(self, name: str) -> Iterator[torch.Tensor]:
        """The tuned values of one tensor in float32 or float64, to be changed in place and rounded once at
        the end."""
        if self.legacy is not None:
            yield self.space.entries(name)
            return
        with self.writer.editing(name) as values:
            yield values

    def state_dict(self) -> dict[str, Any]:
        return self.writer.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.writer.load_state_dict(state)
