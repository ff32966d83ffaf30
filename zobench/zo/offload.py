"""Mode ``offload``: the weights stay outside the compute memory and are visited block by block.

One step visits every block (:mod:`zobench.zo.blocks`) once, for all of its points:

    block's update of the last step; then forward of point 1, ..., forward of point n through the block.

The points are calls of the loss that take turns at the blocks (:mod:`zobench.zo.lockstep`): their activations
are in memory together, the weights of one block at a time. An update is a list of seeds and scalars, is put
off until the block's next visit and has the same bits whenever it is applied. Whoever reads a tensor through
the space meanwhile gets it with its updates.

Within a block the weights of a point are made as in mode ``streamed-sliced``, and losses and weights have
that mode's bits (those of mode ``snapshot``, where no linear layer is large enough for slices). On a CPU the
weights are a mapped scratch copy, on another device they lie in host memory (:mod:`zobench.zo.scratch`). The
tensors that the space had before are never written.

Source of the schedule: ZO2 (arXiv 2503.12668), there for two points on a GPU.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from zobench.zo.blocks import ModelPart, blocks_of
from zobench.zo.lockstep import Turns
from zobench.zo.objective import Objective
from zobench.zo.perturb import Point
from zobench.zo.precision import HALF, Writer
from zobench.zo.scratch import Host, Mapped, digest, folder_of
from zobench.zo.sliced import Sliced, standing_in
from zobench.zo.source import NoiseSource
from zobench.zo.space.base import ParameterSpace

if TYPE_CHECKING:
    from zobench.zo.noise import NoiseKind

MOST_WAITING = 64
"""Updates of one tensor that wait. A process without a loss of its own visits no block, and neither does a
replay: their lists would grow without end."""
KEPT = "kept/"
"""Prefix of what the rounding rule stores besides a half-precision weight, in the scratch copy."""


@dataclass(frozen=True)
class Waiting:
    """theta <- factor theta + sum of scale u(seed), rounded once."""

    source: NoiseSource
    kind: NoiseKind
    moving: Mapping[int, float]
    factor: float


class Offload(Sliced):
    """Losses at displaced weights that are visited block by block.

    Args:
        scratch: folder of the scratch copy; empty: the system's folder for temporary files.

    Raises:
        ValueError: the model has no list of layers, or a tensor lies across them.
    """

    mode = "offload"
    by_visits = True

    def __init__(self, space: ParameterSpace, writer: Writer, scratch: str | Path = "") -> None:
        super().__init__(space)
        self.scratch = scratch
        self.blocks = blocks_of(space)
        self._writer = writer
        self._lockstep = Turns()
        self._here = threading.local()
        self._store: Mapped | Host | None = None
        self._base: dict[str, torch.Tensor] = {}
        self._put_off: dict[str, list[Waiting]] = {}
        self._visited: ModelPart | None = None
        self._changed = False
        self._next: dict[ModelPart, ModelPart] = {}
        self._inside: dict[int, tuple[Any, Any]] = {}
        self._own: dict[int, dict[str, Any]] = {}
        self._undo: list[Callable[[], None]] = []

    # -- the copy -------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Make the copy and hook the blocks, unless that was done."""
        if self._store is not None:
            return
        device = self.space.device
        order = dict.fromkeys(name for block in self.blocks for name in block.names)
        names = [*order, *(name for name in self.space if name not in order)]
        self._base = {name: self.space.tensors[name].data for name in names}
        with torch.inference_mode(False), torch.no_grad():
            self._store = self._copy(names, device)
        for name in names:
            self.space.tensors[name].data = self._store.tensors[name]
        self.space.before_use = self.apply
        self._hook()

    def _copy(self, names: Sequence[str], device: torch.device) -> Mapped | Host:
        if device.type != "cpu":
            return Host({name: self.space.tensors[name] for name in names}, device)
        copied = {n: t for name in names for n, t in self._with_side(name).items()}
        store = Mapped(copied, folder_of(self.scratch))
        sides = {n.removeprefix(KEPT): t for n, t in store.tensors.items() if n.startswith(KEPT)}
        self._writer.kept |= sides
        return store

    def _with_side(self, name: str) -> dict[str, torch.Tensor]:
        """A tensor, and what the rounding rule stores beside it, as it is before the first update."""
        values = self._base[name]
        if values.dtype not in HALF or self.space.indices(name) is not None:
            return {name: values}
        if self._writer.rule == "compensated":
            side = torch.tensor(-0.0, dtype=values.dtype).expand(values.shape)
        elif self._writer.rule == "master":
            side = values.float()
        else:
            return {name: values}
        return {name: values, f"{KEPT}{name}": side}

    def keep_sides(self) -> None:
        """Move what the rounding rule has loaded into the scratch copy."""
        self.open()
        assert self._store is not None
        with torch.inference_mode(False), torch.no_grad():
            for name, loaded in self._writer.kept.items():
                place = self._store.tensors.get(f"{KEPT}{name}")
                if place is not None:
                    self._writer.kept[name] = place.copy_(loaded)

    def close(self, *, check: bool = True) -> None:
        """Give the space the tensors that it had before (on a CPU) and drop the scratch copy with its trained
        values.

        Raises:
            ValueError: with ``check``, if a tensor that the copy was made from has changed since.
        """
        if self._store is None:
            return
        for undo in self._undo:
            undo()
        self._undo.clear()
        self.space.before_use = lambda names: None
        store, self._store = self._store, None
        self._put_off.clear()
        if isinstance(store, Host):
            for name, home in store.tensors.items():
                self.space.tensors[name].data = home.to(store.device)
            return
        for name, tensor in self._base.items():
            self.space.tensors[name].data = tensor
        self._writer.kept = {n: t for n, t in self._writer.kept.items() if f"{KEPT}{n}" not in store.tensors}
        changed = [n for n, t in self._base.items() if check and digest(t) != store.digests[n]]
        self._base = {}
        if changed:
            raise ValueError(
                f"mode 'offload': {changed[0]!r} is not what the scratch copy was made from: something wrote "
                "the model's weights, or its file, during the run"
            )

    # -- updates --------------------------------------------------------------------------------------------

    def put_off(
        self,
        source: NoiseSource,
        kind: NoiseKind,
        names: Iterable[str],
        moving: Mapping[int, float],
        factors: Mapping[str, float],
    ) -> list[str]:
        """Apply this update when the tensors are visited next. Returns the tensors whose update cannot wait:
        those that are rounded at random, because the draws depend on the order of the writes."""
        self.open()
        rest = []
        for name in names:
            if self._writer.rule == "stochastic" and self.space.dtype(name) in HALF:
                rest.append(name)
            else:
                self._put_off.setdefault(name, []).append(Waiting(source, kind, dict(moving), factors[name]))
        if any(len(waiting) >= MOST_WAITING for waiting in self._put_off.values()):
            self.flush()
        return rest

    def apply(self, names: Iterable[str]) -> None:
        """Apply the updates of these tensors that were put off, in order."""
        waiting = {name: self._put_off.pop(name) for name in list(names) if name in self._put_off}
        if not waiting:
            return
        with torch.inference_mode(False), torch.no_grad():
            # Tensors with equal updates are written by one call, which saves time on small models.
            while waiting:
                first = next(iter(waiting.values()))
                group = [name for name, updates in waiting.items() if _same(updates, first)]
                factors = [{name: waiting[name][i].factor for name in group} for i in range(len(first))]
                for update, factor in zip(first, factors, strict=True):
                    self._write(update, group, factor)
                for name in group:
                    del waiting[name]

    def _write(self, update: Waiting, names: list[str], factors: Mapping[str, float]) -> None:
        visited = set() if self._visited is None else set(self._visited.names)
        if visited >= set(names):
            self._changed = True
        elif self._store is not None:
            self._store.forget()
        for name in self._writer.descend(update.source, update.kind, names, update.moving, factors):
            # The same operations in the same order as in ``Sgd``.
            with self._writer.editing(name) as theta:
                if factors[name] != 1.0:
                    theta.mul_(factors[name])
                for seed, scale in update.moving.items():
                    update.source.add_many_({name: theta}, seed, scale, update.kind)

    def flush(self) -> None:
        """Apply everything that was put off, block by block."""
        for block in self.blocks:
            self.apply(block.names)
        self.apply(list(self._put_off))

    # -- losses ---------------------------------------------------------------------------------------------

    def loss(self, objective: Objective, point: Point) -> float:
        return self.losses(objective, [point])[0]

    def losses(self, objective: Objective, points: Sequence[Point]) -> list[float]:
        if objective.recorded:
            return [objective.loss() for _ in points]
        if torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda"):
            raise ValueError("mode 'offload' does not run under autocast; use mode 'streamed'")
        self.open()
        one = super().loss
        try:
            return self._lockstep.run([functools.partial(one, objective, point) for point in points])
        finally:
            self._leave_visited()

    @contextmanager
    def displaced(self, point: Point) -> Iterator[None]:
        self.open()
        before = self._point()
        self._here.point = point
        try:
            yield
        finally:
            self._here.point = before
            # Restores modules whose forward started and did not reach ``_leave``.
            for module, _ in self._owned:
                module._parameters.update(self._own.pop(id(module), {}))
            self._inside.clear()
            if not self._lockstep.busy:
                self._leave_visited()

    def _point(self) -> Point:
        point: Point = getattr(self._here, "point", ())
        return point

    # -- visits ---------------------------------------------------------------------------------------------

    def _hook(self) -> None:
        for module, owned in self._owned:
            if self._large(module, owned):
                assert isinstance(module, nn.Linear)
                self._undo.append(self._slicing(module, owned["weight"]))
            enter, leave = functools.partial(self._enter, owned), self._leave
            self._undo.append(module.register_forward_pre_hook(enter, prepend=True).remove)
            self._undo.append(module.register_forward_hook(leave, always_call=True).remove)
        for block in self.blocks:
            # After the others and in front of them: a block may be a layer itself.
            visit = functools.partial(self._visit, block)
            self._undo.append(block.module.register_forward_pre_hook(visit, prepend=True).remove)

    def _visit(self, block: ModelPart, module: nn.Module, args: Any) -> None:
        self._lockstep.arrive()
        if self._visited is not block:
            self._leave_visited(block)
            self._visited = block
            assert self._store is not None
            self._store.load(block.names)
            following = self._next.get(block)
            if following is not None:
                self._store.ahead([name for name in following.names if name not in block.names])
            self.apply(block.names)
        point = self._point()
        self._vectors = self._small([n for n in block.names if any(s.touches(n) for s in point)], point)

    def _leave_visited(self, following: ModelPart | None = None) -> None:
        before, self._visited = self._visited, None
        self._vectors = {}
        if before is None or self._store is None:
            return
        self._store.release(before.names, self._changed)
        self._changed = False
        if following is not None:
            self._next[before] = following

    def _enter(self, owned: dict[str, str], module: nn.Module, args: Any) -> Any:
        # A block that is not called itself (a list in a list) is not visited.
        self.apply(owned.values())
        point = self._point()
        local = {k: n for k, n in owned.items() if any(shift.touches(n) for shift in point)}
        if not local or id(module) in self._own:
            return None
        enter, leave = self._hooks(local, point, self._own)
        self._inside[id(module)] = (module, leave)
        return enter(module, args)

    def _leave(self, module: nn.Module, args: Any, output: Any) -> Any:
        inside = self._inside.pop(id(module), None)
        return None if inside is None else inside[1](module, args, output)

    def _slicing(self, module: nn.Linear, name: str) -> Callable[[], None]:
        """Compute the module in slices wherever its weight is displaced; returns what undoes it."""
        plain = module.forward

        def forward(x: torch.Tensor) -> torch.Tensor:
            point = self._point()
            if any(shift.touches(name) for shift in point):
                return self._multiply(module, name, point, x, plain)
            return plain(x)

        return standing_in(module, forward)


def _same(updates: Sequence[Waiting], others: Sequence[Waiting]) -> bool:
    return len(updates) == len(others) and all(
        a.source is b.source and a.kind == b.kind and a.moving == b.moving
        for a, b in zip(updates, others, strict=True)
    )
