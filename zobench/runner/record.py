"""The record of a run: its JSON files at the start and its table records at the end."""

from __future__ import annotations

import dataclasses
import datetime
import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import zobench
from zobench.parameters import configure, literal
from zobench.runner.environment import environment_record, peak_memory_bytes, reset_peak_memory
from zobench.runner.jobs import Job
from zobench.runner.measurements import Measurements
from zobench.runner.process_cache import ProcessCache
from zobench.runner.process_watch import ProcessWatch
from zobench.runner.results import Measured, Row, params_json
from zobench.runner.rows import metric_rows, prediction_rows
from zobench.store.digests import DamagedFile, read_sealed
from zobench.store.schema import SCHEMA_VERSION
from zobench.store.space import keep_reserve
from zobench.store.step_log import read_steps_log, readable_steps
from zobench.store.writer import ENVIRONMENT, SPEC, RunFolder
from zobench.tasks.base import MetricValue, Prediction
from zobench.zo.method import Method
from zobench.zo.sanity_checks import Trap

if TYPE_CHECKING:
    from zobench.runner.training import Training
    from zobench.zo.base import Optimizer
    from zobench.zo.space import ParameterSpace

OWN_SCORE = "its own score"
Tables = dict[str, list[Row]]


@dataclass(slots=True)
class Run:
    """A run in progress: its job, folder, identity, and the information for its record.

    ``bench`` is ``None`` if the model or the data could not be loaded; ``before`` is the record of a finished
    run with a measurement that is tried again; ``watch`` monitors the process.
    """

    job: Job
    run_id: str
    folder: RunFolder
    bench: ProcessCache | None
    digests: dict[str, str]
    watch: ProcessWatch | None = None
    environment: dict[str, Any] = field(default_factory=dict)
    before: Row | None = None
    described: Row = field(default_factory=dict)

    def begin(self) -> None:
        """Write ``spec.json`` and ``environment.json``; a resumed run keeps the time of its first start."""
        planned = self.job.planned
        reset_peak_memory(planned.spec.model.device)
        self.environment = {
            **environment_record(planned.spec.model.device),
            "dtype": planned.spec.model.dtype,
            "digests": self.digests,
            "seed": planned.spec.seed,
            "command": list(self.job.command),
            "started_utc": self._started(),
        }
        if self.bench is not None:
            lm = self.bench.model(planned.spec.model)
            if lm.probed is not None:
                self.environment["model_probe"] = lm.probed.as_record()
            if lm.identity.origin is not None:
                self.environment["model_origin"] = lm.identity.origin
            self.environment["method_card"] = self._method_card()
        self.environment["parameters_from"] = self._parameters_from()
        if self.job.tuning:
            self.environment["tuning"] = self.job.tuning
        keep_reserve(self.folder.path)
        self.folder.write_json(SPEC, planned.model_dump(mode="json"))
        self.folder.write_json(ENVIRONMENT, self.environment)

    def _method_card(self) -> dict[str, Any]:
        """What a page shows of the method: title, source, formula, order and revision of its card."""
        assert self.bench is not None
        card = self.bench.parts.method(self.job.planned.spec.method.name).card
        return {k: getattr(card, k) for k in ("title", "source", "formula", "order", "revision")}

    def _parameters_from(self) -> str:
        """Source of the parameters: ``tuning`` in this suite, the method's ``defaults``, or the ``suite``
        file."""
        if self.job.tuning:
            return "tuning"
        if self.bench is None:
            return "suite"
        method = self.job.planned.spec.method
        own = literal(configure(self.bench.parts.method(method.name).Config, {}))
        return "defaults" if params_json(own) == params_json(method.params) else "suite"

    def _started(self) -> str:
        try:
            return str(read_sealed(self.folder.path / ENVIRONMENT)["started_utc"])
        except (FileNotFoundError, DamagedFile, KeyError):
            return utc_now()

    def describe(self, space: ParameterSpace, optimizer: Optimizer) -> None:
        """Add the information that is available once space and optimizer exist."""
        assert self.bench is not None
        spec = self.job.planned.spec
        lm, data = self.bench.model(spec.model), self.bench.about(spec)
        card = type(optimizer).card
        self.described = {
            "model_digest": lm.identity.digest,
            "parameters": lm.identity.parameters,
            "tuned_parameters": space.numel,
            "task_kind": data.kind,
            "primary_metric": data.primary_metric,
            "chance": data.chance,
            "data_digest": data.digest,
            "method_order": card.order,
            "replay": card.replay,
        }
        if isinstance(optimizer, Method):
            self.described["perturbation"] = optimizer.engine.mode
            self.described["noise_backend"] = noise_backend(spec.noise, space)

    def watched(self) -> list[Trap]:
        """Warnings about this run's side effects on its process."""
        return [] if self.watch is None else self.watch.traps()

    def step_rows(self) -> list[Row]:
        """The step log as records of the steps table."""
        return self._rows_of(read_steps_log(self.folder.path))

    def readable_step_rows(self) -> list[Row]:
        """The readable part of the step log of a run that failed or was interrupted, as records of the steps
        table; damage to the log is added to ``damage``."""
        rows, problem = readable_steps(self.folder.path)
        if problem is not None:
            self.folder.damage.append(f"{problem.path} is damaged: {problem.reason}")
        return self._rows_of(rows)

    def _rows_of(self, steps: list[Row]) -> list[Row]:
        return [{**r, "run_id": self.run_id, "extras": json.dumps(r["extras"])} for r in steps]

    def row(self, status: str, error: str = "", **more: Any) -> Row:
        """The run's record of the runs table."""
        job, planned, spec = self.job, self.job.planned, self.job.planned.spec
        damage = {"damage": self.folder.damage} if self.folder.damage else {}
        return {
            "run_id": self.run_id,
            "suite": job.suite,
            "row": planned.row,
            "group": planned.group,
            "note": planned.note,
            "purpose": spec.purpose,
            "tuning_of": planned.tuning_of,
            "status": status,
            "error": error,
            "model": spec.model.name,
            "dtype": spec.model.dtype,
            "device": spec.model.device,
            "task": spec.task.name,
            "task_params": params_json(spec.task.params),
            "method": spec.method.name,
            "method_params": params_json(spec.method.params),
            "space": json.dumps(spec.space.model_dump(mode="json"), sort_keys=True),
            "labels": spec.labels,
            "shots": spec.shots,
            "seed": spec.seed,
            "budget_forwards": spec.budget.forwards,
            "batch_size": spec.budget.batch_size,
            "perturbation": spec.perturbation,
            "noise_backend": spec.noise,
            "started_utc": self.environment["started_utc"],
            "finished_utc": utc_now(),
            "git_commit": self.environment["git_commit"],
            "git_dirty": self.environment["git_dirty"],
            "zobench_version": zobench.__version__,
            "schema_version": SCHEMA_VERSION,
            "spec": spec.model_dump_json(),
            "environment": json.dumps({**self.environment, **damage}, sort_keys=True),
            "tuning_forwards": job.tuning_forwards,
            **self.described,
            **more,
        }


