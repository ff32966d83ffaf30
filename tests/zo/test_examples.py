"""The examples run: a plain loop, a Hugging Face Trainer, and a plugin package installed through its entry
point."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from zobench.zo.conformance import CHECKS

ROOT = Path(__file__).parents[2]


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_plain_loop_learns_in_ten_lines(capsys) -> None:
    module = example("plain_loop")
    module.main()
    start, end = (float(word) for word in capsys.readouterr().out.split() if word.startswith("0."))
    assert end < 0.6 * start
    source = (ROOT / "examples" / "plain_loop.py").read_text()
    body = source.split('returns the losses."""\n')[1].split("\n\n")[0]
    assert len(body.splitlines()) <= 10


ALONE = """
import runpy, sys

class Hiding:
    'A finder for which everything but zobench.zo and what torch needs is not installed.'

    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        top, _, rest = name.partition(".")
        others = "numba transformers pandas pyarrow pydantic duckdb typer scipy yaml"
        if top in others.split() or (top == "zobench" and rest and rest.split(".")[0] != "zo"):
            return None
        return self.finder.find_spec(name, path, target)

sys.meta_path[:] = [Hiding(finder) for finder in sys.meta_path]
runpy.run_path(sys.argv[1], run_name="__main__")
for hidden in ("zobench.plugins", "numba", "transformers"):
    assert hidden not in sys.modules, hidden
"""


def test_plain_loop_runs_with_torch_alone_and_gives_the_same_numbers(capsys) -> None:
    """Without numba the noise is the torch reference's, with the same bits: the printed losses agree."""
    file = ROOT / "examples" / "plain_loop.py"
    command = [sys.executable, "-c", ALONE, str(file)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    example("plain_loop").main()
    assert done.stdout == capsys.readouterr().out
    assert "after 300 steps" in done.stdout


def test_trainer_steps_by_the_method(tmp_path: Path) -> None:
    trainer = example("hf_trainer").fine_tune(str(tmp_path), max_steps=2)
    assert trainer.objective.meter.forwards == 2 * 9
    assert trainer.objective.meter.sequences == 2 * 9 * 16


def test_notebook_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every code cell in one namespace, as a notebook does; the last one leaves the table of methods."""
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((ROOT / "examples" / "quickstart.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]
    assert len(cells) >= 3
    names: dict[str, object] = {}
    for cell in cells:
        exec(compile(cell, "quickstart.ipynb", "exec"), names)
    assert {"mezo", "fzoo", "zero-shot"} == set(names["table"].index)  # type: ignore[attr-defined]


CHECK_PLUGIN = """
from zobench.cli import main
from zobench.plugins import entries
entry = entries("methods")["best-of-pairs"]
assert entry.origin == "zobench-antithetic", entry
main()
"""


def test_plugin_package_passes_the_kit_through_its_entry_point(tmp_path: Path) -> None:
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    target = tmp_path / "site"
    copy = tmp_path / "plugin"
    copy.mkdir()
    for file in (ROOT / "examples" / "plugin").iterdir():
        if file.is_file():
            (copy / file.name).write_bytes(file.read_bytes())
    subprocess.run([*install, "--no-index", "--target", str(target), str(copy)], check=True, timeout=300)
    path = f"{target}{os.pathsep}{ROOT}"
    env = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "COLUMNS": "200", "TERM": "dumb"}
    command = [sys.executable, "-c", CHECK_PLUGIN, "check", "best-of-pairs"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = dict(line.split()[:2] for line in done.stdout.splitlines()[1:] if line.strip())
    assert set(found) == set(CHECKS)
    assert set(found.values()) == {"passed", "skipped"}
    assert found["measured-is-applied"] == "passed"


def test_library_imports_without_transformers() -> None:
    code = (
        "import sys, zobench.zo.methods.mezo, zobench.zo.conformance, zobench.zo.trajectory;"
        "assert 'transformers' not in sys.modules and 'numba' not in sys.modules, 'heavy import'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_catalogue_imports_no_torch() -> None:
    code = "import sys, zobench.zo, zobench.zo.methods.catalogue; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
