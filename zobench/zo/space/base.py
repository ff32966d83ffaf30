"""The parameter space: named tuned tensors, or listed entries of them, of one module.

Methods iterate with ``for name in space``. ``space.entries(name)`` are the tuned values of a tensor: the
whole tensor, or the 1-D list of its masked entries. ``space.indices(name)`` are their positions in the
unmasked tensor (``None``: all). Names are canonical: those of ``module.named_parameters()``, where a tied
tensor occurs once, under its first name. The noise generator addresses a tensor by the 64-bit hash of its
name, so that the directions do not depend on the order of the tensors, on masks, or on the other tuned
tensors.
"""

from __future__ import annotations

import bisect
import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping

import torch
from torch import nn


class ParameterSpace:
    """Tuned tensors of ``module``. Methods do not change any other parameter.

    Args:
        module: the model that ``Objective`` runs.
        names: canonical parameter names to tune, in any order (kept in the module's order).
        kind: catalogue name of the space, for records and for ``MethodCard.spaces``.
        indices: sorted unique flat int64 indices by name, for tensors with only some tuned entries.
        remove: undoes the changes to the module made by building the space (adapters, hooks), if any.

    Attributes:
        writes: number of calls of ``put_``.
        before_use: called with names before their entries are read or written, by whoever puts updates off.

    Raises:
        ValueError: no tensor, an unknown name, a tensor that is not floating point, or bad indices.
    """

    def __init__(
        self,
        module: nn.Module,
        names: Iterator[str] | list[str] | tuple[str, ...],
        *,
        kind: str,
        indices: Mapping[str, torch.Tensor] | None = None,
        remove: Callable[[], None] | None = None,
    ) -> None:
        known = dict(module.named_parameters())
        wanted = set(names)
        unknown = sorted(wanted - known.keys())
        if unknown:
            raise ValueError(f"space {kind!r}: the module has no parameter named {unknown[0]!r}")
        if not wanted:
            raise ValueError(f"space {kind!r}: no parameter is tuned")
        self.module = module
        self.kind = kind
        self.tensors: dict[str, nn.Parameter] = {n: p for n, p in known.items() if n in wanted}
        self._indices = dict(indices) if indices is not None else {}
        self._remove = remove
        self._ends: list[int] = []
        self._order: list[str] = []
        self.writes = 0
        self.before_use: Callable[[Iterable[str]], None] = lambda names: None
        self._check()

    def _check(self) -> None:
        for name, p in self.tensors.items():
            if not p.is_floating_point():
                raise ValueError(f"space {self.kind!r}: parameter {name!r} is {p.dtype}, not floating point")
        for name, index in self._indices.items():
            if name not in self.tensors:
                raise ValueError(f"space {self.kind!r}: indices for {name!r}, which is not tuned")
            ordered = index.dim() == 1 and index.dtype == torch.int64 and bool((index.diff() > 0).all())
            limit = self.tensors[name].numel()
            if not ordered or index.numel() == 0 or int(index[0]) < 0 or int(index[-1]) >= limit:
                raise ValueError(
                    f"space {self.kind!r}: indices of {name!r} must be int64, sorted, unique, below {limit}"
                )

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)

    @property
    def numel(self) -> int:
        """Number of tuned entries; tied ones count once."""
        return sum(self.size(name) for name in self)

    @property
    def device(self) -> torch.device:
        return next(iter(self.tensors.values())).device

    def size(self, name: str) -> int:
        """Number of tuned entries of this tensor."""
        index = self._indices.get(name)
        return self.tensors[name].shape.numel() if index is None else index.numel()

    def locate(self, position: int) -> tuple[str, int]:
        """The tensor that contains this position of the whole space, and the position in its tuned entries.
        ``ValueError`` for a position outside the space."""
        if not self._ends:
            self._ends = list(itertools.accumulate(self.size(name) for name in self))
            self._order = list(self)
        at = bisect.bisect_right(self._ends, position)
        if position < 0 or at == len(self._ends):
            raise ValueError(f"position {position} is not among the {self.numel} tuned entries")
        return self._order[at], position - (self._ends[at - 1] if at else 0)

    def shape(self, name: str) -> torch.Size:
        """Shape of ``entries(name)``: the tensor's own, or ``(number of entries,)`` if it is masked."""
        index = self._indices.get(name)
        return self.tensors[name].shape if index is None else index.shape

    def indices(self, name: str) -> torch.Tensor | None:
        """Flat positions of the tuned entries in the unmasked tensor; ``None`` if all are tuned."""
        return self._indices.get(name)

    def dtype(self, name: str) -> torch.dtype:
        return self.tensors[name].dtype

    def entries(self, name: str) -> torch.Tensor:
        """The tuned values: the parameter's own tensor if unmasked, a gathered 1-D copy if masked."""
        self.before_use((name,))
        data = self.tensors[name].data
        index = self._indices.get(name)
        return data if index is None else data.reshape(-1)[index]

    def put_(self, name: str, values: torch.Tensor) -> None:
        """Write tuned values (shape ``shape(name)``), rounded to the tensor's dtype."""
        self.writes += 1
        self.before_use((name,))
        data = self.tensors[name].data
        index = self._indices.get(name)
        if index is None:
            data.copy_(values)
        else:
            data.view(-1)[index] = values.to(data.dtype)

    def whole(self, name: str, values: torch.Tensor) -> torch.Tensor:
        """A tensor of the parameter's shape: the current weights with the tuned entries replaced by
        ``values``."""
        index = self._indices.get(name)
        if index is None:
            return values
        full = self.tensors[name].data.clone()
        full.view(-1)[index] = values.to(full.dtype)
        return full

    def spread(self, name: str, values: torch.Tensor) -> torch.Tensor:
        """A tensor of the parameter's shape: ``values`` at the tuned entries, zero elsewhere."""
        index = self._indices.get(name)
        if index is None:
            return values
        full = torch.zeros_like(self.tensors[name].data, dtype=values.dtype)
        full.view(-1)[index] = values
        return full

    def snapshot(self) -> dict[str, torch.Tensor]:
        """Copies of all tuned values by name."""
        return {name: self.entries(name).detach().clone() for name in self}

    def restore(self, snapshot: Mapping[str, torch.Tensor]) -> None:
        """Write a snapshot back; the values are bit-identical."""
        for name in self:
            self.put_(name, snapshot[name])

    def digest(self) -> str:
        """SHA-256 of names, dtypes, shapes and bytes of all tuned values, in the order of sorted names."""
        sha = hashlib.sha256()
        for name in sorted(self):
            values = self.entries(name).detach().cpu().contiguous()
            sha.update(f"{name}|{values.dtype}|{tuple(values.shape)}|".encode())
            sha.update(values.reshape(-1).view(torch.uint8).numpy().data)
        return sha.hexdigest()

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The tuned values by name (copies on their device)."""
        return self.snapshot()

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Write ``state_dict()`` back. ``ValueError`` if names or shapes differ."""
        if set(state) != set(self.tensors):
            odd = sorted(set(state) ^ set(self.tensors))[0]
            raise ValueError(f"state of another space: {odd!r} is only in the state or only in the space")
        for name in self:
            if state[name].shape != self.shape(name):
                raise ValueError(
                    f"{name!r} has shape {tuple(state[name].shape)}, not {tuple(self.shape(name))}"
                )
        self.restore(state)

    def remove(self) -> None:
        """Remove the adapters and hooks of this space from the module. The space must not be used
        afterwards."""
        if self._remove is not None:
            self._remove()
            self._remove = None
