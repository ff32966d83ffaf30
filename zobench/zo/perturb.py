"""Losses at displaced weights theta + eps u: in place, from a snapshot, module by module, or batched.

A *point* is a sequence of shifts of theta. It is usually one ``Along(direction, seed, scale)``, but any
object with ``add_(tensor, name)`` and ``touches(name)`` is accepted (an ascent step, an anchor, a scale per
layer).

- ``Snapshot`` (the default): the perturbed values are written to a second buffer, which replaces the weights
  during the forward pass. The weights themselves are never written. Memory: one copy of the tuned tensors.
- ``Batched``: n points in one vmapped forward pass on stacked weights. Losses equal those of the other modes
  up to the rounding of batched kernels.
- ``Streamed`` (:mod:`zobench.zo.streamed`): each module receives its perturbed weights when its forward
  starts and its own weights when it ends. Bit-identical to ``Snapshot``. Memory: one module.
- ``Sliced`` (:mod:`zobench.zo.sliced`): like ``Streamed``, with large linear layers in slices. Losses are
  equal up to rounding.
- ``StreamedPaired`` (:mod:`zobench.zo.paired`): like ``Streamed``, with one draw for the two points of a
  two-sided estimate. Bit-identical. Memory: one layer at both points.
- ``Factored`` (:mod:`zobench.zo.factored_forward`): like ``Streamed``, but linear layers displaced along
  low-rank factors never form the displaced matrix. Losses are equal up to rounding.
- ``InPlace`` (:mod:`zobench.zo.inplace`): the displacement is added to the weights and later subtracted, as
  in published code. Rounding errors accumulate.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch

from zobench.zo.arithmetic import add_scaled_
from zobench.zo.directions import Direction
from zobench.zo.objective import Objective
from zobench.zo.prepared import Coming, Prepared, Values
from zobench.zo.space.base import ParameterSpace


class Shift(Protocol):
    """One displacement of theta, tensor by tensor."""

    def add_(self, tensor: torch.Tensor, name: str) -> None: ...

    def touches(self, name: str) -> bool: ...


@dataclass(frozen=True)
class Along:
    """scale * u(seed)."""

    direction: Direction
    seed: int
    scale: float

    def add_(self, tensor: torch.Tensor, name: str) -> None:
        if self.scale != 0.0:
            self.direction.add_(tensor, name, self.seed, self.scale)

    def touches(self, name: str) -> bool:
        return self.scale != 0.0 and self.direction.touches(name, self.seed)


@dataclass(frozen=True)
class Displaced:
    """scale * tensors[name]: a dense displacement (shapes as ``space.shape``), for ascent points and
    anchors."""

    tensors: dict[str, torch.Tensor]
    scale: float = 1.0

    def add_(self, tensor: torch.Tensor, name: str) -> None:
        if name in self.tensors:
            add_scaled_(tensor, self.tensors[name], self.scale)

    def touches(self, name: str) -> bool:
        return name in self.tensors and self.scale != 0.0


Point = Sequence[Shift]


def along_one_u(points: Sequence[Point]) -> tuple[Along, Along] | None:
    """The shifts of the first two points, if both lie along the same plain noise u at different distances
    from theta; otherwise ``None``."""
    pair = [point[0] for point in points[:2] if len(point) == 1 and isinstance(point[0], Along)]
    if len(pair) < 2:
        return None
    first, second = pair
    same = (first.direction, first.seed) == (second.direction, second.seed) and first.scale != second.scale
    if not same or first.direction.kind is None or 0.0 in (first.scale, second.scale):
        return None
    return first, second


class Perturbation:
    """Losses at displaced points of one space.

    Attributes:
        exact: whether the weights are bit-identical after every ``loss``.
        by_visits: whether one call of ``losses`` for many points saves visits of the weights, and no point's
            loss depends on which points are computed beside it.
    """

    exact = True
    by_visits = False

    def __init__(self, space: ParameterSpace) -> None:
        self.space = space

    def loss(self, objective: Objective, point: Point) -> float:
        """The loss at theta displaced by ``point`` (empty: at theta). Cost: 1 forward pass."""
        # A replay reads losses from the record: displacing the weights would cost sweeps and have no effect.
        if objective.recorded:
            return objective.loss()
        with self.displaced(point):
            return objective.loss()

    def losses(self, objective: Objective, points: Sequence[Point]) -> list[float]:
        """The losses at several points, in order. Cost: one forward pass per point."""
        return [self.loss(objective, point) for point in points]

    @contextmanager
    def displaced(self, point: Point) -> Iterator[None]:
        """Inside the block, the module computes with the displaced weights."""
        yield

    def values(self, name: str, point: Point) -> torch.Tensor:
        """The displaced tuned values of one tensor, in ``buffer`` memory. Each shift is added with one
        rounding."""
        return self.values_of([name], [shift for shift in point if shift.touches(name)])[name]

    def values_of(self, names: Iterable[str], point: Point) -> dict[str, torch.Tensor]:
        """``values`` of several tensors, with identical bits. Each shift is added to all tensors together."""
        base = {name: self.space.entries(name).detach() for name in names}
        out = {name: self.buffer(name, entries) for name, entries in base.items()}
        # The first shift along a direction is written together with the copy: one read and one write per
        # entry instead of two. Further shifts are added to the copy.
        first, *rest = point if point else (None,)
        if isinstance(first, Along) and first.scale != 0.0:
            first.direction.displace_many_(out, base, first.seed, first.scale)
        else:
            for name, tensor in out.items():
                tensor.copy_(base[name])
            rest = list(point)
        for shift in rest:
            # A seeded direction updates all tensors by one call, which saves the per-call cost on models with
            # many small tensors. Other shifts define addition to one tensor only.
            if isinstance(shift, Along):
                if shift.scale != 0.0:
                    shift.direction.add_many_(out, shift.seed, shift.scale)
                continue
            for name, tensor in out.items():
                if shift.touches(name):
                    shift.add_(tensor, name)
        return out

    def buffer(self, name: str, like: torch.Tensor) -> torch.Tensor:
        """Uninitialized memory for the displaced values of this tensor."""
        # Contiguous, because directions write through flat views and noise kernels copy any other layout.
        return torch.empty_like(like, memory_format=torch.contiguous_format)

    def touched(self, point: Point) -> list[str]:
        return [name for name in self.space if any(shift.touches(name) for shift in point)]

    def home(self) -> None:
        """Restore theta if the mode left the weights displaced."""


class Around(Perturbation):
    """Base of perturbations that wrap another one (``inner``), which displaces the weights."""

    def __init__(self, inner: Perturbation) -> None:
        super().__init__(inner.space)
        self.inner = inner
        self.exact = inner.exact

    @contextmanager
    def displaced(self, point: Point) -> Iterator[None]:
        with self.inner.displaced(point):
            yield

    def home(self) -> None:
        self.inner.home()


class Snapshot(Perturbation):
    """Perturbed copies replace the weights during the forward pass; restoring reattaches the weights'
    storage.

    On a CPU the copies are reused by the next point: allocating the memory for every forward pass takes
    several times as long as filling it. Two points along the same u are written in one sweep if memory allows
    a second copy.
    """

    def __init__(self, space: ParameterSpace) -> None:
        super().__init__(space)
        self._reuse = all(t.device.type == "cpu" for t in space.tensors.values())
        self._spare: dict[str, list[torch.Tensor]] = {name: [] for name in space}
        self.prepared = Prepared(space)

    def losses(self, objective: Objective, points: Sequence[Point]) -> list[float]:
        if objective.recorded:
            return super().losses(objective, points)
        found: list[float] = []
        try:
            for at, point in enumerate(points):
                self._write_together(points[at:])
                found.append(self.loss(objective, point))
        finally:
            self.forget()
        return found

    def _write_together(self, points: Sequence[Point]) -> None:
        """Write the first two points in one sweep if they lie along the same u."""
        pair = along_one_u(points)
        if pair is None or not self.prepared.possible():
            return
        first, second = pair
        direction, seed = first.direction, first.seed
        if self.prepared.has(direction, seed, first.scale):
            return
        coming = Coming(direction, seed, (first.scale, second.scale))
        names = self.touched(points[0])
        outs = self.outputs(coming, names)
        base = {name: self.space.entries(name).detach() for name in names}
        direction.branch_many_(outs, base, seed, coming.scales)
        self.prepared.keep(coming, outs)

    def outputs(self, coming: Coming, names: Iterable[str]) -> list[Values]:
        """Memory for the values of these points."""
        whole = list(names)
        return [{name: self.buffer(name, self.space.entries(name)) for name in whole} for _ in coming.scales]

    def forget(self) -> None:
        """Drop perturbed values that were prepared and not used."""
        self.reclaim(self.prepared.drop())

    def reclaim(self, values: Iterable[Values]) -> None:
        """Reuse the memory of these values for later points."""
        for moved in values if self._reuse else ():
            for name, tensor in moved.items():
                self._spare[name].append(tensor)

    def _values_at(self, point: Point) -> Values:
        if len(point) == 1 and isinstance(point[0], Along):
            ready = self.prepared.take(point[0].direction, point[0].seed, point[0].scale)
            if ready is not None:
                return ready
        return self.values_of(self.touched(point), point)

    @contextmanager
    def displaced(self, point: Point) -> Iterator[None]:
        own: dict[str, torch.Tensor] = {}
        values = self._values_at(point)
        try:
            for name, moved in values.items():
                parameter = self.space.tensors[name]
                own[name] = parameter.data
                # Only the storage behind the parameter is exchanged. The parameter object stays the same, so
                # that tied weights and references held by the model see the displaced values too.
                parameter.data = self.space.whole(name, moved)
            yield
        finally:
            for name, data in own.items():
                self.space.tensors[name].data = data
            self.reclaim([values])

    def buffer(self, name: str, like: torch.Tensor) -> torch.Tensor:
        return self._spare[name].pop() if self._spare[name] else super().buffer(name, like)


class Batched(Snapshot):
    """The points of one ``losses`` call in vmapped forward passes of at most ``branches`` points each."""

    def __init__(self, space: ParameterSpace, branches: int = 16) -> None:
        super().__init__(space)
        self.branches = branches

    def losses(self, objective: Objective, points: Sequence[Point]) -> list[float]:
        # One point gains nothing from vmap, and without it the loss has the bits of mode snapshot.
        if objective.recorded or len(points) < 2:
            return super().losses(objective, points)
        losses: list[float] = []
        for start in range(0, len(points), self.branches):
            part = points[start : start + self.branches]
            names = [n for n in self.space if any(s.touches(n) for point in part for s in point)]
            # Points that displace nothing leave no tensor to stack along the branch dimension.
            if not names:
                losses += super().losses(objective, part)
                continue
            stacked = {
                name: torch.stack([self.space.whole(name, self.values(name, point)) for point in part])
                for name in names
            }
            losses += objective.branches(stacked)
        return losses
