"""Detects runs that appear to train but make no progress or optimize the wrong quantity ("traps").

- ``loss-zero``: a queried loss is exactly 0 (a mask that hides every target, a saturated loss). Not reported
  if the loss is an error rate, which may correctly reach 0.
- ``no-difference``: a tie in every direction, so that the estimate is 0 (momentum, moments and decay still
  change the weights), or no pair with a known order in methods that use the order only.
- ``sigma-zero``: the spread that the step is divided by is 0 (FZOO, ZOSA, evolution strategies).
- ``epsilon-below-resolution``: theta + eps rounds back to theta in the weights' own dtype for more than a
  tenth of the entries, so that the probes measure rounding.
- ``weights-unmoved``: steps were taken, and every tuned weight has the bits it started with.
- ``predictions-unmoved``: weights moved, and every prediction is that of the model before training.
- ``one-class``: all training rows have one class.
- ``failed-scores``: answers of a step could not be scored and count 0 (training on a reward).
- ``process-state``: the run changed the state of the process that it shares with other runs.
- ``update-underflow``: fewer than half of the entries that the estimate touches changed their stored value.
  Checked in steps 0, 1, 2, 4, 8, ...; half-precision weights are checked only with precision ``nearest``,
  which discards rounding errors. Not checked in mode ``offload``.

The checks cost no forward pass and do not change the run. They need one copy of the tuned values in the
steps named above, and the support of the estimate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch

from zobench.zo.base import Optimizer, StepRecord
from zobench.zo.estimators import Estimate, dense
from zobench.zo.method import ZerothOrder
from zobench.zo.precision import HALF
from zobench.zo.space.base import ParameterSpace

LOST_SHARE = 0.1
"""Largest share of entries that eps may leave unchanged before the trap is reported."""
PIECE = 1 << 22
"""Entries of a tensor that are examined together."""
MOVED_SHARE = 0.5
"""Smallest share of the touched entries that must change."""


@dataclass(slots=True)
class Trap:
    """A detected trap: details, number of steps, and the first of them (-1: before the first step)."""

    trap: str
    detail: str
    steps: int
    first_step: int


class SanityWatch:
    """Checks one optimizer. Call ``begin`` once, then ``before`` and ``after`` around every step.

    Attributes:
        found: traps by name.
        reaches_zero: if True, a zero loss is not reported.
    """

    def __init__(self, optimizer: Optimizer, *, reaches_zero: bool = False) -> None:
        self.optimizer = optimizer
        self.reaches_zero = reaches_zero
        self.found: dict[str, Trap] = {}
        self._theta: dict[str, torch.Tensor] | None = None
        self._away = isinstance(optimizer, ZerothOrder) and optimizer.engine.offload is not None

    def begin(self) -> None:
        """Compare eps with the starting weights, for methods that have one."""
        if not isinstance(self.optimizer, ZerothOrder):
            return
        if "epsilon" not in {f.name for f in fields(self.optimizer.config)}:
            return
        epsilon = self.optimizer.smoothing()
        share = unresolved_share(self.optimizer.space, epsilon)
        if share > LOST_SHARE:
            self.meet(
                "epsilon-below-resolution",
                -1,
                f"eps {epsilon:g} leaves {share:.1%} of the entries as they are",
            )

    def before(self, step: int) -> None:
        """Copy the weights if this step is checked."""
        # True for 0 and the powers of two: early steps are dense, and the copies become rare in long runs.
        # In mode offload there is no room for a copy, and the update is written after the step.
        looked_at = step & (step - 1) == 0 and not self._away
        self._theta = self.optimizer.space.snapshot() if looked_at else None

    def after(self, record: StepRecord) -> None:
        """Check a step that was taken."""
        if not self.reaches_zero and any(loss == 0.0 for loss in record.losses):
            self.meet("loss-zero", record.step, "a loss is exactly 0")
        if record.reason.startswith("zero spread"):
            self.meet("sigma-zero", record.step, record.reason)
        elif record.reason.startswith("no difference") or _all_tied(record):
            self.meet("no-difference", record.step, "no difference between the losses")
        theta, self._theta = self._theta, None
        if theta is None or not record.moved or record.lr == 0.0 or not record.seeds:
            return
        share = moved_share(self.optimizer, record, theta)
        if share is not None and share < MOVED_SHARE:
            self.meet("update-underflow", record.step, f"{share:.1%} of the entries meant to move did")

    def note(self, trap: str, detail: str) -> None:
        """Report a trap that concerns the whole run."""
        self.found.setdefault(trap, Trap(trap, detail, 1, -1))

    def meet(self, trap: str, step: int, detail: str) -> None:
        """Report a trap of this step. A trap that occurs again is counted and keeps its first details."""
        if trap in self.found:
            self.found[trap].steps += 1
        else:
            self.found[trap] = Trap(trap, detail, 1, step)

    def state(self) -> list[dict[str, Any]]:
        """The traps as plain values, in order of detection, as a record stores them."""
        return [{f.name: getattr(trap, f.name) for f in fields(Trap)} for trap in self.found.values()]

    def load_state(self, state: list[dict[str, Any]]) -> None:
        """Restore the result of ``state()``."""
        self.found = {row["trap"]: Trap(**row) for row in state}


def _all_tied(record: StepRecord) -> bool:
    """Whether every coefficient is exactly 0."""
    return bool(record.coefficients) and record.extras.get("ties") == len(record.coefficients)


def unresolved_share(space: ParameterSpace, epsilon: float) -> float:
    """Share of the tuned entries whose half unit in the last place is larger than ``epsilon``."""
    lost = 0
    for name in space:
        # In pieces: in float64 a whole embedding would take several times its memory.
        for values in space.entries(name).detach().reshape(-1).split(PIECE):
            _, exponent = torch.frexp(values.abs().double())
            # |x| in [2^(e-1), 2^e) has a unit in the last place of eps_dtype * 2^(e-1).
            half = torch.ldexp(torch.full_like(values, 0.5, dtype=torch.float64), exponent - 1)
            lost += int(((half * torch.finfo(values.dtype).eps > epsilon) & (values != 0)).sum())
    return lost / space.numel


def moved_share(optimizer: Optimizer, record: StepRecord, theta: Mapping[str, torch.Tensor]) -> float | None:
    """Share of the entries in the estimate's support that changed since ``theta``; ``None`` if the
    support is unknown or rounding errors are kept."""
    if not isinstance(optimizer, ZerothOrder):
        return None
    keeps_rest = optimizer.engine.writer.rule != "nearest"
    estimate = Estimate(record.seeds, record.coefficients, (), math.nan)
    meant = moved = 0
    for name, old in theta.items():
        if old.dtype in HALF and keeps_rest:
            continue
        support = dense(optimizer.direction, estimate, name) != 0
        meant += int(support.sum())
        moved += int((support & (optimizer.space.entries(name).detach() != old)).sum())
    return moved / meant if meant else None
