"""Checks one method entry: names, parameters, sweep, tuning, parameter space and budget."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from zobench.names import suggestion
from zobench.parameters import ParameterProblem, check, check_one, configure
from zobench.plugins import missing_package
from zobench.suite import spaces
from zobench.suite.classes import Classes
from zobench.suite.problems import KeyPath
from zobench.suite.rows import SuiteRow, rows_of
from zobench.suite.schema import MethodEntry, Range
from zobench.suite.source import Document
from zobench.suite.structure import Draft

BUILT_AS = {"pruned": "masked"}
"""Spaces that methods see as another kind."""


@dataclass(slots=True)
class _Context:
    document: Document
    draft: Draft
    path: KeyPath
    entry: MethodEntry
    name: str

    def report(self, *key: str | int, message: str, hint: str = "") -> None:
        self.document.report((*self.path, *key), message, hint)

    def report_parameter(self, problem: ParameterProblem, *key: str) -> None:
        at = (*key, problem.parameter) if problem.parameter else key
        self.report(*at, message=problem.message, hint=problem.hint)


def check_method(document: Document, draft: Draft, classes: Classes, name: str, entry: MethodEntry) -> None:
    """Report every problem of ``methods.<name>``."""
    context = _Context(document, draft, ("methods", name), entry, name)
    _check_names(context)
    _check_grids(context)
    _check_space_kind(context)
    at = ("methods", name, "method") if entry.method else ("methods", name)
    method = classes.get("methods", entry.method or name, at)
    if method is None:
        return
    if missing := missing_package(entry.method or name):
        document.report(at, missing)
    _check_pair(context, method.card)
    if _check_parameters(context, method.Config):
        _check_budget(context, method)


def _check_names(c: _Context) -> None:
    for key, section in (("tasks", "tasks"), ("models", "models"), ("attacks", "attacks")):
        chosen = getattr(c.entry, key)
        if isinstance(chosen, bool) or chosen is None:
            continue
        known = _known(c.document, section)
        if not chosen and key != "attacks":
            c.report(key, message="is empty: omit it for all")
        for index, one in enumerate(chosen):
            if one not in known:
                message = f"no {section[:-1]} {one!r} in this suite"
                c.report(key, index, message=message, hint=suggestion(one, known))
            if one in chosen[:index]:
                c.report(key, index, message=f"{one!r} is listed twice")
    tasks = _known(c.document, "tasks")
    for task in c.entry.task_params:
        if tasks and task not in tasks:
            c.report(
                "task_params", task, message=f"no task {task!r} in this suite", hint=suggestion(task, tasks)
            )


def _known(document: Document, section: str) -> dict[str, Any]:
    """Entries of a section as written; for ``tasks`` of an unlearning suite, its objectives."""
    known = document.value.get(section)
    if section == "tasks" and isinstance(document.value.get("unlearning"), dict):
        known = document.value["unlearning"].get("objectives")
    return known if isinstance(known, dict) else {}


def _check_grids(c: _Context) -> None:
    for parameter, values in c.entry.sweep.items():
        _check_values(c, ("sweep", parameter), values)
    literal = {*c.entry.params, *(p for params in c.entry.task_params.values() for p in params)}
    for parameter in c.entry.sweep:
        if parameter in literal:
            c.report("sweep", parameter, message="is also given in params: write it in one place")
    if c.entry.tune is None:
        return
    tune = c.entry.tune
    if not tune.space:
        c.report("tune", "space", message="is empty: there is nothing to tune")
    for parameter, domain in tune.space.items():
        if isinstance(domain, list):
            _check_values(c, ("tune", "space", parameter), domain)
        elif tune.sampler == "grid":
            hint = "list the values, or use sampler: random or tpe"
            c.report("tune", "space", parameter, message="a range cannot be searched as a grid", hint=hint)
        if parameter in literal or parameter in c.entry.sweep:
            message = "is also given in params or sweep: write it in one place"
            c.report("tune", "space", parameter, message=message)
    _check_trials(c)


def _check_values(c: _Context, key: tuple[str, ...], values: list[Any]) -> None:
    if not values:
        c.report(*key, message="is an empty grid")
    for index, value in enumerate(values):
        if any(value == v and type(value) is type(v) for v in values[:index]):
            c.report(*key, index, message=f"{value!r} is listed twice")


def _check_trials(c: _Context) -> None:
    tune = c.entry.tune
    assert tune is not None
    if not tune.seeds:
        c.report("tune", "seeds", message="is empty: tuning needs at least one seed")
    for index, seed in enumerate(tune.seeds):
        if seed in tune.seeds[:index]:
            c.report("tune", "seeds", index, message=f"seed {seed} is listed twice")
    points = 1
    for domain in tune.space.values():
        if isinstance(domain, Range):
            if tune.trials is None and tune.sampler != "grid":
                c.report("tune", message="a range needs 'trials': how many settings to try")
            return
        points *= len(domain)
    if tune.trials is not None and tune.trials != points and tune.sampler == "grid":
        hint = "omit trials, or use sampler: random"
        c.report("tune", "trials", message=f"the grid has {points} settings, not {tune.trials}", hint=hint)
    elif tune.trials is not None and tune.trials > points:
        message = f"{tune.trials} trials requested, but the space has only {points} different settings"
        c.report("tune", "trials", message=message)


def _check_space_kind(c: _Context) -> None:
    kinds = spaces.space_kinds()
    space = c.entry.space
    if space.kind not in kinds:
        message = f"unknown parameter space {space.kind!r}"
        c.report("space", "kind", message=message, hint=suggestion(space.kind, kinds))
        return
    for problem in check(spaces.space_config(space.kind), space.params):
        c.report_parameter(problem, "space", "params")


def _check_pair(c: _Context, card: Any) -> None:
    kind = c.entry.space.kind
    if kind == "pruned" and c.entry.perturbation == "offload":
        c.report("perturbation", message="offload cannot be combined with space 'pruned'", hint="use auto")
    built = BUILT_AS.get(kind, kind)
    if "*" not in card.spaces and built not in card.spaces and kind in spaces.space_kinds():
        message = f"method {card.name!r} does not support the parameter space {kind!r}"
        c.report("space", "kind", message=message, hint="it supports " + ", ".join(card.spaces))


def _given(c: _Context) -> Iterator[tuple[tuple[str, ...], str, Any]]:
    """Every parameter value in the entry: key path, name, value."""
    for name, value in c.entry.params.items():
        yield ("params",), name, value
    for task, params in c.entry.task_params.items():
        for name, value in params.items():
            yield ("task_params", task), name, value
    for name, values in c.entry.sweep.items():
        for value in values:
            yield ("sweep",), name, value
    if c.entry.tune is not None:
        for name, domain in c.entry.tune.space.items():
            for value in corners(domain):
                yield ("tune", "space"), name, value


def corners(domain: list[Any] | Range) -> list[Any]:
    """The values of a list, or both ends of a range."""
    return domain if isinstance(domain, list) else [domain.low, domain.high]


def _check_parameters(c: _Context, config: type) -> bool:
    """Check each value by itself. If all are valid, check each row's values together, including the class's
    own check."""
    alone = [(key, p) for key, name, value in _given(c) if (p := check_one(config, name, value))]
    for key, problem in alone:
        c.report_parameter(problem, *key)
    if alone:
        return False
    clean = True
    for row, task, params in _settings(c):
        for problem in check(config, params):
            clean = False
            c.report(*_blame(c, row, task, problem), message=problem.message, hint=problem.hint)
    return clean


def _settings(c: _Context) -> Iterator[tuple[SuiteRow, str, dict[str, Any]]]:
    """Parameters that runs can have: every row on every task. Tuned parameters are varied one at a time: each
    value of a list, both ends of a range."""
    tasks = [*c.entry.task_params, ""] if c.entry.tasks is None else list(c.entry.tasks)
    for row in rows_of(c.name, c.entry):
        for task in tasks:
            params = row.params(c.entry, task)
            space = c.entry.tune.space if c.entry.tune is not None else {}
            if not all(corners(d) for d in space.values()):
                continue
            first = {name: corners(domain)[0] for name, domain in space.items()}
            yield row, task, {**params, **first}
            for name, domain in space.items():
                for value in corners(domain)[1:]:
                    yield row, task, {**params, **first, name: value}


def _blame(c: _Context, row: SuiteRow, task: str, problem: ParameterProblem) -> Iterable[str]:
    name = problem.parameter
    if name is None:
        return ("params",)
    if name in row.point:
        return ("sweep", name)
    if name in c.entry.task_params.get(task, {}):
        return ("task_params", task, name)
    return ("params", name) if name in c.entry.params else ("tune", "space", name)


def _check_budget(c: _Context, method: Any) -> None:
    suite_budget = c.draft.parts.get("budget")
    override = c.entry.budget.forwards
    if override is not None:
        forwards = override
    elif suite_budget is not None:
        forwards = suite_budget.forwards
    else:
        return
    at = ("budget", "forwards") if override is not None else ()
    for row, _, params in _settings(c):
        cost = method.cost(configure(method.Config, params))
        dearest = cost.max_forwards_in_step + cost.preparation_forwards
        if 0 < forwards < dearest or (forwards == 0 and dearest > 0):
            message = (
                f"a budget of {forwards} forward passes is too small for one step of {row.name!r}, "
                f"which costs {dearest}"
            )
            c.report(*at, message=message)
            return
