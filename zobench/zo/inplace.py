"""Perturbation by adding to the weights and subtracting again, as in published code.

Mode ``in-place`` needs no copy of the weights, but it is not exact: adding a displacement and subtracting it
leaves a rounding error. The error is measured after every restore on about ``SAMPLE`` entries spread evenly
over the space, and recorded as ``extras["drift"]`` = ||theta_restored - theta|| / ||theta||. In the fused
form the weights are not restored before the update, so the error cannot be measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from zobench.zo.objective import Objective
from zobench.zo.perturb import Along, Perturbation, Point
from zobench.zo.space.base import ParameterSpace

SAMPLE = 1 << 16
"""Number of entries on which the drift is measured in a large space. The stride is numel / SAMPLE, rounded
up; every tensor contributes its first entry, hence at most one more entry per tensor."""


class InPlace(Perturbation):
    """theta itself is moved from point to point: +eps, -2 eps, +eps. Supports ``Along`` shifts only.

    The weights stay at the last point until ``home`` restores them, or until an update takes over the
    remaining displacement (``take``). The latter is the fused restore-and-update:
    theta <- theta_pert + (eps - eta c) u in one sweep.
    """

    exact = False

    def __init__(self, space: ParameterSpace) -> None:
        super().__init__(space)
        self._at: dict[tuple[int, int], Along] = {}
        self._stride = -(-space.numel // SAMPLE)
        self._left: torch.Tensor | None = None
        self._off = self._size = 0.0

    def loss(self, objective: Objective, point: Point) -> float:
        self._go(point)
        try:
            return objective.loss()
        except BaseException:
            self.home()
            raise

    @contextmanager
    def displaced(self, point: Point) -> Iterator[None]:
        try:
            self._go(point)
            yield
        finally:
            self.home()

    def _go(self, point: Point) -> None:
        target: dict[tuple[int, int], Along] = {}
        for shift in point:
            if not isinstance(shift, Along):
                raise ValueError("mode 'in-place' moves along seeded directions only; use mode 'snapshot'")
            if shift.scale != 0.0:
                target[(id(shift.direction), shift.seed)] = shift
        # The weights are at theta only now: the reference for the drift is taken before they leave it.
        if target and not self._at:
            self._left = self._sample()
        # Directions that are not part of the target are removed. Shared ones move by the difference, so that
        # +eps to -eps is one sweep of -2 eps.
        for key in list(self._at):
            if key not in target:
                self._move(self._at[key], -self._at[key].scale)
        for key, shift in target.items():
            here = self._at[key].scale if key in self._at else 0.0
            self._move(shift, shift.scale - here)
        self._at = target
        # Back at theta: the squared errors of all restores of a step are summed until ``drift`` reads them.
        if not target and self._left is not None:
            self._off += float((self._sample() - self._left).square().sum())
            self._size = float(self._left.square().sum())
            self._left = None

    def _sample(self) -> torch.Tensor:
        """Every ``_stride``-th tuned entry of each tensor, in float64."""
        parts = (self.space.entries(name).detach().reshape(-1)[:: self._stride] for name in self.space)
        return torch.cat([part.double() for part in parts])

    def drift(self) -> float | None:
        """Relative distance from theta after the restores since the last call; ``None`` without a restore."""
        off, size = self._off, self._size
        self._off = self._size = 0.0
        return math.sqrt(off / size) if size > 0 else None

    def _move(self, shift: Along, scale: float) -> None:
        if scale == 0.0:
            return
        touched = [name for name in self.space if shift.direction.touches(name, shift.seed)]
        entries = {name: self.space.entries(name) for name in touched}
        shift.direction.add_many_(entries, shift.seed, scale)
        for name, values in entries.items():
            # The entries of a masked tensor are a gathered copy, which must be written back.
            if self.space.indices(name) is not None:
                self.space.put_(name, values)

    def home(self) -> None:
        self._go(())

    def take(self) -> dict[int, float]:
        """Seed -> scale of the directions by which the weights are displaced now. The caller must remove
        these displacements."""
        # The weights will not return to theta, so the drift cannot be measured: the sample is dropped too.
        taken = {seed: shift.scale for (_, seed), shift in self._at.items()}
        self._at, self._left = {}, None
        return taken
