"""The suite of recorded results, for ``zobench export-suite``: values of a suite file whose plan has the same
runs, by the specifications that the runs table holds.

Every leaderboard row becomes an entry with literal parameters, without ``sweep`` or ``tune``: a tuned row
has the parameters that were selected, and tuning trials are left out. Rows, models and tasks keep the names
of the folder's plan.
"""

from __future__ import annotations

import itertools
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from zobench import plugins
from zobench.fields import shared
from zobench.spec import Component, Evaluation, ModelRef, RowSettings, RunSpec
from zobench.store.plan_file import read_plan
from zobench.store.reader import read, results_paths
from zobench.suite.expansion import expand, fit_for
from zobench.suite.loading import load_values
from zobench.trained_on import RewardRef

Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """A run with the names under which it is shown."""

    run_id: str
    row: str
    group: str
    note: str
    model: str
    task: str
    spec: RunSpec


@dataclass(frozen=True, slots=True)
class PlannedAgain:
    """Runs of an exported suite against the results: ``same`` are in both, ``missing`` are runs of the
    results that the suite does not plan (one line each), ``more`` counts planned runs that the results
    lack."""

    same: int
    missing: tuple[str, ...]
    more: int


def recorded(folder: str | Path) -> tuple[str, list[RecordedRun]]:
    """Name of the suite and its runs in a results folder, tuning trials left out.

    Raises:
        ValueError: there is no run, several suites, an unlearning suite, or a specification that this version
            of zobench cannot read.
    """
    table = read(folder, ["runs"]).runs
    table = table[table["purpose"] != "tuning"].sort_values(["seed", "row", "run_id"], kind="stable")
    if table.empty:
        raise ValueError(f"{folder}: no finished run")
    suites = sorted(set(table["suite"].dropna()))
    if len(suites) != 1:
        raise ValueError(f"{folder}: runs of {len(suites)} suites ({', '.join(suites)}); one is needed")
    plan = read_plan(results_paths(folder)[0])
    names = {i: e for e in (plan.entries if plan else ()) for i in e.run_ids}
    tasks: dict[str, Component] = {}
    columns = table[["run_id", "row", "group", "note", "task", "spec"]].itertuples(index=False, name=None)
    found = []
    for run_id, row, group, note, task, text in columns:
        spec, entry = _spec(folder, run_id, text), names.get(run_id)
        model = entry.model if entry else Path(spec.model.name.removeprefix("builtin:")).name
        shown = entry.task if entry else _own_name(task, spec.task, tasks)
        found.append(RecordedRun(run_id, entry.row if entry else row, group, note or "", model, shown, spec))
    return suites[0], found


def refuse_code(folder: str | Path, runs: Sequence[RecordedRun]) -> None:
    """Refuse runs whose suite would run code that these results name: trust is not read from data.

    Raises:
        ValueError: code of a model's repository, or the file of a reward.
    """
    for run in runs:
        ref = run.spec.train_on
        if run.spec.model.trust_remote_code:
            what = f"code of the repository of model {run.spec.model.name!r}"
        elif isinstance(ref, RewardRef) and ref.file:
            what = f"the reward file {ref.file!r}"
        else:
            continue
        raise ValueError(
            f"{folder}: the suite of run {run.run_id} would execute {what}; inspect it, then export with "
            "--trust-code"
        )


def _own_name(name: str, task: Component, known: dict[str, Component]) -> str:
    """A name for a task that no other task of ``known`` has, for folders without a plan."""
    numbered = itertools.chain([name], (f"{name}-{i}" for i in itertools.count(2)))
    return next(n for n in numbered if known.setdefault(n, task) == task)


def _spec(folder: str | Path, run_id: str, text: object) -> RunSpec:
    try:
        spec = RunSpec.model_validate_json(str(text))
    except ValidationError as error:
        raise ValueError(
            f"{folder}: the specification of run {run_id!r} cannot be read by this version of zobench"
        ) from error
    if spec.unlearning is not None:
        raise ValueError(f"{folder}: run {run_id!r} is of an unlearning suite, which cannot be exported")
    return spec


def values(suite: str, runs: Sequence[RecordedRun], beside: Path) -> Values:
    """Values of the suite file. Paths of data files and rewards are written as seen from the folder
    ``beside``."""
    budgets = Counter(r.spec.budget for r in runs if r.spec.budget.forwards) or Counter(
        r.spec.budget for r in runs
    )
    usual = budgets.most_common(1)[0][0]
    models = {r.model: _model(r, runs) for r in runs}
    tasks = {r.task: _task(r, beside) for r in runs}
    rows: dict[str, list[RecordedRun]] = {}
    for run in runs:
        rows.setdefault(run.row, []).append(run)
    body: Values = {
        "suite": suite,
        "models": models,
        "tasks": tasks,
        "methods": {row: _entry(found, models, tasks, usual, beside) for row, found in rows.items()},
        "attacks": _attacks(runs, tasks),
        "seeds": list(dict.fromkeys(r.spec.seed for r in runs)),
        "budget": usual.model_dump(mode="json", exclude_none=True),
        "evaluation": _evaluation(runs),
    }
    diagnosed = next((r.spec.diagnostics for r in runs if r.spec.diagnostics is not None), None)
    if diagnosed is not None:
        body["diagnostics"] = diagnosed.model_dump(mode="json", exclude_defaults=True)
    return {key: value for key, value in body.items() if value != {}}


def compare(body: Values, runs: Sequence[RecordedRun]) -> PlannedAgain:
    """Plan the values and compare every specification with the recorded ones; ``ValueError`` if they cannot
    be planned on this machine (missing data, models or plugins)."""
    planned = Counter((run.row, run.spec.canonical()) for run in expand(load_values(body)).runs)
    wanted = Counter((run.row, run.spec.canonical()) for run in runs)
    lost = wanted - planned
    missing = [f"{r.row} on {r.task}, {r.model}, seed {r.spec.seed}" for r in runs if _key(r) in lost]
    return PlannedAgain(sum((wanted & planned).values()), tuple(missing), sum((planned - wanted).values()))


