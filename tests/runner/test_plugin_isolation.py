"""Changes that a plugin makes to its process are named and recorded with its run; other runs are not
affected."""

from __future__ import annotations

import itertools
import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from zobench import plugin_code, plugins
from zobench.cli import app
from zobench.runner import execute, pool
from zobench.runner.jobs import Job
from zobench.runner.lost_runs import record_lost
from zobench.runner.scheduler import run_plan
from zobench.spec import Component, placeholder
from zobench.store.reader import read
from zobench.suite.schema import CheckpointSettings, LimitSettings

CODE = """\
import os, sys, time
from pathlib import Path
from zobench.zo.methods.mezo import Mezo

class Patches(Mezo):
    def step(self, objective):
        import runner_fakes
        runner_fakes.Nine.step = None
        return super().step(objective)

class Exits(Mezo):
    def step(self, objective):
        sys.exit("enough")

class Dies(Mezo):
    steps = 0
    def step(self, objective):
        self.steps += 1
        if self.steps == 4 and "HEALTHY" not in os.environ:
            os._exit(7)
        return super().step(objective)

class Hangs(Mezo):
    steps = 0
    def step(self, objective):
        self.steps += 1
        if self.steps == 4:
            Path(os.environ["HANGING"]).touch()
            while True:
                time.sleep(60)
        return super().step(objective)

class Prints(Mezo):
    def step(self, objective):
        print("step\\x1b[31m by print")
        return super().step(objective)
"""
AT_IMPORT = {
    "quits": "import sys\nsys.exit(3)\n",
    "leaves": "import os\nos._exit(7)\n",
    "leaves_quietly": "import os\nos._exit(0)\n",
    "waits": "import time\nwhile True:\n    time.sleep(60)\n",
    "is_killed": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n",
}
"""Plugins by what they do to the process that imports them."""
NAMES = ("patches", "exits", "dies", "hangs", "prints")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed packages with one plugin."""
    site = tmp_path / "site"
    info = site / "rude_plugin-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "rude_plugin.py").write_text(CODE)
    for name, code in AT_IMPORT.items():
        (site / f"{name}_plugin.py").write_text(code)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: rude-plugin\nVersion: 1.0\n")
    declared = [f"{name} = rude_plugin:{name.capitalize()}" for name in NAMES]
    declared += [f"{name} = {name}_plugin:Plugin" for name in AT_IMPORT]
    (info / "entry_points.txt").write_text("\n".join(["[zobench.optimizers]", *declared, ""]))
    (info / "RECORD").write_text("".join(f"{name}_plugin.py,,\n" for name in ("rude", *AT_IMPORT)))
    monkeypatch.syspath_prepend(str(site))
    plugin_code.described.cache_clear()
    monkeypatch.delenv("ZOBENCH_IMPORTED_PLUGINS", raising=False)
    for name in ("rude", *AT_IMPORT):
        sys.modules.pop(f"{name}_plugin", None)
    return site


@pytest.fixture
def outcome(site: Path, tmp_path: Path, make_run, make_plan):
    """Do rows on the tiny model: ``outcome("patches", "nine")`` -> the summary and the rows by name."""

    def do(*names, workers=1, **plan):
        def planned(name):
            params = {} if name == "nine" else {"lr": 0.05, "epsilon": 1e-2}
            return make_run(name, method=Component(name=name, params=params))

        wanted = make_plan(*map(planned, names), kind="process", **plan)
        summary = run_plan(
            wanted, tmp_path / "out", progress=False, parts="runner_fakes:PARTS", workers=workers
        )
        return summary, {row["row"]: row for row in read(tmp_path / "out").runs.to_dict("records")}

    return do


def warnings(row):
    text = row["warnings"] if isinstance(row["warnings"], str) else "[]"
    return {t["trap"]: t["detail"] for t in json.loads(text)}


def test_a_patched_module_reaches_no_other_row(outcome):
    summary, rows = outcome("patches", "nine")
    assert (summary.done, summary.failed) == (2, [])
    assert warnings(rows["patches"]) == warnings(rows["nine"]) == {}


def test_in_one_process_rows_with_plugins_come_last_and_say_so(outcome, monkeypatch):
    import runner_fakes

    monkeypatch.setattr(runner_fakes.Nine, "step", runner_fakes.Nine.step)
    summary, rows = outcome("patches", "nine", workers=0)
    assert (summary.done, summary.failed) == (2, [])
    assert "in the process of other rows" in warnings(rows["patches"])["shared-process"]
    assert "shared-process" not in warnings(rows["nine"])


@pytest.mark.slow
def test_ends_of_the_process_are_failures_of_their_run(outcome, tmp_path, monkeypatch):
    often = CheckpointSettings(every_steps=2)
    summary, rows = outcome("exits", "dies", "mezo", checkpoint=often)
    assert summary.done == 1
    assert {row: r["status"] for row, r in rows.items()} == {
        "exits": "failed",
        "dies": "failed",
        "mezo": "done",
    }
    told = sorted(message for _, message in summary.failed)
    assert told[0] == "SystemExit: enough (sys.exit was called)"
    assert told[1].startswith("its worker died twice (exit code 7: code of the run ended the process")
    shown = CliRunner().invoke(app, ["status", str(tmp_path / "out")]).output.splitlines()[0]
    assert shown.endswith(": 1 done, 2 failed"), "a run has one record"
    steps = read(tmp_path / "out").steps.groupby("run_id").size()
    assert steps[rows["dies"]["run_id"]] == 5, "three, then three more from the checkpoint at two"
    monkeypatch.setenv("HEALTHY", "1")
    summary, after = outcome("dies", "mezo", workers=0, checkpoint=often)
    assert (summary.done, summary.failed) == (2, [])
    assert after["dies"]["run_id"] == rows["dies"]["run_id"]
    assert (after["dies"]["status"], after["dies"]["resumed"], after["dies"]["steps"]) == ("done", 2, 30)


def test_a_worker_that_dies_before_the_run_has_an_id_leaves_a_placeholder(tmp_path, make_run):
    job, runs = Job(make_run(), "tiny"), tmp_path / "runs"
    assert record_lost(job, runs, "its worker died twice") == ""
    (run,) = read(runs).runs.to_dict("records")
    assert (run["run_id"], run["status"]) == (placeholder(job.planned.spec), "failed")


def test_sys_exit_ends_no_plan_in_one_process(outcome):
    summary, rows = outcome("exits", "mezo", workers=0)
    assert {row: r["status"] for row, r in rows.items()} == {"exits": "failed", "mezo": "done"}
    assert summary.done == 1


def test_a_step_that_hangs_is_interrupted(outcome, tmp_path, monkeypatch):
    """Two hours pass, by the clock of the pool, as soon as the step hangs."""
    hanging = tmp_path / "hanging"
    monkeypatch.setenv("HANGING", str(hanging))

    def now():
        if not hanging.exists():
            return time.monotonic()
        hanging.unlink()
        return time.monotonic() + 7201

    monkeypatch.setattr(pool, "time", SimpleNamespace(monotonic=now))
    summary, rows = outcome("hangs", "nine")
    assert rows["nine"]["status"] == "done"
    assert rows["hangs"]["status"] == "interrupted"
    (told,) = [message for _, message in summary.failed]
    assert told == "a step took more than 120 minutes (limits.step_minutes of the suite)"
    assert told in rows["hangs"]["error"]


def test_a_run_beyond_its_time_keeps_its_steps_and_goes_on(tmp_path, make_run, make_plan, monkeypatch):
    """By the clock of the run, a minute passes whenever it is looked at."""
    minutes = itertools.count()
    monkeypatch.setattr(execute, "time", SimpleNamespace(monotonic=lambda: 60.0 * next(minutes)))
    parts = {"progress": False, "parts": "runner_fakes:PARTS", "workers": 0}

    def plan(**limits):
        return make_plan(make_run(), limits=LimitSettings(**limits))

    first = run_plan(plan(run_minutes=5), tmp_path / "out", **parts)
    ((_, told),) = first.failed
    assert told == "the run took more than 5 minutes (limits.run_minutes of the suite)"
    (row,) = read(tmp_path / "out").runs.to_dict("records")
    assert (row["status"], row["error"]) == ("interrupted", told)
    assert run_plan(plan(), tmp_path / "out", **parts).done == 1
    (row,) = read(tmp_path / "out").runs.to_dict("records")
    assert (row["status"], row["resumed"]) == ("done", 1), "limits are no part of a run's identity"


def test_printed_text_is_kept_from_standard_output(outcome, tmp_path, capfd):
    summary, rows = outcome("prints", "nine")
    assert summary.done == 2
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")
    (log,) = (tmp_path / "out" / "logs").iterdir()
    assert log.read_text().count("by print") == 30
    assert warnings(rows["prints"])["output"].startswith(f"{30 * 19} characters on standard output: 'step")
    assert "\x1b" not in rows["prints"]["warnings"]


ENDS = {
    "quits": r"SystemExit\(3\)",
    "leaves": r"importing 'leaves_plugin' \(.*leaves_plugin\.py\) ended the process with exit code 7",
    "leaves_quietly": r"importing .* ended the process with exit code 0",
    "waits": r"importing 'waits_plugin' \(.*waits_plugin\.py\) took more than 1 seconds",
    "is_killed": r"importing .* ended the process with exit code -9",
}


@pytest.mark.parametrize("name", AT_IMPORT)
def test_a_plugin_that_ends_its_process_on_import_is_named(site, monkeypatch, name):
    if name == "waits":  # an import that never ends is over the limit on every machine
        monkeypatch.setattr(plugins, "IMPORT_SECONDS", 1.0)
    with pytest.raises(ValueError, match=rf"'{name}' from rude-plugin cannot be loaded: {ENDS[name]}"):
        plugins.lookup("methods", name)


def test_a_plugin_is_tried_once_for_a_process_and_its_workers(site, monkeypatch):
    assert plugins.lookup("methods", "prints").__name__ == "Prints"
    sys.modules.pop("rude_plugin")

    def never(*args, **options):
        raise AssertionError("imported again")

    monkeypatch.setattr(plugins.subprocess, "run", never)
    assert plugins.lookup("methods", "prints").__name__ == "Prints"
