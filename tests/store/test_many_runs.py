"""Commands that read results open each file of a run a fixed number of times, however many runs there are."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from many_runs import CELLS, make, write_suite

from zobench import plugins
from zobench.cli.status_view import print_status
from zobench.report.build import build
from zobench.runner import run_plan, scheduler
from zobench.store import compact, digests, query, reader
from zobench.suite import expand, load

OPENED: list[str] = []
LISTENING: list[bool] = []


def _hear(event: str, args: tuple[Any, ...]) -> None:
    if LISTENING and event == "open" and isinstance(args[0], str):
        OPENED.append(args[0])


sys.addaudithook(_hear)  # it cannot be removed, so there is one for the whole process


def ask(folder: Path) -> None:
    assert query("select count(*) as n from runs", folder)["n"].item() > 0


def resume(folder: Path) -> None:
    found = run_plan(expand(load(folder.parent / "suite.yaml")), folder, workers=0, progress=False)
    assert (found.kept, found.failed) == (found.done, [])


COMMANDS: dict[str, Callable[[Path], object]] = {
    "status": lambda folder: print_status(folder, False),
    "query": ask,
    "report": lambda folder: build(folder, folder / "page.html"),
    "resume": resume,
}
MOST = {"status": 10, "query": 5, "report": 6, "resume": 8}
"""Most opens of files per run. A run has seven files: status, specification, environment and four tables."""
MOST_TABLES = {"status": 1, "query": 4, "report": 5, "resume": 2}
"""Most tables read per run."""


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path, str], tuple[int, int]]]:
    """Runs a command; returns how many files of the results it opened, and how many tables of them it
    read."""
    tables: list[Any] = []
    real = reader._whole_file
    monkeypatch.setattr(reader, "_whole_file", lambda path: (tables.append(path), real(path))[1])

    def count(folder: Path, command: str) -> tuple[int, int]:
        digests._known_digest.cache_clear()
        OPENED.clear()
        tables.clear()
        LISTENING.append(True)
        try:
            COMMANDS[command](folder)
        finally:
            LISTENING.clear()
        inside = [name for name in OPENED if name.startswith(str(folder / "runs"))]
        return len(inside), len(tables)

    yield count
    LISTENING.clear()


def results(folder: Path, runs: int, *, compacted: bool = False) -> Path:
    make(write_suite(folder / "suite.yaml", runs), folder / "results", compacted=compacted)
    return folder / "results"


@pytest.mark.parametrize("runs", [CELLS, pytest.param(2000, marks=pytest.mark.slow)])
def test_each_file_of_a_run_is_opened_a_fixed_number_of_times(
    tmp_path: Path,
    runs: int,
    opened: Callable[[Path, str], tuple[int, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scheduler, "COMPACT_ABOVE", runs)
    folder = results(tmp_path, runs)
    for command in COMMANDS:
        files, tables = opened(folder, command)
        assert files <= MOST[command] * runs + 20, command
        assert tables <= MOST_TABLES[command] * runs, command
    assert compact(folder) == runs
    for command in COMMANDS:
        files, tables = opened(folder, command)
        assert files <= 40, command
        assert tables <= 20, command


def test_a_plan_looks_for_plugins_once_for_all_its_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    real = plugins.entry_points

    def look(group: str) -> Any:
        looked.append(group)
        return real(group=group)

    monkeypatch.setattr(plugins, "entry_points", look)
    plan = expand(load(write_suite(tmp_path / "suite.yaml", 3 * CELLS)))
    assert len(plan.runs) == 3 * CELLS
    assert len(looked) == len(set(looked))


def test_a_package_that_is_installed_later_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "late" not in plugins.entries("methods")
    info = tmp_path / "late-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: late\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[zobench.optimizers]\nlate = late:Late\n")
    assert plugins.entries("methods")["late"].origin == "late"


def test_compacted_results_of_the_generator_are_those_of_folders(tmp_path: Path) -> None:
    loose, compacted = results(tmp_path / "a", CELLS), results(tmp_path / "b", CELLS, compacted=True)
    one, other = (reader.read(folder) for folder in (loose, compacted))
    for name in ("runs", "metrics", "predictions", "steps"):
        order = ["run_id", *(["metric", "forwards"] if name == "metrics" else [])]
        left, right = (
            r.frame(name).sort_values(order, kind="stable", ignore_index=True) for r in (one, other)
        )
        assert left.equals(right), name
