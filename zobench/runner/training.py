"""The training loop: steps within the budget, a log line per step, evaluation at budget points, checkpoints.

The evaluation at a budget point b uses the last state that spent at most b forward passes. If all steps of a
method cost the same, it is evaluated before the step that would exceed b. If the costs of steps differ, a
copy of the state is evaluated after a step has exceeded b. Points at or beyond the last state, also of a
diverged run, are evaluated on the final state.
"""

from __future__ import annotations

import contextlib
import functools
import time
import traceback
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch

from zobench.data.example import single_class
from zobench.runner.checkpoints import Progress, unpack
from zobench.runner.diagnosing import Diagnosis
from zobench.runner.divergence import DivergenceGuard, NotFinite
from zobench.runner.evaluating import Evaluator
from zobench.runner.final_state import REPLAYED, rebuild
from zobench.runner.frozen import FrozenWeights
from zobench.runner.losses import differentiable, objective_of
from zobench.runner.measurements import MOST_TRIES, Measurements, Stopped
from zobench.runner.method_data import RunMethodData
from zobench.runner.offloading import packed
from zobench.runner.out_of_memory import naming_what_fits
from zobench.runner.process_cache import ProcessCache
from zobench.runner.results import Generation, Measured, Row, Spent, TaskData
from zobench.runner.rows import evaluation_rows_of, metric_rows, step_row
from zobench.runner.tracking import Listener
from zobench.runner.unmoved import FREE_LOOK, effect, fingerprint
from zobench.spec import RunSpec, reward_of
from zobench.store.artifacts import keep_artifacts
from zobench.store.writer import RunFolder
from zobench.zo.method import Method
from zobench.zo.objective import BudgetExhausted, Meter, Objective
from zobench.zo.sanity_checks import SanityWatch

if TYPE_CHECKING:
    from zobench.models.base import LanguageModel
    from zobench.tasks.base import MetricValue, Prediction
    from zobench.zo.base import Cost, Optimizer, StepRecord
    from zobench.zo.space import ParameterSpace


COUNTED = ("forwards", "sequences", "tokens", "generated", "judged", "failed")
"""Counts of the meter that a checkpoint holds."""


