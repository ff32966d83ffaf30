"""The method of each row: the card that its runs recorded, and how to cite it.

A run stores the card of its method (``method_card`` of its environment record), so that a page can show it
without the method's code. Runs of earlier versions have none.
"""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

from zobench.names import json_value

KEYS = ("title", "source", "formula", "order", "revision")
ARXIV = re.compile(r"\b(\d{4}\.\d{4,5})\b")


def collect(runs: pd.DataFrame, names: list[str]) -> list[dict[str, Any] | None]:
    """For each row: ``name`` of its method, its card (``title``, ``source``, ``formula``, ``order``,
    ``revision``; absent if not recorded), ids of the papers on arXiv (``papers``) and the reference in BibTeX
    (``cite``). ``None`` for a row of several methods."""
    found: dict[str, dict[str, Any] | None] = {}
    for row, part in runs.groupby("row", sort=False):
        methods = part["method"].dropna().map(str).unique()
        found[str(row)] = _told(methods[0], part) if len(methods) == 1 else None
    return [found.get(name) for name in names]


def _told(method: str, runs: pd.DataFrame) -> dict[str, Any]:
    cards = (_card(text) for text in runs["environment"])
    card = next((found for found in cards if found), {})
    versions = runs["zobench_version"].dropna().map(str)
    version = versions.iloc[0] if len(versions) else ""
    papers = ARXIV.findall(card.get("source", ""))
    cite = citation(method, card.get("title", method), papers, card.get("revision", ""), version)
    return {"name": method, **card, "papers": papers, "cite": cite}


def _card(environment: Any) -> dict[str, str]:
    try:
        found = json_value(environment or "{}").get("method_card")
    except (TypeError, ValueError, AttributeError):
        return {}
    return {k: str(found[k]) for k in KEYS if k in found} if isinstance(found, dict) else {}


def citation(method: str, title: str, papers: list[str], revision: str, version: str) -> str:
    """BibTeX entries of the papers and of zobench with the method's revision.

    zobench keeps neither titles nor authors of papers. An entry names the method, the number and the address
    of its paper and has no author, so that a bibliography prints nothing wrong; the comment above it (BibTeX
    ignores text between entries) says where arXiv has the complete entry.
    """
    return "\n\n".join([*(_paper(title, paper) for paper in papers), _zobench(method, revision, version)])


def _paper(title: str, paper: str) -> str:
    lines = {
        "key": f"{{arXiv:{paper}}}",
        "title": f"{{{{{title}}} (arXiv:{paper})}}",
        "year": f"{{20{paper[:2]}}}",
        "eprint": f"{{{paper}}}",
        "archivePrefix": "{arXiv}",
        "url": f"{{https://arxiv.org/abs/{paper}}}",
    }
    complete = f"% Title and authors: https://arxiv.org/bibtex/{paper}\n"
    return complete + _entry(f"arxiv{paper.replace('.', '-')}", lines)


def _zobench(method: str, revision: str, version: str) -> str:
    lines = {
        "title": "{zobench: a benchmark of zeroth-order optimizers and of the robustness of what they train}",
        "author": "{{The zobench authors}}",
        "year": "{2026}",
        "note": f"{{Version {version}, method {method}{f', revision {revision}' if revision else ''}}}",
    }
    return _entry("zobench", lines)


def _entry(key: str, lines: dict[str, str]) -> str:
    width = max(map(len, lines))
    body = ",\n".join(f"  {name:<{width}} = {value}" for name, value in lines.items())
    return f"@misc{{{key},\n{body}\n}}"
