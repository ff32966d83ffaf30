"""The branches of a step as one forward pass over branches x rows.

Mode ``grouped`` repeats the rows of the minibatch for each of n points and runs the module once on n R rows.
Layers that no point displaces, attention and everything between see one large batch. A displaced layer treats
each group of R rows with the weights of its point:

- a linear layer, an embedding or any other module without submodules: group by group, with weights that are
  created for the group and released (extra memory of one layer, as in mode ``streamed``); on a CPU, whole
  layers group by group where all their parameters are displaced (:mod:`zobench.zo.grouped_layers`);
- a linear layer displaced along low-rank factors: one base product for all groups, then x_i B_i A_i^T;
- adapters of space ``lora`` and prefixes of space ``prefix``: stacked; the base product is shared.

Unlike mode ``batched`` it needs no vmap and never holds n copies of the weights. Losses agree with those of
the points alone up to rounding: a product over n R rows may be summed in another order than one over R rows.

The loss function must call the module itself, with tensors whose first dimension counts rows. Other losses
are refused (``ValueError``), except losses that compute branches themselves
(``Objective(side_by_side=...)``: generated answers), in spaces ``lora`` and ``prefix``. At most ``branches``
points run together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_map

from zobench.zo.grouped_layers import LayersByPoint, plain
from zobench.zo.lowrank import LowRank
from zobench.zo.objective import Objective
from zobench.zo.paired import kept_in_modules, what_changed
from zobench.zo.perturb import Along, Point
from zobench.zo.shared_forward import ADVICE, Branch, SharedForward
from zobench.zo.side_by_side import STACKED, side_by_side, stacked
from zobench.zo.space.base import ParameterSpace
from zobench.zo.streamed import Streamed, _Watch


class Grouped(Streamed):
    """Losses at several points by one forward pass on repeated rows; a single point is mode ``streamed``.

    Args:
        space: the tuned parameters.
        branches: most points in one forward.
    """

    mode = "grouped"

    def __init__(self, space: ParameterSpace, branches: int = 16) -> None:
        super().__init__(space)
        self.branches = branches
        self._layers: LayersByPoint | None = None
        self._on_cpu = all(tensor.device.type == "cpu" for tensor in space.tensors.values())

    def losses(self, objective: Objective, points: Sequence[Point]) -> list[float]:
        if objective.recorded or len(points) < 2:
            return super().losses(objective, points)
        found: list[float] = []
        for start in range(0, len(points), self.branches):
            part = points[start : start + self.branches]
            if objective.goes_side_by_side:
                with side_by_side(self, part):
                    found += objective.losses_side_by_side(len(part))
            else:
                found += self._together(objective, part)
        return found

    def _together(self, objective: Objective, points: Sequence[Point]) -> list[float]:
        touched = {name for point in points for name in self.touched(point)}
        shared = SharedForward(objective.module, len(points))
        stand_ins = [Branch(shared, number) for number in range(len(points))]
        with self._displaced_by_group(points, touched, shared):
            if touched <= self._checked:
                with self._by_layer(objective, points, touched, shared):
                    return objective.losses_of(stand_ins)
            before = kept_in_modules(objective.module)
            with _Watch(self._names) as watch:
                found = objective.losses_of(stand_ins)
            # Layers that keep something of a call run once for all groups.
            still = not what_changed(before, kept_in_modules(objective.module))
        elsewhere = sorted(watch.used & touched)
        if elsewhere:
            raise ValueError(
                f"mode 'grouped': {elsewhere[0]!r} is used outside the forward of its module; {ADVICE}"
            )
        self._checked |= touched
        self._layers = LayersByPoint(self.space) if still and self._on_cpu else None
        return found

    def _by_layer(
        self, objective: Objective, points: Sequence[Point], touched: set[str], shared: SharedForward
    ) -> AbstractContextManager[None]:
        """Inside the block whole layers run point by point, where they can."""
        at_random = objective.allow_train_mode or torch.is_autocast_enabled("cpu")
        if self._layers is None or at_random or not plain(points):
            return nullcontext()
        return self._layers.entered(points, touched, shared)

    @contextmanager
    def _displaced_by_group(
        self, points: Sequence[Point], touched: set[str], shared: SharedForward
    ) -> Iterator[None]:
        with ExitStack() as stack:
            for module, owned in self._owned:
                local = {k: n for k, n in owned.items() if n in touched}
                if not local:
                    continue
                if all(k.startswith(STACKED) for k in local):
                    stack.enter_context(stacked(self, module, local, points))
                elif next(module.children(), None) is None:
                    stack.enter_context(self._by_group(module, local, points, shared))
                else:
                    name = next(iter(local.values()))
                    raise ValueError(
                        f"mode 'grouped': {name!r} belongs to a module with submodules; {ADVICE}"
                    )
            yield

    @contextmanager
    def _by_group(
        self, module: nn.Module, local: dict[str, str], points: Sequence[Point], shared: SharedForward
    ) -> Iterator[None]:
        before, forward = module.__dict__.get("forward"), module.forward

        def run(*args: Any, **kwargs: Any) -> Any:
            if self._layers is not None and self._layers.inside:
                return forward(*args, **kwargs)
            factored = self._factored(module, local, points, args)
            if factored is not None:
                return factored
            outputs = []
            for number, point in enumerate(points):
                given, called = tree_map(lambda leaf, k=number: self._group(leaf, k, shared), (args, kwargs))
                outputs.append(self._alone(module, local, point, forward, given, called))
            full = [out.expand(shared.rows, *out.shape[1:]) if out.shape[0] == 1 else out for out in outputs]
            return torch.cat(full if shared.rows * len(points) != sum(map(len, outputs)) else outputs)

        module.__dict__["forward"] = run
        try:
            yield
        finally:
            if before is None:
                del module.__dict__["forward"]
            else:
                module.__dict__["forward"] = before

    def _group(self, leaf: Any, number: int, shared: SharedForward) -> Any:
        """The rows of one point; what has one row stands for all."""
        if not isinstance(leaf, torch.Tensor) or leaf.dim() == 0:
            return leaf
        if leaf.shape[0] == shared.rows * shared.count:
            return leaf[number * shared.rows : (number + 1) * shared.rows]
        if leaf.shape[0] == 1:
            return leaf
        raise ValueError(
            f"mode 'grouped': a displaced layer gets {leaf.shape[0]} rows instead of {shared.count} x "
            f"{shared.rows}; {ADVICE}"
        )

    def _alone(
        self,
        module: nn.Module,
        local: dict[str, str],
        point: Point,
        forward: Callable[..., Any],
        args: Any,
        kwargs: Any,
    ) -> Any:
        """The module on one group with the weights of its point."""
        touched = {k: n for k, n in local.items() if any(shift.touches(n) for shift in point)}
        own = {k: module._parameters[k] for k in local}
        with torch.inference_mode(False), torch.no_grad(), self._lending(module):
            moved = self.replaced(module, touched, point, args) if touched else {}
            # Aliases, so that the watch sees uses outside the module's forward only.
            still = {k: self._alias(module, k) for k in local if k not in touched}
        places = self.arguments(module, args)
        module._parameters.update(moved)  # type: ignore[arg-type]
        module._parameters.update(still)  # type: ignore[arg-type]
        try:
            return forward(*(args if places is None else places), **kwargs)
        finally:
            module._parameters.update(own)
            self._spare += self._lent.pop(id(module), [])

    def _factored(
        self, module: nn.Module, local: dict[str, str], points: Sequence[Point], args: Any
    ) -> torch.Tensor | None:
        """A linear layer displaced by at most one low-rank product in each group; ``None`` for any other."""
        if type(module).forward is not nn.Linear.forward or set(local) != {"weight"} or len(args) != 1:
            return None
        assert isinstance(module, nn.Linear)
        name = local["weight"]
        found = [self._product(name, point) for point in points]
        some = next((pair for pair in found if isinstance(pair, tuple)), None)
        if some is None or any(isinstance(pair, str) for pair in found):
            return None
        if (some[0].shape[0], some[1].shape[0]) != tuple(module.weight.shape):
            return None
        wide = torch.float64 if module.weight.dtype == torch.float64 else torch.float32
        pairs = [pair if isinstance(pair, tuple) else (some[0] * 0.0, some[1]) for pair in found]
        left = torch.stack([a.to(wide) for a, _ in pairs])
        right = torch.stack([b.to(wide) for _, b in pairs])
        with torch.inference_mode(False), torch.no_grad():
            weight = self._alias(module, "weight")
        output = nn.functional.linear(args[0], weight, module.bias)
        total = output.to(wide).reshape(len(points), -1, output.shape[-1])
        x = args[0].to(wide).reshape(len(points), -1, args[0].shape[-1])
        return total.baddbmm(x @ right, left.transpose(1, 2)).view(output.shape).to(output.dtype)

    def _product(self, name: str, point: Point) -> tuple[torch.Tensor, torch.Tensor] | str | None:
        """s A and B of the point's displacement of a matrix; ``None`` if there is none, else what it is."""
        shifts = [shift for shift in point if shift.touches(name)]
        if not shifts:
            return None
        shift = shifts[0]
        if len(shifts) > 1 or self.space.indices(name) is not None:
            return "several displacements or a mask"
        if not isinstance(shift, Along) or not isinstance(shift.direction, LowRank):
            return "displaced along no factors"
        if not shift.direction.is_matrix(name):
            return "too small for factors"
        a, b = shift.direction.factors(name, shift.seed)
        return a * (shift.scale * shift.direction.gain(name)), b

    def _alias(self, module: nn.Module, own: str) -> torch.Tensor:
        parameter = module._parameters[own]
        assert parameter is not None
        return self.standing(module, own, parameter.data)
