"""The engine: how directions are drawn, losses at displaced weights obtained, and updates written.

``Engine`` holds the choices, which do not depend on the method. A method binds it to its space::

    optimizer = Mezo(Mezo.Config(lr=1e-3), space, seed=0, engine=Engine(mode="snapshot", noise="counter"))

Methods use the result, a ``BoundEngine``: ``losses`` at points, ``editing`` of tensors, ``gaussian()`` and
``rademacher()`` directions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import torch

from zobench.zo.directions import Direction, Gaussian, Rademacher
from zobench.zo.factored_forward import Factored
from zobench.zo.factored_lazy import FactoredLazy
from zobench.zo.grouped import Grouped
from zobench.zo.inplace import InPlace
from zobench.zo.objective import Objective
from zobench.zo.offload import Offload
from zobench.zo.paired import StreamedPaired
from zobench.zo.parameters import Count, OneOf, Parameters
from zobench.zo.perturb import Along, Batched, Perturbation, Point, Snapshot
from zobench.zo.precision import HALF, RULES, Writer
from zobench.zo.prepared import Coming
from zobench.zo.ranked import RankedObjective
from zobench.zo.side_by_side import side_by_side
from zobench.zo.sliced import Sliced
from zobench.zo.source import Ahead, CounterSource, LegacySource, NoiseSource
from zobench.zo.space.base import ParameterSpace
from zobench.zo.streamed import Streamed

if TYPE_CHECKING:
    from zobench.zo.noise import NoiseKind

MODES: dict[str, type[Perturbation]] = {
    "snapshot": Snapshot,
    "in-place": InPlace,
    "streamed": Streamed,
    "streamed-sliced": Sliced,
    "streamed-paired": StreamedPaired,
    "batched": Batched,
    "grouped": Grouped,
    "factored": Factored,
    "factored-lazy": FactoredLazy,
    "offload": Offload,
}

PUT_OFF = "put-off/"
"""Prefix of the state of mode ``factored-lazy``."""


@dataclass(frozen=True)
class Engine(Parameters):
    """Choices that belong to the run, not to the method.

    Attributes:
        mode: how losses at displaced weights are computed (see ``zobench.zo.perturb``): ``snapshot`` (exact;
            ``auto`` selects it), ``streamed`` (exact, without a second copy of the weights),
            ``streamed-sliced`` (large linear layers, such as a head, in slices), ``streamed-paired`` (both
            points of a two-sided estimate at once, from one draw), ``in-place``
            (adds and subtracts; accumulates rounding errors), ``batched`` (several points in one vmapped
            forward pass), ``grouped`` (several points in one forward pass over repeated rows), ``factored``
            (low-rank displacements of linear layers are not formed),
            ``factored-lazy`` (neither are their steps, until the direction's basis changes), ``offload``
            (weights outside the compute memory, visited block by block; see ``zobench.zo.offload``).
        noise: ``counter`` (counter-based), or ``legacy`` for the random numbers of the MeZO code base.
        precision: rounding of half-precision weights: ``auto`` (same as ``compensated``), ``nearest``,
            ``stochastic``, ``compensated``, ``master``.
        fused: in mode ``in-place``, restore and update in one sweep if the update supports it.
        branches: in modes ``batched`` and ``grouped``, the maximum number of points in one forward pass.
        scratch: in mode ``offload`` on a CPU, the folder of the scratch copy; empty: the system's folder for
            temporary files.
        ahead: in mode ``snapshot`` on a CPU, the sweep that updates the weights also writes the first points
            of the next step, if the method knows them and memory allows. Same results. Between two steps the
            weights may then be written only through the space or by torch operations on the parameters;
            writes through ``parameter.data`` are not noticed.
        legacy_seeds: with ``legacy`` noise, the direction seeds of the run to reproduce, one per query. If
            empty, they are drawn from numpy's legacy generator seeded with the run seed.
    """

    mode: Annotated[str, OneOf(("auto", *MODES))] = "auto"
    noise: Annotated[str, OneOf(("counter", "legacy"))] = "counter"
    precision: Annotated[str, OneOf(("auto", *RULES))] = "auto"
    fused: bool = False
    branches: Count = 16
    ahead: bool = False
    scratch: str = ""
    legacy_seeds: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.legacy_seeds and self.noise != "legacy":
            raise ValueError("engine: legacy_seeds need noise 'legacy'")
        if self.mode == "offload" and self.noise != "counter":
            raise ValueError(
                "engine: mode 'offload' needs noise 'counter', which does not depend on the order"
            )
        if self.fused and self.mode != "in-place":
            raise ValueError(f"engine: fused needs mode 'in-place', not {self.mode!r}")

    def bind(self, space: ParameterSpace, seed: int) -> BoundEngine:
        return BoundEngine(self, space, seed)


class BoundEngine:
    """The engine bound to one space.

    Attributes:
        options: the choices.
        mode: the mode in use (``auto`` resolved), as it is recorded.
        source: noise bound to the space.
        legacy: the noise source if it is the legacy one, else ``None``.
        offload: the perturbation in mode ``offload``, else ``None``.
    """

    def __init__(self, options: Engine, space: ParameterSpace, seed: int) -> None:
        self.options = options
        self.space = space
        self.mode = "snapshot" if options.mode == "auto" else options.mode
        self.legacy = LegacySource(space, options.legacy_seeds, seed) if options.noise == "legacy" else None
        keeps = self.mode in ("snapshot", "batched")
        self.source: NoiseSource = self.legacy or CounterSource(space, keep_large=keeps)
        self.writer = Writer(space, options.precision, seed)
        self.perturbation = self._perturbation()
        self._coming: Coming | None = None
        self._lazy = self.perturbation if isinstance(self.perturbation, FactoredLazy) else None
        self.offload = self.perturbation if isinstance(self.perturbation, Offload) else None

    def _perturbation(self) -> Perturbation:
        if self.mode in ("batched", "grouped"):
            return (Batched if self.mode == "batched" else Grouped)(self.space, self.options.branches)
        if self.mode == "offload":
            return Offload(self.space, self.writer, self.options.scratch)
        return MODES[self.mode](self.space)

    def gaussian(self) -> Direction:
        return Gaussian(self.source)

    def rademacher(self) -> Direction:
        return Rademacher(self.source)

    def loss(self, objective: Objective, *point: Any) -> float:
        """The loss at theta plus the given shifts (without shifts: at theta). Cost: 1 forward pass."""
        return self.perturbation.loss(objective, point)

    def losses(self, objective: Objective, points: Sequence[Point]) -> list[float]:
        """The losses at several points, in order; batched in mode ``batched``. Cost: one forward pass per
        point. For a :class:`~zobench.zo.ranked.RankedObjective`, their places in one ranking."""
        if isinstance(objective, RankedObjective):
            shown = []
            for point in points:
                with self.perturbation.displaced(point):
                    shown.append(objective.shown())
            return objective.places(shown)
        return self.perturbation.losses(objective, points)

    def side_by_side(self, points: Sequence[Point]) -> AbstractContextManager[None]:
        """Inside the block one call of the module computes all ``points`` on rows in their order (spaces
        ``lora`` and ``prefix``; see ``zobench.zo.side_by_side``)."""
        return side_by_side(self.perturbation, points)

    def along(self, direction: Direction, seed: int, scale: float) -> tuple[Along]:
        """The point theta + scale u(seed)."""
        return (Along(direction, seed, scale),)

    def home(self) -> None:
        """Restore displaced weights to theta. The exact modes need no restore: nothing happens."""
        self.perturbation.home()

    def pending(self) -> dict[int, float]:
        """Seed -> scale of the directions by which the weights are still displaced (fused mode). The caller
        must remove these displacements."""
        return self.perturbation.take() if isinstance(self.perturbation, InPlace) else {}

    def drift(self) -> float | None:
        """Relative rounding error of the restores since the last call (see ``InPlace``); ``None`` in the
        exact modes."""
        return self.perturbation.drift() if isinstance(self.perturbation, InPlace) else None

    def descend(
        self,
        direction: Direction,
        names: Sequence[str],
        moving: Mapping[int, float],
        factors: Mapping[str, float],
    ) -> list[str]:
        """theta <- factor theta + sum of scale u(seed), rounded once, in one sweep over the tensors that
        support it, or put off in mode ``factored-lazy``. Returns the names of the other tensors, which are
        unchanged.

        Args:
            direction: the distribution of u.
            names: the tensors to update.
            moving: seed -> scale.
            factors: factor of each tensor.
        """
        if self._lazy is not None and moving:
            names = self._lazy.take(self.writer, direction, names, moving, factors)
        coming = self._forget()
        if self.legacy is not None or not moving:
            # Legacy updates have other roundings.
            return list(names)
        # A fused sweep generates plain noise only.
        kinds = {name: direction.kind_on(name) for name in names}
        rest = [name for name in names if kinds[name] is None]
        for kind in dict.fromkeys(kind for kind in kinds.values() if kind is not None):
            chosen = [name for name in names if kinds[name] == kind]
            if self.offload is not None:
                chosen = self.offload.put_off(direction.source, kind, chosen, moving, factors)
            if coming is not None and coming.direction is direction and len(chosen) == len(self.space):
                rest += self._descend_ahead(coming, kind, chosen, moving, factors)
            else:
                rest += self.writer.descend(direction.source, kind, chosen, moving, factors)
        return rest

    def _descend_ahead(
        self,
        coming: Coming,
        kind: NoiseKind,
        names: Sequence[str],
        moving: Mapping[int, float],
        factors: Mapping[str, float],
    ) -> list[str]:
        """``descend``, and the coming points in the same sweep."""
        assert isinstance(self.perturbation, Snapshot)
        outs = self.perturbation.outputs(coming, names)
        ahead = Ahead(outs, coming.seed, coming.scales)
        rest = self.writer.descend(coming.direction.source, kind, names, moving, factors, ahead)
        if rest:
            self.perturbation.reclaim(outs)
        else:
            self.perturbation.prepared.keep(coming, outs)
        return rest

    def looks_ahead(self) -> bool:
        """Whether an update can write the next step's first points in the same sweep."""
        here = self.perturbation
        suitable = self.options.ahead and self.legacy is None and type(here) is Snapshot
        return suitable and isinstance(here, Snapshot) and here.prepared.possible()

    def expect(self, coming: Coming | None) -> None:
        """Say which points the next step asks for first, before this step's update (``looks_ahead``)."""
        self._coming = coming if coming is None or 0.0 not in coming.scales else None

    def _forget(self) -> Coming | None:
        """Drop what was prepared from weights that are about to change; returns the points to come."""
        coming, self._coming = self._coming, None
        if isinstance(self.perturbation, Snapshot):
            self.perturbation.forget()
        return coming

    def batches(self) -> list[list[str]]:
        """Groups of tensor names to edit together. All tensors edited in their own storage form one group;
        every other tensor is a group of its own."""
        # A half-precision or masked tensor is copied to float32 while it is edited. Editing one at a time
        # bounds the memory to one copy. The others need no copy, and one kernel call updates them all.
        own = [n for n in self.space if self.space.dtype(n) not in HALF and self.space.indices(n) is None]
        return [own, *([n] for n in self.space if n not in set(own))]

    @contextmanager
    def editing(self, name: str) -> Iterator[torch.Tensor]:
        """The tuned values of one tensor in float32 or float64, to be changed in place. They are rounded to
        the tensor's dtype once, at the end of the block."""
        self._forget()
        # The MeZO code base updates weights in their own dtype. Its bits are reproduced only without the
        # float32 copy and the rounding rule of the writer.
        if self.legacy is not None:
            yield self.space.entries(name)
            return
        with self.writer.editing(name) as values:
            yield values

    def settle(self) -> None:
        """Write steps that were put off into the weights (modes ``factored-lazy`` and ``offload``)."""
        if self._lazy is not None:
            self._lazy.flush(self.writer)
        if self.offload is not None:
            self.offload.flush()

    def settled(self) -> AbstractContextManager[None]:
        """Inside the block the weights hold steps that were put off; afterwards they are as before."""
        if self.offload is not None:
            self.offload.flush()
        return nullcontext() if self._lazy is None else self._lazy.settled(self.writer)

    def state_dict(self) -> dict[str, Any]:
        if self.offload is not None:
            self.offload.flush()
        put_off = {} if self._lazy is None else self._lazy.state_dict()
        return {**self.writer.state_dict(), **{f"{PUT_OFF}{key}": value for key, value in put_off.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._forget()
        put_off = {k.removeprefix(PUT_OFF): v for k, v in state.items() if k.startswith(PUT_OFF)}
        self.writer.load_state_dict({k: v for k, v in state.items() if not k.startswith(PUT_OFF)})
        if self.offload is not None:
            self.offload.keep_sides()
        if self._lazy is not None:
            self._lazy.load_state_dict(put_off)
