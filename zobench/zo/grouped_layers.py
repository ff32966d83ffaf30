"""Whole layers of mode ``grouped``, one group of rows after the other.

Where every parameter of a layer is displaced along plain noise, the groups share nothing in the layer. On a
CPU such a layer runs once for each group: one sweep writes all its tensors at the group's point, into memory
that every layer and point uses again, and the layer runs on the group's rows. Module by module, the same
takes a sweep for each module and point, a copy that joins the outputs of each module, and activations of all
rows, which leave the cache. The operations on a row are the same, and so are the losses, to the bit: the
first time that a layer is reached both ways run, and it stays with the other one if their outputs differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._pytree import tree_flatten, tree_unflatten

from zobench.zo.pair_of_layers import Layer, apart, lay_out, layers_of
from zobench.zo.perturb import Along, Point
from zobench.zo.shared_forward import PLAIN, SharedForward
from zobench.zo.space.base import ParameterSpace


class LayersByPoint:
    """The layers of a space's module that run point by point.

    Attributes:
        inside: whether a layer is running at one point, so that its modules compute as usual.
    """

    def __init__(self, space: ParameterSpace) -> None:
        self.space, self.inside = space, False
        self._layers: list[Layer] | None = None
        self._memory: list[torch.Tensor] = []
        self._same: dict[Layer, bool] = {}

    @contextmanager
    def entered(self, points: Sequence[Point], touched: set[str], shared: SharedForward) -> Iterator[None]:
        """Inside the block the layers whose tensors are all in ``touched`` run point by point."""
        if self._layers is None:
            self._layers = [layer for layer in layers_of(self.space) if _tuned_whole(layer)]
            self._memory = lay_out(self._layers, self.space, 1)
        chosen = [layer for layer in self._layers if touched.issuperset(layer.names)]
        before = [layer.module.__dict__.get("forward") for layer in chosen]
        for layer in chosen:
            layer.module.__dict__["forward"] = self._run(layer, points, shared)
        try:
            yield
        finally:
            for layer, own in zip(chosen, before, strict=True):
                if own is None:
                    del layer.module.__dict__["forward"]
                else:
                    layer.module.__dict__["forward"] = own

    def _run(self, layer: Layer, points: Sequence[Point], shared: SharedForward) -> Callable[..., Any]:
        forward = layer.module.forward
        base = {name: self.space.entries(name).detach() for name in layer.names}

        def run(*args: Any, **kwargs: Any) -> Any:
            given = [_part((args, kwargs), number, shared) for number in range(len(points))]
            if not self._same.get(layer, True) or None in given:
                return forward(*args, **kwargs)
            outputs = [
                self._at(layer, point, base, forward, part) for point, part in zip(points, given, strict=True)
            ]
            joined = _joined(outputs, shared.rows)
            if layer in self._same:
                return joined
            # The way of mode ``grouped`` itself, once, to compare.
            expected = forward(*args, **kwargs)
            self._same[layer] = joined is not None and _equal(joined, expected)
            return expected

        return run

    def _at(
        self,
        layer: Layer,
        point: Point,
        base: dict[str, torch.Tensor],
        forward: Callable[..., Any],
        given: tuple[Any, Any],
    ) -> Any:
        """The layer's output for one group of rows."""
        own = [part._parameters[key] for part, key, _ in layer.places]
        self.inside = True
        try:
            for shift in point:
                assert isinstance(shift, Along)
                # ``inference_mode``: the kernel writes, but views of the base are made.
                with torch.inference_mode(False), torch.no_grad():
                    shift.direction.displace_many_(layer.stand_ins[0], base, shift.seed, shift.scale)
                for part, key, name in layer.places:
                    part._parameters[key] = layer.stand_ins[0][name]
            return apart(forward(*given[0], **given[1]), self._memory)
        finally:
            self.inside = False
            for (part, key, _), parameter in zip(layer.places, own, strict=True):
                part._parameters[key] = parameter


def _tuned_whole(layer: Layer) -> bool:
    """Whether every parameter of the layer is tuned: what is not is shared by the groups."""
    tuned = {id(part._parameters[key]) for part, key, _ in layer.places}
    return tuned.issuperset(map(id, layer.module.parameters()))


def plain(points: Sequence[Point]) -> bool:
    """Whether each point is theta itself or displaced once, along plain noise on every tensor."""
    return all(
        not point
        or (
            len(point) == 1
            and isinstance(point[0], Along)
            and point[0].direction.kind is not None
            and point[0].scale != 0.0
        )
        for point in points
    )


def _part(arguments: tuple[Any, Any], number: int, shared: SharedForward) -> Any:
    """The arguments of one group; ``None`` if it cannot be said which rows of them belong to it."""
    leaves, spec = tree_flatten(arguments)
    rows, found = shared.rows, []
    for at, leaf in enumerate(leaves):
        if not isinstance(leaf, torch.Tensor):
            # Any other object may be changed by the layer, as a cache is.
            if not isinstance(leaf, PLAIN):
                return None
        elif leaf.dim() and leaf.shape[0] == rows * shared.count:
            # A matrix beside the first argument may have positions for rows.
            if leaf.dim() < 2 or (at and leaf.dim() < 3):
                return None
            leaf = leaf[number * rows : (number + 1) * rows]
        elif leaf.dim() and leaf.shape[0] != 1:
            return None
        found.append(leaf)
    return tree_unflatten(found, spec)


def _joined(outputs: Sequence[Any], rows: int) -> Any:
    """The outputs of all groups as one; ``None`` if they hold anything but rows."""
    flat = [tree_flatten(output)[0] for output in outputs]
    if any(
        not isinstance(x, torch.Tensor) or not x.dim() or len(x) != rows for leaves in flat for x in leaves
    ):
        return None
    spec = tree_flatten(outputs[0])[1]
    return tree_unflatten([torch.cat(parts) for parts in zip(*flat, strict=True)], spec)


def _equal(one: Any, other: Any) -> bool:
    """Whether two outputs have the same structure and bits."""
    (a, shape), (b, expected) = tree_flatten(one), tree_flatten(other)
    return shape == expected and all(
        isinstance(y, torch.Tensor) and x.dtype == y.dtype and torch.equal(x, y)
        for x, y in zip(a, b, strict=True)
    )
