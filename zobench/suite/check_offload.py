"""Checks rows with ``perturbation: offload``: which methods, models and settings it serves."""

from __future__ import annotations

from typing import Any

from zobench.parameters import check, configure
from zobench.suite import spaces
from zobench.suite.check_training import bare_modules
from zobench.suite.classes import Classes
from zobench.suite.schema import MethodEntry
from zobench.suite.source import Document
from zobench.suite.structure import Draft
from zobench.trained_on import RewardRef

INSTEAD = "use perturbation: streamed"
PREFIX = "mode 'offload': "
"""How messages of the mode itself begin."""


def check_offload(document: Document, draft: Draft, classes: Classes) -> None:
    """Report rows whose weights cannot stay outside the memory, with the reason."""
    for name, entry in draft.entries("methods").items():
        if entry.perturbation != "offload":
            continue
        target = entry.method or name
        known = target in classes.names("methods")
        method = classes.get("methods", target, ("methods", name)) if known else None
        reason = (
            _setting(draft, entry)
            or (method is not None and _method(target, method, entry))
            or _model(draft, entry)
        )
        if reason:
            document.report(("methods", name, "perturbation"), f"offload: {reason}", INSTEAD)


def _setting(draft: Draft, entry: MethodEntry) -> str:
    if draft.parts.get("unlearning") is not None:
        return "an unlearning run keeps copies of the model in memory"
    if entry.noise != "counter":
        return "legacy noise is drawn for the whole model in one order"
    if isinstance(entry.train_on, RewardRef):
        return "answers are generated token by token, and every token would visit every layer"
    return ""


def _method(target: str, method: Any, entry: MethodEntry) -> str:
    """Why this method's update is no list of seeds and scalars; empty if it is one."""
    card = method.card
    if card.order == "none":
        return f"{target} takes no steps"
    if card.order != "zeroth":
        return f"{target} computes derivatives, which needs the weights and activations of all layers at once"
    if card.replay != "scalars":
        return f"{target} needs tensors as large as the weights (masks, bases or anchors)"
    given = {} if check(method.Config, entry.params) else entry.params
    cost = method.cost(configure(method.Config, given))
    if cost.state_bytes_per_parameter:
        return f"{target} keeps {cost.state_bytes_per_parameter:g} bytes of state for each parameter"
    if not (card.in_span or card.by_seeds):
        return f"the update of {target} is not a list of seeds and scalars"
    return ""


def _model(draft: Draft, entry: MethodEntry) -> str:
    for name, ref in draft.entries("models").items():
        if entry.models is not None and name not in entry.models:
            continue
        if ref.device != "cpu":
            return f"is for models on a CPU in a suite, and model {name!r} is on {ref.device!r}"
        module = bare_modules(ref) if entry.space.kind == "full" else None
        if module is not None and (problem := spaces.offload_refusal(module)):
            return f"{problem.removeprefix(PREFIX)} (model {name!r})"
    return ""
