"""Cache of the Gaussian draws of recent seeds.

One step of SPSA uses u(seed) three times: at +eps, at -eps and in the update. Drawing Gaussian noise takes
longer than reading it from memory (this does not hold for Rademacher noise). A CPU source therefore caches
draws: of as many seeds as fit in ``KEEP_BYTES``; for a larger space, of one seed if the caller allows it
(``large``) and the draw takes at most 1 / ``SHARE`` of the free memory. Masked spaces, float64 tensors and
other devices are not cached. Cached and fresh draws give bit-identical sums: a float32 multiplication, then a
float32 addition.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from zobench.zo.space.base import ParameterSpace

KEEP_BYTES = 64 << 20
"""Memory limit for the draws of a small space, in bytes."""
SHARE = 8
"""The draw of a large space may take 1 / SHARE of the free memory."""
KEPT_WITH = (torch.float32, torch.bfloat16, torch.float16)
"""Dtypes of weights whose draws are cached (in float32)."""


@dataclass
class KeptDraw:
    """u(seed), one float32 tensor per name.

    Attributes:
        views: the tensors by name.
        made: names whose tensors have been filled; the others are uninitialized memory.
    """

    views: dict[str, torch.Tensor]
    made: set[str] = field(default_factory=set)


class DrawCache:
    """u(seed) of the most recent seeds; tensors are filled when they are first requested. The oldest seed is
    dropped first.

    Attributes:
        room: how many seeds fit; 0 if draws are not cached for this space.
    """

    def __init__(self, space: ParameterSpace, keys: Mapping[str, int], *, large: bool = False) -> None:
        self.space, self.keys = space, keys
        plain = all(
            space.indices(n) is None and space.dtype(n) in KEPT_WITH and t.device.type == "cpu"
            for n, t in space.tensors.items()
        )
        # 4 bytes per entry: draws are float32, whatever the dtype of the weights.
        size = max(1, 4 * space.numel)
        self.room = KEEP_BYTES // size if plain else 0
        if plain and large and self.room == 0 and size * SHARE <= free_bytes():
            self.room = 1
        self._drawn: dict[int, KeptDraw] = {}

    def find(self, name: str, seed: int) -> torch.Tensor | None:
        """u(seed)[name] if it is cached, else ``None``. Callers must not write to it."""
        kept = self._drawn.get(seed)
        return kept.views[name] if kept is not None and name in kept.made else None

    def open(self, seed: int) -> KeptDraw | None:
        """The draw of this seed; the caller fills the tensors missing in ``made``. ``None`` if draws are not
        cached for this space."""
        if self.room == 0:
            return None
        kept = self._drawn.get(seed)
        if kept is None:
            # A full cache allocates nothing: the new draw reuses the memory of the oldest one.
            full = len(self._drawn) >= self.room
            views = self._drawn.pop(next(iter(self._drawn))).views if full else self._views()
            kept = self._drawn[seed] = KeptDraw(views)
        return kept

    def _views(self) -> dict[str, torch.Tensor]:
        # Memory allocated in inference mode could not be written outside it later.
        with torch.inference_mode(False):
            flat = torch.empty(self.space.numel, dtype=torch.float32)
        parts = flat.split([self.space.size(name) for name in self.keys])
        return {n: p.view(self.space.shape(n)) for n, p in zip(self.keys, parts, strict=True)}


def free_bytes() -> int:
    """Memory in bytes that programs can still get; 0 if this cannot be determined. On Linux file caches that
    the kernel gives up on demand count: on a machine that has read many files, little else is free."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        lines = []
    available = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    if available:
        return int(available[0]) << 10
    names = os.sysconf_names if os.name == "posix" else {}
    if "SC_AVPHYS_PAGES" not in names:
        return 0
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
