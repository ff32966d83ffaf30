"""The tables of a page as Parquet files: all columns, unfiltered, numbers at full precision."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from zobench.report.analysis import analyse
from zobench.report.build import html
from zobench.store.plan_file import Entry


@dataclass(slots=True)
class PageTable:
    """One ``<table data-name=...>`` of a page. Values are the same texts as in the page's CSV."""

    name: str
    columns: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)

    def arrow(self) -> pa.Table:
        """Columns are float64 if every known value is a number, else text; empty and "–" become null."""
        values = {name: [row[i] for row in self.rows] for i, name in enumerate(self.columns)}
        assert len(values) == len(self.columns), f"columns of {self.name} share a name"
        return pa.table({name: _column(texts) for name, texts in values.items()})


def write_tables(
    folders: str | Path | Sequence[str | Path],
    output: str | Path,
    leaderboard: str | Path | None = None,
    *,
    every: bool = False,
    suite: Sequence[Entry] | None = None,
) -> list[Path]:
    """Write ``output/<name>.parquet`` for every table of the page of these results; returns the paths.

    ``every`` and ``suite`` select the runs (:func:`zobench.report.source.open_results`). The head-to-head
    table is not included, because it depends on the two rows that the reader selects.
    """
    target = Path(output)
    target.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for table in tables(html(analyse(folders, leaderboard, every=every, suite=suite))):
        name = re.sub(r"[^\w.-]+", "-", table.name).strip("-.")
        path = target / f"{name}.parquet"
        if path in written:
            path = target / f"{name}-{len(written)}.parquet"
        pq.write_table(table.arrow(), path)
        written.append(path)
    return written


def tables(page: str) -> list[PageTable]:
    """The named tables of a page, in the page's order."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    return reader.tables


def _column(texts: list[str]) -> pa.Array:
    known = [None if t in ("", "–") else t for t in texts]
    try:
        return pa.array([None if t is None else float(t) for t in known], pa.float64())
    except ValueError:
        return pa.array(known, pa.string())


class _Reader(HTMLParser):
    """Collects cells like ``cellText`` of ``tables.js``: data-text, else data-sort, else the displayed
    text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tables: list[PageTable] = []
        self.inside = False
        self.heading = False
        self.text: list[str] | None = None
        self.given: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        has = dict(attrs)
        if tag == "table" and has.get("data-name"):
            self.tables.append(PageTable(str(has["data-name"])))
            self.inside = True
        elif self.inside and tag == "thead":
            self.heading = True
        elif self.inside and tag == "tr" and not self.heading:
            self.tables[-1].rows.append([])
        elif self.inside and tag in ("td", "th"):
            self.text = []
            self.given = has.get("data-key") if self.heading else has.get("data-text", has.get("data-sort"))

    def handle_data(self, data: str) -> None:
        if self.text is not None:
            self.text.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "table":
            self.inside = False
        elif tag == "thead":
            self.heading = False
        elif tag in ("td", "th") and self.text is not None:
            shown = " ".join("".join(self.text).split())
            shown = f"-{shown[1:]}" if shown.startswith("−") else shown
            cell = shown if self.given is None else self.given
            if self.heading:
                self.tables[-1].columns.append(cell if self.given is not None else cell.lower())
            else:
                self.tables[-1].rows[-1].append(cell)
            self.text = None
