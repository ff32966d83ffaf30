"""Changes that a run makes to its process are named in its warnings and undone before the next run."""

from __future__ import annotations

import json
import os
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from runner_fakes import FakeParts, Nine, NineConfig

from zobench.runner.execute import run_one
from zobench.runner.jobs import Job
from zobench.runner.process_cache import ProcessCache
from zobench.runner.process_state import FLAGS, ProcessState
from zobench.spec import Component
from zobench.store.reader import read_run

MEDDLING = {
    "threads": lambda: torch.set_num_threads(3),
    "default dtype": lambda: torch.set_default_dtype(torch.float64),
    "default device": lambda: torch.set_default_device("meta"),
    "gradient mode": lambda: torch.set_grad_enabled(False),
    "deterministic algorithms": lambda: torch.use_deterministic_algorithms(True, warn_only=True),
    "float32 matmul precision": lambda: torch.set_float32_matmul_precision("medium"),
    "cudnn.deterministic": lambda: setattr(torch.backends.cudnn, "deterministic", True),
    "cudnn.benchmark": lambda: setattr(torch.backends.cudnn, "benchmark", True),
    "random state of random": random.random,
    "random state of numpy": np.random.rand,
    "random state of torch": lambda: torch.rand(1),
    "environment variables ZO_ADDED": lambda: os.environ.update(ZO_ADDED="secret"),
    "environment variables ZO_GONE": lambda: os.environ.pop("ZO_GONE"),
    "working directory": lambda: os.chdir("/"),
}


@dataclass(frozen=True)
class MeddlerConfig(NineConfig):
    what: str = ""


class Meddler(Nine):
    """Changes one thing at the end of its second step."""

    Config = MeddlerConfig

    def step(self, objective):
        record = super().step(objective)
        if self.t == 2:
            MEDDLING[self.config.what]()
        return record


class Parts(FakeParts):
    def method(self, name):
        return Meddler if name == "meddler" else super().method(name)


@pytest.fixture
def meddle(tmp_path: Path, make_run, monkeypatch):
    monkeypatch.setenv("ZO_GONE", "1")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ZO_ADDED", raising=False)
    torch.manual_seed(1)  # the global state of a fresh process is its seed alone
    bench = ProcessCache(Parts())

    def run(row="meddler", **params):
        planned = make_run(row, **({"method": Component(name=row, params=params)} if params else {}))
        outcome = run_one(Job(planned, "tiny"), tmp_path / "runs", bench)
        return outcome, read_run(tmp_path / "runs", outcome.run_id)["runs"].to_pylist()[0]

    return run


def warned(row):
    traps = {t["trap"]: t["detail"] for t in json.loads(row["warnings"] or "[]")}
    return traps.get("process-state", "")


def test_every_flag_is_tried():
    assert set(FLAGS) <= set(MEDDLING)


@pytest.mark.parametrize("what", MEDDLING)
def test_a_change_is_named_and_undone(meddle, what):
    before = ProcessState.now()
    outcome, row = meddle(what=what)
    assert outcome.status in ("done", "failed", "diverged"), "a default device may break the run itself"
    assert what in warned(row)
    assert ";" not in warned(row), "one change, one name"
    assert "secret" not in row["warnings"]
    assert before.changes() == []


def test_a_failed_run_names_it_too(meddle):
    before = ProcessState.now()
    outcome, row = meddle(what="threads", fail_at=3)
    assert outcome.status == "failed"
    assert warned(row).startswith("threads ")
    assert before.changes() == []


def test_built_in_rows_change_nothing(meddle):
    for row in ("mezo", "nine"):
        assert warned(meddle(row)[1]) == ""


def test_the_run_after_it_has_the_bits_of_a_fresh_process(meddle, tmp_path, make_run):
    fresh = run_one(Job(make_run(), "tiny"), tmp_path / "fresh", ProcessCache(Parts()))
    alone = read_run(tmp_path / "fresh", fresh.run_id)["runs"].to_pylist()[0]["weights_digest"]
    for what in MEDDLING:
        meddle(what=what)
    assert meddle("mezo")[1]["weights_digest"] == alone


def test_variables_that_libraries_set_for_themselves_stay(monkeypatch):
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    before = ProcessState.now()
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "x")
    assert before.changes() == []
    before.restore()
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == "x"
