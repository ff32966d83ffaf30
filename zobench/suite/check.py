"""Second pass of validation of a suite file: names, parameters, grids, budgets, parameter spaces.

This pass loads method, task and attack classes, so it needs torch. It sees only entries that passed the first
pass (:mod:`zobench.suite.structure`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from zobench import plugins
from zobench.models.resolve import lies_here
from zobench.names import suggestion
from zobench.parameters import check
from zobench.spec import ModelRef
from zobench.store.paths import is_plain
from zobench.suite.check_bottleneck import check_bottlenecks
from zobench.suite.check_clients import check_clients
from zobench.suite.check_diagnostics import check_diagnostics
from zobench.suite.check_images import check_images
from zobench.suite.check_methods import check_method
from zobench.suite.check_models import check_models
from zobench.suite.check_offload import check_offload
from zobench.suite.check_split import check_split
from zobench.suite.check_training import check_training
from zobench.suite.check_unlearning import check_unlearning
from zobench.suite.classes import Classes
from zobench.suite.problems import KeyPath
from zobench.suite.rows import rows_of
from zobench.suite.source import MOST_WHOLE, Document
from zobench.suite.structure import Draft

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")


def run(document: Document, draft: Draft) -> None:
    """Report all problems of the entries of ``draft``."""
    classes = Classes(document)
    _check_name(document, draft)
    _check_seeds(document, draft)
    _check_evaluation(document, draft)
    _check_trackers(document, draft, classes)
    for name, ref in draft.entries("models").items():
        _check_model(document, ("models", name, "name"), ref)
    unlearning = draft.parts.get("unlearning")
    if unlearning is not None:
        _check_model(document, ("unlearning", "oracle", "name"), unlearning.oracle)
    for section in ("tasks", "attacks"):
        for name, entry in draft.entries(section).items():
            _check_component(document, classes, section, name, entry)
    for name, entry in draft.entries("attacks").items():
        _check_attacked_tasks(document, name, entry.tasks)
    for name, entry in draft.entries("methods").items():
        check_method(document, draft, classes, name, entry)
    check_unlearning(document, draft, classes)
    check_models(document, draft, classes)
    check_diagnostics(document, draft)
    check_offload(document, draft, classes)
    check_training(document, draft, classes)
    check_bottlenecks(document, draft, classes)
    check_split(document, draft, classes)
    check_clients(document, draft, classes)
    check_images(document, draft, classes)
    _check_row_names(document, draft)
    _check_lm_eval(document, draft)


def _check_name(document: Document, draft: Draft) -> None:
    """The suite's name is used as the name of its results folder, so it must be a valid folder name."""
    name = draft.parts.get("suite")
    if isinstance(name, str) and not is_plain(name):
        message = f"must be a plain name (letters, digits, space, . _ - + ( ) = , @), not {name!r}"
        document.report(("suite",), message, "to choose another results folder, set 'output:'")


def _check_seeds(document: Document, draft: Draft) -> None:
    seeds = draft.parts.get("seeds")
    if seeds is None:
        return
    if not seeds:
        document.report(("seeds",), "is empty: a suite needs at least one seed")
    for index, seed in enumerate(seeds):
        if seed < 0:
            document.report(
                ("seeds", index), f"seed {seed} is negative", f"seeds lie between 0 and {MOST_WHOLE}"
            )
    report_duplicates(document, ("seeds",), "seed", seeds)


def _check_evaluation(document: Document, draft: Draft) -> None:
    evaluation, budget = draft.parts.get("evaluation"), draft.parts.get("budget")
    if evaluation is None:
        return
    for key in ("at", "attacks_at"):
        points = getattr(evaluation, key)
        report_duplicates(document, ("evaluation", key), "evaluation point", points)
        for index, point in enumerate(points):
            if budget is not None and point > budget.forwards:
                message = f"evaluation point {point} exceeds the budget of {budget.forwards} forward passes"
                document.report(("evaluation", key, index), message)
    _check_named(document, "attacks_along", evaluation.attacks_along, "attack", _written(document, "attacks"))
    _check_named(document, "lm_eval_attack", evaluation.lm_eval_attack, "lm-eval task", evaluation.lm_eval)
    include = evaluation.lm_eval_include
    if include is not None and not Path(include).is_dir():
        document.report(
            ("evaluation", "lm_eval_include"), f"no folder {include!r} (from the working directory)"
        )


