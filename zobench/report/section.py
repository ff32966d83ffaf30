"""Sections of the page: a query over the results, a picture and a template.

Built-in sections (:mod:`zobench.report.catalogue`) and those of plugins (entry points ``zobench.sections``)
have the same interface. If a plugin's section fails, the page shows its error in its place; the rest of the
page does not change.
"""

from __future__ import annotations

import functools
import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
from markupsafe import Markup

from zobench import plugins
from zobench.plugins import Entry
from zobench.report import figures, page, payload, reaching, runpages, tables
from zobench.report.analysis import Analysis
from zobench.report.catalogue import LAST, SECTIONS
from zobench.report.leaderboard import Leaderboard
from zobench.report.ranking import Ranking
from zobench.report.source import Source

TOP_RUNS = 50


class PageResults:
    """The results that a section can use: the analysis of the page, and values that several sections need,
    each computed once.

    Attributes:
        source: the store's tables: ``source.sql("select … from metrics")`` returns a data frame.
        runs: the result runs of the leaderboard with their scores (``value``).
        ranking: the ranking of their rows.
        attacks: one record per row and attack.
    """

    def __init__(self, found: Analysis, *, site: bool = False) -> None:
        self.found = found
        self.site = site
        self.source: Source = found.source
        self.board: Leaderboard = found.board
        self.runs: pd.DataFrame = found.runs
        self.ranking: Ranking = found.ranking
        self.attacks: pd.DataFrame = found.attacks

    @functools.cached_property
    def labels(self) -> dict[str, str]:
        """Display name of each block (task with its model)."""
        return tables.labels(self.source)

    @functools.cached_property
    def blocks(self) -> list[str]:
        """Names of the ranking's blocks."""
        return [self.labels[b] for b in self.ranking.blocks]

    @functools.cached_property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of the ranking table: ranked rows, baselines, rows that are not comparable."""
        return tables.ranking_rows(self.ranking, self.runs, self.attacks)

    @functools.cached_property
    def generates(self) -> bool:
        """Whether a run trained on generated answers, whose tokens are then shown as a cost."""
        return tables.generates(self.runs)

    @functools.cached_property
    def counts(self) -> dict[str, int]:
        """Number of runs of the leaderboard, and of tuning trials."""
        return {"runs": len(self.runs), "tuning": int((self.source.runs["purpose"] == "tuning").sum())}

    @functools.cached_property
    def reached(self) -> reaching.Reaching:
        """Times to the targets of the tasks."""
        return reaching.collect(self.source, self.ranking, self.runs)

    @functools.cached_property
    def drawn(self) -> dict[str, Any]:
        """Data for the page's scripts."""
        return payload.payload(self.source, self.ranking, self.runs, TOP_RUNS)

    def data(self) -> dict[str, Any]:
        """The JSON data of the page: ``drawn``, with values that several runs share stored once."""
        runs, shared = runpages.shared(self.drawn["runs"])
        return {
            **self.drawn,
            "site": self.site,
            "template": figures.template(),
            "profiles": reaching.profiles(self.reached, self.ranking),
            "runs": runs,
            "shared": shared,
        }


class Section(ABC):
    """One section. ``name`` is its anchor, ``title`` its name in the navigation; ``template`` is the text of
    a Jinja template, or the name of an ``.html`` file in the folder ``templates`` beside the class's module.

    The template writes ``<section id="{{ section.name }}">`` and its contents. It can use the values of
    ``query`` by name, ``picture``, ``section`` and ``board``. All values except ``Markup`` are escaped; an
    undefined name is an error.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    template: ClassVar[str]

    @abstractmethod
    def query(self, results: PageResults) -> Mapping[str, Any]:
        """Values for the template, by name: data frames, lists, numbers."""

    def applies(self, values: Mapping[str, Any]) -> bool:
        """Whether the section has contents; if not, the section and its link are omitted."""
        return True

    def picture(self, values: Mapping[str, Any]) -> Markup | str:
        """An inline chart (``zobench.report.lines``, ``zobench.report.svg``); a plain string is escaped."""
        return ""


@dataclass(frozen=True, slots=True)
class Shown:
    """A section as HTML, with its anchor and its name in the navigation."""

    name: str
    title: str
    body: Markup


def shown(results: PageResults) -> list[Shown]:
    """All sections that have contents: built-in ones, those of plugins, the glossary."""
    out: list[Shown] = []
    taken = dict.fromkeys(SECTIONS, "zobench")
    for entry in sorted(plugins.entries("sections").values(), key=lambda e: e.name in LAST):
        if entry.origin == "builtin":
            found = rendered(entry.load()(), results)
        else:
            found = _guarded(entry, results, taken)
        if found is not None:
            out.append(found)
            taken.setdefault(found.name, entry.origin)
    return out


def rendered(section: Section, results: PageResults) -> Shown | None:
    """One section; ``None`` if it has no contents."""
    values = section.query(results)
    if not section.applies(values):
        return None
    text = page.section(
        section.template,
        Path(inspect.getfile(type(section))).parent / "templates",
        {"board": results.board, **values, "picture": section.picture(values), "section": section},
    )
    return Shown(section.name, section.title, text)


def _guarded(entry: Entry, results: PageResults, taken: Mapping[str, str]) -> Shown | None:
    """A plugin's section; if it fails, a section with its error."""
    try:
        section: Section = entry.load()()
        if section.name in taken:
            raise ValueError(f"the page has a section {section.name!r} already, from {taken[section.name]}")
        return rendered(section, results)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - of a plugin; the page shows it
        told = {"name": entry.name, "origin": entry.origin, "error": f"{type(error).__name__}: {error}"}
        anchor = f"failed-{len(taken) - len(SECTIONS) + 1}"
        body = page.section("failed_section.html", page.HERE / "templates", {**told, "anchor": anchor})
        return Shown(anchor, entry.name, body)
