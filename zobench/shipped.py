"""Files that the repository keeps at its top and a wheel contains inside the package: suites, leaderboards,
and the pages of ``docs`` that commands and suites refer to.

``pyproject.toml`` says which of them a wheel contains. A checkout and an editable install use those of the
repository.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from zobench.names import nearest

SUFFIXES = (".yaml", ".yml")


def folder(kind: Literal["suites", "leaderboards", "docs"]) -> Path:
    """The folder of the shipped files of this kind."""
    package = Path(__file__).resolve().parent
    inside = package / kind
    return inside if inside.is_dir() else package.parent / kind


def suites() -> dict[str, Path]:
    """The shipped suites: name -> file."""
    return {path.stem: path for path in sorted(folder("suites").glob("*.yaml"))}


def suite_file(text: str) -> Path:
    """The file that a user means by ``text``: a path if it contains a separator or ends in ``.yaml`` or
    ``.yml``, otherwise the name of a shipped suite. A local file of that name is never used instead.

    Raises:
        ValueError: there is no shipped suite of this name.
    """
    if text.endswith(SUFFIXES) or "/" in text or "\\" in text:
        return Path(text)
    found = suites()
    if text not in found:
        raise ValueError(
            f"no shipped suite {text!r} (a file is named by its path: {text}.yaml or ./{text})"
            f"{nearest(text, found)}"
        )
    return found[text]


def instead_of(path: Path) -> str:
    """Hint for a suite file that does not exist: the shipped suite of the same name, or nothing."""
    return f"a suite of this name is shipped: {path.stem!r} without '.yaml'" if path.stem in suites() else ""


def pages() -> dict[str, Path]:
    """The shipped pages of the documentation: name -> Markdown file."""
    return {path.stem: path for path in sorted(folder("docs").glob("*.md"))}


def page(name: str) -> Path:
    """The file of one page of the documentation.

    Raises:
        ValueError: there is no such page.
    """
    found = pages()
    if name not in found:
        raise ValueError(f"no page {name!r}{nearest(name, found)}")
    return found[name]
