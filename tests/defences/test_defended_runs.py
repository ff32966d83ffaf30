"""Defences in a suite run: certified accuracy is a metric, and attacks query the defended model."""

from __future__ import annotations

import pytest

from zobench.runner.execute import run_one
from zobench.runner.factory import CatalogueFactory
from zobench.runner.jobs import Job
from zobench.runner.process_cache import ProcessCache
from zobench.store.reader import read_run
from zobench.suite import expand, load

SUITE = """
suite: defended
models: {nano: {name: "builtin:nano"}}
tasks:
  denoised-smoothing: {params: {of: nano-topic, steps: 30, n: 60}}
methods:
  csam: {params: {lr: 1e-4, rho: 0.05}, group: control}
attacks:
  char-typos: {}
seeds: [1]
budget: {forwards: 24, batch_size: 8}
evaluation: {at: [0], test_items: 16, attack_items: 4}
"""


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("defended")
    (folder / "defended.yaml").write_text(SUITE)
    bench, found = ProcessCache(CatalogueFactory()), {}
    for planned in expand(load(folder / "defended.yaml")).runs:
        outcome = run_one(Job(planned, "defended"), folder / "runs", bench)
        assert outcome.status == "done"
        found[planned.spec.task.name] = {
            name: table.to_pylist() for name, table in read_run(folder / "runs", outcome.run_id).items()
        }
    return found


def test_certified_accuracy_against_radius_is_a_metric_of_the_run(tables):
    task = "denoised-smoothing"
    rows = [r for r in tables[task]["metrics"] if r["condition_kind"] == "clean" and r["final"]]
    values = {r["metric"]: r["value"] for r in rows if r["split"] == "test"}
    curve = [values["accuracy"], *(values[f"certified_accuracy_at_{r}"] for r in ("0.25", "0.5", "1"))]
    assert curve == sorted(curve, reverse=True)
    assert curve[0] > 0
    assert 0 <= values["abstained"] <= 1
    assert "ece_15_equal_width" in values
    attacked = {r["metric"] for r in tables[task]["metrics"] if r["condition_kind"] == "attack"}
    assert {"accuracy", "queries_total", "success_rate"} <= attacked


def test_training_was_csams(tables):
    [run] = tables["denoised-smoothing"]["runs"]
    assert (run["method"], run["forwards"], run["steps"]) == ("csam", 24, 4)
