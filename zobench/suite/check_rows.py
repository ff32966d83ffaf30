"""Third pass over a suite: what its tasks' rows cannot give. Only for suites without other mistakes, as rows
are drawn for it."""

from __future__ import annotations

from collections.abc import Iterator

from zobench import plugins
from zobench.suite.components import resolved
from zobench.suite.drawn_rows import DrawnRows, drawn
from zobench.suite.problems import KeyPath
from zobench.suite.schema import MethodEntry
from zobench.suite.source import Document
from zobench.suite.structure import Draft


def check_rows(document: Document, draft: Draft) -> None:
    """Report minibatches that are larger than the training data, and test (or, where a row is tuned,
    validation) rows that are all of one class: every accuracy would be 0 or 100."""
    if draft.parts.get("unlearning") is not None:
        return
    seed = draft.parts["seeds"][0]
    for name, entry in draft.entries("tasks").items():
        found = drawn(resolved("tasks", entry.task or name, entry.params), seed)
        if found is None:
            continue
        _check_classes(document, draft, name, found)
        for at, size in _batch_sizes(draft, name):
            if size > len(found.train):
                message = f"a minibatch of {size} is larger than the {len(found.train)} training rows of "
                hint = f"write {len(found.train)} or less" if found.train else "the task has no training rows"
                document.report(at, f"{message}task {name!r}", hint)


def _check_classes(document: Document, draft: Draft, name: str, found: DrawnRows) -> None:
    read = {"test": found.test}
    if any(entry.tune is not None for entry in _on(draft, name)):
        read["validation"] = found.validation
    for split, labels in read.items():
        if only := found.only_class(labels):
            message = f"all {len(labels)} {split} rows have the class {only!r}: accuracy would say nothing"
            document.report(("tasks", name), message, "use data with two classes or more")


def _batch_sizes(draft: Draft, task: str) -> Iterator[tuple[KeyPath, int]]:
    """Where the minibatch of a row that trains on the task is set, and its size."""
    usual = draft.parts["budget"].batch_size
    for name, entry in draft.entries("methods").items():
        if (
            entry not in _on(draft, task)
            or plugins.lookup("methods", entry.method or name).card.order == "none"
        ):
            continue
        own = entry.budget.batch_size
        yield (
            (("budget", "batch_size"), usual)
            if own is None
            else (("methods", name, "budget", "batch_size"), own)
        )


def _on(draft: Draft, task: str) -> list[MethodEntry]:
    return [e for e in draft.entries("methods").values() if e.tasks is None or task in e.tasks]
