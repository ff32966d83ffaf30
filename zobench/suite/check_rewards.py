"""Checks rows that train on a reward of generated answers, and resolves rewards in Python files: their path
relative to the suite file, and their digest. No such file is imported."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from zobench import plugins
from zobench.names import suggestion
from zobench.parameters import check
from zobench.rewards.own import check_function, digest_of, is_file
from zobench.suite.classes import Classes
from zobench.suite.problems import KeyPath
from zobench.suite.schema import MethodEntry
from zobench.suite.source import Document
from zobench.suite.structure import Draft
from zobench.trained_on import RewardRef

BY_SCORE_FUNCTION = ("adamw", "sgd")
"""First-order methods whose step needs nothing but one gradient of the objective."""
_SIDE_BY_SIDE = ("lora", "prefix")
"""Spaces whose branches are decoded in one batch (mode ``grouped``)."""


def with_rewards(document: Document, draft: Draft) -> None:
    """Resolve every reward in a Python file, in place: path from the working directory, and SHA-256."""
    methods: dict[str, MethodEntry] = draft.entries("methods")
    for name, entry in methods.items():
        ref = entry.train_on
        if not isinstance(ref, RewardRef):
            continue
        at: KeyPath = ("methods", name, "train_on")
        if ref.file:
            document.report((*at, "file"), "is set by zobench", "write 'reward: FILE.py:FUNCTION'")
        elif is_file(ref.reward):
            resolved = _resolved(document, at, name, ref)
            methods[name] = entry.model_copy(update={"train_on": resolved})


def _resolved(document: Document, at: KeyPath, name: str, ref: RewardRef) -> RewardRef:
    written, _, function = ref.reward.partition(":")
    # An entry may come from an included file in another folder.
    folder = Path(document.place(("methods", name)).file).parent
    path = folder / written
    try:
        digest = digest_of(path)
        check_function(path, function)
    except ValueError as error:
        document.report((*at, "reward"), str(error), "a reward in a file is written 'FILE.py:FUNCTION'")
        return ref
    if ref.sha256 and ref.sha256 != digest:
        document.report(
            (*at, "sha256"), f"{path} has the SHA-256 {digest}", "inspect the file, then change or omit it"
        )
    shown = written if os.path.isabs(written) else Path(os.path.relpath(path)).as_posix()
    return ref.model_copy(
        update={"reward": f"{Path(written).name}:{function}", "file": shown, "sha256": digest}
    )


def check_reward(document: Document, draft: Draft, classes: Classes, name: str, entry: MethodEntry) -> None:
    """Report the problems of a row's reward and of its ``best_of``."""
    ref, at = entry.train_on, ("methods", name, "train_on")
    if not isinstance(ref, RewardRef):
        if entry.best_of is not None:
            hint = "write 'train_on: {reward: NAME, temperature: 1.0}'"
            document.report(("methods", name, "best_of"), "needs a reward to choose by", hint)
        return
    _check_name(document, classes, at, ref)
    if ref.samples > 1 and not ref.temperature:
        document.report((*at, "samples"), "greedy answers are all equal", "set a temperature above 0")
    together = entry.perturbation == "grouped" and entry.space.kind not in _SIDE_BY_SIDE
    if together or entry.perturbation == "batched":
        message = f"{entry.perturbation} cannot generate answers with full weights side by side"
        hint = "write 'perturbation: snapshot', or grouped with space lora or prefix"
        document.report(("methods", name, "perturbation"), message, hint)
    if entry.best_of is not None and (not ref.temperature or entry.shots):
        document.report(("methods", name, "best_of"), "needs a temperature above 0 in train_on, and no shots")
    target = entry.method or name
    if target in plugins.entries("methods"):
        method = classes.get("methods", target, ("methods", name))
        if method is not None:
            _check_method(document, at, entry, ref, method)
    _check_tasks(document, draft, classes, at, entry)


def _check_name(document: Document, classes: Classes, at: KeyPath, ref: RewardRef) -> None:
    if is_file(ref.reward):
        return
    known = plugins.entries("rewards")
    if ref.reward not in known:
        hint = suggestion(ref.reward, known) or f"valid: {', '.join(known)}, or FILE.py:FUNCTION"
        document.report((*at, "reward"), f"unknown reward {ref.reward!r}", hint)
        return
    found = classes.get("rewards", ref.reward, (*at, "reward"))
    if found is not None:
        for problem in check(found.Config, ref.params):
            place = (*at, "params", problem.parameter) if problem.parameter else (*at, "params")
            document.report(place, problem.message, problem.hint)


def _check_method(document: Document, at: KeyPath, entry: MethodEntry, ref: RewardRef, method: Any) -> None:
    """Methods without gradients, a gradient by the score function, or best-of-n without training."""
    card = method.card
    if card.order == "zeroth" or (card.order == "none" and entry.best_of is not None):
        return
    if card.order == "none":
        document.report(at, f"method {card.name!r} takes no steps", "add 'best_of: 8', or omit train_on")
    elif card.name not in BY_SCORE_FUNCTION:
        hint = f"use a zeroth-order method, or {' or '.join(BY_SCORE_FUNCTION)} with samples"
        document.report(at, f"method {card.name!r} needs a gradient, which a reward does not have", hint)
    elif ref.samples < 2 or not ref.temperature:
        message = f"method {card.name!r} estimates a reward's gradient from several sampled answers"
        document.report(at, message, "write 'temperature: 1.0' and 'samples: 8'")


def _check_tasks(document: Document, draft: Draft, classes: Classes, at: KeyPath, entry: MethodEntry) -> None:
    for task, chosen in draft.entries("tasks").items():
        name = chosen.task or task
        if (entry.tasks is not None and task not in entry.tasks) or name not in plugins.entries("tasks"):
            continue
        found = classes.get("tasks", name, ("tasks", task))
        if found is not None and found.kind != "generation":
            document.report(at, f"task {task!r} generates no answers that could be rewarded")
