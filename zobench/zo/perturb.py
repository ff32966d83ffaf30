"""How the loss at theta + eps u is obtained: in place, from a snapshot, streamed by module, or in batched
branches.

A *point* is a sequence of shifts of theta; almost always one ``Along(direction, seed, scale)``, but any
object with ``add_(tensor, name)`` and ``touches(name)`` will do (an ascent step, an anchor, a scale per
layer).

- ``Snapshot`` (the default): the perturbed values are written to a second buffer that stands in for the
  weights during the forward pass. The weights themselves are never written; one copy of the tuned tensors.
- ``Batched``: n points as one vmapped forward pass on stacked weights; losses agree with the others up to the
  rounding of batched kernels.
- ``Streamed`` (:mod:`zobench.zo.streamed`): each module gets its perturbed weights when its forward starts
  and its own back when it ends. Same bits as ``Snapshot``, memory of one module.
- ``Factored`` (:mod:`zobench.zo.factored_forward`): as streamed, but linear layers displaced along low-rank
  factors never form the displaced matrix; losses agree up to rounding.
- ``InPlace`` (:mod:`zobench.zo.inplace`): arithmetic on the weights themselves and arithmetic back, as
  published code does; drifts by rounding.
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


class Perturbation:
    """Losses at displaced points of one space.

    Attributes:
        exact: whether the weights are bit-identical after every ``loss``.
    """

    exact = True

    def __init__(self, space: ParameterSpace) -> None:
        self.space = space

    def loss(self, objective: Objective, point: Point) -> float:
        """The loss at theta displaced by ``point`` (empty: at theta). 1 forward."""
        # A replay answers from the record: displacing the weights would cost sweeps and change nothing.
        if objective.recorded:
            return objective.loss()
        with self.displaced(point):
            return objective.loss()

    def losses(self, objective: Objective, points: Sequence[Point]) -> list[float]:
        """The losses at several points, in order. One forward each."""
        return [self.loss(objective, point) for point in points]

    @contextmanager
    def displaced(self, point: Point) -> Iterator[None]:
        """The module runs at the displaced weights inside the block."""
        yield

    def values(self, name: str, point: Iterable[Shift]) -> torch.Tensor:
        """The displaced tuned values of one tensor: a fresh tensor, each shift added with one rounding."""
        entries = self.space.entries(name).detach()
        out = entries.clone(memory_format=torch.contiguous_format)
        for shift in point:
            if shift.touches(name):
                shift.add_(out, name)
        return out

    def values_of(self, names: Iterable[str], point: Iterable[Shift]) -> dict[str, torch.Tensor]:
        """``values`` of several tensors: same bits, each shift added to all of them together."""
        base = {name: self.space.entries(name).detach() for name in names}
        out = {name: self.buffer(name, entries) for name, entries in base.items()}
        first, *rest = point if point else (None,)
        if isinstance(first, Along) and first.scale != 0.0:
            first.direction.displace_many_(out, base, first.seed, first.scale)
        else:
            for name, tensor in out.items():
                tensor.copy_(base[name])
            rest = list(point)
        for shift in rest:
            if isinstance(shift, Along):
                if shift.scale != 0.0:
                    shift.direction.add_many_(out, shift.seed, shift.scale)
                continue
            for name, tensor in out.items():
                if shift.touches(name):
                    shift.add_(tensor, name)
        return out

    def buffer(self, name: str, like: torch.Tensor) -> torch.Tensor:
        """Memory for the displaced values of this tensor, of any content."""
        return torch.empty_like(like, memory_format=torch.contiguous_format)

    def touched(self, point: Point) -> list[str]:
        return [name for name in self.space if any(shift.touches(name) for shift in point)]

    def home(self) -> None:
        """Restore theta if the mode left the weights displaced."""


class Around(Perturbation):
    """A perturbation around another one, which displaces the weights."""

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
    """Perturbed copies stand in for the weights; restoring is giving the weights their own storage back.

    On a CPU the copies are used again by the next point: allocating memory anew for every forward costs
    several times as much as filling it.
    """

    def __init__(self, space: ParameterSpace) -> None:
        super().__init__(space)
        self._reuse = all(t.device.type == "cpu" for t in space.tensors.values())
        self._spare: dict[str, list[torch.Tensor]] = {name: [] for name in space}

    @contextmanager
    def displaced(self, point: Point) -> Iterator[None]:
        own: dict[str, torch.Tensor] = {}
        values = self.values_of(self.touched(point), point)
        try:
            for name, moved in values.items():
                parameter = self.space.tensors[name]
                own[name] = parameter.data
                parameter.data = self.space.whole(name, moved)
            yield
        finally:
            for name, data in own.items():
                self.space.tensors[name].data = data
            if self._reuse:
                for name, moved in values.items():
                    self._spare[name].append(moved)

    def buffer(self, name: str, like: torch.Tensor) -> torch.Tensor:
        return self._spare[name].pop() if self._spare[name] else super().buffer(name, like)


class Batched(Snapshot):
    """All points of one ``losses`` call in one vmapped forward pass, at most ``branches`` at a time."""

    def __init__(self, space: ParameterSpace, branches: int = 16) -> None:
        super().__init__(space)
        self.branches = branches

    def losses(self, objective: Objective, points: Sequence[Point]) -> list[float]:
        if objective.recorded or len(points) < 2:
            return super().losses(objective, points)
        losses: list[float] = []
        for start in range(0, len(points), self.branches):
            part = points[start : start + self.branches]
            names = [n for n in self.space if any(s.touches(n) for point in part for s in point)]
            if not names:
                losses += super().losses(objective, part)
                continue
            stacked = {
                name: torch.stack([self.space.whole(name, self.values(name, point)) for point in part])
                for name in names
            }
            losses += objective.branches(stacked)
        return losses
