"""CONTRIBUTING's recipe for a new method, followed step by step in a copy of the package, where every test
over the catalogue passes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAME = "steepest"
ZOBENCH = "from zobench.cli import main; main()"
CATALOGUE_LINE = f'    "{NAME}": "zobench.zo.methods.{NAME}:Steepest",\n'
TRAJECTORY = f"""
from zo_lab import STEPS, Lab, same, slope


def test_{NAME}() -> None:
    lab = Lab("{NAME}", lr=0.02, epsilon=1e-3, n=2)
    theta, expected = lab.theta, []
    for t in range(STEPS):
        slopes = [(slope(theta, u, 1e-3), u) for u in (lab.u(t, 0), lab.u(t, 1))]
        g, u = max(slopes, key=lambda pair: abs(pair[0]))
        theta = theta - 0.02 * g * u
        expected.append(theta)
    same(lab.run(), expected)
"""
OVER_THE_CATALOGUE = (
    f"tests/zo/test_{NAME}.py",
    "tests/zo/test_definitions.py::test_every_zeroth_order_method_is_compared_with_its_definition",
    "tests/zo/test_conformance.py::test_cards_are_complete",
    f"tests/zo/test_conformance.py::test_builtin_passes_the_fast_checks[{NAME}]",
    f"tests/zo/test_config.py::test_configs_are_frozen_with_a_default_and_a_line_for_every_field[{NAME}]",
    f"tests/runner/test_every_method.py::test_the_others_run_to_done[{NAME}]",
    "tests/studies/test_methods_page.py",
)


def copy_of_the_checkout(to: Path) -> Path:
    """What a method touches and what tests it."""
    ignored = shutil.ignore_patterns("__pycache__")
    for folder in ("zobench", "tests/zo", "tests/runner"):
        shutil.copytree(ROOT / folder, to / folder, ignore=ignored)
    for file in (
        "pyproject.toml",
        "README.md",
        "tests/conftest.py",
        "tests/studies/test_methods_page.py",
        "docs/methods.md",
        "docs/results/conformance.json",
    ):
        (to / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, to / file)
    return to


def done(folder: Path, *arguments: str) -> str:
    """Output of a Python command run in the copy, which is imported in place of the checkout."""
    found = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


@pytest.mark.slow
def test_following_contributing_adds_a_method_and_every_test_passes(tmp_path: Path) -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    recipe = text.split("## Add an optimizer\n")[1].split("In your own package")[0].replace("<name>", NAME)
    method, catalogue, test = re.findall(r"^\d\. .*?`((?:zobench|tests)/\S+\.py)`", recipe, re.MULTILINE)
    check, conformance = re.findall(rf"^\d\. `((?:zobench|python) [^`]*{NAME})`", recipe, re.MULTILINE)

    folder = copy_of_the_checkout(tmp_path)
    example = (ROOT / "examples" / "plugin" / "zobench_antithetic.py").read_text(encoding="utf-8")
    example = example.replace("best-of-pairs", NAME).replace("BestOfPairs", "Steepest")
    (folder / method).write_text(example, encoding="utf-8")
    listed = (folder / catalogue).read_text(encoding="utf-8")
    (folder / catalogue).write_text(listed.replace("}\n", f"{CATALOGUE_LINE}}}\n", 1), encoding="utf-8")
    (folder / test).write_text(TRAJECTORY, encoding="utf-8")

    assert "FAIL" not in done(folder, "-c", ZOBENCH, *check.split()[1:])
    done(folder, *conformance.removeprefix("python ").split())

    assert f"| `{NAME}` |" in (folder / "docs" / "methods.md").read_text(encoding="utf-8")
    told = done(folder, "-m", "pytest", "-vv", "-m", "", "-p", "no:cacheprovider", *OVER_THE_CATALOGUE)
    assert told.count(" PASSED") >= len(OVER_THE_CATALOGUE)
