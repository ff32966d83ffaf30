"""Expands a validated suite to its plan: literal specifications with all defaults filled in."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from zobench import plugins
from zobench.fields import shared
from zobench.metrics.measures import higher_is_better
from zobench.parameters import configure, literal
from zobench.spec import Budget, Component, Evaluation, ModelRef, PlannedRun, RowSettings, RunSpec, SpaceRef
from zobench.suite import spaces
from zobench.suite.components import resolved, task_of
from zobench.suite.plan import Plan, TuningStudy, UnloadableRun, with_seed
from zobench.suite.rows import SuiteRow, attacks_of, models_of, rows_of, tasks_of
from zobench.suite.schema import AttackEntry, EvaluationEntry, MethodEntry, Suite, Tune
from zobench.suite.unlearning_rows import (
    SELECTION,
    model_of,
    noise_followers,
    reference_runs,
    section_of,
)
from zobench.trained_on import BottleneckRef

EAGER = "model loaded with attention: eager, as fused attention has no forward derivative"
"""Note of rows whose model reference was changed by :func:`fit_for`."""


def expand(suite: Suite) -> Plan:
    """The plan with every run of the suite. Seeds vary slowest and methods fastest, so that all rows have a
    result on the first task early. Rows with ``tune:`` become tuning studies, one for each model and task."""
    cells = list(itertools.product(suite.models, suite.blocks))
    rows = [row for name, entry in suite.methods.items() for row in rows_of(name, entry)]
    studies = []
    first = list(_runs_of(suite, rows, cells, suite.seeds[0])) if suite.seeds else []
    runs = [run if run.spec.seed == seed else with_seed(run, seed) for seed in suite.seeds for run in first]
    for model, task in cells:
        for row in rows:
            entry = suite.methods[row.entry]
            if entry.tune is not None and _applies(suite, entry, model, task):
                studies.append(_study(suite, row, entry.tune, model, task))
    return Plan(
        suite=suite.suite,
        description=suite.description,
        path=suite.path,
        runs=tuple(runs),
        studies=tuple(studies),
        followers=noise_followers(suite, rows, cells),
        executor=suite.executor,
        checkpoint=suite.checkpoint,
        limits=suite.limits,
        unloadable=unloadable_runs(suite),
        trackers=suite.trackers,
        untracked=() if suite.unloadable is None else tuple(suite.unloadable.trackers.values()),
        output=suite.output,
    )


def _runs_of(
    suite: Suite, rows: Sequence[SuiteRow], cells: Sequence[tuple[str, str]], seed: int
) -> Iterator[PlannedRun]:
    """The runs of one seed, without those of tuned rows."""
    for model, task in cells:
        yield from reference_runs(suite, model, task, seed)
        for row in rows:
            entry = suite.methods[row.entry]
            if entry.tune is None and _applies(suite, entry, model, task):
                yield _planned(suite, row, model, task, seed, tuned=())


def unloadable_runs(suite: Suite) -> tuple[UnloadableRun, ...]:
    """The runs of :mod:`zobench.suite.unloadable`, one for each row, model, task and seed; of a tuned row
    those with the selected parameters, which stay unknown."""
    aside = suite.unloadable
    if aside is None:
        return ()
    found = []
    for seed, model in itertools.product(suite.seeds, suite.models):
        for name, errors in aside.errors.items():
            entry = aside.methods[name]
            if entry.models is not None and model not in entry.models:
                continue
            for row, (task, error) in itertools.product(rows_of(name, entry), errors.items()):
                found.append(
                    UnloadableRun(run=_as_written(suite, entry, row, model, task, seed), error=error)
                )
    return tuple(found)


def _as_written(
    suite: Suite, entry: MethodEntry, row: SuiteRow, model: str, task: str, seed: int
) -> PlannedRun:
    """A run with the parameters of the suite file, without the defaults of its method."""
    aside = suite.unloadable
    assert aside is not None, "called for runs that cannot be loaded"
    budget = Budget(**{**suite.budget.model_dump(), **entry.budget.model_dump(exclude_none=True)})
    attacks = {**suite.attacks, **aside.attacks}
    applied = attacks_of(suite.model_copy(update={"attacks": attacks}), entry, task)
    spec = RunSpec(
        model=model_of(suite, suite.models[model]),
        task=aside.blocks[task] if task in aside.blocks else task_of(suite, task),
        method=Component(name=row.method, params=row.params(entry, task)),
        space=SpaceRef(kind=entry.space.kind, params=entry.space.params),
        seed=seed,
        budget=budget,
        evaluation=_evaluation(suite.evaluation, budget, tuning=False),
        attacks=tuple(_attack_as_written(name, attacks[name]) for name in applied),
        unlearning=None if suite.unlearning is None else section_of(suite, "unlearn"),
        **shared(RowSettings, entry),
    )
    shown = {"task_name": task, "model_name": model}
    return PlannedRun(row=row.name, group=entry.group, note=entry.note, spec=spec, **shown)


def _attack_as_written(name: str, entry: AttackEntry) -> Component:
    return Component(name=entry.attack or name, params=entry.params, alias=name if entry.attack else "")


def _applies(suite: Suite, entry: MethodEntry, model: str, task: str) -> bool:
    return model in models_of(suite, entry) and task in tasks_of(suite, entry)


def _planned(
    suite: Suite,
    row: SuiteRow,
    model: str,
    task: str,
    seed: int,
    *,
    tuned: tuple[str, ...],
    tuning: bool = False,
) -> PlannedRun:
    """One run. If ``tuned`` names parameters that are still open, the method's component contains only the
    parameters written in the file."""
    entry = suite.methods[row.entry]
    params = row.params(entry, task)
    method = Component(name=row.method, params=params) if tuned else resolved("methods", row.method, params)
    budget = _budget(suite, entry, row.method)
    attacks = () if tuning else tuple(_attack(suite, name) for name in attacks_of(suite, entry, task))
    wanted = model_of(suite, suite.models[model])
    chosen = fit_for(row.method, wanted)
    spec = RunSpec(
        model=chosen,
        task=task_of(suite, task),
        method=method,
        space=_space(entry),
        seed=seed,
        budget=budget,
        evaluation=_evaluation(suite.evaluation, budget, tuning=tuning),
        attacks=attacks,
        attack_items=suite.evaluation.attack_items if attacks else None,
        purpose="tuning" if tuning else "result",
        unlearning=None if suite.unlearning is None else section_of(suite, "unlearn"),
        diagnostics=None if tuning or not budget.forwards else suite.diagnostics,
        **shared(RowSettings, entry),
    )
    tuning_of = row.name if tuning else None
    told = (entry.note, "" if chosen == wanted else EAGER, _trained_on(entry), _federated(entry))
    note = "; ".join(filter(None, told))
    return PlannedRun(
        row=row.name,
        group=entry.group,
        note=note,
        spec=spec,
        tuning_of=tuning_of,
        task_name=task,
        model_name=model,
    )


def _trained_on(entry: MethodEntry) -> str:
    """Note of a row with a training objective other than the loss."""
    ref = entry.train_on
    if isinstance(ref, str):
        return "" if ref == "loss" else f"trained on {ref}, without a gradient"
    if isinstance(ref, BottleneckRef):
        return f"trained on the loss and {ref.weight:g} times the {ref.bottleneck} bottleneck penalty"
    how = f"sampled at temperature {ref.temperature:g}" if ref.temperature else "greedy"
    if entry.best_of is not None:
        return f"answers: best of {entry.best_of} by reward {ref.reward}, {how}"
    return f"trained on reward {ref.reward} of {how} answers"


def _federated(entry: MethodEntry) -> str:
    """Note of a row with clients."""
    if (c := entry.clients) is None:
        return ""
    data = "equal shares of the data" if c.skew is None else f"skew {c.skew:g}"
    limit = "" if c.limit is None else ", limited by GradIP"
    missing = f", drop-out {c.drop_out:g}" if c.drop_out else ""
    return f"{c.number} clients, {c.local_steps} local steps per round, {data}{missing}{limit}"


def fit_for(method: str, model: ModelRef) -> ModelRef:
    """The model reference for this method. Fused attention has no forward derivative, so a method that needs
    one gets ``attention: eager`` in its specification."""
    needs = plugins.lookup("methods", method).card.needs
    if "forward-derivatives" not in needs or model.attention == "eager":
        return model
    return model.model_copy(update={"attention": "eager"})


def _budget(suite: Suite, entry: MethodEntry, method: str) -> Budget:
    """The suite's budget with the entry's changes; 0 for a method that takes no steps."""
    if plugins.lookup("methods", method).card.order == "none":
        return Budget(forwards=0, batch_size=suite.budget.batch_size)
    given = entry.budget.model_dump(exclude_none=True)
    return Budget(**{**suite.budget.model_dump(), **given})


def _evaluation(entry: EvaluationEntry, budget: Budget, *, tuning: bool) -> Evaluation:
    """Evaluation of a run. Tuning trials are evaluated at their end, on validation examples only."""
    if tuning:
        return Evaluation(validation_items=entry.validation_items)
    points = {name: _within(getattr(entry, name), budget) for name in ("at", "attacks_at")}
    return Evaluation(**{**shared(Evaluation, entry), **points})


def _within(points: tuple[int, ...], budget: Budget) -> tuple[int, ...]:
    return tuple(sorted(point for point in points if point <= budget.forwards)) if budget.forwards else ()


def _space(entry: MethodEntry) -> SpaceRef:
    config = configure(spaces.space_config(entry.space.kind), entry.space.params)
    return SpaceRef(kind=entry.space.kind, params=literal(config))


def _attack(suite: Suite, name: str) -> Component:
    entry = suite.attacks[name]
    found = resolved("attacks", entry.attack or name, entry.params)
    return found if found.name == name else found.model_copy(update={"alias": name})


def _study(suite: Suite, row: SuiteRow, tune: Tune, model: str, task: str) -> TuningStudy:
    from zobench.suite.tuning import candidates, rungs

    tuned = tuple(tune.space)
    trials = tuple(_planned(suite, row, model, task, s, tuned=tuned, tuning=True) for s in tune.seeds)
    finals = (_planned(suite, row, model, task, s, tuned=tuned) for s in suite.seeds)
    listed = candidates(tune)
    metric = tune.metric or (None if suite.unlearning is None else SELECTION)
    return TuningStudy(
        row=row.name,
        model=model,
        task=task,
        space=tune.space,
        sampler=tune.sampler,
        sampler_seed=tune.sampler_seed,
        size=len(listed) if tune.sampler != "tpe" else tune.trials or _points(tune),
        rungs=rungs(len(listed), trials[0].spec.budget.forwards, tune.halving),
        seeds=tune.seeds,
        metric=metric,
        goal=tune.goal or ("max" if _more_is_better(suite, task, metric) else "min"),
        candidates=listed,
        trial_templates=trials,
        final_templates=tuple(finals),
    )


def _more_is_better(suite: Suite, task: str, metric: str | None) -> bool:
    """Whether the search looks for more of its metric, the task's primary one where it names none."""
    if metric is None:
        metric = plugins.lookup("tasks", suite.tasks[task].task or task).primary_metric
    return higher_is_better(metric)


def _points(tune: Tune) -> int:
    """Number of different settings of a space that consists of lists."""
    points = 1
    for domain in tune.space.values():
        assert isinstance(domain, list), "a range needs trials; the checks ensure it"
        points *= len(domain)
    return points