def _key(run: RecordedRun) -> tuple[str, str]:
    return run.row, run.spec.canonical()


def text(body: Values) -> str:
    """The values as YAML: a line per entry, JSON within it, so that no name from data can be anything but a
    name."""
    lines = ["# Written by 'zobench export-suite' from results."]
    for key, value in body.items():
        if key in ("models", "tasks", "methods", "attacks"):
            lines += ["", f"{key}:", *(f"  {_json(name)}: {_json(entry)}" for name, entry in value.items())]
        else:
            lines.append(f"{key}: {_json(value)}")
    return "\n".join(lines) + "\n"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True)


def _model(run: RecordedRun, runs: Sequence[RecordedRun]) -> Values:
    """The reference of a model: of the runs whose method did not change it, if there are any."""
    refs = [r.spec.model for r in runs if r.model == run.model]
    plain = [ref for ref in refs if ref.attention != "eager"] or refs
    return plain[0].model_dump(mode="json", exclude_defaults=True)


def _task(run: RecordedRun, beside: Path) -> Values:
    task = run.spec.task
    moved = {name: _seen_from(beside, task.params[name]) for name in task.files}
    return {"task": task.name, "params": {**task.params, **moved}}


def _seen_from(beside: Path, path: Any) -> Any:
    if not isinstance(path, str) or os.path.isabs(path) or path.startswith(("~", "hub:")):
        return path
    return Path(os.path.relpath(path, beside)).as_posix()


def _entry(
    runs: Sequence[RecordedRun], models: Mapping[str, Any], tasks: Mapping[str, Any], usual: Any, beside: Path
) -> Values:
    """A method entry: what all runs of a row share, and the parameters of each task."""
    first = runs[0].spec
    params = {r.task: r.spec.method.params for r in runs}
    alike = all(p == first.method.params for p in params.values())
    entry: Values = {"method": first.method.name}
    entry |= {"params": first.method.params} if alike else {"task_params": params}
    if first.space.kind != "full" or first.space.params:
        entry["space"] = first.space.model_dump(mode="json")
    if runs[0].group != "method":
        entry["group"] = runs[0].group
    for key, all_names, own in (
        ("tasks", tasks, {r.task for r in runs}),
        ("models", models, {r.model for r in runs}),
    ):
        if own != set(all_names):
            entry[key] = [name for name in all_names if name in own]
    if first.budget != usual and plugins.lookup("methods", first.method.name).card.order != "none":
        entry["budget"] = first.budget.model_dump(mode="json", exclude_none=True)
    attacked = list(dict.fromkeys(a.label for r in runs for a in r.spec.attacks))
    entry["attacks"] = attacked or False
    return entry | _row_settings(first, runs[0], beside)


def _row_settings(spec: RunSpec, run: RecordedRun, beside: Path) -> Values:
    """Settings of the row that differ from their defaults, and its own note."""
    own = RowSettings(**shared(RowSettings, spec))
    found = own.model_dump(mode="json", exclude_defaults=True)
    ref = spec.train_on
    if isinstance(ref, RewardRef):
        told = ref.model_dump(mode="json", exclude_defaults=True)
        if ref.file:
            told["reward"] = f"{_seen_from(beside, ref.file)}:{ref.reward.rpartition(':')[2]}"
            del told["file"]
        found["train_on"] = told
    generated = (
        ref != "loss" or spec.clients is not None or fit_for(spec.method.name, _other(spec)) != _other(spec)
    )
    return found | ({"note": run.note} if run.note and not generated else {})


def _other(spec: RunSpec) -> ModelRef:
    return spec.model.model_copy(update={"attention": "sdpa"})


def _attacks(runs: Sequence[RecordedRun], tasks: Mapping[str, Any]) -> Values:
    known: dict[str, Component] = {a.label: a for r in runs for a in r.spec.attacks}
    found = {name: known[name] for name in _in_order([[a.label for a in r.spec.attacks] for r in runs])}
    where = {name: {r.task for r in runs for a in r.spec.attacks if a.label == name} for name in found}
    return {
        name: {"attack": a.name, "params": a.params}
        | ({} if where[name] == set(tasks) else {"tasks": [t for t in tasks if t in where[name]]})
        for name, a in found.items()
    }


def _in_order(lists: Sequence[Sequence[str]]) -> list[str]:
    """All names in an order that each of the lists follows, as the order of attacks is part of identity; of
    their first appearance if there is no such order."""
    before: dict[str, set[str]] = {name: set() for names in lists for name in names}
    for names in lists:
        for earlier, later in itertools.pairwise(names):
            before[later].add(earlier)
    try:
        return list(TopologicalSorter(before).static_order())
    except CycleError:
        return list(before)


def _evaluation(runs: Sequence[RecordedRun]) -> Values:
    """Settings of evaluation, with the points of all runs: a run uses those within its budget."""
    first = next((r.spec for r in runs if r.spec.budget.forwards), runs[0].spec)
    body = first.evaluation.model_dump(mode="json", exclude_defaults=True)
    for name in ("at", "attacks_at"):
        points = sorted({p for r in runs for p in getattr(r.spec.evaluation, name)})
        body.pop(name, None)
        body |= {name: points} if points else {}
    items = next((r.spec.attack_items for r in runs if r.spec.attacks), None)
    assert set(body) <= set(Evaluation.model_fields), "keys of the suite file are those of the specification"
    return body | ({} if items is None else {"attack_items": items})
