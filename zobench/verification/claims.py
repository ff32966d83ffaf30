"""Checks without computation: whether the run's row agrees with its specification, and whether training
ended by the rules."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zobench.runner.divergence import DivergenceGuard
from zobench.runner.results import params_json
from zobench.spec import RunSpec, identifying
from zobench.verification.report import VerificationReport, listed

if TYPE_CHECKING:
    from zobench.runner.process_cache import About
    from zobench.verification.submission import Submission
    from zobench.zo.base import Cost, MethodCard, StepRecord


REVISIONS = ("way", "scoring", "method", "plugins")
"""Parts of a run's identity besides the digests."""


def declared_id(spec: RunSpec, run: dict[str, Any], environment: Mapping[str, Any]) -> str:
    """The run id that follows from specification, declared digests and recorded revisions."""
    recorded = environment.get("digests", {})
    revisions = {k: str(recorded[k]) for k in REVISIONS if k in recorded}
    return spec.run_id({**revisions, **identifying(run["model_digest"], run["data_digest"])})


def columns_of(spec: RunSpec) -> dict[str, Any]:
    """The columns of a run's row that follow from its specification."""
    return {
        "purpose": spec.purpose,
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
    }


def contradictions(submission: Submission) -> Iterator[str]:
    """Contradictions between the run's row and its specification, the run id first."""
    run, spec = submission.run, submission.spec
    if declared_id(spec, run, submission.environment) != run["run_id"]:
        yield "the run id is not that of this specification and these digests"
    for column, value in columns_of(spec).items():
        if run[column] != value:
            yield f"{column} is {run[column]!r} in the row, {value!r} in the specification"
    if run["tuning_of"]:
        yield f"tuning_of is {run['tuning_of']!r} in the row of a result"
    for table in ("steps", "metrics", "predictions"):
        if any(row["run_id"] != run["run_id"] for row in getattr(submission, table)):
            yield f"the table {table} has rows of another run"


def measured_here(report: VerificationReport, parameters: int, about: About, card: MethodCard) -> bool:
    """The check ``facts``: the row's data about model, task and method against the verifier's own."""
    own = {
        "parameters": parameters,
        "task_kind": about.kind,
        "primary_metric": about.primary_metric,
        "chance": about.chance,
        "method_order": card.order,
        "replay": card.replay,
    }
    return compared(report, "facts", own)


def compared(report: VerificationReport, check: str, own: Mapping[str, Any]) -> bool:
    """Whether the row has these values; the finding lists the ones that differ."""
    run = report.submission.run
    wrong = [f"{c} is {run[c]!r} in the row, {v!r} here" for c, v in own.items() if run[c] != v]
    said = listed(wrong) if wrong else f"{', '.join(own)} as here"
    return report.add(check, "failed" if wrong else "passed", said)


def wrong_end(submission: Submission, records: Sequence[StepRecord], spent: int, cost: Cost) -> Iterator[str]:
    """Violations of the rules for the end of training: budget exceeded, training stopped early (so that a
    better step could be picked by its test score), or a status that does not follow from the losses."""
    run, budget = submission.run, submission.spec.budget.forwards
    wants = budget > 0 and cost.max_forwards_in_step > 0
    diverged = _divergence(records)
    if spent > budget:
        yield f"{spent} forwards spent of a budget of {budget}"
    elif diverged is None and wants and _first(records, cost) <= budget - spent:
        yield f"training stopped after {len(records)} steps with {budget - spent} forwards left"
    elif diverged is not None and diverged != len(records) - 1:
        yield f"training went on for {len(records) - 1 - diverged} steps after it had diverged"
    status = "diverged" if diverged is not None else "budget" if not records and wants else "done"
    counts = {
        "status": status,
        "steps": len(records),
        "forwards": spent,
        "refused_steps": sum(not r.moved for r in records),
        "tied_steps": sum(r.extras.get("ties", 0.0) > 0 for r in records),
    }
    if run.get("tied_steps") is None:  # a run from before the column
        del counts["tied_steps"]
    for column, value in counts.items():
        if run[column] != value:
            yield f"{column} is {run[column]!r} in the row, {value!r} by the steps"


def _first(records: Sequence[StepRecord], cost: Cost) -> int:
    """Maximum cost of the next step in forward passes, with the preparation before the first step."""
    return cost.max_forwards_in_step + (0 if records else cost.preparation_forwards)


def _divergence(records: Sequence[StepRecord]) -> int | None:
    """Index of the step at which the runner stops because of divergence; ``None`` if it does not."""
    guard = DivergenceGuard()
    return next((i for i, record in enumerate(records) if guard.see(record.loss)), None)
