"""Cache of the Gaussian draws of recent seeds.

One step of SPSA uses u(seed) three times: at +eps, at -eps and in the update. Drawing a Gaussian costs more
than reading it (drawing a Rademacher does not), so a CPU source caches draws: of as many seeds as fit in
``KEEP_BYTES``, and of one seed of a larger space where the caller allows it (``large``) and the draw takes
no more than 1 / ``SHARE`` of the memory that is free. Masked spaces, float64 tensors and other devices are
not cached. Cached and fresh draws give bit-identical sums: a float32 multiplication, then a float32 addition.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from zobench.zo.space.base import ParameterSpace

KEEP_BYTES = 64 << 20
"""Memory limit of the draws of a small space."""
SHARE = 8
"""Divisor of the free memory that the draw of a large space may take."""
KEPT_WITH = (torch.float32, torch.bfloat16, torch.float16)


@dataclass
class KeptDraw:
    """u(seed) as one float32 tensor for each name; only those in ``made`` hold numbers."""

    views: dict[str, torch.Tensor]
    made: set[str] = field(default_factory=set)


class DrawCache:
    """u(seed) of the latest seeds, tensor by tensor as they are asked for; the oldest seed dropped first.

    Attributes:
        room: how many seeds fit; 0 if draws are not cached for this space.
    """

    def __init__(self, space: ParameterSpace, keys: Mapping[str, int], *, large: bool = False) -> None:
        self.space, self.keys = space, keys
        plain = all(
            space.indices(n) is None and space.dtype(n) in KEPT_WITH and t.device.type == "cpu"
            for n, t in space.tensors.items()
        )
        size = max(1, 4 * space.numel)
        self.room = KEEP_BYTES // size if plain else 0
        if plain and large and self.room == 0 and size * SHARE <= free_bytes():
            self.room = 1
        self._drawn: dict[int, KeptDraw] = {}

    def find(self, name: str, seed: int) -> torch.Tensor | None:
        """u(seed)[name] if it is cached, else ``None``; read only."""
        kept = self._drawn.get(seed)
        return kept.views[name] if kept is not None and name in kept.made else None

    def open(self, seed: int) -> KeptDraw | None:
        """The draw of this seed, to be filled by the caller; ``None`` if draws are not cached."""
        if self.room == 0:
            return None
        kept = self._drawn.get(seed)
        if kept is None:
            # The oldest draw gives up its memory: a full cache allocates nothing.
            full = len(self._drawn) >= self.room
            views = self._drawn.pop(next(iter(self._drawn))).views if full else self._views()
            kept = self._drawn[seed] = KeptDraw(views)
        return kept

    def _views(self) -> dict[str, torch.Tensor]:
        with torch.inference_mode(False):
            flat = torch.empty(self.space.numel, dtype=torch.float32)
        parts = flat.split([self.space.size(name) for name in self.keys])
        return {n: p.view(self.space.shape(n)) for n, p in zip(self.keys, parts, strict=True)}


def free_bytes() -> int:
    """Memory that nobody uses, caches of files included as used; 0 if the system does not say."""
    names = os.sysconf_names if os.name == "posix" else {}
    if "SC_AVPHYS_PAGES" not in names:
        return 0
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
