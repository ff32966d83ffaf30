"""Checks ``diagnostics:``, by itself and in combination with the methods."""

from __future__ import annotations

from zobench.suite.source import Document
from zobench.suite.structure import Draft


def check_diagnostics(document: Document, draft: Draft) -> None:
    """Report an empty list, duplicates, and rows whose weights are perturbed while being measured."""
    wanted = draft.parts.get("diagnostics")
    if wanted is None:
        return
    if not wanted.measure:
        document.report(("diagnostics", "measure"), "is empty: omit the section for no diagnostics")
    for index, name in enumerate(wanted.measure):
        if name in wanted.measure[:index]:
            document.report(("diagnostics", "measure", index), f"{name!r} is listed twice")
    if draft.parts.get("unlearning") is not None:
        document.report(("diagnostics",), "are defined for training on tasks; remove them from this suite")
    for name, entry in draft.entries("methods").items():
        if entry.perturbation in ("in-place", "factored-lazy", "offload"):
            hint = "use snapshot or streamed, or omit diagnostics"
            message = (
                f"diagnostics need unperturbed weights, which the mode {entry.perturbation} does not keep"
            )
            document.report(("methods", name, "perturbation"), message, hint)
