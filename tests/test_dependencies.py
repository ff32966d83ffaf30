"""pyproject.toml declares what the package imports, and the package imports what it requires."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
IMPORTED_AS = {
    "pyyaml": "yaml",
    "ruamel.yaml": "ruamel",
    "pillow": "PIL",
    "scikit-learn": "sklearn",
}
"""Distributions whose package has another name."""


def packages(requirements: list[str]) -> set[str]:
    """Top-level names that a list of requirements installs."""
    names = [re.match(r"[\w.-]+", r)[0] for r in requirements]
    return {IMPORTED_AS.get(n, n.replace("-", "_")) for n in names}


def imported() -> set[str]:
    """Top-level names that a module of the package imports, lazily or not, and that are neither its own nor
    Python's."""
    found: set[str] = set()
    for path in (ROOT / "zobench").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - {"zobench"}


def test_every_import_is_declared():
    extras = [r for requirements in PROJECT["optional-dependencies"].values() for r in requirements]
    assert imported() <= packages(PROJECT["dependencies"]) | packages(extras)


def test_every_requirement_is_imported():
    assert packages(PROJECT["dependencies"]) <= imported()
