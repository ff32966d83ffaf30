"""``build``: writes one offline HTML file from results folders."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

from zobench.report import page
from zobench.report.analysis import Analysis, analyse
from zobench.report.section import PageResults, shown
from zobench.store.files import write_atomic
from zobench.store.paths import board_page_file
from zobench.store.plan_file import Entry


def build(
    folders: str | Path | Sequence[str | Path],
    output: str | Path,
    *,
    leaderboard: str | Path | None = None,
    site: bool = False,
    every: bool = False,
    suite: Sequence[Entry] | None = None,
) -> Path:
    """Write the report and return the path of its page.

    Args:
        folders: one or more results folders; a run found in several is read once.
        output: an ``.html`` file, or a folder for ``index.html``. If a leaderboard is given, the file is
            ``NAME.html``, so that it does not replace the page of another leaderboard.
        leaderboard: name of a shipped leaderboard or path of a YAML file; default: few-shot accuracy, or
            ``unlearning`` if all runs are unlearning runs.
        site: also write a page for every run, in ``pages/`` beside the page.
        every, suite: select runs (:func:`zobench.report.source.open_results`).
    """
    found = analyse(folders, leaderboard, every=every, suite=suite)
    target = Path(output)
    if target.suffix != ".html":
        target = target / "index.html" if leaderboard is None else board_page_file(target, found.board.name)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_page(target, found, site=site)
    if site:
        from zobench.report.site import write_run_pages

        write_run_pages(found, target.parent)
    return target


def write_page(target: Path, found: Analysis, *, site: bool = False) -> None:
    """Replace the page at once: a reader, or an interruption, meets the old one or the new one."""
    write_atomic(target, html(found, site=site).encode("utf-8"))


def html(found: Analysis, *, site: bool = False) -> str:
    """The page of an analysis: its sections, and the data that its scripts draw."""
    results = PageResults(found, site=site)
    body = {
        "title": found.board.title,
        "sections": shown(results),
        "suites": sorted(set(found.runs["suite"].dropna().map(str))),
        "made": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "counts": results.counts,
    }
    return page.render("page.html", body, results.data())
