"""Trackers receive every step and metric, do not change a run, and may fail."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import tracker_fakes
from runner_fakes import FakeParts

from zobench.plugins import entries
from zobench.runner.execute import run_one
from zobench.runner.jobs import Job
from zobench.runner.process_cache import ProcessCache
from zobench.runner.scheduler import run_plan
from zobench.spec import Budget, Component, Evaluation, ModelRef, PlannedRun, RunSpec
from zobench.store.reader import read_run
from zobench.suite import load
from zobench.suite.plan import Plan
from zobench.suite.schema import ExecutorSettings

SUITE = """\
suite: small
models:
  nano: {name: "builtin:nano"}
tasks:
  nano-sentiment: {}
methods:
  none: {}
seeds: [0]
budget: {forwards: 0}
trackers: TRACKERS
"""


def planned(**changes: Any) -> PlannedRun:
    values: dict[str, Any] = {
        "model": ModelRef(name="tiny"),
        "task": Component(name="count"),
        "method": Component(name="mezo", params={"lr": 0.05, "epsilon": 1e-2}),
        "seed": 0,
        "budget": Budget(forwards=8, batch_size=8),
        "evaluation": Evaluation(at=(0, 4)),
        "attacks": (Component(name="swap"),),
    }
    return PlannedRun(row="mezo lr=0.05", spec=RunSpec(**{**values, **changes}))


def done(folder: Path, *trackers: str, **changes: Any) -> Any:
    tracker_fakes.Heard.calls.clear()
    tracker_fakes.Clumsy.steps = 0
    job = Job(planned(**changes), "tiny", trackers=trackers)
    return run_one(job, folder / "runs", ProcessCache(FakeParts()))


def test_a_tracker_of_a_plugin_hears_everything_in_order(plugged, tmp_path):
    outcome = done(tmp_path, "heard")
    calls = tracker_fakes.Heard.calls
    assert calls[0] == ("made", tmp_path)
    run = calls[1][1]
    assert (run.run_id, run.suite, run.title) == (outcome.run_id, "tiny", "mezo lr=0.05 on count, seed 0")
    tables = {name: t.to_pylist() for name, t in read_run(tmp_path / "runs", outcome.run_id).items()}
    told = [c[1:] for c in calls if c[0] == "step"]
    assert told == [(s["forwards"], {"loss": s["loss"], "lr": s["lr"]}) for s in tables["steps"]]
    metrics = [c[1:] for c in calls if c[0] == "metric"]
    accuracy = {
        m["forwards"]: m["value"]
        for m in tables["metrics"]
        if m["metric"] == "accuracy" and m["split"] == "test" and m["condition_kind"] == "clean"
    }
    assert [(f, v) for f, name, v in metrics if name == "test/accuracy"] == sorted(accuracy.items())
    assert {"attack/swap/accuracy", "null/swap/accuracy", "attack/swap/net_success_rate"} <= {
        name for _, name, _ in metrics
    }
    assert calls[-1] == ("finished", "done")


def test_trackers_are_no_part_of_a_run_and_change_no_number(plugged, tmp_path):
    one, two = done(tmp_path / "a", "heard"), done(tmp_path / "b")
    assert one == two
    rows = [read_run(tmp_path / p / "runs", one.run_id)["runs"].to_pylist()[0] for p in "ab"]
    assert rows[0]["weights_digest"] == rows[1]["weights_digest"]


def test_a_tracker_that_fails_is_named_once_and_the_run_goes_on(plugged, tmp_path, capsys):
    outcome = done(tmp_path, "clumsy", "heard", "unknown-one")
    assert outcome.status == "done"
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2
    assert "unknown tracker 'unknown-one'" in told[0]
    assert f"tracker 'clumsy' is disabled for run {outcome.run_id}" in told[1]
    assert sum(c[0] == "step" for c in tracker_fakes.Heard.calls) == 4
    assert tracker_fakes.Clumsy.steps == 3


def test_a_run_that_fails_says_so(plugged, tmp_path):
    done(tmp_path, "heard", method=Component(name="nine", params={"fail_at": 0}), budget=Budget(forwards=9))
    assert tracker_fakes.Heard.calls[-1] == ("finished", "failed")


def test_a_plan_hands_its_trackers_to_its_runs(plugged, tmp_path):
    tracker_fakes.Heard.calls.clear()
    plan = Plan(
        suite="tiny", runs=(planned(),), executor=ExecutorSettings(kind="inline"), trackers=("heard",)
    )
    run_plan(plan, tmp_path, progress=False, parts="runner_fakes:PARTS")
    assert tracker_fakes.Heard.calls[-1] == ("finished", "done")


@pytest.mark.parametrize(
    ("trackers", "message"),
    [
        (
            "[lacking]",
            "small.yaml:10: trackers[0]: tracker 'lacking' needs the package 'no_such_package_at_all'",
        ),
        ("[tensorbord]", "unknown tracker 'tensorbord'"),
        ("[heard, heard]", "tracker 'heard' is listed 2 times"),
        ("heard", "must be a list"),
    ],
)
def test_a_suite_is_refused_before_anything_runs(plugged, tmp_path, trackers, message):
    path = tmp_path / "small.yaml"
    path.write_text(SUITE.replace("TRACKERS", trackers))
    with pytest.raises(ValueError) as caught:
        load(path)
    assert message in str(caught.value)


def test_a_suite_with_a_tracker_is_expanded(plugged, tmp_path):
    from zobench.suite import expand

    path = tmp_path / "small.yaml"
    path.write_text(SUITE.replace("TRACKERS", "[heard]"))
    plan = expand(load(path))
    assert plan.trackers == ("heard",)
    path.write_text(SUITE.replace("TRACKERS", "[]"))
    assert expand(load(path)).runs == plan.runs


def test_the_built_in_trackers_import_without_their_packages():
    names = [n for n, e in entries("trackers").items() if e.origin == "builtin"]
    assert names == ["mlflow", "tensorboard", "trackio", "wandb"]
    code = (
        "import sys\nfrom zobench.plugins import lookup\n"
        f"for n in {names}: lookup('trackers', n)\n"
        "print(*[n for n in ('torch', 'tensorboard', 'wandb', 'mlflow', 'trackio') if n in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="tensorboard is not installed")
def test_tensorboard_files_hold_the_steps(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    outcome = done(tmp_path, "tensorboard")
    (folder,) = (p.parent for p in tmp_path.glob("tensorboard/**/events.*"))
    assert folder == tmp_path / "tensorboard" / "mezo lr=0.05" / "count" / f"seed-0-{outcome.run_id[:8]}"
    found = EventAccumulator(str(folder)).Reload()
    steps = read_run(tmp_path / "runs", outcome.run_id)["steps"].to_pylist()
    scalars = [(s.step, s.value) for s in found.Scalars("train/loss")]
    assert scalars == [(s["forwards"], pytest.approx(s["loss"], rel=1e-6)) for s in steps]
    assert [s.step for s in found.Scalars("test/accuracy")] == [0, 4, 8]


@pytest.mark.skipif(importlib.util.find_spec("mlflow") is None, reason="mlflow is not installed")
def test_mlflow_holds_the_steps(tmp_path, monkeypatch):
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'ml.db'}")
    outcome = done(tmp_path, "mlflow")
    client = MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name("tiny").experiment_id])
    assert run.data.tags["zobench.run_id"] == outcome.run_id
    assert run.info.status == "FINISHED"
    steps = read_run(tmp_path / "runs", outcome.run_id)["steps"].to_pylist()
    history = client.get_metric_history(run.info.run_id, "train/loss")
    assert [(m.step, m.value) for m in history] == [(s["forwards"], s["loss"]) for s in steps]


@pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="wandb is not installed")
def test_wandb_writes_offline(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    outcome = done(tmp_path, "wandb")
    assert outcome.status == "done"
    assert "is disabled for run" not in capsys.readouterr().err
    assert list(tmp_path.glob(f"wandb/offline-run-*-{outcome.run_id}/*.wandb"))


class FakeRun:
    """What Trackio's documentation says of the run that ``init`` returns."""

    def __init__(self, **settings: Any) -> None:
        self.settings, self.logged, self.ended = settings, [], 0

    def log(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.logged.append((metrics, step))

    def finish(self) -> None:
        self.ended += 1


def test_trackio_gets_every_value_at_its_forward_passes(tmp_path, monkeypatch):
    made: list[FakeRun] = []
    module = types.ModuleType("trackio")
    module.init = lambda **settings: made.append(FakeRun(**settings)) or made[0]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "trackio", module)
    outcome = done(tmp_path, "trackio")
    (run,) = made
    assert outcome.status == "done"
    assert run.settings["project"] == "tiny"
    assert run.settings["name"].endswith(f"({outcome.run_id})")
    assert run.settings["resume"] == "allow"
    steps = read_run(tmp_path / "runs", outcome.run_id)["steps"].to_pylist()
    assert [(m["train/loss"], at) for m, at in run.logged if "train/loss" in m] == [
        (step["loss"], step["forwards"]) for step in steps
    ]
    assert any("test/accuracy" in m for m, _ in run.logged)
    assert run.logged[-1] == ({"finished": 1.0}, None)
    assert run.ended == 1


@pytest.mark.skipif(importlib.util.find_spec("trackio") is None, reason="trackio is not installed")
def test_trackio_keeps_the_run(tmp_path, monkeypatch):
    """In a process of its own: Trackio fixes its folder when it is imported, and starts a server."""
    code = (
        "import sys; sys.path[:0] = sys.argv[2:]\n"
        "from pathlib import Path\nfrom test_trackers import done\n"
        "outcome = done(Path(sys.argv[1]), 'trackio')\nassert outcome.status == 'done'\n"
        "import trackio\n"
        "runs = trackio.Api().runs('tiny')\nprint('KEPT', [run.name for run in runs], outcome.run_id)\n"
    )
    here = Path(__file__).parent
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    places = [str(here), str(here.parent / "runner")]
    found = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), *places], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    (kept,) = [line for line in found.stdout.splitlines() if line.startswith("KEPT ")]
    names, run_id = kept.rsplit(" ", 1)
    assert f"({run_id})" in names
