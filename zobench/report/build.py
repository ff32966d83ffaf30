"""``build``: results folders in, one offline HTML file out."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zobench.report import (
    edits,
    figures,
    forgetting_view,
    glossary,
    overview,
    page,
    payload,
    rank_diagram,
    reaching,
    robustness,
    runpages,
    tables,
)
from zobench.report.analysis import Analysis, analyse

TOP_RUNS = 50


def build(
    folders: str | Path | Sequence[str | Path],
    output: str | Path,
    *,
    leaderboard: str | Path | None = None,
    site: bool = False,
) -> Path:
    """Write the report and return the path of its page.

    Args:
        folders: one or more results folders; a run found in several is read once.
        output: an ``.html`` file, or a folder that gets an ``index.html``.
        leaderboard: name of a shipped leaderboard or path of a YAML file; by default few-shot accuracy, or
            ``unlearning`` where all runs are of that kind.
        site: also write a page for every run, in ``pages/`` beside the page.
    """
    found = analyse(folders, leaderboard)
    target = Path(output)
    if target.suffix != ".html":
        target = target / "index.html"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(html(found, site=site), encoding="utf-8")
    if site:
        from zobench.report.site import write_run_pages

        write_run_pages(found, target.parent)
    return target


def html(found: Analysis, *, site: bool = False) -> str:
    """The page of an analysis."""
    body = context(found)
    data = payload.payload(found.source, found.ranking, found.runs, TOP_RUNS)
    data["site"] = site
    data["template"] = figures.template()
    reached = reaching.collect(found.source, found.ranking, found.runs)
    data["profiles"] = reaching.profiles(reached, found.ranking)
    body["reached"] = reached.rows
    body["targets"] = reaching.spoken_targets(reached, tables.labels(found.source))
    body["shown_runs"] = data["runs"]
    data["runs"], data["shared"] = runpages.shared(data["runs"])
    body["tuning"] = data["tuning"]
    return page.render("page.html", body, data)


def context(found: Analysis) -> dict[str, Any]:
    """Values for the template."""
    ranking, runs = found.ranking, found.runs
    rows = [s.row for s in ranking.standings]
    names = tables.labels(found.source)
    return {
        "board": found.board,
        "title": found.board.title,
        "glossary": glossary.entries(),
        "suites": sorted(set(runs["suite"].dropna().map(str))),
        "made": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "overview": overview.describe(ranking, runs),
        "rule": overview.rule(found.board),
        "blocks": [names[b] for b in ranking.blocks],
        "ranking": tables.ranking_rows(ranking, runs, found.attacks),
        "critical": ranking.critical,
        "diagram": rank_diagram.diagram(ranking.critical),
        "tie_groups": ranking.tie_groups,
        "heat": tables.heat(ranking),
        "attacks": found.attacks.astype(object).where(found.attacks.notna(), None).to_dict("records"),
        "unlearning": forgetting_view.section(found.source, runs, found.board),
        "edits": edits.most_damaging(found.source, rows),
        "robust": robustness.collect(found.source, ranking),
        "broken": tables.broken_runs(found.source),
        "counts": {"runs": len(runs), "tuning": int((found.source.runs["purpose"] == "tuning").sum())},
    }
