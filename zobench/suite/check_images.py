"""Checks that image tasks run on image classifiers with as many outputs as classes or on generators of
images, and text on language models; that attacks edit what their tasks have; and that methods that need the
output of a generator, or a black box behind a denoiser, have one, as tasks whose target is its answer do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zobench.parameters import check, configure
from zobench.spec import ModelRef
from zobench.suite.classes import Classes
from zobench.suite.problems import KeyPath
from zobench.suite.source import Document
from zobench.suite.structure import Draft
from zobench.tasks.base import Task
from zobench.tasks.flow_inversion import KIND as GENERATION
from zobench.tasks.flow_scoring import KIND as SCORING
from zobench.tasks.images import KIND, ImageClassification
from zobench.tasks.proxy import KIND as PROXY

_ARCHITECTURES = {KIND: "image", GENERATION: "flow", SCORING: "flow", PROXY: "ranker"}
"""Kind of task -> architecture that it needs; all other kinds need text."""
_NEEDS = {
    KIND: "images",
    GENERATION: "generated images",
    SCORING: "generated images",
    PROXY: "statistics of networks, such as builtin:nano-parzc",
}
_NOTHING = "codes of generated images, which no attack edits"
_ATTACKED = {KIND: "images", GENERATION: _NOTHING, SCORING: _NOTHING, PROXY: "networks"}
"""Kind of task -> what its examples are to an attack; all other kinds have texts."""
BLACK_BOX = "zobench-denoised"
"""``model_type`` of models with a denoiser in front of a black box."""


def check_images(document: Document, draft: Draft, classes: Classes) -> None:
    """Report pairs of model and task, and of attack and task, that cannot be run.

    Only models whose configuration is on this machine are checked; for others, the run does it."""
    kinds = {name: found for name in draft.entries("tasks") if (found := _task(draft, classes, name))}
    models = {name: _kind_of(ref) for name, ref in draft.entries("models").items()}
    told: set[tuple[str, str]] = set()
    for name, entry in draft.entries("methods").items():
        for model in entry.models or models:
            for task in entry.tasks or kinds:
                if task in kinds and models.get(model) and (model, task) not in told:
                    told.add((model, task))
                    _check_pair(document, draft, ("methods", name), model, task, kinds[task])
        _check_parts(
            document, draft, name, [t for t in entry.tasks or kinds if t in kinds and kinds[t].kind == PROXY]
        )
        _check_outputs(document, draft, classes, name, [kinds[t] for t in entry.tasks or kinds if t in kinds])
    _check_targets(document, draft, classes, kinds)
    for name, entry in draft.entries("attacks").items():
        found = _class(draft, classes, "attacks", name)
        for task in entry.tasks or kinds:
            if found is not None and task in kinds:
                _check_attack(document, name, found.edits, task, kinds[task].kind)


def _check_pair(document: Document, draft: Draft, at: KeyPath, model: str, task: str, found: Any) -> None:
    ref = draft.entries("models")[model]
    kind, outputs = _kind_of(ref) or ("", 0)
    restrict = "restrict the row with 'models:' or 'tasks:'"
    fits = _ARCHITECTURES.get(found.kind)
    if (kind != fits) if fits else (kind in _ARCHITECTURES.values()):
        needs = _NEEDS.get(found.kind, "text")
        document.report(at, f"task {task!r} needs a model of {needs}; model {model!r} is {kind}", restrict)
    elif kind == "image" and (made := _made(draft, task, found)) is not None and outputs != len(made.classes):
        message = f"model {model!r} has {outputs} outputs, task {task!r} has {len(made.classes)} classes"
        document.report(("models", model), message, f"write 'head: {len(made.classes)}'")


def _check_parts(document: Document, draft: Draft, name: str, tasks: Sequence[str]) -> None:
    """Report a minibatch that is computed in parts, where the loss is one of pairs of examples."""
    entry, budget = draft.entries("methods")[name], draft.parts.get("budget")
    if not tasks or not (entry.split or entry.budget.micro_batch or (budget and budget.micro_batch)):
        return
    message = f"task {tasks[0]!r} compares the examples of a minibatch, which cannot be computed in parts"
    document.report(("methods", name), message, "leave micro_batch and split out")


def _check_outputs(
    document: Document, draft: Draft, classes: Classes, name: str, tasks: Sequence[type[Task]]
) -> None:
    method = _class(draft, classes, "methods", name)
    if method is None:
        return
    plain = draft.parts.get("unlearning") is None and draft.entries("methods")[name].train_on == "loss"
    if "residual" in method.card.needs and not (plain and all(t.kind == GENERATION for t in tasks)):
        message = f"method {method.card.name!r} compares the output of a generator with an image"
        document.report(
            ("methods", name), message, f"restrict it to tasks of kind {GENERATION}, train_on: loss"
        )
    if "code" in method.card.needs and not (plain and all(t.coded for t in tasks)):
        message = f"method {method.card.name!r} queries a black box behind a denoiser"
        document.report(("methods", name), message, "restrict it to the task smoothed-images, train_on: loss")
    elif "code" in method.card.needs:
        _check_black_box(document, draft, name, method.card.name)


def _check_black_box(document: Document, draft: Draft, name: str, method: str) -> None:
    """The row's models must have a denoiser in front of a black box."""
    entry = draft.entries("methods")[name]
    for model in draft.entries("models"):
        if entry.models is not None and model not in entry.models:
            continue
        if (kind := _type_of(draft, model)) not in (None, BLACK_BOX):
            message = f"method {method!r} queries a black box behind a denoiser; model {model!r} is {kind}"
            document.report(("methods", name), message, "use a model such as builtin:nano-ae-ds")


