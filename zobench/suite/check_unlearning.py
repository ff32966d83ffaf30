"""Second pass of validation of the ``unlearning`` section: data, oracle, objectives, probes, and which
optimizer can minimize which objective."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from zobench.fields import without_meaning_in_unlearning
from zobench.names import suggestion
from zobench.parameters import check, configure
from zobench.spec import Budget
from zobench.suite.classes import Classes
from zobench.suite.problems import KeyPath
from zobench.suite.schema import BudgetOverride, EvaluationEntry, MethodEntry, UnlearningEntry
from zobench.suite.source import Document
from zobench.suite.structure import Draft
from zobench.suite.unlearning_rows import FULL, ORACLE, noise_row

UNSUPPLIED = {
    "anchor-batches": ("anchor_batches", 1, "an anchor uses the minibatch of its step"),
    "length-split": ("length_threshold", 0, "minibatches are not split by the lengths of their examples"),
}
"""Needs of methods that an unlearning run does not supply: parameter, largest valid value, reason."""


SPACES = ("full", "names", "bias", "last-layer", "masked", "lora")
"""Spaces whose result is a plain model, which probes can copy; adapters are merged."""


def check_unlearning(document: Document, draft: Draft, classes: Classes) -> None:
    """Report every problem of the section and of its combination with the methods."""
    section = draft.parts.get("unlearning")
    if section is None:
        return
    _check_other_keys(document)
    _check_data(document, section)
    _check_pair(document, draft, section)
    objectives = _check_components(document, classes, "objectives", section)
    _check_components(document, classes, "probes", section)
    _check_parts(document, section, objectives)
    for name, entry in draft.entries("methods").items():
        _check_method(document, classes, section, objectives, name, entry)
    _check_trials(document, draft)


def _check_other_keys(document: Document) -> None:
    for key in ("tasks", "attacks"):
        if key in document.value:
            hint = "use unlearning.objectives in place of tasks, unlearning.probes in place of attacks"
            document.report((key,), "cannot be combined with 'unlearning'", hint)
    _check_meaningless(document, EvaluationEntry, ("evaluation",), document.value.get("evaluation"))
    _check_meaningless(document, Budget, ("budget",), document.value.get("budget"))
    methods = document.value.get("methods")
    for name, given in methods.items() if isinstance(methods, dict) else ():
        _check_meaningless(document, MethodEntry, ("methods", name), given)
        if isinstance(given, dict):
            _check_meaningless(document, BudgetOverride, ("methods", name, "budget"), given.get("budget"))


def _check_meaningless(document: Document, kind: type[BaseModel], path: KeyPath, given: Any) -> None:
    """Reject keys without meaning even if their value equals the default."""
    for key in without_meaning_in_unlearning(kind):
        if isinstance(given, dict) and key in given:
            document.report((*path, key), "has no meaning in an unlearning suite", "remove it")


def _check_data(document: Document, section: UnlearningEntry) -> None:
    from zobench.unlearning.sources import SOURCES

    at: KeyPath = ("unlearning", "data")
    if section.data.source not in SOURCES:
        message = f"unknown data source {section.data.source!r}"
        document.report((*at, "source"), message, suggestion(section.data.source, SOURCES))
        return
    for problem in check(SOURCES[section.data.source], section.data.params):
        place = (*at, "params", problem.parameter) if problem.parameter else (*at, "params")
        document.report(place, problem.message, problem.hint)


def _check_pair(document: Document, draft: Draft, section: UnlearningEntry) -> None:
    names: list[tuple[KeyPath, str]] = [(("unlearning", "oracle", "name"), section.oracle.name)]
    names += [(("models", k, "name"), ref.name) for k, ref in draft.entries("models").items()]
    for path, name in names:
        if name.startswith("pair:") and section.pair is None:
            document.report(path, f"{name!r} needs unlearning.pair, which says how the pair is trained")
        if name.startswith("pair:") and name not in ("pair:full", "pair:oracle"):
            document.report(path, f"unknown model {name!r}", "valid: pair:full, pair:oracle")
    used = any(name.startswith("pair:") for _, name in names)
    if section.pair is not None and section.pair.base is not None:
        shape = {"width", "layers", "heads", "mlp", "vocabulary"} & section.pair.model_fields_set
        for key in sorted(shape):
            document.report(("unlearning", "pair", key), "is unused: the shape is that of 'base'")
    if section.pair is not None and not used:
        document.report(("unlearning", "pair"), "is unused: no model 'pair:full', no oracle 'pair:oracle'")


def _check_components(
    document: Document, classes: Classes, kind: Any, section: UnlearningEntry
) -> dict[str, Any]:
    """Classes by entry name, for entries whose name and parameters are valid."""
    key, found = kind.removesuffix("s"), {}
    entries = getattr(section, kind)
    if kind == "objectives" and not (entries or document.value["unlearning"][kind]):
        document.report(("unlearning", kind), "is empty: there is nothing to run")
    for name, entry in entries.items():
        path: KeyPath = ("unlearning", kind, name)
        target = getattr(entry, key)
        cls = classes.get(kind, target or name, (*path, key) if target else path)
        problems = [] if cls is None else check(cls.Config, entry.params)
        for problem in problems:
            at = (*path, "params", problem.parameter) if problem.parameter else (*path, "params")
            document.report(at, problem.message, problem.hint)
        if cls is not None and not problems:
            found[name] = cls
    return found


def _check_parts(document: Document, section: UnlearningEntry, objectives: dict[str, Any]) -> None:
    from zobench.unlearning.metered import target_of
    from zobench.unlearning.sources import SOURCES

    source = SOURCES.get(section.data.source)
    if source is None or check(source, section.data.params):
        return
    if configure(source, section.data.params).reasons:
        return
    for name, cls in objectives.items():
        config = configure(cls.Config, section.objectives[name].params)
        lacking = [p for p in target_of(cls, config).parts() if p in ("traces", "general")]
        if lacking:
            message = (
                f"needs {' and '.join(lacking)}, which the data of {section.data.source!r} does not contain"
            )
            hint = "for reasoning traces use the source 'files' with 'traces' and 'general'"
            document.report(("unlearning", "objectives", name), message, hint)


def _objectives_of(section: UnlearningEntry, entry: MethodEntry) -> Iterator[str]:
    return (n for n in section.objectives if entry.tasks is None or n in entry.tasks)


def _check_method(
    document: Document,
    classes: Classes,
    section: UnlearningEntry,
    objectives: dict[str, Any],
    name: str,
    entry: MethodEntry,
) -> None:
    path: KeyPath = ("methods", name)
    if name in (FULL, ORACLE, noise_row("")) or name.startswith(noise_row("")):
        document.report(path, f"row name {name!r} is reserved in unlearning suites; choose another name")
    if entry.space.kind not in SPACES:
        message = f"probes need a plain model, which the space {entry.space.kind!r} does not produce"
        document.report((*path, "space", "kind"), message, "valid: " + ", ".join(SPACES))
    target = entry.method or name
    method = classes.get("methods", target, path) if target in classes.names("methods") else None
    if method is None:
        return
    if method.card.order == "none":
        message = f"takes no steps: the rows {FULL!r} and {ORACLE!r} are measured anyway"
        document.report(path, message)
        return
    if "item-losses" in method.card.needs:
        message = f"{target} uses the losses of single examples, which an unlearning objective does not have"
        document.report(path, message, "use a method without that need, such as mezo")
        return
    given = {} if check(method.Config, entry.params) else {**entry.params}
    if method.cost(configure(method.Config, given)).preparation_forwards:
        message = "calibrates on minibatches before its first step, which an unlearning run does not supply"
        document.report(path, message, "for meerkat write 'params: {scores: magnitude}'")
    _check_supplies(document, path, target, method.card, entry)
    for objective in _objectives_of(section, entry):
        cls = objectives.get(objective)
        if cls is None or method.card.order == "first" or not cls.card.zo_refusal:
            continue
        message = f"{target} uses forward passes only; {objective!r} ({cls.card.name}) cannot be run with it"
        others = [o for o in section.objectives if o != objective]
        hint = f"{cls.card.zo_refusal}; exclude it with 'tasks: [{', '.join(others)}]'"
        document.report(path, message, hint)
    _check_terms(
        document, path, section, method.card, {n: objectives.get(n) for n in _objectives_of(section, entry)}
    )


def _check_supplies(document: Document, path: KeyPath, target: str, card: Any, entry: MethodEntry) -> None:
    """Report parameters that would make a method draw further minibatches of training examples."""
    for need, (parameter, most, why) in UNSUPPLIED.items():
        if need not in card.needs:
            continue
        for at, values in _given(entry, parameter):
            if any(isinstance(v, int | float) and v > most for v in values):
                message = f"{target} would need further minibatches, which an unlearning run does not supply"
                document.report((*path, *at), message, f"{why}: at most {most} here")


def _given(entry: MethodEntry, parameter: str) -> Iterator[tuple[KeyPath, list[Any]]]:
    """Key paths at which an entry sets a parameter, with the values."""
    if parameter in entry.params:
        yield ("params", parameter), [entry.params[parameter]]
    for task, params in entry.task_params.items():
        if parameter in params:
            yield ("task_params", task, parameter), [params[parameter]]
    if parameter in entry.sweep:
        yield ("sweep", parameter), list(entry.sweep[parameter])
    if entry.tune is not None and parameter in entry.tune.space:
        domain: Any = entry.tune.space[parameter]
        yield ("tune", "space", parameter), list(domain) if isinstance(domain, list) else [domain.high]


def _check_terms(
    document: Document, path: KeyPath, section: UnlearningEntry, card: Any, objectives: dict[str, Any]
) -> None:
    """Check objectives that need one particular optimizer, and optimizers that need two terms."""
    from zobench.unlearning.metered import apart, target_of, two_terms

    for name, cls in objectives.items():
        if cls is None:
            continue
        only = cls.card.optimizer
        if only and card.order == "first" and card.name != only:
            message = (
                f"{card.name} cannot run {name!r} ({cls.card.name}), which combines two gradients itself"
            )
            document.report(path, message, f"its optimizer is {only!r}")
        target = target_of(cls, configure(cls.Config, section.objectives[name].params))
        if apart(card) and not two_terms(target):
            message = f"{card.name} needs a forget and a retain term, and {name!r} has no retain term"
            document.report(path, message)


def _check_trials(document: Document, draft: Draft) -> None:
    """All methods must receive the same tuning budget."""
    sizes: dict[int, str] = {}
    for name, entry in draft.entries("methods").items():
        if entry.tune is None:
            continue
        size = entry.tune.trials or _grid(entry.tune.space)
        first = next(iter(sizes.values()), None)
        if sizes and size not in sizes:
            message = f"{size} tuning trials, but {first!r} has {next(iter(sizes))}"
            hint = "every row of an unlearning suite must have the same number of trials"
            document.report(("methods", name, "tune"), message, hint)
        sizes.setdefault(size, name)


def _grid(space: dict[str, Any]) -> int:
    points = 1
    for domain in space.values():
        points *= len(domain) if isinstance(domain, list) else 1
    return points
