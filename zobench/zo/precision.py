"""How an update is written: the rounding of half-precision weights, so that small updates are not lost
silently.

With eta = 1e-7 most of an update is below half a unit in the last place of bfloat16 or float16 weights. All
updates of this library are computed in float32 (float64 for float64 weights) inside ``Writer.editing(name)``
and rounded once when the block ends, by one of these rules:

- ``nearest``: round to nearest; small updates are lost. What published code does.
- ``stochastic``: round up or down with probabilities that keep the mean, from counter noise; no state.
- ``compensated``: what rounding cut off is kept in the weights' own dtype and added next time; 2 bytes per
  entry.
- ``master``: a float32 copy of what is tuned takes the updates, the weights are its rounding; 4 bytes per
  entry.

``auto`` is ``compensated`` for half dtypes. Float32 and float64 weights are edited directly and need none of
this. ``moved_share()`` is the share of half-precision entries whose stored value changed since the last call.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from zobench.zo import noise
from zobench.zo.source import NoiseSource, Written
from zobench.zo.space.base import ParameterSpace

if TYPE_CHECKING:
    from zobench.zo.noise import NoiseKind

HALF = (torch.float16, torch.bfloat16)
RULES = ("nearest", "stochastic", "compensated", "master")


class Writer:
    """Writes updates of one space under one rounding rule.

    Args:
        space: whose entries are edited.
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
        """The tuned values in float32 or float64, to be changed in place; written back, rounded once, at the
        end.

        Nothing is written if the block raises.
        """
        entries = self.space.entries(name).detach()
        if entries.dtype not in HALF:
            yield entries
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
    ) -> list[str]:
        """theta <- factor theta + sum of scale u(seed) in one sweep: the bits of ``editing``, ``mul_`` and
        one addition after the other. The names that it could not serve, whose tensors are as before."""
        asked = list(names)
        written = {n: w for n in asked if (w := self._written_by(n, factors[n])) is not None}
        changed = source.descend_many_(written, moving, kind)
        for name, count in changed.items():
            if self.space.dtype(name) in HALF:
                self._changed += count
                self._written += self.space.size(name)
        return [name for name in asked if name not in changed]

    def _written_by(self, name: str, factor: float) -> Written | None:
        """How a fused sweep writes this tensor under the rule; ``None``: it cannot."""
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
            # -0 is the rest that changes no bit of any value.
            self.kept[name] = torch.full_like(entries, -0.0)
        elif self.rule == "master" and name not in self.kept:
            self.kept[name] = entries.float()
        return Written(
            entries, factor, ("nearest", "compensated", "master").index(self.rule), self.kept.get(name)
        )

    def moved_share(self) -> float | None:
        """Share of the half-precision entries written since the last call whose value changed; ``None`` if
        none was."""
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
            # The counter makes every write draw anew; it is part of the state, so a resumed run continues it.
            seed = noise.derive_seed("rounding", self.seed, self._writes, name)
            self._writes += 1
            return stochastic_round(work, dtype, seed=seed)
        rounded = work.to(dtype)
        if self.rule == "compensated":
            # Kahan compensation: what rounding cut off is added to the next write (see ``_open``).
            self.kept[name] = (work - rounded.float()).to(dtype)
        return rounded

    def state_dict(self) -> dict[str, object]:
        """Kept tensors by ``kept/<name>`` and the count of stochastic writes."""
        return {"writes": self._writes, **{f"kept/{n}": t.clone() for n, t in self.kept.items()}}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        self._writes = int(state["writes"])  # type: ignore[call-overload]
        self.kept = {
            key.removeprefix("kept/"): value.clone()
            for key, value in state.items()
            if isinstance(value, torch.Tensor)
        }


def stochastic_round(values: torch.Tensor, dtype: torch.dtype, *, seed: int) -> torch.Tensor:
    """float32 ``values`` rounded to one of their two neighbours in ``dtype``, with the mean kept exactly in
    expectation.

    The neighbours are the nearest value and the one on the other side of it; the probability of moving over
    is the distance in units of the gap. Values outside the range of ``dtype`` round as ``to`` does.
    """
    nearest = values.to(dtype)
    rest = values - nearest.float()
    towards = torch.where(rest > 0, torch.inf, -torch.inf).to(dtype)
    other = torch.nextafter(nearest, towards)
    gap = other.float() - nearest.float()
    chance = torch.where(gap != 0, rest / gap, torch.zeros_like(rest))
    draw = noise.sample(
        tuple(values.shape), seed=seed, key=noise.tensor_key("rounding"), kind="uniform", device=values.device
    )
    over = (rest != 0) & torch.isfinite(other.float()) & (draw.float() < chance)
    return torch.where(over, other, nearest)
