"""Checks rows of federated clients (``clients``)."""

from __future__ import annotations

from typing import Any

from zobench.parameters import check, configure
from zobench.suite.classes import Classes
from zobench.suite.problems import KeyPath
from zobench.suite.rows import rows_of
from zobench.suite.schema import MethodEntry
from zobench.suite.source import Document
from zobench.suite.structure import Draft

SUMMABLE = "mezo, mezo-one-sided, meerkat, random-mask, kerzoo, zo-sgd-block"
CLASSIFIED = ("classification", "image-classification")
_ONLY = {"perturbation": ("in-place", "offload"), "noise": ("legacy",)}


def check_clients(document: Document, draft: Draft, classes: Classes) -> None:
    """Report federated rows whose clients could not work, each with the reason."""
    for name, entry in draft.entries("methods").items():
        if entry.clients is None:
            continue
        at: KeyPath = ("methods", name, "clients")
        _check_method(document, draft, classes, name, entry)
        if entry.split is not None:
            document.report(("methods", name, "split"), "cannot be combined with clients")
        for key, refused in _ONLY.items():
            if getattr(entry, key) in refused:
                message = f"{getattr(entry, key)!r} cannot be combined with clients"
                document.report(("methods", name, key), message)
        for model, ref in draft.entries("models").items():
            if (entry.models is None or model in entry.models) and ref.dtype != "float32":
                message = f"clients need float32 weights; model {model!r} has {ref.dtype}"
                document.report(at, message, "a sum of displacements is not a path of rounded weights")
        if draft.parts.get("diagnostics") is not None:
            document.report(at, "diagnostics of steps cannot be combined with clients", "use gradip: true")
        if entry.clients.skew is not None:
            _check_classes(document, draft, classes, name, entry)


def _check_method(document: Document, draft: Draft, classes: Classes, name: str, entry: MethodEntry) -> None:
    target, at = entry.method or name, ("methods", name, "clients")
    method = classes.get("methods", target, at) if target in classes.names("methods") else None
    if method is None:
        return
    for row in rows_of(name, entry):
        params = row.params(entry, "")
        if check(method.Config, params):
            return
        config = configure(method.Config, params)
        if problem := method.unsummable(config):
            document.report(at, f"method {target!r} has no clients: {problem}", f"use {SUMMABLE}")
            return
        _check_round(document, draft, name, entry, method.cost(config))


def _check_round(document: Document, draft: Draft, name: str, entry: MethodEntry, cost: Any) -> None:
    clients, budget = entry.clients, draft.parts.get("budget")
    assert clients is not None, "the caller knows"
    forwards = entry.budget.forwards if budget is None else entry.budget.forwards or budget.forwards
    watching = 12 if clients.gradip or clients.limit is not None else 0
    least = cost.max_forwards_in_step * clients.number * clients.local_steps
    least += cost.preparation_forwards + watching
    if forwards is not None and forwards < least:
        message = f"a budget of {forwards} forward passes is too small for one round, which costs {least}"
        document.report(("methods", name, "clients"), message)


def _check_classes(document: Document, draft: Draft, classes: Classes, name: str, entry: MethodEntry) -> None:
    for task, chosen in draft.entries("tasks").items():
        known = (chosen.task or task) in classes.names("tasks")
        if (entry.tasks is not None and task not in entry.tasks) or not known:
            continue
        found = classes.get("tasks", chosen.task or task, ("tasks", task))
        if found is not None and found.kind not in CLASSIFIED:
            at: KeyPath = ("methods", name, "clients", "skew")
            document.report(at, f"task {task!r} has no classes to skew", "omit skew, or choose other tasks")
