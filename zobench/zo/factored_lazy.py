"""Low-rank steps that are summed in the small factor and enter the weights once a period.

Mode ``factored-lazy`` is mode ``factored`` (:mod:`zobench.zo.factored_forward`) for directions A B^T whose B
stands for a period (LOZO, SubZero, TeZO): the steps of the period are a multiple of the same B, so that

    W_t = W + L_t B^T,   L_(t+1) = L_t - eta c A_t   (r m numbers a step instead of m n),

and a linear layer computes y = x W^T + b + (x B) (L_t + s A)^T. L B^T is added to W when the direction moves
on to another B and at the end of the run only (``flush``). Until then it belongs to the method's state: a
checkpoint holds W and the factors as they are, an evaluation reads W + L B^T from a copy (``settled``), and
neither changes a bit of what follows.

Rounding differs from mode ``factored``: there, every step is rounded to the weights. A weight that is no
weight of plain linear layers and embeddings alone, or decays, is written in every step.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import nn

from zobench.zo import noise
from zobench.zo.arithmetic import add_scaled_
from zobench.zo.directions import Direction
from zobench.zo.factored_forward import Factored, Term
from zobench.zo.lowrank import LowRank, add_product_, on_own_grid
from zobench.zo.objective import Objective
from zobench.zo.perturb import Along, Point
from zobench.zo.precision import Writer
from zobench.zo.space.base import ParameterSpace

FEW = 4
"""Ranks up to which columns are added one by one: a matrix product of so few is slower."""
SEEDS = 4
"""Seeds whose A are kept from the measurement to the update, at least."""
PLAIN = (nn.Linear.forward, nn.Embedding.forward)


@dataclass
class PutOff:
    """L and B^T of one weight, in the dtype they are multiplied in."""

    left: torch.Tensor
    right: torch.Tensor

    def along(self, right: torch.Tensor) -> bool:
        """Whether this is B^T."""
        if self.right is right:
            return True
        if self.right.shape != right.shape or not torch.equal(self.right, right):
            return False
        # Found equal once (after a resume): the same object from now on.
        self.right = right
        return True

    def add_to_(self, tensor: torch.Tensor, rows: torch.Tensor | None = None) -> None:
        """``tensor += L B^T``, of these rows only where they are given."""
        left = self.left if rows is None else self.left[rows]
        exact = on_own_grid(left) if left.dtype == torch.float32 else left
        add_product_(tensor, exact, self.right.double().T, 1.0)


def _one_pass(output: torch.Tensor) -> Any:
    """The module that adds columns to this output in one pass, with the bits of the loop; else ``None``."""
    if noise.backend_for(output) != "numba":
        return None
    kernel = import_module("zobench.zo.columns")
    return kernel if kernel.serves(output) else None


class FactoredLazy(Factored):
    """``Factored`` with steps put off.

    Attributes:
        put_off: what is to be added to each weight.
        index: the period whose B the factors belong to.
    """

    mode = "factored-lazy"

    def __init__(self, space: ParameterSpace) -> None:
        super().__init__(space)
        self.put_off: dict[str, PutOff] = {}
        self.index = 0
        owners: dict[str, list[nn.Module]] = {}
        for module, owned in self._owned:
            for own, name in owned.items():
                if own == "weight":
                    owners.setdefault(name, []).append(module)
                else:
                    owners.setdefault(name, []).append(nn.Module())
        self._lazy = {
            name
            for name, modules in owners.items()
            if space.indices(name) is None and all(type(m).forward in PLAIN for m in modules)
        }
        self._left: dict[tuple[str, int], torch.Tensor] = {}
        self._right: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        self._last: tuple[torch.Tensor, torch.Tensor] | None = None

    def take(
        self,
        writer: Writer,
        direction: Direction,
        names: Sequence[str],
        moving: Mapping[int, float],
        factors: Mapping[str, float],
    ) -> list[str]:
        """Put off the sum of scale u(seed) where that can be done. Returns the names of the other weights."""
        if not isinstance(direction, LowRank) or not direction.right_stands:
            return list(names)
        if direction.index != self.index:
            self.flush(writer)
            self.index = direction.index
        rest = []
        for name in names:
            if name not in self._lazy or not direction.is_matrix(name) or factors[name] != 1.0:
                rest.append(name)
                continue
            for seed, scale in moving.items():
                left, right = self._pair(direction, name, seed)
                if name in self.put_off and not self.put_off[name].along(right):
                    self._write(writer, name)
                here = self.put_off.setdefault(name, PutOff(torch.zeros_like(left), right))
                add_scaled_(here.left, left, scale * direction.gain(name))
        self._left.clear()
        return rest

    def flush(self, writer: Writer) -> None:
        """Add what was put off to the weights, each rounded once."""
        for name in list(self.put_off):
            self._write(writer, name)

    def _write(self, writer: Writer, name: str) -> None:
        held = self.put_off.pop(name)
        with writer.editing(name) as theta:
            held.add_to_(theta)

    @contextmanager
    def settled(self, writer: Writer) -> Iterator[None]:
        """Inside the block the weights are copies that hold what was put off."""
        own: dict[str, torch.Tensor] = {}
        try:
            for name, held in self.put_off.items():
                parameter = self.space.tensors[name]
                values = writer.reading(name)
                held.add_to_(values)
                own[name] = parameter.data
                parameter.data = values.to(parameter.dtype)
            yield
        finally:
            for name, data in own.items():
                self.space.tensors[name].data = data

    def loss(self, objective: Objective, point: Point) -> float:
        try:
            return super().loss(objective, point)
        finally:
            self._last = None

    @contextmanager
    def displaced(self, point: Point) -> Iterator[None]:
        """As in mode ``factored``, but linear layers that the watch has seen only add columns.
        They have no hook before their forward, and their factors are made before the forward pass."""
        ready = self._ready(point)
        owned, handles = self._owned, []
        self._owned = [(module, own) for module, own in owned if module not in ready]
        try:
            for module, terms in ready.items():
                add = functools.partial(self._adding, terms)
                handles.append(module.register_forward_hook(add))
            with super().displaced(point):
                yield
        finally:
            self._owned = owned
            for handle in handles:
                handle.remove()

    def _ready(self, point: Point) -> dict[nn.Module, list[Term]]:
        """The factors of the linear layers of which nothing but the weight is displaced, by layer."""
        touched = set(self.touched(point))
        found: dict[nn.Module, list[Term]] = {}
        if not touched <= self._checked:
            return found
        for module, owned in self._owned:
            moved = [name for name in owned.values() if name in touched]
            name = owned.get("weight")
            if name is None or moved != [name] or name not in self._lazy or name in self.formed:
                continue
            if isinstance(module, nn.Linear):
                terms = self._factors(module, name, point)
                if terms and not isinstance(terms, str):
                    found[module] = terms
        return found

    def _adding(self, terms: list[Term], module: nn.Module, args: Any, output: Any) -> Any:
        assert args, "the watch saw this layer called with its input first"
        return self._added(terms, args[0], output)

    def touched(self, point: Point) -> list[str]:
        moved = set(super().touched(point))
        return [name for name in self.space if name in moved or name in self.put_off]

    def values_of(self, names: Any, point: Point) -> dict[str, torch.Tensor]:
        out = super().values_of(names, point)
        for name, tensor in out.items():
            if name in self.put_off:
                self.put_off[name].add_to_(tensor)
        return out

    def read_rows(self, name: str, rows: torch.Tensor) -> torch.Tensor:
        values = super().read_rows(name, rows)
        held = self.put_off.get(name)
        if held is None:
            return values
        values = values.to(held.left.dtype)
        held.add_to_(values, rows)
        return values

    def _pair(self, direction: LowRank, name: str, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        """A of this seed, kept from the measurement to the update, and B^T, kept for the period."""
        wide = torch.float64 if self.space.dtype(name) == torch.float64 else torch.float32
        basis = direction.basis(name)[-1]
        if name not in self._right or self._right[name][0] is not basis:
            self._right[name] = (basis, basis.T.to(wide).contiguous())
        right = self._right[name][1]
        key = (name, seed)
        if key not in self._left:
            if any(other != seed for _, other in self._left) and len(self._left) > SEEDS * len(self._lazy):
                self._left.clear()
            names = [n for n in self.space if n in self._lazy and direction.is_matrix(n)]
            lefts = direction.lefts(names, seed)
            drawn = sum(left.numel() for left in lefts.values())
            direction.source.drawn += drawn
            direction.source.generated += drawn
            self._left.update({(n, seed): left.to(wide) for n, left in lefts.items()})
        return self._left[key], right

    def _factors(self, module: nn.Linear, name: str, point: Point) -> list[Term] | str:
        held = self.put_off.get(name)
        shifts = [shift for shift in point if shift.touches(name)]
        standing = [
            s
            for s in shifts
            if isinstance(s, Along) and isinstance(s.direction, LowRank) and s.direction.right_stands
        ]
        if name not in self._lazy or len(standing) != len(shifts) or len(shifts) > 1:
            terms = super()._factors(module, name, point)
            if isinstance(terms, str):
                return terms
            terms = [(a, b.T.contiguous()) for a, b in terms]
            return terms if held is None else [*terms, (held.left, held.right)]
        terms = [] if held is None else [(held.left, held.right)]
        for shift in standing:
            direction = shift.direction
            assert isinstance(direction, LowRank)
            if not direction.is_matrix(name):
                return "too small for factors"
            left, right = self._pair(direction, name, shift.seed)
            moved = left * (shift.scale * direction.gain(name))
            if held is not None and held.along(right):
                terms = [(held.left + moved, right)]
            else:
                terms = [*terms, (moved, right)]
        return terms

    def answered(self, module: nn.Module, args: Any, output: Any) -> Any:
        terms = self._terms.pop(id(module), None)
        return None if terms is None or output is None else self._added(terms, args[0], output)

    def _added(self, terms: list[Term], given: torch.Tensor, output: torch.Tensor) -> torch.Tensor | None:
        """The output with the terms; ``None`` if they were added in place."""
        wide = terms[0][0].dtype
        x = self._inputs(given, wide)
        kernel = _one_pass(output) if len(terms) == 1 and terms[0][0].shape[1] <= FEW else None
        if kernel is not None:
            a, b = terms[0]
            kernel.add_columns_(output, nn.functional.linear(x, b), a.T.contiguous())
            return None
        total = output.to(wide).reshape(-1, output.shape[-1])
        for a, b in terms:
            inner, columns = nn.functional.linear(x, b), a.T.contiguous()
            if len(columns) > FEW:
                total.addmm_(inner, columns)
                continue
            for k, column in enumerate(columns):
                total.addcmul_(inner[:, k : k + 1], column)
        return total.view(output.shape).to(output.dtype)

    def _inputs(self, given: torch.Tensor, wide: torch.dtype) -> torch.Tensor:
        """A layer's inputs as rows; those that several layers share are converted once."""
        if self._last is None or self._last[0] is not given:
            self._last = (given, given.to(wide).reshape(-1, given.shape[-1]))
        return self._last[1]

    def state_dict(self) -> dict[str, Any]:
        """``index`` and both factors of every weight."""
        flat: dict[str, Any] = {"index": self.index}
        for name, held in self.put_off.items():
            flat[f"left/{name}"], flat[f"right/{name}"] = held.left.clone(), held.right.clone()
        return flat

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.index = int(state["index"])
        names = [key.removeprefix("left/") for key in state if key.startswith("left/")]
        self.put_off = {n: PutOff(state[f"left/{n}"].clone(), state[f"right/{n}"].clone()) for n in names}
        self._left.clear()
