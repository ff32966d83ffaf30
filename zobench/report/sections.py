"""The built-in sections of the page, in their order; their templates are in ``templates``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from markupsafe import Markup

from zobench.report import (
    edits,
    forgetting_view,
    glossary,
    notices,
    overview,
    planned,
    provenance,
    rank_diagram,
    reaching,
    robustness,
    superseded,
    tables,
)
from zobench.report.section import PageResults, Section

SectionValues = Mapping[str, Any]


class OverviewSection(Section):
    """Which row is best, what was found, what is undecided."""

    name: ClassVar[str] = "overview"
    title: ClassVar[str] = "Overview"
    template: ClassVar[str] = "overview.html"

    def query(self, results: PageResults) -> SectionValues:
        source = results.source
        told = (
            *superseded.sentences(*source.superseded),
            *planned.sentences(source.others),
            *notices.unfinished(source),
            *notices.ties(source),
            *notices.no_effect(source),
            *provenance.sentences(results.runs),
            *notices.unmeasured(source),
        )
        return {
            "title": results.board.title,
            "overview": overview.describe(results.ranking, results.runs, told),
            "ranking": results.rows,
            "tie_groups": results.ranking.tie_groups,
        }


class UnlearningSection(Section):
    """How much of the forgotten knowledge probes recover; shown if all runs are unlearning runs."""

    name: ClassVar[str] = "unlearning"
    title: ClassVar[str] = "Unlearning"
    template: ClassVar[str] = "unlearning.html"

    def query(self, results: PageResults) -> SectionValues:
        return {"unlearning": forgetting_view.section(results.source, results.runs, results.board)}

    def applies(self, values: SectionValues) -> bool:
        return bool(values["unlearning"])


class RankingTable(Section):
    """Every row with its score, rank and costs; its picture is the diagram of mean ranks."""

    name: ClassVar[str] = "ranking"
    title: ClassVar[str] = "Ranking"
    template: ClassVar[str] = "ranking.html"

    def query(self, results: PageResults) -> SectionValues:
        return {
            "rule": overview.rule(results.board),
            "blocks": results.blocks,
            "ranking": results.rows,
            "attacks": not results.attacks.empty,
            "mean_ranks": results.ranking.mean_ranks,
            "no_ranks": rank_diagram.reason(results.ranking),
            "tie_groups": results.ranking.tie_groups,
            "generated": results.generates,
        }

    def picture(self, values: SectionValues) -> Markup | str:
        return rank_diagram.diagram(values["mean_ranks"], values["tie_groups"])


class Curves(Section):
    """Measurements against cost; drawn by the page's scripts."""

    name: ClassVar[str] = "curves"
    title: ClassVar[str] = "Curves"
    template: ClassVar[str] = "curves.html"

    def query(self, results: PageResults) -> SectionValues:
        return {}


class Targets(Section):
    """Cost of each row until it meets the target of a task."""

    name: ClassVar[str] = "targets"
    title: ClassVar[str] = "Targets"
    template: ClassVar[str] = "targets.html"

    def query(self, results: PageResults) -> SectionValues:
        found = results.reached
        return {
            "reached": found.rows,
            "targets": reaching.spoken_targets(found, results.labels),
            "share": found.share,
            "generated": results.generates,
        }

    def applies(self, values: SectionValues) -> bool:
        return bool(values["reached"])


class TradeOffs(Section):
    """Two columns of the ranking against each other; drawn by the page's scripts."""

    name: ClassVar[str] = "tradeoffs"
    title: ClassVar[str] = "Trade-offs"
    template: ClassVar[str] = "tradeoffs.html"

    def query(self, results: PageResults) -> SectionValues:
        return {}


class Tasks(Section):
    """Difference to the best row of each task."""

    name: ClassVar[str] = "tasks"
    title: ClassVar[str] = "Tasks"
    template: ClassVar[str] = "tasks.html"

    def query(self, results: PageResults) -> SectionValues:
        return {"blocks": results.blocks, "heat": tables.heat(results.ranking)}

    def applies(self, values: SectionValues) -> bool:
        """Differences to the best ranked row need a ranked row."""
        return any(cell is not None and cell["gap"] is not None for cell in values["heat"])


class HeadToHead(Section):
    """Comparison of any two rows on common seeds and examples; drawn by the page's scripts."""

    name: ClassVar[str] = "pairs"
    title: ClassVar[str] = "Head to head"
    template: ClassVar[str] = "pairs.html"

    def query(self, results: PageResults) -> SectionValues:
        return {}


class Examples(Section):
    """Prompts, gold answers, answers and attacked texts; drawn by the page's scripts."""

    name: ClassVar[str] = "examples"
    title: ClassVar[str] = "Examples"
    template: ClassVar[str] = "examples.html"

    def query(self, results: PageResults) -> SectionValues:
        drawn = results.drawn
        stored = sum(len(block["examples"]) for block in drawn["examples"])
        return {
            "stored": stored,
            "measured": drawn["measured"],
            "texts": len(drawn["texts"]),
            "attacked": len(drawn["attacked"]),
        }

    def applies(self, values: SectionValues) -> bool:
        return bool(values["texts"])


class Robustness(Section):
    """Accuracy under attacks, if there are any."""

    name: ClassVar[str] = "robustness"
    title: ClassVar[str] = "Robustness"
    template: ClassVar[str] = "robustness.html"

    def query(self, results: PageResults) -> SectionValues:
        attacks, rows = results.attacks, [s.row for s in results.ranking.standings]
        return {
            "attacks": attacks.astype(object).where(attacks.notna(), None).to_dict("records"),
            "edits": edits.most_damaging(results.source, rows),
            "robust": robustness.collect(results.source, results.ranking),
        }

    def applies(self, values: SectionValues) -> bool:
        return bool(values["attacks"])


class Tuning(Section):
    """All tuning trials."""

    name: ClassVar[str] = "tuning"
    title: ClassVar[str] = "Tuning"
    template: ClassVar[str] = "tuning.html"

    def query(self, results: PageResults) -> SectionValues:
        return {"tuning": results.drawn["tuning"]}

    def applies(self, values: SectionValues) -> bool:
        return bool(values["tuning"])


class Runs(Section):
    """Single runs, and runs without a full result."""

    name: ClassVar[str] = "runs"
    title: ClassVar[str] = "Runs"
    template: ClassVar[str] = "runs.html"

    def query(self, results: PageResults) -> SectionValues:
        return {
            "shown_runs": results.drawn["runs"],
            "paged": tables.paged_runs(results.runs, results.rows, results.drawn["runs"])
            if results.site
            else [],
            "site": results.site,
            "counts": results.counts,
            "ranking": results.rows,
            "broken": tables.broken_runs(results.source),
        }


class Glossary(Section):
    """Definitions of the terms of the page."""

    name: ClassVar[str] = "glossary"
    title: ClassVar[str] = "Glossary"
    template: ClassVar[str] = "glossary.html"

    def query(self, results: PageResults) -> SectionValues:
        return {"glossary": glossary.entries()}
