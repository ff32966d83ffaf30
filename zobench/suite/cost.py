"""Estimates the cost of a plan from the methods' declared costs: forward passes, evaluated examples and
attacked examples. Nothing is run.

A run with budget b takes steps as long as the remaining budget covers the maximum cost of any single step.
Evaluation is counted in test examples (one example at one measured state), attacks in attacked examples,
including those of the budget-matched random baselines. The number of queries of an attack per example is
known only when it runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

from zobench import plugins
from zobench.parameters import configure
from zobench.spec import PlannedRun
from zobench.suite.drawn_rows import drawn
from zobench.suite.plan import Plan, TuningStudy
from zobench.suite.schema import Range


@dataclass(frozen=True, slots=True)
class RowCost:
    """Cost of one row, over all its runs.

    Attributes:
        budget: forward passes that a run may spend, of the most expensive run.
        steps: number of steps, of the most expensive run.
        forwards: forward passes of training of all runs.
        tuning_forwards: forward passes of the tuning trials.
        test_rows: number of test examples evaluated; ``None`` if a run evaluates all examples of its task.
        attacked_rows: number of examples attacked, random baselines included; ``None`` likewise.
        state_bytes: optimizer state in bytes per trained parameter.
    """

    row: str
    group: str
    note: str
    method: str
    runs: int
    budget: int
    steps: int
    forwards: int
    tuning_runs: int
    tuning_forwards: int
    test_rows: int | None
    attacked_rows: int | None
    state_bytes: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """Cost of a plan, row by row."""

    rows: tuple[RowCost, ...]

    def total(self, column: str) -> int | None:
        """Sum of a column; ``None`` if a row's value is unknown."""
        values = [getattr(row, column) for row in self.rows]
        return None if any(v is None for v in values) else sum(values)

    def as_dict(self) -> dict[str, Any]:
        """For ``zobench plan --json``."""
        columns = ("runs", "forwards", "tuning_runs", "tuning_forwards", "test_rows", "attacked_rows")
        return {"rows": [asdict(r) for r in self.rows], "total": {c: self.total(c) for c in columns}}


def estimate(plan: Plan) -> Estimate:
    """Cost of every row of the plan that can be run; for tuned rows, with one arbitrary setting of the
    search."""
    by_row: dict[str, list[PlannedRun]] = {row: [] for row in plan.rows()}
    tuning: dict[str, list[PlannedRun]] = {row: [] for row in plan.rows()}
    for run in plan.runs:
        by_row[run.row].append(run)
    for follower in plan.followers:
        by_row[follower.template.row].append(follower.template)
    for study in plan.studies:
        by_row[study.row].extend(study.finals(example(study)))
        tuning[study.row].extend(_trials(study))
    return Estimate(tuple(_row_cost(row, runs, tuning[row]) for row, runs in by_row.items() if runs))


def example(study: TuningStudy) -> dict[str, Any]:
    """One setting of a study: its first candidate, or the lower ends of its ranges."""
    if study.candidates:
        return study.candidates[0]
    return {name: d.low if isinstance(d, Range) else d[0] for name, d in study.space.items()}


def steps_and_forwards(run: PlannedRun) -> tuple[int, int]:
    """Number of steps within the budget of a run and their cost in forward passes, from the method's declared
    mean cost per step."""
    cost = _declared(run)
    budget = run.spec.budget.forwards
    first = cost.preparation_forwards + cost.max_forwards_in_step
    if cost.forwards_per_step <= 0 or budget < first:
        return 0, 0
    steps = int((budget - first) / cost.forwards_per_step + 1e-9) + 1
    return steps, cost.preparation_forwards + round(steps * cost.forwards_per_step)


def _declared(run: PlannedRun) -> Any:
    method = plugins.lookup("methods", run.spec.method.name)
    cost = method.cost(configure(method.Config, run.spec.method.params))
    if (clients := run.spec.clients) is not None:
        steps = clients.number * clients.local_steps
        watching = 12 if clients.gradip or clients.limit is not None else 0
        return replace(
            cost,
            forwards_per_step=cost.forwards_per_step * steps * (1 - clients.drop_out),
            max_forwards_in_step=cost.max_forwards_in_step * steps,
            preparation_forwards=cost.preparation_forwards + watching,
        )
    if run.spec.unlearning is None:
        return cost
    from zobench.unlearning.metered import cost_under, target_of

    objective = plugins.lookup("objectives", run.spec.task.name)
    target = target_of(objective, configure(objective.Config, run.spec.task.params))
    return cost_under(cost, target, method.card)


def _trials(study: TuningStudy) -> list[PlannedRun]:
    """Trial runs of every rung. Which settings reach the next rung is unknown, but they cost the same."""
    known = study.candidates or (example(study),) * study.size
    return [
        run
        for count, forwards in study.schedule
        for candidate in known[:count]
        for run in study.trials(candidate, forwards)
    ]


def _row_cost(row: str, runs: list[PlannedRun], trials: list[PlannedRun]) -> RowCost:
    spent = [steps_and_forwards(run) for run in runs]
    seed = min(run.spec.seed for run in runs)  # one draw for all: splits of other seeds have as many examples
    return RowCost(
        row=row,
        group=runs[0].group,
        note=runs[0].note,
        method=runs[0].spec.method.name,
        runs=len(runs),
        budget=max(run.spec.budget.forwards for run in runs),
        steps=max(steps for steps, _ in spent),
        forwards=sum(forwards for _, forwards in spent),
        tuning_runs=len(trials),
        tuning_forwards=sum(steps_and_forwards(run)[1] for run in trials),
        test_rows=_sum(_test_rows(run, seed) for run in runs),
        attacked_rows=_sum(_attacked_rows(run, seed) for run in runs),
        state_bytes=max(_declared(run).state_bytes_per_parameter for run in runs),
    )


def _test_rows(run: PlannedRun, seed: int) -> int | None:
    items = _there(run, run.spec.evaluation.test_items, seed)
    states = {*run.spec.evaluation.at, run.spec.budget.forwards}
    return None if items is None else items * len(states)


def _there(run: PlannedRun, items: int | None, seed: int) -> int | None:
    """No more examples than the task's test split of that seed has, where it can be drawn here."""
    if items is None or run.spec.unlearning is not None:
        return items
    found = drawn(run.spec.task, seed)
    return items if found is None else min(items, len(found.test))


def _attacked_rows(run: PlannedRun, seed: int) -> int | None:
    if not run.spec.attacks:
        return 0
    spec, along = run.spec, run.spec.evaluation.attacks_along
    items = _there(run, spec.attack_items or spec.evaluation.test_items, seed)
    early = sum(point < spec.budget.forwards for point in spec.evaluation.attacks_at)
    often = sum(1 + (early if not along or a.label in along else 0) for a in spec.attacks)
    return None if items is None else 2 * items * often  # twice: the attack and its random baseline


def _sum(values: Iterable[int | None]) -> int | None:
    listed = list(values)
    return None if any(v is None for v in listed) else sum(v for v in listed if v is not None)
