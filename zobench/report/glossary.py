"""The glossary at the end of every page, read from ``docs/glossary.md``, which the wheel contains as well."""

from __future__ import annotations

import re
from pathlib import Path

from markupsafe import Markup, escape

HERE = Path(__file__).resolve().parent
ENTRY = re.compile(r"^- \*\*(.+?)\*\*(.*?): (.+)$", re.MULTILINE)


def entries() -> list[tuple[Markup, Markup]]:
    """Terms and their meanings as HTML, in the order of the file."""
    inside = HERE / "glossary.md"
    path = inside if inside.is_file() else HERE.parents[1] / "docs" / "glossary.md"
    found = ENTRY.findall(path.read_text(encoding="utf-8"))
    return [(Markup("{}{}").format(term, _code(more)), _code(said)) for term, more, said in found]


def _code(text: str) -> Markup:
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))
