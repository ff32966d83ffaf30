"""Built-in sections of the page in their order: name -> "module:Class". This module imports no other."""

SECTIONS: dict[str, str] = {
    "overview": "zobench.report.sections:OverviewSection",
    "unlearning": "zobench.report.sections:UnlearningSection",
    "ranking": "zobench.report.sections:RankingTable",
    "curves": "zobench.report.sections:Curves",
    "targets": "zobench.report.sections:Targets",
    "tradeoffs": "zobench.report.sections:TradeOffs",
    "tasks": "zobench.report.sections:Tasks",
    "proxies": "zobench.report.proxies:Proxies",
    "pruning": "zobench.report.pruning:Pruning",
    "pictures": "zobench.report.pictures:Pictures",
    "pairs": "zobench.report.sections:HeadToHead",
    "examples": "zobench.report.sections:Examples",
    "robustness": "zobench.report.sections:Robustness",
    "tuning": "zobench.report.sections:Tuning",
    "runs": "zobench.report.sections:Runs",
    "glossary": "zobench.report.sections:Glossary",
}
LAST = ("glossary",)
"""Built-in sections that come after those of plugins."""