def _check_lm_eval(document: Document, draft: Draft) -> None:
    """Check the names of lm-eval tasks now: otherwise a typo would be reported only after training."""
    evaluation = draft.parts.get("evaluation")
    # Building the harness's task index takes many seconds, so this runs only if there are no other problems.
    if evaluation is None or not evaluation.lm_eval or document.problems:
        return
    from zobench.tasks.lm_eval_adapter import check_name

    for index, name in enumerate(evaluation.lm_eval):
        try:
            check_name(name, evaluation.lm_eval_include)
        except ValueError as error:
            document.report(("evaluation", "lm_eval", index), str(error))


def _written(document: Document, section: str) -> Iterable[str]:
    """Names of a section's entries, valid or not: an invalid entry is reported where it is written."""
    known = document.value.get(section)
    return known if isinstance(known, dict) else ()


def _check_attacked_tasks(document: Document, attack: str, tasks: tuple[str, ...] | None) -> None:
    known = _written(document, "tasks")
    for index, task in enumerate(tasks or ()):
        if task not in known:
            at = ("attacks", attack, "tasks", index)
            document.report(at, f"no task {task!r} in this suite", suggestion(task, known))
    if tasks == ():
        document.report(("attacks", attack, "tasks"), "is empty: omit it to attack all tasks")


def _check_named(document: Document, key: str, names: Iterable[str], what: str, known: Iterable[str]) -> None:
    """Check names under ``evaluation`` that must be defined elsewhere in the suite."""
    known = list(known)
    for index, name in enumerate(names):
        if name not in known:
            at = ("evaluation", key, name if key == "lm_eval_attack" else index)
            document.report(at, f"no {what} {name!r} in this suite", suggestion(name, known))


def _check_trackers(document: Document, draft: Draft, classes: Classes) -> None:
    from zobench.trackers.base import missing_package

    names = draft.parts.get("trackers", ())
    report_duplicates(document, ("trackers",), "tracker", names)
    for index, name in enumerate(names):
        found = classes.get("trackers", name, ("trackers", index))
        if found is not None and (problem := missing_package(found)):
            document.report(("trackers", index), f"tracker {name!r} {problem}")


def _check_model(document: Document, path: KeyPath, ref: ModelRef) -> None:
    name = ref.name
    if name.startswith("builtin:"):
        valid = [f"builtin:{n}" for n in plugins.builtin_models()]
        if name not in valid:
            document.report(path, f"unknown built-in model {name!r}", suggestion(name, valid))
    elif name.startswith((".", "/", "~")):
        if not lies_here(name):
            document.report(path, f"no folder and no GGUF file {name!r}")
    elif not (name.startswith("pair:") or lies_here(name) or _HUB_ID.fullmatch(name)):
        hint = "write 'builtin:NAME', 'package:NAME', a folder, a GGUF file, or a hub id like 'owner/name'"
        document.report(path, f"{name!r} is not a valid model name", hint)
    _check_device(document, (*path[:-1], "device"), ref.device)
    if lies_here(name):
        from zobench.models.inspection import problems

        for problem in problems(ref):
            document.report(path, problem)


def _check_device(document: Document, path: KeyPath, device: str) -> None:
    """Only the name: a plan may be made for another machine (:mod:`zobench.suite.notes`)."""
    from zobench.models.devices import named

    try:
        named(device)
    except ValueError as error:
        document.report(path, str(error))


def _check_component(document: Document, classes: Classes, section: str, name: str, entry: Any) -> None:
    key = section.removesuffix("s")
    target = getattr(entry, key) or name
    path: KeyPath = (section, name)
    found = classes.get(section, target, (*path, key) if getattr(entry, key) else path)  # type: ignore[arg-type]
    if found is not None:
        for problem in check(found.Config, entry.params):
            at = (*path, "params", problem.parameter) if problem.parameter else (*path, "params")
            document.report(at, problem.message, problem.hint)


def _check_row_names(document: Document, draft: Draft) -> None:
    owner: dict[str, str] = {}
    for name, entry in draft.entries("methods").items():
        for row in rows_of(name, entry):
            if owner.setdefault(row.name, name) != name:
                message = f"row {row.name!r} exists twice: methods {owner[row.name]!r} and {name!r}"
                document.report(("methods", name), message)


def report_duplicates(document: Document, path: KeyPath, what: str, values: Iterable[Any]) -> None:
    """One problem for each value that appears more than once, at its second appearance."""
    items = list(values)
    for value, count in Counter(map(repr, items)).items():
        if count > 1:
            second = [i for i, v in enumerate(items) if repr(v) == value][1]
            document.report((*path, second), f"{what} {value} is listed {count} times")
