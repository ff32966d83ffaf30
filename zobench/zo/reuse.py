"""Feature reuse: a forward starts at the first layer whose weights are displaced (arXiv 2310.02025).

For points that displace few tensors each (DeepZero's coordinates), everything the model computes before it
first reads one of them is the same at every point. The first point of a list runs whole and leaves the
outputs of the model's units behind; the others take these outputs until the first displaced tensor is read,
and run from there. With coordinates spread evenly over L layers, that is about half the work.

The losses are those of whole forwards, to the bit: which outputs may stand is not read off the module tree
but observed. A watch over all operations notes when each tuned tensor is first read (wherever that is: tied,
used outside its module, used twice), and only calls that had ended by then are reused. Outputs that are
changed in place later on, or that are no tensors or tuples of tensors, are computed again.

Units are the outermost modules that hold no list of layers: the blocks of a transformer, its embedding, its
last norm, its head. Memory: their outputs for one minibatch, while one list of points lasts. The module must
be deterministic (``eval``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from zobench.zo.objective import Objective
from zobench.zo.perturb import Around, Perturbation, Point, Snapshot
from zobench.zo.streamed import Streamed

METADATA = frozenset(
    [
        *(
            getattr(torch.Tensor, name).__get__
            for name in ("shape", "dtype", "device", "layout", "ndim", "requires_grad", "is_leaf", "grad")
        ),
        *(
            getattr(torch.Tensor, name)
            for name in ("is_floating_point", "is_complex", "size", "dim", "numel", "stride", "element_size")
        ),
    ]
)
"""Reads that do not look at a tensor's values."""


def units_of(module: nn.Module) -> list[nn.Module]:
    """The outermost submodules that hold no list of layers, in the tree's order; shared ones once."""
    lists = (nn.ModuleList, nn.Sequential)
    found: dict[int, nn.Module] = {}
    for child in module.children():
        holds_a_list = any(isinstance(part, lists) for part in child.modules())
        for unit in units_of(child) if holds_a_list else [child]:
            found.setdefault(id(unit), unit)
    return list(found.values())


@dataclass
class Call:
    """One call of a unit: its output, how many calls had ended with it, and the versions of its tensors."""

    output: Any
    ended: int
    versions: tuple[int, ...]


def versions(output: Any) -> tuple[int, ...] | None:
    """Version counters of the tensors of a tensor or a tuple; ``None`` for anything that could be changed
    unseen."""
    if output is None:
        return ()
    if isinstance(output, torch.Tensor):
        return None if output.is_inference() else (output._version,)
    if type(output) is not tuple:
        return None
    parts = [versions(part) for part in output]
    return None if None in parts else tuple(v for part in parts if part is not None for v in part)


class Trace(TorchFunctionMode):
    """The calls of the units in one forward, and when each named parameter was first read."""

    def __init__(self, units: Sequence[nn.Module], parameters: dict[int, str]) -> None:
        super().__init__()
        self.units, self.parameters = units, parameters
        self.calls: dict[int, list[Call]] = {id(unit): [] for unit in units}
        self.first_read: dict[str, int] = {}
        self.clock = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func not in METADATA:
            for leaf in tree_leaves((args, kwargs)):
                name = self.parameters.get(id(leaf))
                if name is not None:
                    self.first_read.setdefault(name, self.clock)
        return func(*args, **kwargs)

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Note the calls of the forward that runs inside the block."""

        def noted(unit: nn.Module, forward: Callable[..., Any]) -> Callable[..., Any]:
            def run(*args: Any, **kwargs: Any) -> Any:
                output = forward(*args, **kwargs)
                self.clock += 1
                held = versions(output)
                keep = Call(output, self.clock, held) if held is not None else Call(None, 1 << 62, ())
                self.calls[id(unit)].append(keep)
                return output

            return run

        with _instead(self.units, noted), self:
            yield
        for calls in self.calls.values():
            for call in calls:
                if versions(call.output) != call.versions:
                    call.output, call.ended = None, 1 << 62

    @contextmanager
    def reusing(self, touched: set[str]) -> Iterator[None]:
        """Inside the block, calls that had ended before any of these tensors was read return what they
        returned."""
        until = min((self.first_read.get(name, 0) for name in touched), default=self.clock)

        def answered(unit: nn.Module, forward: Callable[..., Any]) -> Callable[..., Any]:
            calls = iter(self.calls[id(unit)])

            def run(*args: Any, **kwargs: Any) -> Any:
                call = next(calls, None)
                if call is None or call.ended > until:
                    return forward(*args, **kwargs)
                return call.output

            return run

        with _instead(self.units, answered):
            yield

    def reused(self, touched: set[str]) -> int:
        """How many calls ``reusing`` answers from the record."""
        until = min((self.first_read.get(name, 0) for name in touched), default=self.clock)
        return sum(call.ended <= until for calls in self.calls.values() for call in calls)


@contextmanager
def _instead(
    units: Sequence[nn.Module], make: Callable[[nn.Module, Callable[..., Any]], Callable[..., Any]]
) -> Iterator[None]:
    """``make(unit, its forward)`` in the place of every unit's forward; hooks stay around it."""
    own = [unit.__dict__.get("forward") for unit in units]
    try:
        for unit in units:
            unit.__dict__["forward"] = make(unit, unit.forward)
        yield
    finally:
        for unit, forward in zip(units, own, strict=True):
            if forward is None:
                del unit.__dict__["forward"]
            else:
                unit.__dict__["forward"] = forward


class Reusing(Around):
    """Losses at several points with features reused between them.

    Attributes:
        calls: calls of units in all points so far.
        reused: how many of them were answered from the record.
    """

    def __init__(self, inner: Perturbation) -> None:
        if not isinstance(inner, Snapshot | Streamed) or not inner.exact:
            raise ValueError("features are reused in modes 'snapshot' and 'streamed' only")
        super().__init__(inner)
        self.units = units_of(inner.space.module)
        self.names = {id(p): name for name, p in inner.space.tensors.items()}
        self.calls = self.reused = 0

    def loss(self, objective: Objective, point: Point) -> float:
        return self.inner.loss(objective, point)

    def losses(self, objective: Objective, points: Sequence[Point]) -> list[float]:
        touched = [set(self.touched(point)) for point in points]
        everything = all(len(names) == len(self.space) for names in touched[1:])
        if objective.recorded or everything:
            return self.inner.losses(objective, points)
        trace = Trace(self.units, self.names)
        with trace.recording():
            losses = [self.inner.loss(objective, points[0])]
        for point, names in zip(points[1:], touched[1:], strict=True):
            names |= touched[0]
            with trace.reusing(names):
                losses.append(self.inner.loss(objective, point))
            self.reused += trace.reused(names)
        self.calls += trace.clock * len(points)
        return losses
