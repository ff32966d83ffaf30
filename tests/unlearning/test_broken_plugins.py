"""Objectives, probes and rewards of packages that raise, exit, print, give NaN or change their process: the
run says so, and what does not depend on them is measured."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from unlearning_runs import PARTS

from zobench import plugin_code
from zobench.runner.execute import run_one
from zobench.runner.factory import CATALOGUE
from zobench.runner.jobs import Job
from zobench.runner.process_cache import ProcessCache
from zobench.runner.scheduler import run_plan
from zobench.spec import Budget, Component, ModelRef, PlannedRun, RunSpec
from zobench.store.reader import read, read_run
from zobench.suite.plan import Plan
from zobench.suite.schema import ExecutorSettings
from zobench.trained_on import RewardRef

CODE = """\
import os, sys
from dataclasses import dataclass

import torch
from zobench.rewards.base import Reward
from zobench.unlearning.base import ModelProbe, Variant
from zobench.unlearning.objectives.ascent import GradAscent

@dataclass(frozen=True)
class Does:
    what: str = ""

def do(what):
    if what == "raise":
        raise KeyError("no such thing")
    if what == "exit":
        sys.exit("enough")
    if what == "die":
        os._exit(7)
    if what == "print":
        print("by a plugin\\x1b[31m")
    if what == "state":
        torch.set_default_dtype(torch.float64)

class Goal(GradAscent):
    def forget(self, context, batch, constants):
        found = super().forget(context, batch, constants)
        do(os.environ["DOES"])
        return found * float("nan") if os.environ["DOES"] == "nan" else found

class Look(ModelProbe):
    Config = Does
    name = "look"
    def variants(self, module, material):
        yield Variant(0.0, module)
        do(self.config.what)

class Taste(Reward):
    Config = Does
    def score(self, one):
        do(self.config.what)
        return float("nan") if self.config.what == "nan" else 0.5
"""


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package with an objective, a probe and a reward, which do what is in their parameters."""
    site = tmp_path / "site"
    info = site / "broken_plugin-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "broken_plugin.py").write_text(CODE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-plugin\nVersion: 1.0\n")
    kinds = {"objectives": "goal", "probes": "look", "rewards": "taste"}
    points = [f"[zobench.{k}]\n{n} = broken_plugin:{n.capitalize()}\n" for k, n in kinds.items()]
    (info / "entry_points.txt").write_text("\n".join(points))
    (info / "RECORD").write_text("broken_plugin.py,,\n")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("DOES", "")
    plugin_code.described.cache_clear()
    sys.modules.pop("broken_plugin", None)


@pytest.fixture
def forgetting(make, monkeypatch: pytest.MonkeyPatch):
    """A run of ten steps at most: ``forgetting(objective="raise")``, ``forgetting(probe="exit")``."""

    def planned(objective: str = "", probe: str | None = None, **more: Any) -> PlannedRun:
        monkeypatch.setenv("DOES", objective)
        probes = () if probe is None else (Component(name="look", params={"what": probe}),)
        section = {"probes": probes, "check_every": 0, "match_forget": None, "match_retain": None}
        return make(objective="goal", method=("mezo", {"lr": 1e-4}), section=section, **more)

    return planned


def done(planned: PlannedRun, runs: Path) -> tuple[Any, dict[str, Any], dict[str, list[dict[str, Any]]]]:
    outcome = run_one(Job(planned, "tiny"), runs, ProcessCache(PARTS))
    tables = {name: table.to_pylist() for name, table in read_run(runs, outcome.run_id).items()}
    return outcome, tables["runs"][0], tables


def traps(row: dict[str, Any]) -> dict[str, str]:
    return {t["trap"]: t["detail"] for t in json.loads(row["warnings"] or "[]")}


@pytest.mark.parametrize(("what", "told"), [("raise", "KeyError: 'no such thing'"), ("exit", "SystemExit")])
def test_an_objective_that_raises_or_exits_fails_its_run(forgetting, tmp_path, what, told):
    outcome, row, _ = done(forgetting(what), tmp_path / "runs")
    assert outcome.status == row["status"] == "failed"
    assert told in outcome.error
    assert "broken_plugin.py" in row["error"]


