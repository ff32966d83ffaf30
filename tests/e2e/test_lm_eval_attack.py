"""An lm-eval task under attack, through the command line: its examples are edited, and the harness scores
them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from e2e.conftest import Command

from zobench import store
from zobench.tasks.nano import NanoFewShotConfig, NanoSentiment

pytest.importorskip("lm_eval")
ROWS = 30
TASK = """\
task: doors
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: '{{sentence}}. so the door is'
doc_to_choice: [red, green]
doc_to_target: label
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
"""
SUITE = """\
suite: harness
models:
  nano: {name: "builtin:nano"}
tasks:
  nano-sentiment: {}
methods:
  zero-shot: {method: none}
attacks:
  char-typos: {}
seeds: [1]
budget: {forwards: 10, batch_size: 4}
evaluation:
  test_items: 30
  attack_items: 30
  lm_eval: [doors]
  lm_eval_include: FOLDER
  lm_eval_attack: {doors: sentence}
executor: {kind: inline}
"""


@pytest.mark.slow
def test_harness_rows_are_attacked_and_scored_by_the_harness(zobench: Command, tmp_path: Path) -> None:
    test = NanoSentiment(NanoFewShotConfig()).splits(1).test[:ROWS]
    rows = [{"sentence": e.text["sentence"], "label": e.label} for e in test]
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    (folder / "doors.yaml").write_text(TASK, encoding="utf-8")
    suite = tmp_path / "harness.yaml"
    suite.write_text(SUITE.replace("FOLDER", str(folder)), encoding="utf-8")
    done = zobench("run", suite, "--output", "out")
    assert done.returncode == 0, done.stderr[-2000:] + done.stdout[-2000:]
    read = store.read([tmp_path / "out"])
    metrics = read.frame("metrics")
    clean = metrics[(metrics["task"] == "doors") & (metrics["condition_kind"] == "clean")]
    by_harness = clean.set_index("metric")["value"]["acc"]
    attack = metrics[(metrics["task"] == "doors") & (metrics["condition_kind"] == "attack")]
    found = attack.set_index("metric")["value"]
    assert found["accuracy_before"] == pytest.approx(by_harness)
    assert 0 < found["accuracy"] < by_harness
    records = read.frame("attacks")
    records = records[(records["task"] == "doors") & (records["condition_kind"] == "attack")]
    won = records[records["outcome"] == "success"]
    assert len(records) == ROWS
    assert len(won) > 0
    assert (won["original"] != won["edited"]).all()
    assert set(records["original"]) == {r["sentence"] for r in rows}
