"""Rounding of half-precision weights when an update is written, so that small updates are not lost.

With eta = 1e-7, most entries of an update are below half a unit in the last place of bfloat16 or float16
weights. All updates of this library are computed in float32 (float64 for float64 weights) inside
``Writer.editing(name)`` and rounded once when the block ends, by one of these rules:

- ``nearest``: round to nearest, as published code does; small updates are lost.
- ``stochastic``: round up or down with probabilities that preserve the mean, drawn from counter noise;
  without state.
- ``compensated``: the rounding error is stored in the dtype of the weights and added to the next update; 2
  bytes per entry.
- ``master``: updates are applied to a float32 copy of the tuned entries, and the weights are its rounding; 4
  bytes per entry.

``auto`` means ``compensated``. The rules apply to float16 and bfloat16 only: float32 and float64 weights are
edited directly. ``moved_share()`` is the share of half-precision entries whose stored value changed since the
last call.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from zobench.zo import noise
from zobench.zo.source import Ahead, NoiseSource, Written
from zobench.zo.space.base import ParameterSpace

if TYPE_CHECKING:
    from zobench.zo.noise import NoiseKind

HALF = (torch.float16, torch.bfloat16)
RULES = ("nearest", "stochastic", "compensated", "master")


class Writer:
    """Writes updates of one space under one rounding rule.

    Args:
        space: the space whose entries are edited.
        rule: one of ``RULES`` or ``auto``.
        seed: run seed, for stochastic rounding.
    """

    def __init__(self, space: ParameterSpace, rule: str, seed: int) -> None:
        self.space = space
        self.rule = "compensated" if rule == "auto" else rule
        self.seed = seed
        self.kept: dict[str, torch.Tensor] = {}
        self._writes = 0
        self._changed = 0
        self._written = 0

    @contextmanager
    def editing(self, name: str) -> Iterator[torch.Tensor]:
        """The tuned values in float32 or float64, to be changed in place; at the end of the block they are
        rounded once and written back.

        If the block raises, half-precision and masked tensors are not written.
        """
        entries = self.space.entries(name).detach()
        if entries.dtype not in HALF:
            yield entries
            # The entries of a masked tensor are a gathered copy; those of others are the weights themselves.
            if self.space.indices(name) is not None:
                self.space.put_(name, entries)
            return
        work = self._open(name, entries)
        yield work
        rounded = self._round(name, work, entries.dtype)
        self._changed += int(torch.count_nonzero(rounded != entries))
        self._written += rounded.numel()
        self.space.put_(name, rounded)

    def descend(
        self,
        source: NoiseSource,
        kind: NoiseKind,
        names: Iterable[str],
        moving: Mapping[int, float],
        factors: Mapping[str, float],
        ahead: Ahead | None = None,
    ) -> list[str]:
        """theta <- factor theta + sum of scale u(seed) in one sweep, bit-identical to ``editing`` with
        ``mul_`` and one addition per seed. Returns the names of tensors without support, which are
        unchanged, and so are their outputs in ``ahead``."""
        asked = list(names)
        written = {n: w for n in asked if (w := self._written_by(n, factors[n])) is not None}
        changed = source.descend_many_(written, moving, kind, ahead)
        for name, count in changed.items():
            if self.space.dtype(name) in HALF:
                self._changed += count
                self._written += self.space.size(name)
        return [name for name in asked if name not in changed]

    def _written_by(self, name: str, factor: float) -> Written | None:
        """How a fused sweep writes this tensor under the rule; ``None`` if the sweep does not support it."""
        entries = self.space.entries(name).detach()
        if entries.dtype == torch.float32:
            return Written(entries, factor)
        if (
            entries.dtype != torch.bfloat16
            or self.rule == "stochastic"
            or self.space.indices(name) is not None
        ):
            return None
        if self.rule == "compensated" and name not in self.kept:
            # A rounding error of -0 changes no bit: x + -0 = x for every x, also for x = -0.
            self.kept[name] = torch.full_like(entries, -0.0)
        elif self.rule == "master" and name not in self.kept:
            self.kept[name] = entries.float()
        return Written(
            entries, factor, ("nearest", "compensated", "master").index(self.rule), self.kept.get(name)
        )

    def reading(self, name: str) -> torch.Tensor:
        """A copy of the tuned values in float32 or float64, with what the rule keeps beside them."""
        entries = self.space.entries(name).detach()
        return (self._open(name, entries) if entries.dtype in HALF else entries).clone()

    def moved_share(self) -> float | None:
        """Share of the half-precision entries written since the last call whose stored value changed;
        ``None`` if no such entry was written."""
        written, changed = self._written, self._changed
        self._written = self._changed = 0
        return changed / written if written else None

    def _open(self, name: str, entries: torch.Tensor) -> torch.Tensor:
        if self.rule == "master":
            if name not in self.kept:
                self.kept[name] = entries.float()
            return self.kept[name]
        work = entries.float()
        if self.rule == "compensated" and name in self.kept:
            work += self.kept[name].float()
        return work

    def _round(self, name: str, work: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        if self.rule == "stochastic":
            # The counter gives every write its own draw. It is part of the state, so a resumed run repeats
            # the draws of an uninterrupted one.
            seed = noise.derive_seed("rounding", self.seed, self._writes, name)
            self._writes += 1
            return stochastic_round(work, dtype, seed=seed)
        rounded = work.to(dtype)
        if self.rule == "compensated":
            # Kahan compensation: the rounding error is added to the next write (see ``_open``).
            # In place where it is kept already: that memory may lie in a file (mode ``offload``).
            rest = (work - rounded.float()).to(dtype)
            self.kept[name] = self.kept[name].copy_(rest) if name in self.kept else rest
        return rounded

    def state_dict(self) -> dict[str, object]:
        """Stored rounding errors or master copies under ``kept/<name>``, and the number of stochastic writes
        (``writes``)."""
        return {"writes": self._writes, **{f"kept/{n}": t.clone() for n, t in self.kept.items()}}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        self._writes = int(state["writes"])  # type: ignore[call-overload]
        self.kept = {
            key.removeprefix("kept/"): value.clone()
            for key, value in state.items()
            if isinstance(value, torch.Tensor)
        }


def stochastic_round(values: torch.Tensor, dtype: torch.dtype, *, seed: int) -> torch.Tensor:
    """float32 ``values`` rounded at random to one of their two neighbours in ``dtype``; the expectation
    equals the value.

    One neighbour is the nearest value in ``dtype``, the other lies on the other side of the value. The
    probability of the other neighbour is |value - nearest| / gap, where gap is the distance between the
    neighbours. Values outside the range of ``dtype`` are rounded as by ``Tensor.to``.
    """
    nearest = values.to(dtype)
    rest = values - nearest.float()
    towards = torch.where(rest > 0, torch.inf, -torch.inf).to(dtype)
    other = torch.nextafter(nearest, towards)
    gap = other.float() - nearest.float()
    # rest and gap have the same sign, so that the quotient is a probability.
    chance = torch.where(gap != 0, rest / gap, torch.zeros_like(rest))
    draw = noise.sample(
        tuple(values.shape), seed=seed, key=noise.tensor_key("rounding"), kind="uniform", device=values.device
    )
    over = (rest != 0) & torch.isfinite(other.float()) & (draw.float() < chance)
    return torch.where(over, other, nearest)
