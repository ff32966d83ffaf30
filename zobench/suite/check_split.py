"""Checks rows whose steps are computed in shards (``split``)."""

from __future__ import annotations

import math

from zobench.parameters import check, configure
from zobench.spec import objective_name, reward_of
from zobench.suite.classes import Classes
from zobench.suite.problems import KeyPath
from zobench.suite.rows import rows_of
from zobench.suite.schema import MethodEntry
from zobench.suite.source import Document
from zobench.suite.structure import Draft

MOST_PARTS = 3
"""Parts of a minibatch for one process: with 4, it would send more than 64 bytes for a step's only loss."""


def check_split(document: Document, draft: Draft, classes: Classes) -> None:
    """Report rows that cannot be divided, each with the reason."""
    for name, entry in draft.entries("methods").items():
        if entry.split is None:
            continue
        at: KeyPath = ("methods", name, "split")
        _check_method(document, classes, name, entry, at)
        for key, value in (("perturbation", "in-place"), ("noise", "legacy")):
            if getattr(entry, key) == value:
                document.report(("methods", name, key), f"{value!r} cannot be divided among shards")
        if entry.split.parts > 1:
            _check_parts(document, draft, name, entry)


def _check_method(document: Document, classes: Classes, name: str, entry: MethodEntry, at: KeyPath) -> None:
    target = entry.method or name
    method = classes.get("methods", target, at) if target in classes.names("methods") else None
    if method is None:
        return
    if method.card.order == "none":
        document.report(at, f"method {target!r} takes no steps: there is nothing to divide")
        return
    for row in rows_of(name, entry):
        params = row.params(entry, "")
        config = None if check(method.Config, params) else configure(method.Config, params)
        if config is not None and (problem := method.indivisible(config)):
            document.report(at, f"method {target!r} cannot be divided among shards: {problem}")
            return


def _check_parts(document: Document, draft: Draft, name: str, entry: MethodEntry) -> None:
    """Parts of a minibatch: their losses are averaged."""
    assert entry.split is not None, "the caller knows"
    at: KeyPath = ("methods", name, "split", "by")
    kinds = {"train_on": objective_name(entry) != "loss", "loss_dtype": entry.loss_dtype != "float32"}
    for key, set_ in kinds.items():
        if set_:
            given = objective_name(entry) if key == "train_on" else entry.loss_dtype
            what = "a reward" if reward_of(entry) is not None else f"{key}: {given}"
            document.report(at, f"{what} is not a mean over parts of a minibatch", "use by: branches")
    budget, parts = draft.parts.get("budget"), entry.split.parts
    if entry.budget.micro_batch or (budget is not None and budget.micro_batch):
        document.report(at, "parts cannot be combined with budget.micro_batch", "use by: branches")
    size = entry.budget.batch_size or (None if budget is None else budget.batch_size)
    if size is not None and size < parts:
        document.report(at, f"a minibatch of {size} examples has no {parts} parts")
    executor = draft.parts.get("executor")
    processes = 1 if executor is None else executor.processes
    if processes > 1 and math.ceil(entry.split.shards / min(processes, entry.split.shards)) > MOST_PARTS:
        least = math.ceil(entry.split.shards / MOST_PARTS)
        message = f"{processes} processes would have more than {MOST_PARTS} shards each"
        document.report(("executor", "processes"), message, f"use 1 process, or {least} or more")
