"""Checks of a report section on the results of two short runs of the built-in model."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, cached_property
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from zobench.report.analysis import analyse
from zobench.report.catalogue import SECTIONS
from zobench.report.section import PageResults, Section, Shown, rendered
from zobench.zo.conformance.subject import Skip, expect

HOSTILE = "<img src=x onerror=alert(1)>"
"""A row's name: a page must show it as text."""
SUITE: dict[str, Any] = {
    "suite": "check-sections",
    "models": {"nano": {"name": "builtin:nano"}},
    "tasks": {"nano-sentiment": {}},
    "methods": {HOSTILE: {"method": "mezo"}, "zero-shot": {"method": "none", "group": "control"}},
    "seeds": [0],
    "budget": {"forwards": 4, "batch_size": 4},
    "evaluation": {"test_items": 8},
}
VOID = {"br", "hr", "img", "input", "link", "meta", "path", "rect", "circle", "line", "use", "col", "wbr"}


@cache
def results() -> PageResults:
    """Two runs of four forward passes, made once."""
    from zobench.runner import run_plan
    from zobench.suite import expand
    from zobench.suite.loading import load_values

    folder = Path(tempfile.mkdtemp(prefix="zobench-check-"))
    outcome = run_plan(expand(load_values(SUITE)), folder, workers=0, progress=False)
    assert not outcome.failed, outcome.failed
    return PageResults(analyse([folder]))


@dataclass
class SectionSubject:
    """The section class under test; sections have no parameters."""

    found: type[Section]
    params: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def section(self) -> Section:
        return self.found()

    def shown(self) -> Shown:
        found = rendered(self.section, results())
        if found is None:
            raise Skip("applies() says that it has no contents for the results of these runs")
        return found


class Tags(HTMLParser):
    """Whether elements are closed in order, ids, and names of elements."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.names: list[str] = []
        self.ids: list[str] = []
        self.wrong = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.wrong = self.wrong or tag


def named(subject: SectionSubject) -> str:
    """It has a name of its own, usable as an anchor, and a title."""
    name = subject.section.name
    expect(name.replace("-", "").isalnum(), f"name {name!r} must be letters, digits and hyphens")
    builtin = {target.split(":")[1] for target in SECTIONS.values()}
    taken = name in SECTIONS and subject.found.__name__ not in builtin
    expect(not taken, f"the page has a section {name!r} already")
    expect(bool(subject.section.title), "it has no title")
    return f"{name}: {subject.section.title}"


def renders(subject: SectionSubject) -> str:
    """It is one well-formed ``<section>`` with its name as id."""
    tags = Tags()
    tags.feed(str(subject.shown().body))
    expect(not tags.wrong, f"element {tags.wrong!r} is closed but not open")
    expect(not tags.open, f"elements {tags.open} are not closed")
    expect(tags.names[:1] == ["section"], f"it begins with <{tags.names[0] if tags.names else ''}>")
    expect(tags.ids[:1] == [subject.section.name], "its first id must be its name: links lead there")
    return f"{len(tags.names)} elements"


def escapes(subject: SectionSubject) -> str:
    """A row's name is shown as text, and the section brings no script."""
    body = str(subject.shown().body)
    expect(HOSTILE not in body, "a row's name gets into the page unescaped: use Markup(...).format(...)")
    expect("<script" not in body.lower(), "a page runs only its own scripts")
    return ""


def repeats(subject: SectionSubject) -> str:
    """The same results give the same text."""
    expect(subject.shown().body == subject.shown().body, "two calls give different text")
    return ""


SUBJECT = SectionSubject
CHECKS: dict[str, Callable[[SectionSubject], str]] = {
    "named": named,
    "renders": renders,
    "escapes": escapes,
    "repeats": repeats,
}
