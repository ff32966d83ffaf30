"""Evaluates a run's current state: metrics, attacks, lm-eval tasks. Time and forward passes of evaluation are
counted separately from training.

The model before training is evaluated and attacked once per process for all methods that start from it; the
cost is counted for each of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from zobench.runner.attack_rows import cards_json
from zobench.runner.attacking import attack_all, harness_target, task_target
from zobench.runner.factory import component_key
from zobench.runner.results import AttackResult, Measured, Place, Row, Spent, forwards_for
from zobench.runner.rows import measure, metric_rows

if TYPE_CHECKING:
    from zobench.models.base import LanguageModel
    from zobench.runner.checkpoints import Progress
    from zobench.runner.process_cache import ProcessCache
    from zobench.runner.results import TaskData
    from zobench.spec import RunSpec
    from zobench.zo.space import ParameterSpace

LM_EVAL_SPLIT = "lm-eval"
"""Split of metrics of attacks on lm-eval tasks, which distinguishes them from attacks on the run's task."""


class Evaluator:
    """Evaluates one run at its current state. ``synchronize`` waits for the device, so that measured times
    are complete."""

    def __init__(
        self,
        spec: RunSpec,
        bench: ProcessCache,
        space: ParameterSpace,
        progress: Progress,
        synchronize: Callable[[], None],
    ) -> None:
        self.spec, self.bench, self.space, self.progress = spec, bench, space, progress
        self.lm: LanguageModel = bench.model(spec.model)
        self._synchronize = synchronize

    @property
    def data(self) -> TaskData:
        """The run's task and examples."""
        return self.bench.data(self.spec)

    def measured(self) -> Measured:
        """Metrics and predictions of the current state."""
        started = time.perf_counter()
        result = self.look()
        self.book(len(result.examples), started)
        return result

    def look(self) -> Measured:
        """The same, not booked: once per process where the state is the model as loaded."""
        key = self._untouched()
        result = self.data.measured.get(key)
        if result is None:
            result = measure(self.spec, self.lm, self.data)
        if key[0]:
            self.data.measured[key] = result
        return result

    def _untouched(self) -> tuple[object, ...]:
        """Key for caching results of the model before training: all that its predictions depend on besides
        the task's examples. The first part is empty, which means not to cache, if the model has been trained
        or has an adapter."""
        as_loaded = self.progress.step == 0 and self.space.kind == "full"
        evaluation = (self.spec.evaluation.test_items, self.spec.evaluation.validation_items)
        return (self.spec.model if as_loaded else "", self.spec.purpose, self.spec.shots, *evaluation)

    def lm_eval_rows(self, spent: Spent) -> list[Row]:
        """Metrics of lm-eval tasks on the current state, in the order of the suite."""
        evaluation, rows = self.spec.evaluation, []
        for name in evaluation.lm_eval:
            from zobench.tasks.lm_eval_adapter import evaluate

            started = time.perf_counter()
            found = evaluate(
                self.lm, name, include=evaluation.lm_eval_include, limit=evaluation.lm_eval_limit
            )
            self.book(max((v.n for v in found.values()), default=0), started)
            result = Measured("test", (), [], found)
            new = metric_rows(self.spec, spent, result, at=self.spec.budget.forwards, final=True)
            rows += [{**row, "task": name} for row in new]
        return rows

    def attacked(self, measured: Measured, *, along: bool = False) -> AttackResult:
        """All attacks of the run on the current state, each with its random baseline. ``along``: only those
        that are run during training."""
        if not self.spec.attacks:
            return AttackResult()
        started = time.perf_counter()
        only = self.spec.evaluation.attacks_along if along else ()
        named = tuple(f"{c.label} {component_key(c)}" for c in self.spec.attacks)
        key = (*self._untouched(), named, self.spec.attack_items, only)
        result = self.data.attacked.get(key)
        if result is None:
            target = task_target(self.spec, self.lm, self.data, measured)
            result = attack_all(self.spec, self._attacks(), self.lm, target, self.space.digest(), only)
        if key[0]:
            self.data.attacked[key] = result
        self.book(result.predictions, started)
        return result

    def lm_eval_attacked(self) -> AttackResult:
        """All attacks of the run on the current state, on lm-eval tasks with a column to edit."""
        evaluation, found = self.spec.evaluation, AttackResult()
        for name, column in evaluation.lm_eval_attack.items():
            started = time.perf_counter()
            target = harness_target(self.spec, self.lm, name, column)
            result = attack_all(self.spec, self._attacks(), self.lm, target, self.space.digest())
            self.book(result.predictions, started)
            found.rows += result.rows
            found.metrics += [{**row, "split": LM_EVAL_SPLIT} for row in result.metrics]
        return found

    def attack_metrics_at(self, points: list[int], spent: Spent, measured: Measured) -> list[Row]:
        """Metrics of the attacks during training, for those of ``points`` at which attacks are to run."""
        wanted = [b for b in points if b in self.spec.evaluation.attacks_at]
        result = self.attacked(measured, along=True) if wanted else AttackResult()
        return [row for b in wanted for row in result.placed(Place(spent, b))[1]]

    def attack_cards(self) -> str | None:
        """The cards of the run's attacks as JSON, for the runs table."""
        return cards_json(self.spec.attacks, self._attacks())

    def _attacks(self) -> list[Any]:
        return [self.bench.parts.attack(c) for c in self.spec.attacks]

    def book(self, predictions: int, started: float) -> None:
        """Count ``predictions`` and the time since ``started`` as evaluation."""
        self.progress.evaluation_forwards += forwards_for(predictions, self.spec.budget.batch_size)
        self._synchronize()
        self.progress.evaluation_seconds += time.perf_counter() - started