class Training:
    """The training of one run. The caller creates and owns its model, space and optimizer; ``frozen`` was
    taken before the optimizer was built."""

    def __init__(
        self,
        spec: RunSpec,
        bench: ProcessCache,
        space: ParameterSpace,
        optimizer: Optimizer,
        folder: RunFolder,
        checkpoint_every: int,
        listener: Listener,
        frozen: FrozenWeights | None = None,
    ) -> None:
        self.frozen = frozen or FrozenWeights(space, spec.method.name)
        self.spec, self.bench, self.space, self.optimizer, self.folder = spec, bench, space, optimizer, folder
        self.lm: LanguageModel = bench.model(spec.model)
        self.meter = Meter(budget=spec.budget.forwards)
        self.objective = self.make_objective()
        if spec.unlearning is None:
            optimizer.supply(RunMethodData(spec, bench))
        self.cost: Cost = type(optimizer).cost(optimizer.config)
        self.diagnosis = None if spec.diagnostics is None else self._diagnosis()
        self.traps = SanityWatch(optimizer, reaches_zero=not differentiable(spec))
        self.note_of_data()
        self.progress = Progress()
        self.evaluator = Evaluator(spec, bench, space, self.progress, self._synchronize)
        self.guard = DivergenceGuard()
        self.diverged = ""
        self._every, self._kept_step = checkpoint_every, -1
        self._tell = listener

    @functools.cached_property
    def data(self) -> TaskData:
        """The run's task and examples."""
        return self.bench.data(self.spec)

    def note_of_data(self) -> None:
        """Add a warning if all training examples have the same class."""
        rows, task = self.data.splits.train, self.data.task
        if (only := single_class(rows)) is not None:
            self.traps.note(
                "one-class", f"all {len(rows)} training rows have the class {task.class_name(only)!r}"
            )

    def make_objective(self) -> Objective:
        """The training objective. It runs in inference mode only if no gradient is ever needed: a tensor that
        a module keeps from a forward pass in inference mode could not be differentiated later."""
        inference = self.optimizer.card.order == "zeroth" and self.spec.diagnostics is None
        return objective_of(self.spec, self.bench, self.meter, inference=inference)

    def minibatch(self) -> Any:
        """The minibatch of the next step, with ``sequences`` and ``tokens``."""
        return self.bench.minibatch(self.spec, self.progress.step)

    def after_step(self, batch: Any, record: StepRecord) -> None:
        """Hook of subclasses after each step."""

    def further_rows(self, measurements: Measurements) -> list[Row]:
        """Further records of the metrics table, measured on the final state; a hook of subclasses."""
        return []

    def recalled(self, values: dict[str, MetricValue], predictions: list[Prediction], split: str) -> Measured:
        """The result of an earlier call's evaluation of the final state."""
        return Measured(split, evaluation_rows_of(self.spec, self.data)[1], predictions, values)

    def own_position(self) -> dict[str, Any]:
        """Further JSON values for the checkpoint; a hook of subclasses."""
        return {}

    def take_position(self, position: dict[str, Any]) -> None:
        """Restore from ``own_position()``."""

    def run(self, should_stop: Callable[[], bool]) -> str:
        """Train until the budget is spent and return the status. Raises :class:`Stopped` at a requested
        stop."""
        if self.diagnosis is not None:
            self.diagnosis.begin()
            self.progress.diagnostic_forwards = self.diagnosis.forwards()
        self.traps.begin()
        self.progress.started_from = self.space.digest() if self._wants_steps() else ""
        self._resume()
        self._look_untouched()
        self._prepare()
        while not self.diverged and self._next_fits():
            if should_stop():
                self.frozen.check()
                self._keep_state()
                raise Stopped
            self._advance_unless_lost()
            self.frozen.look(self.progress.step)
            if not self.diverged and self.progress.step % self._every == 0:
                self._checkpoint()
        self.frozen.check()
        if self.progress.step and not self.diverged:
            self.diverged = self._not_finite() or self.guard.never_finite()
        # Evaluation may take long; after a kill during it, the last steps need not be repeated.
        self._keep_state()
        self.optimizer.settle()
        ended = "budget" if self.progress.step == 0 and self._wants_steps() else "done"
        return "diverged" if self.diverged else ended

    def _advance_unless_lost(self) -> None:
        """Take one step. If it raises and the tuned weights are not finite, the run has diverged: the error
        is then a consequence of the weights, not a fault in the code."""
        try:
            self._advance()
        except (ArithmeticError, RuntimeError, ValueError) as error:
            lost = self._not_finite() or (str(error) if isinstance(error, NotFinite) else "")
            if not lost or isinstance(error, BudgetExhausted):
                raise
            self.diverged = lost

    def _not_finite(self) -> str:
        """Message that names tuned weights which are not finite; empty if all are finite."""
        for name in self.space:
            values = self.space.entries(name)
            if values.is_floating_point() and not bool(torch.isfinite(values).all()):
                return f"weights of {name} are not finite"
        return ""

    def _keep_state(self) -> None:
        """Write a checkpoint, unless the last one has the same state: the earlier checkpoint must differ."""
        if self.progress.step and self._kept_step != self.progress.step:
            self._checkpoint()

    def measured_at_end(self) -> Measured | None:
        """Metrics and predictions of the final state. If the model's scores are NaN, the run has diverged and
        the result is ``None``."""
        lost = self._not_finite() if self.progress.step else ""
        if not lost:
            try:
                return self.measured()
            except NotFinite as error:
                if not self.progress.step:
                    raise
                lost = str(error)
        self.diverged = self.diverged or lost
        return None

    def _look_untouched(self) -> None:
        """Predictions before training, to detect a run that changes nothing; not counted as evaluation cost
        of this run."""
        if self.progress.step or self.progress.untouched or not self._wants_steps():
            return
        if self.spec.purpose == "result" and 0 not in self.open_points() and self._looks_free():
            self.progress.untouched = fingerprint(self.evaluator.look())

    def _looks_free(self) -> bool:
        return self.data.task.kind in FREE_LOOK

    def warn_of_no_effect(self, result: Measured, digest: str) -> None:
        """Note in the run's warnings that training changed nothing; ``result`` and ``digest`` are those of
        the final state."""
        weights = (self.progress.started_from, digest)
        answers = (self.progress.untouched, fingerprint(result))
        if found := effect(self.progress.step, weights, answers, len(result.predictions)):
            self.traps.note(*found)

    def _prepare(self) -> None:
        """Run the method's preparation before step 0, which counts towards the budget. It does not change the
        weights, so budget points that it exceeds are evaluated on the initial weights."""
        if self.progress.prepared or not self._next_fits():
            return
        if passed := [b for b in self.open_points() if b < self.cost.preparation_forwards]:
            self._record(passed, self.spent())
        started = time.perf_counter()
        self.optimizer.prepare(self.objective)
        self._synchronize()
        self.progress.seconds += time.perf_counter() - started
        self.progress.prepared = True

    def kept_artifacts(self) -> str | None:
        """Store the tensors that a replay needs besides the scalars; return their digest, ``None`` if there
        are none."""
        artifacts = self.optimizer.artifacts() if isinstance(self.optimizer, Method) else {}
        return keep_artifacts(self.folder.path.parent, artifacts) if artifacts else None

    def spent(self) -> Spent:
        meter = self.meter
        cost = Generation(meter.generated, meter.judged, meter.failed)
        generation = None if reward_of(self.spec) is None else cost
        return Spent(self.progress.step, meter.forwards, meter.tokens, self.progress.seconds, generation)

    def measured(self) -> Measured:
        """Metrics and predictions of the current state; time and forward passes are counted as evaluation."""
        result = self.evaluator.measured()
        primary = result.values.get(self.data.task.primary_metric)
        self._tell({"metric": None if primary is None else primary.value})
        return result

    def open_points(self) -> list[int]:
        """Points below the budget that were not measured yet; the budget itself is the final state."""
        done, evaluation = set(self.progress.points), self.spec.evaluation
        wanted = sorted({*evaluation.at, *evaluation.attacks_at})
        return [b for b in wanted if b < self.spec.budget.forwards and b not in done]

    def _wants_steps(self) -> bool:
        return self.spec.budget.forwards > 0 and self.cost.max_forwards_in_step > 0

    def _next_fits(self) -> bool:
        remaining = self.meter.remaining
        assert remaining is not None, "a run has a budget"
        first = 0 if self.progress.prepared else self.cost.preparation_forwards
        return self._wants_steps() and first + self.cost.max_forwards_in_step <= remaining

    def _advance(self) -> None:
        before, dearest = self.spent(), self.cost.max_forwards_in_step
        near = [b for b in self.open_points() if before.forwards <= b < before.forwards + dearest]
        copy: dict[str, torch.Tensor] | None = None
        if near and self.cost.forwards_per_step == dearest:
            self._record(near, before)
        elif near:
            copy = self.space.snapshot()
        self._step()
        passed = [b for b in near if copy is not None and b < self.meter.forwards]
        if copy is not None and passed:
            with self._at(copy):
                self._record(passed, before)

    def _record(self, points: list[int], spent: Spent) -> None:
        with self.optimizer.settled():
            result = self.measured()
            if spent.step == 0:
                self.progress.untouched = fingerprint(result)
            for b in points:
                self.progress.curve += metric_rows(self.spec, spent, result, at=b, final=False)
                self.progress.points.append(b)
            self.progress.curve += self._attacked_along(points, spent, result)
        values = result.values.items()
        self._tell({"at": spent.forwards, "measured": {f"{result.split}/{k}": v.value for k, v in values}})

    def _attacked_along(self, points: list[int], spent: Spent, result: Measured) -> list[Row]:
        """Metrics of the attacks along the curve. Because this state is not stored, a failed attack is
        repeated immediately; if it fails again, the failure is recorded."""
        for tries in range(1, MOST_TRIES + 1):
            started = time.perf_counter()
            try:
                found = self.evaluator.attack_metrics_at(points, spent, result)
                self.evaluator.book(found.predictions, started)
                return found.metrics
            except (Exception, SystemExit) as error:  # noqa: BLE001 - recorded; training continues
                last = f"{type(error).__name__}: {error}", traceback.format_exc(), tries
        for b in sorted(set(points) & set(self.spec.evaluation.attacks_at)):
            reason, detail, tries = last
            row = {"measurement": f"attacks at {b}", "reason": reason, "detail": detail, "tries": tries}
            self.progress.unmeasured.append({**row, "final": False})
        return []

    def _diagnosis(self) -> Diagnosis:
        own = objective_of(self.spec, self.bench)
        return Diagnosis(self.spec, self.bench, self.space, self.optimizer, own)

    @contextlib.contextmanager
    def _at(self, values: dict[str, torch.Tensor]) -> Iterator[None]:
        now = self.space.snapshot()
        self.space.restore(values)
        yield
        self.space.restore(now)

    def _step(self) -> None:
        batch, before, failed_before = self.minibatch(), self.spent(), self.meter.failed
        self.objective.set_batch(batch, sequences=batch.sequences, tokens=batch.tokens)
        if self.diagnosis is not None:
            self.diagnosis.before(self.progress.step, batch)
        self.traps.before(self.progress.step)
        started = time.perf_counter()
        self._tell({"stepping": True})
        with naming_what_fits(self.spec, self.bench, self.progress.step, self.optimizer.card.order):
            record = self.optimizer.step(self.objective)
            self._synchronize()
        self._tell({"stepping": False})
        self.progress.seconds += time.perf_counter() - started
        if self.diagnosis is not None:
            self.progress.seconds -= self.diagnosis.seconds
            self.progress.curve += self.diagnosis.after(record, before)
            self.progress.diagnostic_forwards += self.diagnosis.forwards()
        self.traps.after(record)
        if failed := self.meter.failed - failed_before:
            told = f"{failed} answers have no score and count 0: {self.bench.reward(self.spec).failure}"
            self.traps.meet("failed-scores", record.step, told)
        # The step counts before its line is logged: a checkpoint's step is the number of lines to keep.
        self.progress.step += 1
        self.progress.refused += not record.moved
        self.progress.tied += record.extras.get("ties", 0.0) > 0
        self.folder.append_step(step_row(self.spent(), record))
        self.diverged = self.guard.see(record.loss)
        self._tell({"forwards": self.meter.forwards, "loss": record.loss, "lr": record.lr})
        self.after_step(batch, record)

    def _synchronize(self) -> None:
        if self.lm.device.type == "cuda":
            torch.cuda.synchronize(self.lm.device)

    def _checkpoint(self) -> None:
        if self._kept_step < 0:  # a resumed run would lose a one-time change of frozen weights
            self.frozen.check()
        self.folder.write_checkpoint(packed(self.space, self.optimizer, self.whole_position()))
        self._kept_step = self.progress.step

    def whole_position(self) -> dict[str, Any]:
        """The position of the run: its state besides weights and method state."""
        self.progress.traps = self.traps.state()
        meter = {name: getattr(self.meter, name) for name in COUNTED}
        return {
            "progress": self.progress.state(),
            "meter": meter,
            "guard": self.guard.state(),
            "diverged": self.diverged,
            "log": self.folder.log_digest,
            **self.own_position(),
        }

    def _resume(self) -> None:
        """Resume from the latest undamaged checkpoint whose steps are all in the log; else start again."""
        for stored in self.folder.checkpoints():
            weights, state, position = unpack(stored.tensors, stored.position)
            steps = position["progress"]["step"]
            if self.folder.open_log(keep_steps=steps, digest=position.pop("log", None)):
                if self.folder.damage:
                    self.folder.damage.append(f"went on from step {steps}")
                self._take(weights, state, position)
                return
        if self.folder.damage:
            self.folder.damage.append("started again")
        self.folder.open_log(keep_steps=0)

    def _take(
        self, weights: dict[str, torch.Tensor], state: dict[str, Any], position: dict[str, Any]
    ) -> None:
        """Restore the state of a checkpoint. If the run can be replayed, it may contain only the position."""
        if REPLAYED in position:
            rebuild(self.optimizer, self.folder.path, position.pop(REPLAYED))
        else:
            self.space.load_state_dict({n: t.to(self.space.device) for n, t in weights.items()})
            self.optimizer.load_state_dict(state)
        self.progress.take(position["progress"])
        self._kept_step = self.progress.step
        self.progress.resumed += 1
        self.traps.load_state(self.progress.traps)
        for name, value in position["meter"].items():
            setattr(self.meter, name, value)
        self.guard = DivergenceGuard.of(position["guard"])
        self.diverged = position["diverged"]
        self.take_position(position)
