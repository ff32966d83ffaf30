"""Twenty of TOFU's authors, from the release's files to the results: a model and an oracle trained on demand,
two authors forgotten, probes, records. The accuracy of so small a model is not tested."""

from __future__ import annotations

import math

import pytest

from zobench.runner import run_plan
from zobench.store.reader import read
from zobench.suite import expand, load

SUITE = """\
suite: tofu
models: {small: {name: "pair:full"}}
unlearning:
  oracle: {name: "pair:oracle"}
  data: {source: tofu, params: {authors: 20, holdout: 2}}
  pair: {width: 32, layers: 2, heads: 2, mlp: 64, vocabulary: 1500, steps: 40, batch: 12, lr: 5e-3}
  objectives: {npo: {}}
  probes:
    relearn: {params: {steps: [0, 3], rates: [1e-3]}}
    rephrase: {}
  check_every: 3
  scored_retain: 0.05
methods:
  adam: {params: {lr: 1e-3}}
seeds: [0]
budget: {forwards: 24, batch_size: 4}
"""


@pytest.mark.slow
def test_twenty_authors_end_to_end(tmp_path, real_data, monkeypatch):
    monkeypatch.setenv("ZOBENCH_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "tofu.yaml"
    path.write_text(SUITE)
    plan = expand(load(path))
    summary = run_plan(plan, tmp_path / "out", workers=0, progress=False)
    assert summary.failed == []
    assert summary.done == 4, "full model, oracle, adam, its noise control"
    tables = read(tmp_path / "out" / "runs", ["runs", "metrics"])
    runs, metrics = tables.runs.set_index("row"), tables.metrics
    assert set(runs["primary_metric"]) == {"forget_probability"}, "TOFU's rows do not say where the fact is"
    oracle = metrics[metrics["run_id"] == runs.loc["oracle", "run_id"]]
    clean = oracle[oracle["condition_kind"] == "clean"].set_index("metric")["value"]
    assert clean["privleak"] == clean["forget_quality_d"] == 0
    assert {"utility", "real_authors_probability_among_options", "world_facts_truth_ratio_utility"} <= set(
        clean.index
    )
    adam = metrics[metrics["run_id"] == runs.loc["adam", "run_id"]]
    probes = adam[(adam["condition_kind"] == "probe") & (adam["split"] == "test")]
    assert set(probes["condition"]) == {"none", "relearn", "rephrase"}
    assert probes["value"].map(math.isfinite).all()
    sizes = probes[probes["metric"] == "forget_probability"]["n"]
    assert set(sizes) == {20}, "half of the questions about two authors"
    digest = runs.loc["adam", "model_digest"]
    again = run_plan(plan, tmp_path / "twice", workers=0, progress=False)
    assert again.done == 4
    other = read(tmp_path / "twice" / "runs", ["runs"]).runs.set_index("row")
    assert other.loc["adam", "model_digest"] == digest, "the pair was trained once"
    assert other.loc["adam", "run_id"] == runs.loc["adam", "run_id"]
