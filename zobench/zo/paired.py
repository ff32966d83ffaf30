"""Mode ``streamed-paired``: the two points of a two-sided estimate take turns at the layers.

Both calls of the loss run up to the next layer of the model, or to the next module outside the layers that
owns tuned tensors. The first to enter it writes its weights at both points by one sweep, from one draw:

    theta + a u  and  theta + b u  ->  forward of point 1 through the layer, then forward of point 2.

Losses have the bits of mode ``streamed``, which draws once for each point. Extra memory: the weights of one
layer at both points, and the second point's activations. The calls are in the model at the same time
(:mod:`zobench.zo.lockstep`): a model that keeps something in its modules during a forward pass is refused.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from zobench.zo.lockstep import Turns
from zobench.zo.objective import Objective
from zobench.zo.pair_of_layers import Layer, apart, lay_out, layers_of
from zobench.zo.perturb import Along, Point, along_one_u
from zobench.zo.space.base import ParameterSpace
from zobench.zo.streamed import Streamed

Hooks = tuple[Callable[..., Any], Callable[..., Any]]
Memory = list[torch.Tensor]
ADVICE = "use mode 'streamed'"


class Pair:
    """The state of two calls of the loss.

    Args:
        shifts: the two points, theta displaced along one u by two scales.
        vectors: for each call, the displaced values of the short vectors.
    """

    def __init__(self, shifts: tuple[Along, Along], vectors: Sequence[dict[str, torch.Tensor]]) -> None:
        self.points: tuple[Point, Point] = ((shifts[0],), (shifts[1],))
        self.scales = [shift.scale for shift in shifts]
        self.direction, self.seed = shifts[0].direction, shifts[0].seed
        self.vectors = vectors
        self.own: list[dict[int, dict[str, Any]]] = [{}, {}]
        self._turns = Turns()
        self._here = threading.local()
        self._ready: dict[tuple[str, int], tuple[torch.Tensor, Memory, int]] = {}
        self._at = 0
        self._made: tuple[Layer, int] | None = None

    def run(self, loss: Callable[[], float]) -> list[float]:
        """The losses at both points."""

        def call(number: int) -> float:
            self._here.number = number
            return loss()

        return self._turns.run([lambda: call(0), lambda: call(1)])

    @property
    def now(self) -> int:
        """The call that is running."""
        number: int = self._here.number
        return number

    def hooks(
        self, local: dict[str, str], of_point: Callable[..., Hooks], change: Callable[[int], None]
    ) -> Hooks:
        """Hooks of a module that serve the call that is running. ``of_point(local, point, own)`` makes those
        of one point; ``change(number)`` is told which call enters."""
        each = [of_point(local, point, own) for point, own in zip(self.points, self.own, strict=True)]
        stops = any(name not in self.vectors[0] for name in local.values())

        def enter(module: nn.Module, args: Any) -> Any:
            # Inside a module that is displaced already the other call would find this point's weights.
            if stops and not self.own[self.now]:
                self._turns.arrive()
            self._at = id(module)
            change(self.now)
            return each[self.now][0](module, args)

        def leave(module: nn.Module, args: Any, output: Any) -> Any:
            return each[self.now][1](module, args, output)

        return enter, leave

    def hooks_of_layer(self, layer: Layer, base: Mapping[str, torch.Tensor], memories: Memory) -> Hooks:
        """Hooks of a layer whose tensors are displaced together; ``base`` are the tensors themselves."""

        def enter(module: nn.Module, args: Any) -> None:
            own = self.own[self.now]
            if id(layer.places[0][0]) in own:
                return
            if not own:
                self._turns.arrive()
            if self._made != (layer, self.now):
                # ``inference_mode``: the kernel writes, but views of the base are made.
                with torch.inference_mode(False), torch.no_grad():
                    self.direction.branch_many_(layer.stand_ins, base, self.seed, self.scales)
                self._made = layer, 1 - self.now
            for part, key, name in layer.places:
                own.setdefault(id(part), {})[key] = part._parameters[key]
                part._parameters[key] = layer.stand_ins[self.now][name]

        def leave(module: nn.Module, args: Any, output: Any) -> Any:
            own = self.own[self.now]
            for part, _, _ in layer.places:
                part._parameters.update(own.pop(id(part), {}))
            return apart(output, memories)

        return enter, leave

    def take(self, name: str) -> tuple[torch.Tensor, Memory] | None:
        """The tensor's values at the point of the running call and their memory, if the other call has made
        them."""
        made = self._ready.pop((name, self.now), None)
        return None if made is None else made[:2]

    def make(self, name: str, base: torch.Tensor, outs: Sequence[torch.Tensor], lent: Memory) -> None:
        """Write the tensor's values at both points: of the running call into ``outs[0]``, of the other into
        ``outs[1]``, which lies in the memory ``lent``."""
        scales = self.scales if self.now == 0 else self.scales[::-1]
        self.direction.branch_many_([{name: out} for out in outs], {name: base}, self.seed, scales)
        self._ready[name, 1 - self.now] = outs[1], lent, self._at

    def left_over(self, *, everywhere: bool = False) -> Memory:
        """Forget what was made for other modules than the present one and not taken, and give back its
        memory: calls may reach different modules, as routing to experts depends on the weights."""
        left = [key for key, made in self._ready.items() if everywhere or made[2] != self._at]
        return [part for key in left for part in self._ready.pop(key)[1]]


class StreamedPaired(Streamed):
    """``Streamed`` with one draw for the two points of a two-sided estimate.

    Other points, the first pair, points on a device and losses that generate text are computed one after the
    other, with the same bits.

    Raises:
        ValueError: at the first pair, if a module keeps something during the forward pass, if the model
            draws at random in it, or under autocast.
    """

    mode = "streamed-paired"

    def __init__(self, space: ParameterSpace) -> None:
        super().__init__(space)
        self._pair: Pair | None = None
        self._watched_whole = False
        self._layers: list[Layer] | None = None
        self._memories: Memory = []

    def losses(self, objective: Objective, points: Sequence[Point]) -> list[float]:
        on_cpu = all(tensor.device.type == "cpu" for tensor in self.space.tensors.values())
        # A loss that generates text reaches every module once for each token: turns would cost more.
        if objective.recorded or objective.goes_side_by_side or not on_cpu:
            return super().losses(objective, points)
        found: list[float] = []
        while len(found) < len(points):
            pair = along_one_u(points[len(found) :])
            if pair is None:
                found.append(self.loss(objective, points[len(found)]))
            else:
                found += self._both(objective, pair)
        return found

    def _both(self, objective: Objective, shifts: tuple[Along, Along]) -> list[float]:
        if objective.allow_train_mode:
            raise ValueError(f"mode {self.mode!r} does not run a model that draws at random; {ADVICE}")
        if torch.is_autocast_enabled("cpu"):
            raise ValueError(f"mode {self.mode!r} does not run under autocast; {ADVICE}")
        touched = set(self.touched(shifts[:1]))
        if touched <= self._checked and self._watched_whole:
            return self._together(objective, shifts, touched)
        before = kept_in_modules(self.space.module)
        losses = [self.loss(objective, (shift,)) for shift in shifts]
        changed = what_changed(before, kept_in_modules(self.space.module))
        if changed:
            raise ValueError(
                f"mode {self.mode!r}: {changed} changes during the forward pass, and two passes run at the "
                f"same time; {ADVICE}"
            )
        self._watched_whole = True
        return losses

    def _together(self, objective: Objective, shifts: tuple[Along, Along], touched: set[str]) -> list[float]:
        layers = [layer for layer in self._laid_out() if touched.issuperset(layer.names)]
        inside = {id(part) for layer in layers for part, _, _ in layer.places}
        outside = {n for module, own in self._owned if id(module) not in inside for n in own.values()}
        pair = Pair(shifts, [self._small(touched & outside, (shift,)) for shift in shifts])
        before, self._pair = self._vectors, pair

        def change(number: int) -> None:
            self._vectors = pair.vectors[number]

        def hooks(local: dict[str, str]) -> Hooks:
            return pair.hooks(local, self._hooks, change)

        owned = self._owned
        try:
            self._owned = [(module, own) for module, own in owned if id(module) not in inside]
            with self._entering(layers, pair), self._hooked(touched, hooks, pair.own):
                return pair.run(objective.loss)
        finally:
            self._owned = owned
            self._vectors, self._pair = before, None
            self._spare += pair.left_over(everywhere=True)

    def _laid_out(self) -> list[Layer]:
        if self._layers is None:
            self._layers = layers_of(self.space)
            self._memories = lay_out(self._layers, self.space)
        return self._layers

    @contextmanager
    def _entering(self, layers: Sequence[Layer], pair: Pair) -> Iterator[None]:
        handles = []
        for layer in layers:
            base = {name: self.space.entries(name).detach() for name in layer.names}
            enter, leave = pair.hooks_of_layer(layer, base, self._memories)
            handles.append(layer.module.register_forward_pre_hook(enter, prepend=True))
            handles.append(layer.module.register_forward_hook(leave, always_call=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            # Restores layers whose forward started and did not reach ``leave``.
            for part, _, _ in (place for layer in layers for place in layer.places):
                for own in pair.own:
                    part._parameters.update(own.pop(id(part), {}))

    def values(self, name: str, point: Point) -> torch.Tensor:
        pair = self._pair
        if pair is None:
            return super().values(name, point)
        made = pair.take(name)
        if made is not None:
            values, lent = made
            if self._taken is not None:
                self._taken += lent
            return values
        self._spare += pair.left_over()
        base = self.space.entries(name).detach()
        values = self.buffer(name, base)
        mine, lent = self._taken, []
        self._taken = lent if mine is not None else None
        other = self.buffer(name, base)
        self._taken = mine
        pair.make(name, base, (values, other), lent)
        return values


PLAIN = (bool, int, float, complex, str, bytes, type(None))
"""Values that are compared; others are the same if they are the same object."""


def kept_in_modules(module: nn.Module) -> dict[str, Any]:
    """Attributes and buffers of all submodules by path. Tensors come with the number of writes to them,
    containers with their elements."""
    found: dict[str, Any] = {}
    for path, part in module.named_modules():
        held = {k: v for k, v in vars(part).items() if k not in ("_parameters", "_modules", "_buffers")}
        for key, value in {**held, **part._buffers}.items():
            found[f"{path}.{key}".lstrip(".")] = value, _inside(value)
    return found


def _inside(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        # Tensors that were made in inference mode do not count their writes.
        return None if value.is_inference() else value._version
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    return list(value) if isinstance(value, list | tuple | set) else None


def what_changed(before: dict[str, Any], after: dict[str, Any]) -> str:
    """The first path that is not as it was; empty if all are."""
    for path in before | after:
        if path not in before or path not in after:
            return path
        (one, inside), (two, now) = before[path], after[path]
        if not _same(one, two) or not _same(inside, now):
            return path
    return ""


def _same(one: Any, two: Any) -> bool:
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(_same(a, b) for a, b in zip(one, two, strict=True))
    return one is two or (type(one) is type(two) and isinstance(one, PLAIN) and one == two)
