"""The code of a plugin is part of its runs' identity: after an edit they are run again, other runs are
kept."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from zobench import plugin_code, plugins
from zobench.runner.environment import plugin_note
from zobench.runner.replaying import replay
from zobench.runner.scheduler import run_plan
from zobench.spec import Component, RunSpec
from zobench.store import read
from zobench.suite import expand, load
from zobench.unlearning.sources import SOURCES

SHIPPED = Path(__file__).resolve().parents[2] / "suites" / "unlearning.yaml"

SUITE = """\
suite: plugged
models:
  nano: {name: "builtin:nano"}
tasks:
  nano-sentiment: {params: {k: 2, validation_k: 2, test_rows: 4}}
methods:
  own: {params: {lr: 1e-3}}
  mezo: {params: {lr: 1e-3}}
seeds: [1]
budget: {forwards: 4, batch_size: 2}
"""
CODE = """\
from own_helper import SCALE
from zobench.zo.methods.mezo import Mezo
class Own(Mezo):
    scale = SCALE
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed packages with one plugin of two files."""
    site = tmp_path / "site"
    info = site / "own_plugin-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "own_plugin.py").write_text(CODE)
    (site / "own_helper.py").write_text("SCALE = 1\n")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[zobench.optimizers]\nown = own_plugin:Own\n")
    (info / "RECORD").write_text("own_plugin.py,,\nown_helper.py,,\nown_plugin-1.0.dist-info/METADATA,,\n")
    monkeypatch.syspath_prepend(str(site))
    _fresh_process()
    return site


def _fresh_process() -> None:
    plugin_code.described.cache_clear()
    for name in ("own_plugin", "own_helper"):
        sys.modules.pop(name, None)


def _described() -> str:
    _fresh_process()
    return plugin_code.described(plugins.points("methods")["own"])


def test_edited_plugin_code_makes_its_runs_again_and_no_others(site: Path, tmp_path: Path) -> None:
    (tmp_path / "plugged.yaml").write_text(SUITE)
    plan, runs = expand(load(tmp_path / "plugged.yaml")), tmp_path / "runs"
    made = []
    for helper in ("SCALE = 1\n", "SCALE = 1\n", "SCALE = 22\n"):
        (site / "own_helper.py").write_text(helper)
        _fresh_process()
        summary = run_plan(plan, runs, workers=0, progress=False)
        made.append((summary.done, summary.kept, summary.failed))
    assert made == [(2, 0, []), (2, 2, []), (2, 1, [])]
    table = read([runs]).frame("runs")
    assert sorted(table["row"]) == ["mezo", "own", "own"]
    for run_id, row in zip(table["run_id"], table["row"], strict=True):
        (record,) = runs.rglob(f"{run_id}/environment.json")
        told = json.loads(record.read_text())["digests"].get("plugins", "")
        assert told.startswith("own-plugin 1.0 ") == (row == "own")


def test_the_digest_is_that_of_the_installed_files_wherever_they_lie(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = _described()
    shutil.copytree(site, tmp_path / "other")
    monkeypatch.syspath_prepend(str(tmp_path / "other"))
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p != str(site)])
    assert _described() == here


def test_an_editable_installation_is_known_by_the_files_of_its_module(site: Path) -> None:
    record = site / "own_plugin-1.0.dist-info" / "RECORD"
    record.write_text("own_plugin-1.0.dist-info/METADATA,,\n")
    before = _described()
    (site / "own_plugin.py").write_text(CODE + "    more = 1\n")
    assert _described() != before


def test_replay_compares_the_plugin_code_and_names_the_mismatch(site: Path, tmp_path: Path) -> None:
    (tmp_path / "plugged.yaml").write_text(SUITE)
    runs = tmp_path / "runs"
    made = _described()
    assert run_plan(expand(load(tmp_path / "plugged.yaml")), runs, workers=0, progress=False).done == 2
    by_row = dict(read([runs]).frame("runs").set_index("row")["run_id"])
    (own,) = (path.parent for path in runs.rglob(f"{by_row['own']}/environment.json"))
    (builtin,) = (path.parent for path in runs.rglob(f"{by_row['mezo']}/environment.json"))
    assert replay(own).plugins == replay(builtin).plugins == ""
    (site / "own_helper.py").write_text("SCALE = 22\n")
    now = _described()
    report = replay(own)
    assert report.plugins == f"other plugin code: the run was made with {made}, installed is {now}"
    assert report.plugins in str(report)
    assert report.matches, "what was edited is not used by the update"
    assert replay(builtin).plugins == ""
    spec = RunSpec.model_validate_json(read([runs]).frame("runs").set_index("row").loc["own", "spec"])
    assert plugin_note({"digests": {}}, spec) == (
        f"plugin code unknown: the run does not say which code made it, installed is {now}"
    )


@pytest.mark.parametrize("source", SOURCES)
def test_no_data_of_unlearning_are_taken_for_a_plugin(source: str) -> None:
    """They would be shown as made by unknown code, and their rows would not be ranked."""
    spec = next(run.spec for run in expand(load(SHIPPED)).runs if run.spec.unlearning is not None)
    unlearning = spec.unlearning.model_copy(update={"data": Component(name=source)})
    assert plugin_code.plugin_parts(spec.model_copy(update={"unlearning": unlearning})) == []
