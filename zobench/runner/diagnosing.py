"""Diagnostics of a run: measurements of ``zobench.zo.diagnostics`` at every k-th step, stored as metrics.

Records have split ``train``, condition kind ``diagnostic`` and the name of the diagnostic as condition;
``step`` and ``forwards`` give the position in training before the update of that step. The forward passes of
diagnostics are counted as ``diagnostic_forwards``, and their time is excluded from the run's. Diagnostics do
not change the results of the run by a single bit.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import torch

from zobench.runner.method_data import RunMethodData
from zobench.runner.process_cache import ProcessCache
from zobench.runner.results import Row, Spent
from zobench.spec import Diagnostics, RunSpec
from zobench.zo import diagnostics as zo
from zobench.zo import noise
from zobench.zo.diagnostics import Reading
from zobench.zo.estimators import Estimate, dense
from zobench.zo.method import ZerothOrder
from zobench.zo.objective import Objective

if TYPE_CHECKING:
    from zobench.zo.base import Optimizer, StepRecord
    from zobench.zo.space import ParameterSpace

CALIBRATION_BATCHES = 4
"""Number of minibatches over which GradIP averages the gradient at the starting weights."""


class Diagnosis:
    """The diagnostics of one run. ``before`` and ``after`` are called around every step and measure only at
    every k-th step.

    Attributes:
        seconds: time spent inside the last step, to be subtracted from the step's time.
    """

    def __init__(
        self,
        spec: RunSpec,
        bench: ProcessCache,
        space: ParameterSpace,
        optimizer: Optimizer,
        objective: Objective,
    ) -> None:
        """``objective`` has a separate meter, which counts the cost of diagnostics."""
        assert spec.diagnostics is not None
        self.spec, self.bench, self.space, self.optimizer = spec, bench, space, optimizer
        self.wanted: Diagnostics = spec.diagnostics
        self.objective = objective
        self.seconds = 0.0
        self._pretrained: dict[str, torch.Tensor] = {}
        self._theta: dict[str, torch.Tensor] | None = None
        self._gradient: dict[str, torch.Tensor] = {}
        self._probe: zo.Probe | None = None
        self._found: dict[str, list[Reading]] = {}

    def asked(self, name: str) -> bool:
        return name in self.wanted.measure

    def forwards(self) -> int:
        """Forward passes spent since the last call."""
        spent, self.objective.meter.forwards = self.objective.meter.forwards, 0
        return spent

    def begin(self) -> None:
        """Compute the gradient at the starting weights for GradIP. Call before a checkpoint is loaded."""
        if not self.asked("gradip"):
            return
        sums: dict[str, torch.Tensor] = {}
        for batch, sequences, tokens in RunMethodData(self.spec, self.bench).calibration(CALIBRATION_BATCHES):
            self.objective.set_batch(batch, sequences=sequences, tokens=tokens)
            for name, g in zo.tuned_gradient(self.objective, self.space).items():
                sums[name] = sums[name] + g if name in sums else g
        self._pretrained = {name: total / CALIBRATION_BATCHES for name, total in sums.items()}

    @torch.no_grad()
    def before(self, step: int, batch: Any) -> None:
        """Prepare the measurements of this step if it is a k-th step."""
        self.seconds, self._theta, self._found = 0.0, None, {}
        if isinstance(self.optimizer, ZerothOrder):
            self.optimizer.watch = None
        if step % self.wanted.every:
            return
        self.objective.set_batch(batch, sequences=batch.sequences, tokens=batch.tokens)
        self._theta = self.space.snapshot()
        self._probe = zo.Probe(
            self.objective,
            self.space,
            radius=self.wanted.radius,
            directions=self.wanted.directions,
            seed=noise.derive_seed("diagnostics of step", self.spec.seed, step),
        )
        if self.asked("gradient-cosine"):
            self._gradient = zo.tuned_gradient(self.objective, self.space)
            self._found["gradient-cosine"] = [Reading("gradient_norm", zo.norm(self._gradient))]
        if self.asked("probe-losses"):
            self._probe.here()
        if self.asked("sharpness"):
            self._found["sharpness"] = self._probe.sharpness()
        if isinstance(self.optimizer, ZerothOrder):
            self.optimizer.watch = self._watch

    def _watch(self, estimate: Estimate) -> None:
        """Measure the estimate inside the step, while its directions can still be drawn."""
        started = time.perf_counter()
        assert isinstance(self.optimizer, ZerothOrder)
        assert self._probe is not None
        direction = self.optimizer.direction
        if self.asked("variance"):
            self._found["variance"] = self._probe.variance(direction)
        if estimate.seeds and all(map(math.isfinite, estimate.coefficients)):
            self._read_estimate({name: dense(direction, estimate, name) for name in self.space})
        self.seconds = time.perf_counter() - started

    def _read_estimate(self, g: dict[str, torch.Tensor]) -> None:
        if self.asked("gradient-cosine"):
            read = [
                Reading("gradient_cosine", zo.cosine(g, self._gradient)),
                Reading("estimate_norm", zo.norm(g)),
            ]
            self._found["gradient-cosine"] += read
        if self.asked("effective-rank"):
            self._found["effective-rank"] = zo.rank_reading("estimate_effective_rank", g)
        if self.asked("gradip"):
            self._found["gradip"] = [Reading("gradip", zo.inner(g, self._pretrained))]

    def after(self, record: StepRecord, spent: Spent) -> list[Row]:
        """Records of the step just taken; ``spent`` is the cost of training before it."""
        if self._theta is None:
            return []
        assert self._probe is not None
        moved = {n: self._theta[n].double() - self.space.entries(n).detach().double() for n in self._theta}
        if self.asked("gradient-cosine"):
            self._found["gradient-cosine"].append(Reading("update_cosine", zo.cosine(moved, self._gradient)))
        if self.asked("effective-rank"):
            self._found.setdefault("effective-rank", []).extend(
                zo.rank_reading("update_effective_rank", moved)
            )
        if self.asked("probe-losses"):
            self._found["probe-losses"] = zo.loss_readings(record.losses, self._probe.here)
        return [
            self._row(name, reading, spent)
            for name in self.wanted.measure
            for reading in self._found.get(name, ())
        ]

    def _row(self, name: str, reading: Reading, spent: Spent) -> Row:
        return {
            **spent.as_row(),
            "task": self.spec.task.name,
            "split": "train",
            "condition_kind": "diagnostic",
            "condition": name,
            "params": "{}",
            "metric": reading.metric,
            "value": reading.value,
            "n": reading.n,
            "stderr": reading.stderr,
            "final": False,
        }
