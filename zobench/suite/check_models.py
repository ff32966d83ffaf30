"""Checks whether the models of a suite can do what its tasks, rows and evaluation ask of them.

Only models whose files are on this machine are checked; others are checked when they are loaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zobench.parameters import check, configure
from zobench.spec import ModelRef
from zobench.suite.classes import Classes
from zobench.suite.problems import KeyPath
from zobench.suite.schema import MethodEntry
from zobench.suite.source import Document
from zobench.suite.structure import Draft

_WRITERS = ("causal", "encoder-decoder")
"""Architectures that give probabilities to answers of several tokens."""
_HEADS = ("encoder", "classifier")
_NOT_ON = {
    "prefix": ("encoder-decoder", "classifier"),
    "prompt": ("encoder-decoder", "classifier"),
    "zerotuning": ("encoder-decoder",),
}
"""Spaces that assume one causal sequence, and the architectures without it. A decoder's head reads the last
token's position, which it does not find among embeddings."""


def check_models(document: Document, draft: Draft, classes: Classes) -> None:
    """Report every model that does not fit the suite."""
    from zobench.models.inspection import architecture_here

    models: dict[str, ModelRef] = draft.entries("models")
    unlearning = draft.parts.get("unlearning")
    if unlearning is not None:
        for path, ref in [*((("models", k), r) for k, r in models.items()), (_ORACLE, unlearning.oracle)]:
            _check_unlearned(document, path, ref)
        return
    if any(problem.key.startswith("models") for problem in document.problems):
        return
    found = {name: architecture_here(ref) for name, ref in models.items()}
    kinds = {
        name: kind for name, kind in found.items() if kind not in ("image", "flow", "ranker")
    }  # of zobench.suite.check_images
    evaluation = draft.parts.get("evaluation")
    if set(kinds.values()) <= {None, "causal"}:
        return  # nothing below concerns these
    tasks = dict(_tasks(document, draft, classes))
    for name, kind in kinds.items():
        if kind not in (None, "causal") and evaluation is not None and evaluation.lm_eval:
            message = f"lm-eval tasks need a causal model; model {name!r} is run as {kind}"
            document.report(("evaluation", "lm_eval"), message)
        for task, made in tasks.items():
            if kind is not None and _together(draft, name, task):
                _check_task(document, ("tasks", task), name, models[name], kind, made)
    for row, entry in draft.entries("methods").items():
        for name, kind in kinds.items():
            if kind is not None and (entry.models is None or name in entry.models):
                _check_row(document, ("methods", row), entry, name, kind)


_ORACLE: KeyPath = ("unlearning", "oracle")


def _check_unlearned(document: Document, path: KeyPath, ref: ModelRef) -> None:
    from zobench.models.adapters import is_adapter
    from zobench.models.inspection import architecture_here

    if ref.chat:
        message = "unlearning does not put its prompts through a chat template"
        document.report((*path, "chat"), message, "leave chat out")
    if is_adapter(Path(ref.name).expanduser()):
        message = f"unlearning does not take the adapter {ref.name!r}"
        document.report((*path, "name"), message, "merge it into its base model and save the result")
    kind = architecture_here(ref)
    if kind not in (None, "causal"):
        document.report((*path, "name"), f"unlearning needs a causal model, {ref.name!r} is run as {kind}")


def _tasks(document: Document, draft: Draft, classes: Classes) -> Iterator[tuple[str, Any]]:
    """The suite's tasks that can be built; errors in them are reported elsewhere."""
    for name, entry in draft.entries("tasks").items():
        target = entry.task or name
        if target not in classes.names("tasks"):
            continue
        found = classes.get("tasks", target, ("tasks", name))
        if found is None or check(found.Config, entry.params):
            continue
        try:
            yield name, found(configure(found.Config, entry.params))
        except ValueError:
            continue


def _together(draft: Draft, model: str, task: str) -> bool:
    """Whether a row runs on this model and this task."""
    return any(
        (e.models is None or model in e.models) and (e.tasks is None or task in e.tasks)
        for e in draft.entries("methods").values()
    )


def _check_task(document: Document, path: KeyPath, name: str, ref: ModelRef, kind: str, made: Any) -> None:
    from zobench.models.inspection import labels_here
    from zobench.tasks.classification import PromptedClassification
    from zobench.tasks.heads import head_columns
    from zobench.tasks.wrapped import WrappedTask

    inner = made
    while isinstance(inner, WrappedTask):
        inner = inner.inner
    if inner.kind in ("generation", "multiple-choice") and kind not in _WRITERS:
        what = "generates answers" if inner.kind == "generation" else "scores options of each example"
        message = f"{what}, which needs a causal or an encoder-decoder model; {name!r} is run as {kind}"
        document.report(path, message)
    elif isinstance(inner, PromptedClassification) and kind == "classifier":
        names = [inner.names_of(label) for label in range(len(inner.prompt.words))]
        try:
            head_columns(names, labels_here(ref), ref.name)
        except ValueError as error:
            document.report(path, str(error))
    elif isinstance(inner, PromptedClassification) and inner.scoring != "label-words" and kind == "masked":
        message = (
            f"scoring {inner.scoring} needs a causal or an encoder-decoder model; {name!r} is run as masked"
        )
        document.report(path, message, "score label words: protocol mezo-roberta, or scoring: label-words")


def _check_row(document: Document, path: KeyPath, entry: MethodEntry, name: str, kind: str) -> None:
    if entry.shots and kind in _HEADS:
        message = f"a classification head reads no demonstrations; model {name!r} is run as {kind}"
        document.report((*path, "shots"), message)
    if kind in _NOT_ON.get(entry.space.kind, ()):
        message = f"space {entry.space.kind!r} does not fit model {name!r}, which is run as {kind}"
        document.report((*path, "space", "kind"), message, "use full, lora, names, bias or last-layer")
