"""Checks what a method trains on, the metric of its tuning, and its parameter space against the model's
layers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zobench.names import suggestion
from zobench.parameters import check, configure
from zobench.spec import ModelRef, bottleneck_of, objective_name
from zobench.suite import spaces
from zobench.suite.check_rewards import check_reward
from zobench.suite.classes import Classes
from zobench.suite.problems import KeyPath
from zobench.suite.schema import MethodEntry
from zobench.suite.source import Document
from zobench.suite.structure import Draft

_GRADIENTS = {
    "first": "uses gradients",
    "mixed": "uses gradients in part of its step",
    "forward-mode": "computes derivatives in forward mode",
    "none": "takes no steps",
}
"""Why a method of that order cannot train on a score."""
_READ_GRADIENTS = ("gradient-cosine", "gradip")
"""Diagnostics that compute a gradient of the training objective."""


def check_training(document: Document, draft: Draft, classes: Classes) -> None:
    """Report scores and metrics that a row's tasks do not have, and parameter spaces that do not fit its
    models."""
    on_tasks = draft.parts.get("unlearning") is None
    for name, entry in draft.entries("methods").items():
        if on_tasks and entry.tune is not None and entry.tune.metric is not None:
            _check_metric(document, draft, classes, name, entry)
        if on_tasks:
            check_reward(document, draft, classes, name, entry)
        if on_tasks and entry.train_on != "loss":
            _check_diagnostics(document, draft, name, entry)
            _check_items(document, classes, name, entry)
        if on_tasks and entry.train_on in ("accuracy", "f1"):
            _check_score(document, draft, classes, name, entry)
        _check_micro_batch(document, draft, name, entry)
        if entry.space.kind in spaces.space_kinds() and entry.space.kind != "full":
            _check_space(document, draft, name, entry)


def _check_metric(document: Document, draft: Draft, classes: Classes, name: str, entry: MethodEntry) -> None:
    """Every task that the row runs on must have the metric that tuning optimizes."""
    at: KeyPath = ("methods", name, "tune", "metric")
    assert entry.tune is not None
    assert entry.tune.metric is not None
    for task, found, params in _tasks_of(document, draft, classes, entry):
        measures = found.measures_with(params)
        if measures and entry.tune.metric not in measures:
            hint = suggestion(entry.tune.metric, measures) or f"valid: {', '.join(measures)}"
            document.report(at, f"task {task!r} has no metric {entry.tune.metric!r}", hint)


def _tasks_of(
    document: Document, draft: Draft, classes: Classes, entry: MethodEntry
) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Name in the suite, class and parameters of each valid task that a row runs on."""
    for task, chosen in draft.entries("tasks").items():
        name = chosen.task or task
        if (entry.tasks is not None and task not in entry.tasks) or name not in classes.names("tasks"):
            continue
        found = classes.get("tasks", name, ("tasks", task))
        if found is not None and not check(found.Config, chosen.params):
            yield task, found, chosen.params


def _check_items(document: Document, classes: Classes, name: str, entry: MethodEntry) -> None:
    """Scores and rewards are not divided into losses of examples."""
    at: KeyPath = ("methods", name, "train_on")
    target = entry.method or name
    method = classes.get("methods", target, at) if target in classes.names("methods") else None
    if method is not None and "item-losses" in method.card.needs:
        missing = f"which {objective_name(entry)} has not"
        message = f"method {target!r} uses the losses of single examples, {missing}"
        document.report(at, message, "use train_on: loss")


def _check_score(document: Document, draft: Draft, classes: Classes, name: str, entry: MethodEntry) -> None:
    at: KeyPath = ("methods", name, "train_on")
    target = entry.method or name
    method = classes.get("methods", target, at) if target in classes.names("methods") else None
    if method is not None and (problem := _needs_gradients(method, entry)):
        reason, hint = problem
        document.report(at, f"method {target!r} {reason}, and {entry.train_on} has no gradient", hint)
    for task, found, params in _tasks_of(document, draft, classes, entry):
        scores = found.scores_with(params)
        if entry.train_on not in scores:
            valid = ", ".join(("loss", *scores))
            document.report(at, f"task {task!r} has no {entry.train_on} to train on", f"valid: {valid}")


def _check_diagnostics(document: Document, draft: Draft, name: str, entry: MethodEntry) -> None:
    diagnostics = None if bottleneck_of(entry) is not None else draft.parts.get("diagnostics")
    for key in _READ_GRADIENTS:
        if diagnostics is not None and key in diagnostics.measure:
            message = f"diagnostic {key!r} needs a gradient; {objective_name(entry)} has none"
            document.report(("methods", name, "train_on"), message)


def _check_micro_batch(document: Document, draft: Draft, name: str, entry: MethodEntry) -> None:
    """Parts of a minibatch are averaged, which a score and a loss rounded as a whole do not allow."""
    usual = draft.parts["budget"].micro_batch if "budget" in draft.parts else None
    if entry.budget.micro_batch is None and usual is None:
        return
    for key, plain in (("train_on", "loss"), ("loss_dtype", "float32")):
        if getattr(entry, key) != plain:
            given = objective_name(entry) if key == "train_on" else getattr(entry, key)
            message = f"{key}: {given} cannot be computed in parts (budget.micro_batch)"
            document.report(("methods", name, key), message, f"write '{key}: {plain}', or no micro_batch")


def _needs_gradients(method: Any, entry: MethodEntry) -> tuple[str, str] | None:
    """Why the method needs gradients, and what to use instead; ``None`` if it does not need them."""
    order = method.card.order
    if order in _GRADIENTS:
        return _GRADIENTS[order], "use a zeroth-order method, or train_on: loss"
    given = {} if check(method.Config, entry.params) else entry.params
    calibrates = "calibration" in method.card.needs
    if calibrates and method.cost(configure(method.Config, given)).preparation_forwards:
        return "scores entries by gradients before its first step", "write 'params: {scores: magnitude}'"
    return None


def _check_space(document: Document, draft: Draft, name: str, entry: MethodEntry) -> None:
    """Patterns, groups and layers of a parameter space against the modules of the row's models."""
    config = spaces.space_config(entry.space.kind)
    if check(config, entry.space.params):
        return
    for model, ref in draft.entries("models").items():
        if entry.models is not None and model not in entry.models:
            continue
        module = bare_modules(ref)
        problem = (
            "" if module is None else spaces.space_refusal(configure(config, entry.space.params), module)
        )
        if problem:
            at: KeyPath = ("methods", name, "space")
            key = next((k for k in _MATCHED if k in entry.space.params), None)
            document.report((*at, "params", key) if key else at, f"{problem} (model {model!r})")


_MATCHED = ("group", "targets", "include", "indices", "layers", "heads")
"""Parameters of spaces that have to fit the module."""


def bare_modules(ref: ModelRef) -> Any:
    """The model's modules without weights; ``None`` if its files are not on this machine, if they need code
    or an adapter, or if they cannot be read, which the checks of the model report."""
    from zobench.models.adapters import is_adapter
    from zobench.models.inspection import architecture_here
    from zobench.models.loading import skeleton

    if is_adapter(Path(ref.name).expanduser()) or architecture_here(ref) is None:
        return None
    return skeleton(ref)