def tables_of(run: Run, training: Training, status: str, measurements: Measurements) -> Tables:
    """Evaluate and attack the final state, unless its scores are NaN; return the records of all tables."""
    spec, spent = run.job.planned.spec, training.spent()
    metrics = list(training.progress.curve)
    predictions: list[Row] = []
    attacks: list[Row] = []
    result = final_measured(training, measurements)
    digest = training.space.digest()
    if result is not None:
        numbers, attacks = _measured_rows(training, result, measurements)
        metrics += numbers
        if spec.unlearning is None:  # its objective is no task, and it stores no answers
            predictions = prediction_rows(spec, spent, result, training.bench.data(spec).task)
        training.warn_of_no_effect(result, digest)
    for trap in run.watched():
        training.traps.note(trap.trap, trap.detail)
    tables = {
        "runs": [_row_of(run, training, status, digest)],
        "metrics": metrics,
        "predictions": predictions,
        "attacks": attacks,
        "failures": training.progress.unmeasured + measurements.rows(),
    }
    named = {name: [{"run_id": run.run_id, **r} for r in rows] for name, rows in tables.items()}
    return {**named, "steps": run.step_rows()}


def _measured_rows(
    training: Training, result: Measured, measurements: Measurements
) -> tuple[list[Row], list[Row]]:
    """Records of the metrics and attacks tables for the final state."""
    spec, spent, evaluator = training.spec, training.spent(), training.evaluator
    metrics: list[Row] = []
    late = training.open_points()
    for b in late:
        assert b >= spent.forwards, "an earlier point was passed without being measured"
        metrics += metric_rows(spec, spent, result, at=b, final=False)
    metrics += metric_rows(spec, spent, result, at=spec.budget.forwards, final=True)
    attacks, attack_metrics = evaluator.attack_rows(measurements, result, spent)
    if any(b in spec.evaluation.attacks_at for b in late):
        along = measurements.take(
            "attacks along the curve", lambda: evaluator.attack_metrics_at(late, spent, result)
        )
        metrics += along.metrics if along is not None else []
    metrics += attack_metrics
    metrics += evaluator.lm_eval_rows(measurements, spent)
    more_attacks, more_metrics = evaluator.lm_eval_attacked(measurements, spent)
    metrics += more_metrics
    metrics += training.further_rows(measurements)
    return metrics, attacks + more_attacks


