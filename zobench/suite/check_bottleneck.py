"""Checks rows that train on a loss with an information-bottleneck penalty."""

from __future__ import annotations

from typing import Any

from zobench.models.blocks import block_number, blocks_of
from zobench.spec import ModelRef, bottleneck_of
from zobench.suite.check_training import bare_modules
from zobench.suite.classes import Classes
from zobench.suite.problems import KeyPath
from zobench.suite.schema import MethodEntry
from zobench.suite.source import Document
from zobench.suite.structure import Draft
from zobench.trained_on import BottleneckRef

_OWN = {"prior": "variational", "noise": "variational", "keep": "hsic"}
"""Keys that one form alone has."""
_TOGETHER = ("grouped", "streamed-paired", "offload")
"""Modes that compute several points in one call or in turns, which a hook on one block cannot tell apart."""


def check_bottlenecks(document: Document, draft: Draft, classes: Classes) -> None:
    """Report rows whose task, model or mode cannot have the penalty."""
    if draft.parts.get("unlearning") is not None:
        return
    for name, entry in draft.entries("methods").items():
        ref = bottleneck_of(entry)
        if ref is not None:
            at: KeyPath = ("methods", name, "train_on")
            _check_settings(document, at, name, entry, ref)
            _check_method(document, classes, at, entry.method or name)
            _check_tasks(document, draft, classes, at, entry)
            _check_models(document, draft, at, entry, ref)


def _check_settings(
    document: Document, at: KeyPath, name: str, entry: MethodEntry, ref: BottleneckRef
) -> None:
    for key, form in _OWN.items():
        if key in ref.model_fields_set and ref.bottleneck != form:
            document.report((*at, key), f"belongs to bottleneck: {form}, not to {ref.bottleneck}")
    if entry.perturbation in _TOGETHER:
        message = f"{entry.perturbation} cannot compute a bottleneck, which reads one block in each loss"
        document.report(("methods", name, "perturbation"), message, "write 'perturbation: auto'")


def _check_method(document: Document, classes: Classes, at: KeyPath, target: str) -> None:
    method = classes.get("methods", target, at) if target in classes.names("methods") else None
    if method is not None and method.card.order == "none":
        document.report(at, f"method {target!r} takes no steps", "omit train_on")


def _check_tasks(document: Document, draft: Draft, classes: Classes, at: KeyPath, entry: MethodEntry) -> None:
    for task, chosen in draft.entries("tasks").items():
        name = chosen.task or task
        if (entry.tasks is not None and task not in entry.tasks) or name not in classes.names("tasks"):
            continue
        found = classes.get("tasks", name, ("tasks", task))
        if found is not None and found.kind != "generation":
            document.report(at, f"task {task!r} has no generated answers, which a bottleneck is about")


def _check_models(
    document: Document, draft: Draft, at: KeyPath, entry: MethodEntry, ref: BottleneckRef
) -> None:
    for model, given in draft.entries("models").items():
        if (entry.models is None or model in entry.models) and (problem := _problem(given, ref)):
            document.report((*at, "layer") if ref.layer else at, f"{problem} (model {model!r})")


def _problem(model: ModelRef, ref: BottleneckRef) -> str:
    """Why the model cannot have the penalty; empty if it can or if its files are not on this machine."""
    from zobench.models.inspection import architecture_here

    kind = architecture_here(model)
    module: Any = bare_modules(model) if kind == "causal" else None
    if module is None:
        return "" if kind in (None, "causal") else f"a bottleneck needs a causal model, not {kind}"
    try:
        block_number(ref.layer, len(blocks_of(module)))
    except ValueError as error:
        return str(error)
    return ""
