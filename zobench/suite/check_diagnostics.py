"""What can be wrong with ``diagnostics:``, by itself and beside the methods."""

from __future__ import annotations

from zobench.suite.source import Document
from zobench.suite.structure import Draft


def check_diagnostics(document: Document, draft: Draft) -> None:
    """Report an empty or doubled list, and rows whose weights do not stand still while they are looked at."""
    wanted = draft.parts.get("diagnostics")
    if wanted is None:
        return
    if not wanted.measure:
        document.report(("diagnostics", "measure"), "is empty: leave the section out for none")
    for index, name in enumerate(wanted.measure):
        if name in wanted.measure[:index]:
            document.report(("diagnostics", "measure", index), f"{name!r} is listed twice")
    if draft.parts.get("unlearning") is not None:
        document.report(("diagnostics",), "are those of training on a task: not in a suite of unlearning")
    for name, entry in draft.entries("methods").items():
        if entry.perturbation == "in-place":
            hint = "use snapshot or streamed, or leave diagnostics out"
            message = "diagnostics look at weights that mode in-place has displaced"
            document.report(("methods", name, "perturbation"), message, hint)