def final_measured(training: Training, measurements: Measurements) -> Measured | None:
    """The run's own score on its final state, from an earlier call if available; ``None`` if the model's
    scores are NaN."""
    kept = measurements.recalled(OWN_SCORE)
    if kept is not None:
        training.evaluator.book_forwards(kept["forwards"], kept["seconds"])
        values = {name: MetricValue(*value) for name, value in kept["values"].items()}
        return training.recalled(values, [prediction_of(p) for p in kept["predictions"]], kept["split"])
    progress = training.progress
    before = progress.evaluation_forwards, progress.evaluation_seconds
    result = training.measured_at_end()
    if result is not None:
        body = {
            "forwards": progress.evaluation_forwards - before[0],
            "seconds": progress.evaluation_seconds - before[1],
            "split": result.split,
            "values": {name: [v.value, v.n, v.stderr] for name, v in result.values.items()},
            "predictions": [dataclasses.asdict(p) for p in result.predictions],
        }
        measurements.remember(OWN_SCORE, body)
    return result


def prediction_of(row: Row) -> Prediction:
    """A prediction from its JSON values."""
    logs = row["log_probs"]
    return Prediction(**{**row, "log_probs": None if logs is None else tuple(logs)})


def _row_of(run: Run, training: Training, status: str, digest: str) -> Row:
    """The run's record of the runs table. A run that was finished earlier keeps the values that training
    recorded."""
    spent, progress, evaluator = training.spent(), training.progress, training.evaluator
    now: Row = {
        "evaluation_forwards": progress.evaluation_forwards,
        "evaluation_seconds": progress.evaluation_seconds,
        "attack_cards": evaluator.attack_cards(),
    }
    if run.before is not None:
        return {**run.before, **now}
    return run.row(
        "diverged" if training.diverged else status,
        training.diverged,
        forwards=spent.forwards,
        sequences=training.meter.sequences,
        tokens=spent.tokens,
        train_seconds=spent.seconds,
        peak_memory_bytes=peak_memory_bytes(training.spec.model.device),
        steps=spent.step,
        refused_steps=progress.refused,
        tied_steps=progress.tied,
        **({} if spent.generation is None else spent.generation.as_row()),
        resumed=progress.resumed,
        weights_digest=digest,
        artifacts_digest=training.kept_artifacts(),
        diagnostic_forwards=progress.diagnostic_forwards,
        warnings=json.dumps(training.traps.state()) if training.traps.found else None,
        **now,
    )


def failure_row(run: Run, status: str, error: str) -> Row:
    """The record of a run that has no result."""
    traps = [asdict(trap) for trap in run.watched()]
    return run.row(status, error, warnings=json.dumps(traps) if traps else None)


def noise_backend(kind: str, space: ParameterSpace) -> str:
    """The kind of noise and the implementation that generated it: ``counter numba``, ``legacy torch``."""
    from zobench.zo.noise.backend import backend_for

    tensor = space.entries(next(iter(space)))
    return f"{kind} {backend_for(tensor) if kind == 'counter' else 'torch'}"


def utc_now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