def _check_targets(document: Document, draft: Draft, classes: Classes, tasks: Mapping[str, Any]) -> None:
    """Models on which a row trains towards the answers of a black box must have one behind a denoiser."""
    for task, found in tasks.items():
        params = draft.entries("tasks")[task].params
        if key := found.asks_black_box(params):
            for model in sorted(_trained_on(draft, classes, task)):
                if (kind := _type_of(draft, model)) not in (None, BLACK_BOX):
                    given = f"{key}: {params[key]} asks a black box behind a denoiser"
                    hint = f"change {key}, or restrict its rows with 'models:' to such as builtin:nano-ae-ds"
                    document.report(
                        ("tasks", task, "params", key), f"{given}; model {model!r} is {kind}", hint
                    )


def _trained_on(draft: Draft, classes: Classes, task: str) -> set[str]:
    """The models that rows train on that task with its own loss."""
    found: set[str] = set()
    for name, entry in draft.entries("methods").items():
        method = _class(draft, classes, "methods", name)
        if (
            method is not None
            and method.card.order != "none"
            and (entry.tasks is None or task in entry.tasks)
        ):
            found.update(draft.entries("models") if entry.models is None else entry.models)
    return found & set(draft.entries("models"))


def _check_attack(document: Document, attack: str, edits: str, task: str, kind: str) -> None:
    has = _ATTACKED.get(kind, "texts")
    if f"{edits}s" != has:
        message = f"attack {attack!r} edits {edits}s; task {task!r} has {has}"
        document.report(("attacks", attack), message, "restrict the attack with 'tasks:', or leave it out")


def _type_of(draft: Draft, model: str) -> str | None:
    from zobench.models.inspection import model_type_here

    return model_type_here(draft.entries("models")[model])


def _kind_of(ref: ModelRef) -> tuple[str, int] | None:
    """Architecture and number of outputs of a classifier (0 for other models), if known here."""
    from zobench.models.inspection import classifier_here

    return classifier_here(ref)


def _class(draft: Draft, classes: Classes, kind: Any, name: str) -> Any | None:
    entry = draft.entries(kind)[name]
    target = getattr(entry, kind.removesuffix("s")) or name
    return classes.get(kind, target, (kind, name)) if target in classes.names(kind) else None


def _task(draft: Draft, classes: Classes, name: str) -> Any | None:
    found = _class(draft, classes, "tasks", name)
    if found is None or not issubclass(found, Task):
        return None
    return found if not check(found.Config, draft.entries("tasks")[name].params) else None


def _made(draft: Draft, task: str, found: Any) -> ImageClassification | None:
    try:
        made: ImageClassification = found(configure(found.Config, draft.entries("tasks")[task].params))
    except ValueError:
        return None  # reported with the data files
    return made
