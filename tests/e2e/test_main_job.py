"""``zobench run`` as a user calls it: first call, second call, a mistake in the suite, a failing method, a
plugin."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from e2e.conftest import SUITE, Command

from zobench import store

EXAMPLE = Path(__file__).parents[2] / "examples" / "plugin"


def runs(folder: Path) -> set[str]:
    return {run.name for run in (folder / "runs").iterdir() if run.is_dir() and len(run.name) == 20}


def test_run_then_run_again(suite: Path, zobench: Command, tmp_path: Path) -> None:
    """A page, a table of every run, a summary in the terminal; the same command again runs nothing."""
    first = zobench("run", suite, "--output", "out")
    assert first.returncode == 0, first.stderr
    assert "index.html" in first.stdout
    assert "mezo" in first.stdout
    table = store.read([tmp_path / "out"]).frame("runs")
    assert sorted(table["row"]) == ["mezo", "zero-shot", "zo-adam"]
    assert set(table["status"]) == {"done"}
    spent = dict(zip(table["row"], table["forwards"], strict=True))
    assert spent == {"mezo": 36, "zo-adam": 36, "zero-shot": 0}

    files = {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "runs").rglob("*.parquet")}
    again = zobench("run", suite, "--output", "out")
    assert again.returncode == 0, again.stderr
    assert "index.html" in again.stdout
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "runs").rglob("*.parquet")} == files
    assert len(store.read([tmp_path / "out"]).frame("runs")) == 3


def test_results_can_be_looked_at(suite: Path, zobench: Command, tmp_path: Path) -> None:
    """show, query, report and replay work on what run has written."""
    assert zobench("run", suite, "--output", "out", "--only", "mezo").returncode == 0
    (run,) = runs(tmp_path / "out")
    shown = zobench("show", tmp_path / "out" / "runs" / run)
    assert shown.returncode == 0, shown.stderr
    assert "mezo" in shown.stdout
    asked = zobench("query", "select count(*) as steps from steps", "out")
    assert asked.returncode == 0, asked.stderr
    assert "18" in asked.stdout
    replayed = zobench("replay", tmp_path / "out" / "runs" / run)
    assert replayed.returncode == 0, replayed.stderr + replayed.stdout
    (tmp_path / "out" / "index.html").unlink()
    assert zobench("report", "out").returncode == 0
    assert (tmp_path / "out" / "index.html").exists()


def test_one_wrong_key(suite: Path, zobench: Command, tmp_path: Path) -> None:
    """File, line, key and the nearest valid name on standard error; nothing runs."""
    suite.write_text(SUITE.replace("forwards: 36", "forward: 36"), encoding="utf-8")
    outcome = zobench("run", suite, "--output", "out")
    assert outcome.returncode == 2
    assert "small.yaml:13" in outcome.stderr
    assert "forward" in outcome.stderr
    assert "did you mean 'forwards'" in outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert not (tmp_path / "out").exists()


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """The example plugin package, installed into a folder of its own."""
    source = tmp_path / "plugin-source"
    shutil.copytree(EXAMPLE, source)
    target = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*install, "--target", target, source], check=True, capture_output=True)
    return target


def test_a_plugin_runs_and_a_failing_run_stops_nobody(
    suite: Path, zobench: Command, plugin: Path, tmp_path: Path
) -> None:
    """A method from its own package runs by name; one that raises is recorded as failed, others are done."""
    broken = plugin / "broken_plugin.py"
    broken.write_text(
        "from zobench.zo.methods.mezo import Mezo\n"
        "class Broken(Mezo):\n"
        "    def step(self, objective):\n"
        "        raise RuntimeError('this plugin breaks in its first step')\n",
        encoding="utf-8",
    )
    info = plugin / "broken_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[zobench.optimizers]\nbroken = broken_plugin:Broken\n")
    name = next(line.split("=")[0].strip() for line in _entry_lines(plugin))
    methods = f"  {name}: {{}}\n  broken: {{params: {{lr: 1e-3}}}}\n  zero-shot:"
    suite.write_text(SUITE.replace("  zero-shot:", methods), encoding="utf-8")
    outcome = zobench("run", suite, "--output", "out", PYTHONPATH=str(plugin))
    assert outcome.returncode == 1
    table = store.read([tmp_path / "out"]).frame("runs").set_index("row")
    assert table.loc[name, "status"] == "done"
    assert table.loc["broken", "status"] == "failed"
    assert "breaks in its first step" in table.loc["broken", "error"]
    assert (table.drop("broken")["status"] == "done").all()
    assert "breaks in its first step" in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")


def _entry_lines(site: Path) -> list[str]:
    (file,) = [p for p in site.glob("*.dist-info/entry_points.txt") if "broken" not in str(p)]
    return [line for line in file.read_text().splitlines() if "=" in line]