def test_an_objective_that_gives_nan_diverges_and_keeps_its_steps(forgetting, tmp_path):
    _, row, tables = done(forgetting("nan"), tmp_path / "runs")
    assert row["status"] == "diverged", row["error"]
    assert row["steps"] == len(tables["steps"]) > 0


def test_what_an_objective_does_to_its_process_is_undone_and_named(forgetting, tmp_path):
    _, row, _ = done(forgetting("state"), tmp_path / "runs")
    assert row["status"] == "done"
    assert torch.get_default_dtype() == torch.float32
    assert any("float64" in detail for detail in traps(row).values())


@pytest.mark.parametrize("what", ["raise", "exit"])
def test_a_probe_that_raises_or_exits_leaves_the_trained_run(forgetting, tmp_path, what):
    outcome, row, tables = done(forgetting(probe=what), tmp_path / "runs")
    assert outcome.status == row["status"] == "done"
    (failure,) = tables["failures"]
    assert "look" in failure["measurement"]
    assert {"raise": "KeyError", "exit": "SystemExit: enough"}[what] in failure["reason"]
    assert any(m["condition_kind"] == "clean" for m in tables["metrics"])


REWARDED = {
    "model": ModelRef(name="builtin:nano-countdown", attention="sdpa"),
    "task": Component(name="countdown", params={"test_rows": 2}),
    "method": Component(name="mezo", params={"lr": 1e-3, "epsilon": 1e-2}),
    "budget": Budget(forwards=4, batch_size=2),
}


@pytest.fixture(scope="module")
def bench() -> ProcessCache:
    return ProcessCache(CATALOGUE)


@pytest.mark.parametrize("what", ["", "raise", "exit", "nan", "print", "state"])
def test_scores_that_a_reward_does_not_give_count_zero(bench, tmp_path, capfd, what):
    ref = RewardRef(reward="taste", params={"what": what})
    planned = PlannedRun(row="mezo", spec=RunSpec(seed=1, train_on=ref, **REWARDED))
    outcome = run_one(Job(planned, "tiny"), tmp_path / "runs", bench)
    (row,) = read_run(tmp_path / "runs", outcome.run_id)["runs"].to_pylist()
    assert row["status"] == "done", row["error"]
    assert row["failed_scores"] == (8 if what in ("raise", "exit", "nan") else 0)
    found = traps(row)
    assert ("failed-scores" in found) == (what in ("raise", "exit", "nan"))
    assert ("float64" in str(found)) == (what == "state")
    assert torch.get_default_dtype() == torch.float32
    assert capfd.readouterr().out == ""
    assert "\x1b" not in str(found)
    if what == "print":
        assert "by a plugin" in found["output"]


@pytest.mark.slow
def test_the_worker_of_a_plugin_that_ends_it_is_the_only_one_lost(forgetting, tmp_path, monkeypatch):
    """Two runs in one plan: the probe of the first ends its worker, the second has no probe."""
    runs = (forgetting(probe="die", row="probed"), forgetting(row="plain", seed=1))
    plan = Plan(suite="tiny", runs=runs, executor=ExecutorSettings(kind="process"))
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    summary = run_plan(plan, tmp_path / "out", progress=False, parts="unlearning_runs:PARTS", workers=1)
    found = read(tmp_path / "out")
    assert summary.failed == []
    assert set(found.runs["status"]) == {"done"}
    (failure,) = found.failures.to_dict("records")
    assert failure["reason"] == "its worker process ended during this measurement"


@pytest.mark.slow
def test_an_objective_that_ends_its_worker_fails_alone(forgetting, tmp_path):
    plan = Plan(suite="tiny", runs=(forgetting("die"),), executor=ExecutorSettings(kind="process"))
    summary = run_plan(plan, tmp_path / "out", progress=False, parts="unlearning_runs:PARTS", workers=1)
    ((_, told),) = summary.failed
    assert told.startswith("its worker died twice (exit code 7")
    (row,) = read(tmp_path / "out").runs.to_dict("records")
    assert row["status"] == "failed"
