"""The glossary at the end of every page, read from ``docs/glossary.md``."""

from __future__ import annotations

import re

from markupsafe import Markup, escape

from zobench import shipped

ENTRY = re.compile(r"^- \*\*(.+?)\*\*(.*?): (.+)$", re.MULTILINE)


def entries() -> list[tuple[Markup, Markup]]:
    """Terms and their meanings as HTML, in the order of the file."""
    found = ENTRY.findall(shipped.page("glossary").read_text(encoding="utf-8"))
    return [(Markup("{}{}").format(term, _code(more)), _code(said)) for term, more, said in found]


def _code(text: str) -> Markup:
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))
