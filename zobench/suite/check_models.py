"""Checks whether the models of a suite can do what its tasks, rows and evaluation ask of them.

Only models whose files are on this machine are checked; others are checked when they are loaded.
"""

from __future__ import annotations

from zobench.spec import ModelRef
from zobench.suite.problems import KeyPath
from zobench.suite.source import Document
from zobench.suite.structure import Draft


def check_models(document: Document, draft: Draft) -> None:
    """Report every model that does not fit the suite."""
    unlearning = draft.parts.get("unlearning")
    if unlearning is not None:
        models: dict[str, ModelRef] = draft.entries("models")
        for name, ref in models.items():
            _check_unlearned(document, ("models", name), ref)
        _check_unlearned(document, ("unlearning", "oracle"), unlearning.oracle)


def _check_unlearned(document: Document, path: KeyPath, ref: ModelRef) -> None:
    if ref.chat:
        message = "unlearning does not put its prompts through a chat template"
        document.report((*path, "chat"), message, "leave chat out")
