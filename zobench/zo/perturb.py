"""How the loss at theta + eps u is obtained: in place, from a snapshot, streamed by module, or in batched
branches.

A *point* is a sequence of shifts of theta; almost always one ``Along(direction, seed, scale)``, but any
object with ``add_(tensor, name)`` and ``touches(name)`` will do (an ascent step, an anchor, a scale per
layer).

- ``Snapshot`` (the default): the perturbed values are written to a second buffer that stands in for the
  weights during the forward pass. The weights themselves are never written; one copy of the tuned tensors.
- ``Streamed``: each module gets its perturbed weights when its forward starts and its own back when it ends.
  Same bits as ``Snapshot``, memory of one module.
- ``InPlace``: arithmetic on the weights themselves and arithmetic back, as published code does; drifts by
  rounding.
- ``Batched``: n points as one vmapped forward pass on stacked weights; losses agree with the others up to the
  rounding of batched kernels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from zobench.zo.directions import Direction
from zobench.zo.kept import KEEP_BYTES
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
            tensor.add_(self.tensors[name].to(tensor.dtype), alpha=self.scale)

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
        out = self.copies(names)
        for shift in point:
            if isinstance(shift, Along):
                if shift.scale != 0.0:
                    shift.direction.add_many_(out, shift.seed, shift.scale)
                continue
            for name, tensor in out.items():
                if shift.touches(name):
                    shift.add_(tensor, name)
        return out

    def copies(self, names: Iterable[str]) -> dict[str, torch.Tensor]:
        """The tuned values of these tensors, copied."""
        return {
            name: self.space.entries(name).detach().clone(memory_format=torch.contiguous_format)
            for name in names
        }

    def touched(self, point: Point) -> list[str]:
        return [name for name in self.space if any(shift.touches(name) for shift in point)]

    def home(self) -> None:
        """Bring the weights back to theta where a mode left them displaced."""


class Snapshot(Perturbation):
    """Perturbed copies stand in for the weights; restoring is giving the weights their own storage back.

    The copies of a small space are used again by the next point: allocating megabytes anew for every forward
    costs more than filling them.
    """

    def __init__(self, space: ParameterSpace) -> None:
        super().__init__(space)
        self._reuse = sum(t.numel() * t.element_size() for t in space.tensors.values()) <= KEEP_BYTES
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

    def copies(self, names: Iterable[str]) -> dict[str, torch.Tensor]:
        out: dict[str, torch.Tensor] = {}
        for name in names:
            entries = self.space.entries(name).detach()
            spare = self._spare[name].pop() if self._spare[name] else None
            if spare is None:
                out[name] = entries.clone(memory_format=torch.contiguous_format)
            else:
                out[name] = spare.copy_(entries)
        return out


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


class InPlace(Perturbation):
    """theta itself is moved from point to point: +eps, -2 eps, +eps. Only ``Along`` shifts.

    The weights stay at the last point until ``home`` or until an update takes the rest of the way over
    (``take``), which is the fused restore-and-update: theta <- theta_pert + (eps - eta c) u in one sweep.
    """

    exact = False

    def __init__(self, space: ParameterSpace) -> None:
        super().__init__(space)
        self._at: dict[tuple[int, int], Along] = {}

    def loss(self, objective: Objective, point: Point) -> float:
        self._go(point)
        try:
            return objective.loss()
        except BaseException:
            self.home()
            raise

    @contextmanager
    def displaced(self, point: Point) -> Iterator[None]:
        try:
            self._go(point)
            yield
        finally:
            self.home()

    def _go(self, point: Point) -> None:
        target: dict[tuple[int, int], Along] = {}
        for shift in point:
            if not isinstance(shift, Along):
                raise ValueError("mode 'in-place' moves along seeded directions only; use mode 'snapshot'")
            if shift.scale != 0.0:
                target[(id(shift.direction), shift.seed)] = shift
        for key in list(self._at):
            if key not in target:
                self._move(self._at[key], -self._at[key].scale)
        for key, shift in target.items():
            here = self._at[key].scale if key in self._at else 0.0
            self._move(shift, shift.scale - here)
        self._at = target

    def _move(self, shift: Along, scale: float) -> None:
        if scale == 0.0:
            return
        for name in self.space:
            if shift.direction.touches(name, shift.seed):
                entries = self.space.entries(name)
                shift.direction.add_(entries, name, shift.seed, scale)
                if self.space.indices(name) is not None:
                    self.space.put_(name, entries)

    def home(self) -> None:
        self._go(())

    def take(self) -> dict[int, float]:
        """Seeds and scales by which the weights are displaced now; the caller undertakes to remove them."""
        taken = {seed: shift.scale for (_, seed), shift in self._at.items()}
        self._at = {}
        return taken


class _Watch(TorchFunctionMode):
    """Notes which of the given parameters take part in any operation (attribute reads do not count)."""

    def __init__(self, parameters: dict[int, str]) -> None:
        super().__init__()
        self.parameters = parameters
        self.used: set[str] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") != "__get__":
            for leaf in tree_leaves((args, kwargs)):
                name = self.parameters.get(id(leaf))
                if name is not None:
                    self.used.add(name)
        return func(*args, **kwargs)


class Streamed(Perturbation):
    """Each module computes with perturbed weights made when its forward starts and dropped when it ends.

    Works where every tuned tensor is used only inside the forward of a module that owns it (tied owners
    included). The
    first loss that displaces a tensor is watched: ``ValueError`` names a displaced tensor that is used
    elsewhere, instead of a wrong loss.
    """

    def __init__(self, space: ParameterSpace) -> None:
        super().__init__(space)
        names = {id(p): name for name, p in space.tensors.items()}
        self._names = names
        self._owned: list[tuple[nn.Module, dict[str, str]]] = []
        for module in space.module.modules():
            owned = {
                k: names[id(p)] for k, p in module._parameters.items() if p is not None and id(p) in names
            }
            if owned:
                self._owned.append((module, owned))
        self._checked: set[str] = set()

    def loss(self, objective: Objective, point: Point) -> float:
        if objective.recorded:
            return objective.loss()
        touched = set(self.touched(point))
        with self.displaced(point):
            if touched <= self._checked:
                return objective.loss()
            with _Watch(self._names) as watch:
                value = objective.loss()
        elsewhere = sorted(watch.used & touched)
        if elsewhere:
            raise ValueError(
                f"mode 'streamed': {elsewhere[0]!r} is used outside the forward of its module; use mode "
                "'snapshot'"
            )
        self._checked |= touched
        return value

    @contextmanager
    def displaced(self, point: Point) -> Iterator[None]:
        touched = set(self.touched(point))
        own: dict[int, dict[str, Any]] = {}
        handles = []
        for module, owned in self._owned:
            local = {k: n for k, n in owned.items() if n in touched}
            if not local:
                continue
            enter, leave = self._hooks(local, point, own)
            handles.append(module.register_forward_pre_hook(enter, prepend=True))
            handles.append(module.register_forward_hook(leave, always_call=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            for module, _ in self._owned:
                module._parameters.update(own.pop(id(module), {}))

    def _hooks(self, local: dict[str, str], point: Point, own: dict[int, dict[str, Any]]) -> tuple[Any, Any]:
        def enter(module: nn.Module, args: Any) -> None:
            if id(module) in own:
                return
            moved = {k: self.space.whole(n, self.values(n, point)) for k, n in local.items()}
            own[id(module)] = {k: module._parameters[k] for k in local}
            module._parameters.update(moved)  # type: ignore[arg-type]

        def leave(module: nn.Module, args: Any, output: Any) -> None:
            module._parameters.update(own.pop(id(module), {}))

        return enter, leave


MODES: dict[str, type[Perturbation]] = {
    "snapshot": Snapshot,
    "in-place": InPlace,
    "streamed": Streamed,
    "batched": Batched,
}
