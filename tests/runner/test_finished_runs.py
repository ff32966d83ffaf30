"""Running a finished suite again loads neither model nor data; whatever changed is checked again."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from zobench.models.loading import load as load_model
from zobench.runner import finished_runs, scheduler
from zobench.runner.scheduler import run_plan
from zobench.spec import Component, ModelRef
from zobench.store import compact
from zobench.store.digests import read_sealed
from zobench.suite import expand, load
from zobench.suite.plan import Plan

SUITE = """\
suite: again
models:
  copy: {name: "%s"}
tasks:
  nano-sentiment: {params: {k: 2, validation_k: 2, test_rows: 4}}
methods:
  mezo: {tune: {space: {lr: [1e-4, 1e-3]}, seeds: [9]}}
  zero-shot: {method: none, group: control}
seeds: [1]
budget: {forwards: 4, batch_size: 2}
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Path, Path]:
    """A plan that was run, its model folder and its results."""
    folder = tmp_path_factory.mktemp("again")
    model = folder / "model"
    loaded = load_model(ModelRef(name="builtin:nano"))
    loaded.module.save_pretrained(model)
    loaded.tokenizer.save_pretrained(model)
    (folder / "again.yaml").write_text(SUITE % model)
    plan = expand(load(folder / "again.yaml"))
    summary = run_plan(plan, folder / "results", workers=0, progress=False)
    assert (summary.done, summary.kept) == (4, 0)
    return plan, model, folder / "results"


class Idle:
    """An executor that does nothing but say what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def submit(self, job: Any) -> None:
        self.asked.append(job)

    def news(self) -> Any:
        return iter(())

    def request_stop(self) -> None: ...

    def close(self) -> None: ...

    def kill(self) -> None: ...


def again(plan: Plan, results: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[scheduler.Summary, Idle]:
    idle = Idle()
    monkeypatch.setattr(scheduler, "build", lambda *a, **k: idle)
    return run_plan(plan, results, workers=0, progress=False), idle


def test_a_second_call_asks_no_worker(done: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plan, _, results = done
    summary, idle = again(plan, results, monkeypatch)
    assert idle.asked == []
    assert (summary.done, summary.kept) == (4, 4)
    packed = shutil.copytree(results, tmp_path / "packed")
    assert compact(packed) == 4
    summary, idle = again(plan, packed, monkeypatch)
    assert idle.asked == []
    assert summary.kept == 4


def test_a_touched_model_is_loaded_again(done: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, model, results = done
    path = model / "config.json"
    before = path.stat()
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    try:
        _, idle = again(plan, results, monkeypatch)
        assert len(idle.asked) == 3  # the control and both trials; the tuned run would follow them
    finally:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert again(plan, results, monkeypatch)[1].asked == []


def test_changed_code_is_not_trusted(done: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, _, results = done
    monkeypatch.setattr(finished_runs, "code_stamp", lambda *rooms: "other code")
    assert len(again(plan, results, monkeypatch)[1].asked) == 3


def test_a_missing_run_and_a_damaged_memory_are_done_again(
    done: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plan, _, results = done
    copy = shutil.copytree(results, tmp_path / "copy")
    lost = next(p for p in (copy / "runs").iterdir() if p.is_dir())
    (lost / "status.json").unlink()
    assert len(again(plan, copy, monkeypatch)[1].asked) == 1
    (copy / "runs" / finished_runs.FILE).write_text("{torn")
    assert len(again(plan, copy, monkeypatch)[1].asked) == 3


def test_what_cannot_be_stamped_is_not_remembered(done: Any) -> None:
    assert finished_runs.model_stamp(ModelRef(name="some/hub-model")) is None
    assert finished_runs.data_stamp(Component(name="sst2", params={"source": "hub"})) is None
    assert finished_runs.data_stamp(Component(name="a-plugin's-task")) is None
    body = read_sealed(done[2] / "runs" / finished_runs.FILE)
    assert {key.split()[0] for key in body} == {"model", "data", "revisions"}


def test_a_run_records_where_its_parameters_come_from(done: Any) -> None:
    from zobench.store import query

    sql = "select row, purpose, environment, tuning_forwards from runs order by row, purpose"
    found = query(sql, done[2]).to_dict("records")
    told = [(r["row"], r["purpose"], json.loads(r["environment"])["parameters_from"]) for r in found]
    assert told == [
        ("mezo", "result", "tuning"),
        ("mezo", "tuning", "suite"),
        ("mezo", "tuning", "suite"),
        ("zero-shot", "result", "defaults"),
    ]
    assert found[0]["tuning_forwards"] == 8  # two trials of four forwards each
