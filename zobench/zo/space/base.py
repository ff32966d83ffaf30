"""The parameter space: named tuned tensors, or listed entries of them, of one module.

Everything a method does goes over ``for name in space``: ``space.entries(name)`` are the tuned values of that
tensor (the whole tensor, or the 1-D list of the masked entries) and ``space.indices(name)`` says where they
sit in the unmasked tensor (``None``: everywhere). Names are canonical: those of
``module.named_parameters()``, a tied tensor once under its first name. A name's key for the noise generator
is the 64-bit hash of the name, so that directions survive a change of order, of masks and of what else is
tuned.
"""

from __future__ import annotations

import bisect
import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import nn


class ParameterSpace:
    """Tuned tensors of ``module``; all other parameters are frozen as far as methods are concerned.

    Args:
        module: the model that ``Objective`` runs.
        names: canonical parameter names to tune, in any order (kept in the module's order).
        kind: catalogue name of the space, for records and for ``MethodCard.spaces``.
        indices: for tensors of which only some entries are tuned: sorted unique flat int64 indices by name.
        remove: undoes what building the space did to the module (adapters, hooks); nothing by default.

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
        """Number of tuned entries, tied ones once."""
        return sum(self.size(name) for name in self)

    @property
    def device(self) -> torch.device:
        return next(iter(self.tensors.values())).device

    def size(self, name: str) -> int:
        """Tuned entries of this tensor."""
        index = self._indices.get(name)
        return self.tensors[name].shape.numel() if index is None else index.numel()

    def locate(self, position: int) -> tuple[str, int]:
        """The tensor that holds this position of the whole space, and the position in its tuned entries.
        ``ValueError`` outside the space."""
        if not self._ends:
            self._ends = list(itertools.accumulate(self.size(name) for name in self))
            self._order = list(self)
        at = bisect.bisect_right(self._ends, position)
        if position < 0 or at == len(self._ends):
            raise ValueError(f"position {position} is not among the {self.numel} tuned entries")
        return self._order[at], position - (self._ends[at - 1] if at else 0)

    def shape(self, name: str) -> torch.Size:
        """Shape of ``entries(name)``: the tensor's own, or ``(entries,)`` where it is masked."""
        index = self._indices.get(name)
        return self.tensors[name].shape if index is None else index.shape

    def indices(self, name: str) -> torch.Tensor | None:
        """Flat positions of the tuned entries in the unmasked tensor; ``None`` where all are tuned."""
        return self._indices.get(name)

    def dtype(self, name: str) -> torch.dtype:
        return self.tensors[name].dtype

    def entries(self, name: str) -> torch.Tensor:
        """The tuned values: the live tensor itself where unmasked, a gathered 1-D copy where masked."""
        data = self.tensors[name].data
        index = self._indices.get(name)
        return data if index is None else data.reshape(-1)[index]

    def put_(self, name: str, values: torch.Tensor) -> None:
        """Write tuned values (shape ``shape(name)``), rounded to the tensor's dtype."""
        data = self.tensors[name].data
        index = self._indices.get(name)
        if index is None:
            data.copy_(values)
        else:
            data.view(-1)[index] = values.to(data.dtype)

    def whole(self, name: str, values: torch.Tensor) -> torch.Tensor:
        """A tensor of the parameter's own shape: the live weights with the tuned entries replaced by
        ``values``."""
        index = self._indices.get(name)
        if index is None:
            return values
        full = self.tensors[name].data.clone()
        full.view(-1)[index] = values.to(full.dtype)
        return full

    def spread(self, name: str, values: torch.Tensor) -> torch.Tensor:
        """A tensor of the parameter's own shape: ``values`` at the tuned entries and zero elsewhere."""
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
        """Write a snapshot back, to the bit."""
        for name in self:
            self.put_(name, snapshot[name])

    def digest(self) -> str:
        """SHA-256 over names, dtypes, shapes and bytes of all tuned values, by sorted name."""
        sha = hashlib.sha256()
        for name in sorted(self):
            values = self.entries(name).detach().cpu().contiguous()
            sha.update(f"{name}|{values.dtype}|{tuple(values.shape)}|".encode())
            sha.update(values.reshape(-1).view(torch.uint8).numpy().tobytes())
        return sha.hexdigest()

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The tuned values by name (copies on their device)."""
        return self.snapshot()

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Write ``state_dict()`` back. ``ValueError`` where names or shapes differ."""
        if set(state) != set(self.tensors):
            odd = sorted(set(state) ^ set(self.tensors))[0]
            raise ValueError(f"state of another space: {odd!r} is on one side only")
        for name in self:
            if state[name].shape != self.shape(name):
                raise ValueError(
                    f"{name!r} has shape {tuple(state[name].shape)}, not {tuple(self.shape(name))}"
                )
        self.restore(state)

    def remove(self) -> None:
        """Take adapters and hooks of this space off the module; the space is of no use afterwards."""
        if self._remove is not None:
            self._remove()
            self._remove = None
