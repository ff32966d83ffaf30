"""Feature reuse: a forward pass starts at the first layer whose weights are displaced (arXiv 2310.02025).

If each point displaces only a few tensors (DeepZero's coordinates), everything that the model computes before
it first reads one of them is equal at all points. The forward pass of the first point in a list runs
completely, and the outputs of the model's units are stored. The forward passes of the other points take the
stored outputs until the first displaced tensor is read, and compute from there. With coordinates spread
evenly over L layers, this saves about half the work.

The losses are bit-identical to those of complete forward passes, because the reusable outputs are observed
and not inferred from the module tree. A watch over all operations records when each tuned tensor is first
read, also if it is tied, used outside its module or used twice. Only calls that had ended by then are reused.
Outputs that are changed in place later, or that are not tensors or tuples of tensors, are recomputed.

Units are the outermost modules that contain no list of layers: the blocks of a transformer, its embedding,
its last norm, its head. Memory: their outputs for one minibatch, for the duration of one list of points. The
module must be deterministic (``eval``).
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
"""Operations that do not read a tensor's values."""


def units_of(module: nn.Module) -> list[nn.Module]:
    """The outermost submodules that contain no list of layers, in the order of the tree; shared ones once."""
    lists = (nn.ModuleList, nn.Sequential)
    found: dict[int, nn.Module] = {}
    for child in module.children():
        holds_a_list = any(isinstance(part, lists) for part in child.modules())
        for unit in units_of(child) if holds_a_list else [child]:
            found.setdefault(id(unit), unit)
    return list(found.values())


@dataclass
class Call:
    """One call of a unit.

    Attributes:
        output: what the call returned.
        ended: number of unit calls that had ended, this one included.
        versions: version counters of the output's tensors.
    """

    output: Any
    ended: int
    versions: tuple[int, ...]


def versions(output: Any) -> tuple[int, ...] | None:
    """Version counters of the tensors in a tensor or a tuple; ``None`` if changes could not be detected."""
    if output is None:
        return ()
    if isinstance(output, torch.Tensor):
        # Inference tensors have no version counter: a later change in place would go unnoticed.
        return None if output.is_inference() else (output._version,)
    if type(output) is not tuple:
        return None
    parts = [versions(part) for part in output]
    return None if None in parts else tuple(v for part in parts if part is not None for v in part)


class Trace(TorchFunctionMode):
    """The calls of the units in one forward pass, and when each named parameter was first read.

    Attributes:
        calls: id of a unit -> its calls, in order.
        first_read: name of a parameter -> number of unit calls that had ended when it was first read.
        clock: number of unit calls that have ended.
    """

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
        """Record the calls of the forward pass that runs inside the block."""

        def noted(unit: nn.Module, forward: Callable[..., Any]) -> Callable[..., Any]:
            def run(*args: Any, **kwargs: Any) -> Any:
                output = forward(*args, **kwargs)
                self.clock += 1
                held = versions(output)
                # An end that is never reached (2^62) marks a call that must be computed again. The entry
                # stays in the list, since calls are matched by their order.
                keep = Call(output, self.clock, held) if held is not None else Call(None, 1 << 62, ())
                self.calls[id(unit)].append(keep)
                return output

            return run

        with _instead(self.units, noted), self:
            yield
        # A version that has grown since the call means that a later operation changed the output in place:
        # the stored tensor is no longer what the unit returned.
        for calls in self.calls.values():
            for call in calls:
                if versions(call.output) != call.versions:
                    call.output, call.ended = None, 1 << 62

    @contextmanager
    def reusing(self, touched: set[str]) -> Iterator[None]:
        """Inside the block, calls that had ended before any of these tensors was first read return their
        stored output."""
        # A tensor that no operation was seen to read (0) allows no reuse: it may be read out of sight.
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
        """Number of calls that ``reusing`` answers with stored outputs."""
        until = min((self.first_read.get(name, 0) for name in touched), default=self.clock)
        return sum(call.ended <= until for calls in self.calls.values() for call in calls)


@contextmanager
def _instead(
    units: Sequence[nn.Module], make: Callable[[nn.Module, Callable[..., Any]], Callable[..., Any]]
) -> Iterator[None]:
    """Replace every unit's forward by ``make(unit, forward)`` inside the block; its hooks still run."""
    # An attribute of the instance hides the class's method. If the instance had none, it is deleted again.
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
        calls: number of unit calls over all points so far.
        reused: number of these calls that were answered with stored outputs.

    Raises:
        ValueError: ``inner`` is neither ``Snapshot`` nor ``Streamed``, or it is not exact.
    """

    def __init__(self, inner: Perturbation) -> None:
        if not isinstance(inner, Snapshot | Streamed) or not inner.exact:
            raise ValueError("feature reuse needs mode 'snapshot' or 'streamed'")
        super().__init__(inner)
        self.units = units_of(inner.space.module)
        self.names = {id(p): name for name, p in inner.space.tensors.items()}
        self.calls = self.reused = 0

    def loss(self, objective: Objective, point: Point) -> float:
        return self.inner.loss(objective, point)

    def losses(self, objective: Objective, points: Sequence[Point]) -> list[float]:
        touched = [set(self.touched(point)) for point in points]
        # If every point displaces every tensor, nothing can be reused and the trace is pure overhead.
        everything = all(len(names) == len(self.space) for names in touched[1:])
        if objective.recorded or everything:
            return self.inner.losses(objective, points)
        trace = Trace(self.units, self.names)
        with trace.recording():
            losses = [self.inner.loss(objective, points[0])]
        for point, names in zip(points[1:], touched[1:], strict=True):
            # The stored outputs were computed with the first point's displacements, which this point lacks.
            names |= touched[0]
            with trace.reusing(names):
                losses.append(self.inner.loss(objective, point))
            self.reused += trace.reused(names)
        self.calls += trace.clock * len(points)
        return losses
