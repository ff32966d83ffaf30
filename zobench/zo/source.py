"""Noise bound to a space: standard random values for the tuned entries of a tensor, addressed by (seed,
name).

``CounterSource`` is the default: a function of (seed, key of the name, element index). Its values do not
depend on the order of calls, on masks, devices or threads. ``LegacySource`` reproduces the MeZO code base:
one generator per seed draws the tuned tensors one after another, in the module's order and in their own
dtype.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from zobench.zo import noise
from zobench.zo.draw_cache import DrawCache
from zobench.zo.noise.legacy import SEED_BOUND, LegacyStream
from zobench.zo.space.base import ParameterSpace

if TYPE_CHECKING:
    from zobench.zo.noise import NoiseKind


@dataclass(frozen=True)
class Written:
    """How ``descend_many_`` writes one tensor.

    Attributes:
        theta: the weights, changed in place.
        factor: the weights are first multiplied by this number; 1.0 leaves them as they are.
        rule: rounding rule of bfloat16 weights, as numbered in ``zobench.zo.noise.sweeps``.
        side: the tensor that this rule stores besides the weights (rounding error or master copy), if any.
    """

    theta: torch.Tensor
    factor: float = 1.0
    rule: int = 0
    side: torch.Tensor | None = None


@dataclass(frozen=True)
class Ahead:
    """Outputs that a sweep writes besides the weights: ``out = theta + scale * u(seed)`` for each of ``outs``
    and ``scales``."""

    outs: Sequence[Mapping[str, torch.Tensor]]
    seed: int
    scales: Sequence[float]


class NoiseSource(ABC):
    """Noise for the tensors of one space.

    Attributes:
        keys: key of each tensor for the noise generator.
        drawn: number of entries requested, for the cost table.
        generated: number of entries generated; smaller than ``drawn`` if one draw served several points.
        swept: number of entries of weights, perturbed weights or updates written.
        passed: number of entries of weights read to write them; smaller than ``swept`` if one pass writes
            several.
    """

    def __init__(self, space: ParameterSpace) -> None:
        self.space = space
        self.keys = {name: noise.tensor_key(name) for name in space}
        self.drawn = self.generated = self.swept = self.passed = 0

    @abstractmethod
    def add_(self, tensor: torch.Tensor, name: str, seed: int, scale: float, kind: NoiseKind) -> None:
        """``tensor += scale * u(seed)[name]`` in place; ``tensor`` has the shape ``space.shape(name)``."""

    def add_many_(
        self, tensors: Mapping[str, torch.Tensor], seed: int, scale: float, kind: NoiseKind
    ) -> None:
        """``add_`` on each tensor, with identical bits."""
        for name, tensor in tensors.items():
            self.add_(tensor, name, seed, scale, kind)

    def displace_many_(
        self,
        out: Mapping[str, torch.Tensor],
        base: Mapping[str, torch.Tensor],
        seed: int,
        scale: float,
        kind: NoiseKind,
    ) -> None:
        """``out = base + scale * u(seed)[name]`` on each tensor, bit-identical to a copy followed by
        ``add_``. ``out[name]`` may be ``base[name]``."""
        for name, tensor in out.items():
            if tensor is not base[name]:
                tensor.copy_(base[name])
        self.add_many_(out, seed, scale, kind)

    def branch_many_(
        self,
        outs: Sequence[Mapping[str, torch.Tensor]],
        base: Mapping[str, torch.Tensor],
        seed: int,
        scales: Sequence[float],
        kind: NoiseKind,
    ) -> None:
        """``out = base + scale * u(seed)[name]`` for each of several outputs and scales, bit-identical to
        ``displace_many_`` for each. No output may be the base if there are several."""
        for out, scale in zip(outs, scales, strict=True):
            self.displace_many_(out, base, seed, scale, kind)

    def add_rows_(
        self, tensor: torch.Tensor, name: str, rows: torch.Tensor, seed: int, scale: float, kind: NoiseKind
    ) -> bool:
        """``tensor += scale * u(seed)[name][rows]`` in place, bit-identical to ``add_``. Returns False and
        leaves the tensor unchanged if single rows are not supported."""
        return False

    def descend_many_(
        self,
        updates: Mapping[str, Written],
        moving: Mapping[int, float],
        kind: NoiseKind,
        ahead: Ahead | None = None,
    ) -> dict[str, int]:
        """``theta = factor * theta + sum of scale * u(seed)`` with one rounding to the tensor's dtype, in one
        sweep. ``moving`` maps seeds to scales. Returns for each tensor how many stored values changed.
        Tensors that a fused sweep does not support are left unchanged and have no entry. For all others
        the outputs of ``ahead`` are written from the new weights in the same sweep."""
        return {}

    def draw(
        self, label: str, shape: tuple[int, ...], seed: int, kind: NoiseKind, device: torch.device
    ) -> torch.Tensor:
        """Auxiliary float32 noise (bases, masks, permutations), addressed by ``label`` instead of a tensor's
        name."""
        return noise.sample(
            shape, seed=seed, key=noise.tensor_key(label), kind=kind, device=device, dtype=torch.float32
        )


class CounterSource(NoiseSource):
    """u(seed)[name][i] from the counter-based generator, where i is the index in the unmasked tensor.

    Args:
        keep_large: also cache a draw of a large space, if memory allows (see ``DrawCache``).
    """

    def __init__(self, space: ParameterSpace, *, keep_large: bool = False) -> None:
        super().__init__(space)
        self._kept = DrawCache(space, self.keys, large=keep_large)

    def add_(self, tensor: torch.Tensor, name: str, seed: int, scale: float, kind: NoiseKind) -> None:
        self.add_many_({name: tensor}, seed, scale, kind)

    def add_many_(
        self, tensors: Mapping[str, torch.Tensor], seed: int, scale: float, kind: NoiseKind
    ) -> None:
        self.displace_many_(tensors, tensors, seed, scale, kind)

    def displace_many_(
        self,
        out: Mapping[str, torch.Tensor],
        base: Mapping[str, torch.Tensor],
        seed: int,
        scale: float,
        kind: NoiseKind,
    ) -> None:
        self.branch_many_([out], base, seed, [scale], kind)

    def branch_many_(
        self,
        outs: Sequence[Mapping[str, torch.Tensor]],
        base: Mapping[str, torch.Tensor],
        seed: int,
        scales: Sequence[float],
        kind: NoiseKind,
    ) -> None:
        asked = sum(tensor.numel() for out in outs for tensor in out.values())
        self.drawn, self.swept = self.drawn + asked, self.swept + asked
        factors = [noise.to_float32(scale) for scale in scales]
        whole = {n for n in outs[0] if self.space.indices(n) is None}
        # Scale 0 must change no bit: a sweep would turn -0 + 0 into +0.
        fused = {n for n in whole if 0.0 not in factors and self._sweepable(outs[0][n], base[n])}
        # One kernel call handles tensors of one dtype.
        for dtype in dict.fromkeys(outs[0][n].dtype for n in outs[0] if n in fused):
            names = [n for n in outs[0] if n in fused and outs[0][n].dtype == dtype]
            self.passed += sum(self.space.size(n) for n in names)
            noise.fused_sweeps().displace(
                [base[n] for n in names],
                self._branches(names, outs, seed, factors, kind),
                keys=[self.keys[n] for n in names],
                kind=kind,
            )
        for out, scale in zip(outs, scales, strict=True):
            for name in out:
                if name not in fused:
                    self._displace_alone(out[name], base[name], name, seed, scale, kind)

    def _displace_alone(
        self,
        tensor: torch.Tensor,
        base: torch.Tensor,
        name: str,
        seed: int,
        scale: float,
        kind: NoiseKind,
    ) -> None:
        """``tensor = base + scale * u(seed)[name]`` where no fused sweep serves."""
        self.passed += tensor.numel()
        if tensor is not base:
            tensor.copy_(base)
        if self.space.indices(name) is None:
            self._add_whole(tensor, name, seed, scale, kind)
        else:
            self._add_masked(tensor, name, seed, scale, kind)

    def add_rows_(
        self, tensor: torch.Tensor, name: str, rows: torch.Tensor, seed: int, scale: float, kind: NoiseKind
    ) -> bool:
        factor = noise.to_float32(scale)
        if self.space.indices(name) is not None or not self._sweepable(tensor):
            return False
        self.drawn, self.generated = self.drawn + tensor.numel(), self.generated + tensor.numel()
        self.swept, self.passed = self.swept + tensor.numel(), self.passed + tensor.numel()
        if factor != 0.0:
            # Row r of a matrix with n columns starts at element r n of the tensor's stream. Rows that follow
            # one another are one part.
            slab = bool((rows.diff() == 1).all())
            parts = [tensor] if slab else list(tensor.unbind())
            offsets = (rows[: len(parts)] * tensor.shape[1]).tolist()
            keys = [self.keys[name]] * len(parts)
            sweeps, kept = noise.fused_sweeps(), [None] * len(parts)
            once = sweeps.Branches([parts], [factor], seed, kept, [sweeps.ANEW] * len(parts))
            sweeps.displace(parts, once, keys=keys, kind=kind, offsets=offsets)
        return True

    def descend_many_(
        self,
        updates: Mapping[str, Written],
        moving: Mapping[int, float],
        kind: NoiseKind,
        ahead: Ahead | None = None,
    ) -> dict[str, int]:
        steps = [(seed, noise.to_float32(scale)) for seed, scale in moving.items()]
        steps = [(seed, factor) for seed, factor in steps if factor != 0.0]
        fused = [n for n, u in updates.items() if self.space.indices(n) is None and self._sweepable(u.theta)]
        done: dict[str, int] = {}
        if not steps:
            return done
        for dtype in dict.fromkeys(updates[n].theta.dtype for n in fused):
            names = [n for n in fused if updates[n].theta.dtype == dtype]
            chosen = [updates[n] for n in names]
            draws = [self._drawn_where(names, seed, kind) for seed, _ in steps]
            size = sum(u.theta.numel() for u in chosen)
            written = size * (1 + (len(ahead.outs) if ahead is not None else 0))
            self.drawn += size * len(steps) + written - size
            self.swept, self.passed = self.swept + written, self.passed + size
            changed = noise.fused_sweeps().descend(
                [u.theta for u in chosen],
                [u.side for u in chosen],
                chosen[0].rule,
                [noise.to_float32(u.factor) for u in chosen],
                steps,
                keys=[self.keys[n] for n in names],
                kind=kind,
                kept=[kept for kept, _ in draws],
                how=[how for _, how in draws],
                # After ``draws``: its draw takes the memory of the oldest one in the cache.
                ahead=ahead and self._branches(names, ahead.outs, ahead.seed, ahead.scales, kind),
            )
            # The kernel counts over all tensors together. Only the sum is used, so the first name carries it.
            done.update(dict.fromkeys(names, 0), **{names[0]: changed})
        return done

    def _sweepable(self, *tensors: torch.Tensor) -> bool:
        return noise.backend_for(tensors[0]) == "numba" and noise.fused_sweeps().serves(*tensors)

    def _drawn_where(
        self, names: list[str], seed: int, kind: NoiseKind
    ) -> tuple[list[torch.Tensor | None], list[int]]:
        """Cached draws of these tensors, and for each whether the kernel must generate it, store it, or read
        it. Draws that will be stored are marked as present."""
        sweeps = noise.fused_sweeps()
        kept = self._kept.open(seed) if kind == "gaussian" else None
        here = set() if kept is None else kept.made
        self.generated += sum(self.space.size(n) for n in names if n not in here)
        if kept is None:
            return [None] * len(names), [sweeps.ANEW] * len(names)
        how = [sweeps.KEPT if n in here else sweeps.KEEPING for n in names]
        kept.made.update(names)
        return [kept.views[n] for n in names], how

    def _branches(
        self,
        names: list[str],
        outs: Sequence[Mapping[str, torch.Tensor]],
        seed: int,
        scales: Sequence[float],
        kind: NoiseKind,
    ) -> Any:
        """What the kernel writes for several points along u(seed)."""
        kept, how = self._drawn_where(names, seed, kind)
        tensors = [[out[n] for n in names] for out in outs]
        factors = [noise.to_float32(scale) for scale in scales]
        return noise.fused_sweeps().Branches(tensors, factors, seed, kept, how)

    def _add_whole(self, tensor: torch.Tensor, name: str, seed: int, scale: float, kind: NoiseKind) -> None:
        factor = noise.to_float32(scale)
        kept = self._kept.open(seed) if kind == "gaussian" and tensor.dtype != torch.float64 else None
        if kept is None:
            self.generated += tensor.numel()
            noise.axpy_(tensor, scale, seed=seed, key=self.keys[name], kind=kind)
        elif factor != 0.0:
            if name not in kept.made:
                noise.fill(kept.views[name], seed=seed, key=self.keys[name], kind=kind)
                kept.made.add(name)
                self.generated += tensor.numel()
            # As in the kernel: a float32 product, a float32 sum, one rounding to the tensor's dtype.
            tensor.copy_((kept.views[name] * factor).add_(tensor.float()))

    def _add_masked(self, tensor: torch.Tensor, name: str, seed: int, scale: float, kind: NoiseKind) -> None:
        index = self.space.indices(name)
        assert index is not None
        self.generated += tensor.numel()
        # Only the listed elements of the unmasked tensor's noise are drawn, so that a mask does not change
        # their values. The sum is formed in float32 (float64) and rounded to the tensor's dtype once.
        wide = torch.float64 if tensor.dtype == torch.float64 else torch.float32
        draw = noise.gather(index, seed=seed, key=self.keys[name], kind=kind).reshape(tensor.shape)
        tensor.copy_(tensor.to(wide).add_(draw.to(device=tensor.device, dtype=wide).mul_(scale)))


class LegacySource(NoiseSource):
    """The draws of the MeZO code base: ``manual_seed(seed)``, then ``normal`` for each tensor in order, in
    the tensor's dtype.

    A cursor stores the position in the stream of the last seed. Visiting the tensors in the module's order
    draws each value once; any other order redraws the preceding tensors. Only Gaussian noise and unmasked
    tensors are supported. The global generator is not used.
    """

    def __init__(self, space: ParameterSpace, seeds: tuple[int, ...] = (), run_seed: int = 0) -> None:
        super().__init__(space)
        self._order = list(space)
        self._given = seeds
        self._run_seed = run_seed
        self._stream: LegacyStream | None = None
        self._next = 0

    def add_(self, tensor: torch.Tensor, name: str, seed: int, scale: float, kind: NoiseKind) -> None:
        if kind != "gaussian":
            raise ValueError(f"legacy noise supports Gaussian directions only, not {kind!r}")
        if self.space.indices(name) is not None:
            raise ValueError("legacy noise does not support masked spaces")
        self.drawn += tensor.numel()
        tensor.add_(self._draw(name, seed) * scale)

    def seed_at(self, position: int) -> int:
        """Direction seed of the run's query number ``position``: the given one, or the value at this position
        of numpy's legacy generator in [0, 1e9). ``ValueError`` if too few seeds were given."""
        if self._given:
            if position >= len(self._given):
                raise ValueError(
                    f"{len(self._given)} legacy seeds were given, query {position} needs one more"
                )
            return self._given[position]
        import numpy as np

        # ``RandomState`` accepts 32-bit seeds only.
        stream = np.random.RandomState(self._run_seed % 2**32)
        return int(stream.randint(SEED_BOUND, size=position + 1)[position])

    def descend_(
        self, tensor: torch.Tensor, name: str, seed: int, lr: float, slope: float, rate: float
    ) -> None:
        """``tensor -= lr * (slope * z + rate * tensor)`` in the tensor's own dtype, one rounding per
        operation as in the MeZO code base."""
        self.drawn += tensor.numel()
        step = slope * self._draw(name, seed)
        tensor.sub_(lr * (step + rate * tensor) if rate else lr * step)

    def _draw(self, name: str, seed: int) -> torch.Tensor:
        position = self._order.index(name)
        if self._stream is None or seed != self._stream.seed or position < self._next:
            # A stream cannot be read backwards: for an earlier tensor it is drawn again from its start.
            self._stream, self._next = LegacyStream(seed), 0
        while True:
            draw = self._stream.draw(self.space.tensors[self._order[self._next]].data)
            self._next += 1
            if self._next == position + 1:
                return draw
