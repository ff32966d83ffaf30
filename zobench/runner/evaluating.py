"""Evaluates a run's current state: metrics, attacks, lm-eval tasks. Time and forward passes of evaluation are
counted separately from training.

The model before training is evaluated and attacked once per process for all methods that start from it; the
cost is counted for each of them.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from zobench.runner.attack_rows import cards_json
from zobench.runner.attacking import SharedTarget, Target, attack_all, harness_target, task_target
from zobench.runner.factory import component_key
from zobench.runner.measurements import Found, Measurements
from zobench.runner.results import AttackResult, Measured, Place, Row, Spent, forwards_for
from zobench.runner.rows import measure, metric_rows
from zobench.spec import reward_of

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
        """As :meth:`measured`, but not counted as evaluation cost. For a model in its initial state, the
        result is computed once per process."""
        key = self._untouched()
        result = self.data.measured.get(key)
        if result is None:
            result = measure(self.spec, self.bench)
        if key[0]:
            self.data.measured[key] = result
        return result

    def _untouched(self) -> tuple[object, ...]:
        """Key for caching results of the model before training: all that its predictions depend on besides
        the task's examples. The first part is empty, which means not to cache, if the model has been trained
        or has an adapter."""
        as_loaded = self.progress.step == 0 and self.space.kind == "full"
        evaluation = (self.spec.evaluation.test_items, self.spec.evaluation.validation_items)
        chosen = reward_of(self.spec) if self.spec.best_of else None
        by = (self.spec.best_of, None if chosen is None else chosen.model_dump_json())
        return (self.spec.model if as_loaded else "", self.spec.purpose, self.spec.shots, *by, *evaluation)

    def lm_eval_rows(self, measurements: Measurements, spent: Spent) -> list[Row]:
        """Metrics of lm-eval tasks on the current state, in their own order."""
        rows: list[Row] = []
        for name in self.spec.evaluation.lm_eval:
            found = measurements.take(f"lm-eval {name}", functools.partial(self._lm_eval, name, spent))
            rows += found.metrics if found is not None else []
        return rows

    def _lm_eval(self, name: str, spent: Spent) -> Found:
        from zobench.tasks.lm_eval_adapter import evaluate

        evaluation = self.spec.evaluation
        values = evaluate(self.lm, name, include=evaluation.lm_eval_include, limit=evaluation.lm_eval_limit)
        result = Measured("test", (), [], values)
        new = metric_rows(self.spec, spent, result, at=self.spec.budget.forwards, final=True)
        predictions = max((v.n for v in values.values()), default=0)
        return Found([{**row, "task": name} for row in new], [], predictions)

    def attacked(self, measured: Measured) -> AttackResult:
        """Results of the attacks that the suite requests along the curve, on the current state, each with its
        random baseline; not counted as evaluation cost."""
        if not self.spec.attacks:
            return AttackResult()
        key = (*self._attack_key(), self.spec.evaluation.attacks_along)
        result = self.data.attacked.get(key)
        if result is None:
            target = task_target(self.spec, self.lm, self.data, measured)
            along = self.spec.evaluation.attacks_along
            result = attack_all(self.spec, self._attacks(), self.lm, target, self.space.digest(), along)
        if key[0]:
            self.data.attacked[key] = result
        return result

    def attack_rows(
        self, measurements: Measurements, measured: Measured, spent: Spent
    ) -> tuple[list[Row], list[Row]]:
        """Records of the attacks and metrics tables for every attack on the current state. All settings of
        one catalogue attack form one measurement. The attacks share cached answers."""
        if not self.spec.attacks:
            return [], []
        target = task_target(self.spec, self.lm, self.data, measured)
        return self._by_attack(measurements, target, spent, "", "test", self._attack_key())

    def lm_eval_attacked(self, measurements: Measurements, spent: Spent) -> tuple[list[Row], list[Row]]:
        """As :meth:`attack_rows`, on the lm-eval tasks for which the suite names a column to edit."""
        details: list[Row] = []
        metrics: list[Row] = []
        for name, column in self.spec.evaluation.lm_eval_attack.items():
            make = functools.partial(harness_target, self.spec, self.lm, name, column)
            more, numbers = self._by_attack(measurements, make, spent, f" on {name}", LM_EVAL_SPLIT, ("",))
            details, metrics = details + more, metrics + numbers
        return details, metrics

    def _by_attack(
        self,
        measurements: Measurements,
        target: Target | Callable[[], Target],
        spent: Spent,
        where: str,
        split: str,
        key: tuple[object, ...],
    ) -> tuple[list[Row], list[Row]]:
        details: list[Row] = []
        metrics: list[Row] = []
        shared = SharedTarget(target, self.space.digest())
        for name in dict.fromkeys(c.name for c in self.spec.attacks):
            ask = functools.partial(self._one_attack, name, shared, spent, split, key)
            found = measurements.take(f"attack {name}{where}", ask)
            if found is not None:
                shared.take_up(found.more)
                details, metrics = details + found.attacks, metrics + found.metrics
            elif self.space.digest() != shared.digest:
                measurements.spoiled(f"attack {name}{where}")
        return details, metrics

    def _one_attack(
        self, name: str, shared: SharedTarget, spent: Spent, split: str, key: tuple[object, ...]
    ) -> Found:
        result = self.data.attacked.get((*key, name)) if key[0] else None
        if result is None:
            only = [c.label for c in self.spec.attacks if c.name == name]
            result = attack_all(
                self.spec, self._attacks(), self.lm, shared.target, shared.digest, only, shared
            )
        if key[0]:
            self.data.attacked[(*key, name)] = result
        details, metrics = result.placed(Place(spent))
        if split != "test":
            metrics = [{**row, "split": split} for row in metrics]
        return Found(metrics, details, result.predictions, shared.fresh())

    def _attack_key(self) -> tuple[object, ...]:
        named = tuple(f"{c.label} {component_key(c)}" for c in self.spec.attacks)
        return (*self._untouched(), named, self.spec.attack_items)

    def attack_metrics_at(self, points: list[int], spent: Spent, measured: Measured) -> Found:
        """Metrics of the attacks along the curve, for those of ``points`` at which the suite requests
        them."""
        wanted = [b for b in points if b in self.spec.evaluation.attacks_at]
        result = self.attacked(measured) if wanted else AttackResult()
        return Found(
            [row for b in wanted for row in result.placed(Place(spent, b))[1]], [], result.predictions
        )

    def attack_cards(self) -> str | None:
        """The cards of the run's attacks as JSON, for the runs table."""
        return cards_json(self.spec.attacks, self._attacks())

    def _attacks(self) -> list[Any]:
        return [self.bench.parts.attack(c) for c in self.spec.attacks]

    def book(self, predictions: int, started: float) -> None:
        """Count this number of predictions, and the time since ``started``, as evaluation cost."""
        self._synchronize()
        self.book_seconds(predictions, time.perf_counter() - started)

    def book_seconds(self, predictions: int, seconds: float) -> None:
        """As :meth:`book`, with the time in seconds."""
        self.book_forwards(forwards_for(predictions, self.spec.budget.batch_size), seconds)

    def book_forwards(self, forwards: int, seconds: float) -> None:
        """As :meth:`book_seconds`, with a number of forward passes instead of predictions."""
        self.progress.evaluation_forwards += forwards
        self.progress.evaluation_seconds += seconds
