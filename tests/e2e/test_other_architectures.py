"""Encoder-decoder models and trained classification heads through ``zobench plan`` and ``zobench run``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from zobench.cli.app import app
from zobench.store.reader import read
from zobench.suite import SuiteError, load

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))

from tiny_models import save_tiny

MINE = (
    'mine: {task: classification, params: {data: r.csv, template: "{text} It was", words: {a: bad, b: good}}}'
)
FIRST = MINE.replace("mine", "first").replace("}}}", "}, scoring: label-words}}")
PICK = "pick: {task: choice, params: {data: q.jsonl, question: q, options: [x, y], answer: gold}}"
SUMS = 'sums: {task: generation, params: {data: q.jsonl, template: "Q: {q}", answer: n, max_new_tokens: 4}}'
SUITE = """\
suite: other
models:
  m: {name: ./model}
tasks:
  TASKS
methods:
  mezo: {params: {lr: 1e-3}}
  adamw: {params: {lr: 1e-3}, attacks: false}
  fzoo: {params: {lr: 1e-3}, perturbation: streamed, attacks: false}
  untrained: {method: none, group: control}
attacks:
  char-typos: {params: {budget: 12}, tasks: [mine]}
seeds: [1]
budget: {forwards: 18, batch_size: 4}
evaluation: {test_items: 4, attack_items: 2}
executor: {kind: inline}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    rows = "".join(f"a fine film number {i} {'was great' * (i % 3)},{'ab'[i % 2]}\n" for i in range(20))
    (tmp_path / "r.csv").write_text("text,label\n" + rows)
    asked = [
        {"q": f"what is {i}?", "x": "less", "y": "more so", "gold": "xy"[i % 2], "n": i + 1}
        for i in range(20)
    ]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def suite(folder: Path, *tasks: str, **changes: str) -> Path:
    text = SUITE.replace("TASKS", "\n  ".join(tasks))
    for old, new in changes.items():
        text = text.replace(old, new)
    path = folder / "other.yaml"
    path.write_text(text)
    return path


def called(*arguments: Any) -> str:
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    assert done.exit_code == 0, done.output
    return done.output


def done(results: Any, rows: int) -> None:
    runs = results.runs
    assert len(runs) == rows
    assert set(runs["status"]) == {"done"}, list(results.failures["reason"])
    assert len(results.failures) == 0
    trained = runs[runs["row"] != "untrained"]
    assert len(trained)
    assert len(results.attacks)


@pytest.mark.parametrize("family", ["t5", pytest.param("bart", marks=pytest.mark.slow)])
def test_an_encoder_decoder_model_runs(folder: Path, family: str) -> None:
    save_tiny(family, folder / "model")
    path = suite(folder, MINE, FIRST, PICK, SUMS, **{"attacks: false": "attacks: false, tasks: [mine]"})
    shown = called("plan", path, "--show-prompts", "1")
    assert "'a fine film number" in shown
    called("run", path)
    results = read(["reports/other"])
    done(results, 10)


@pytest.mark.parametrize(
    "family", ["bert-classifier", "llama-classifier", pytest.param("gpt2-classifier", marks=pytest.mark.slow)]
)
def test_a_trained_head_is_tuned_and_attacked(folder: Path, family: str) -> None:
    save_tiny(family, folder / "model", id2label={0: "GOOD", 1: "neither", 2: " Bad"})
    path = suite(folder, MINE)
    shown = called("plan", path, "--show-prompts", "1")
    assert "'a': output 2 of the head" in shown.replace("bad", "a")
    called("run", path)
    done(read(["reports/other"]), 4)


@pytest.mark.parametrize(
    ("family", "task", "changes", "says"),
    [
        (
            "t5",
            MINE,
            {"params: {lr: 1e-3}}": "params: {lr: 1e-3}, space: {kind: prefix}}"},
            "space 'prefix' does",
        ),
        (
            "t5",
            MINE,
            {"executor:": "executor:", "attack_items: 2": "attack_items: 2, lm_eval: [arc_easy]"},
            "lm-eval tasks need",
        ),
        ("t5", MINE, {"./model}": "./model, chat: true}"}, "chat: true needs a causal model"),
        (
            "bert-classifier",
            SUMS,
            {"tasks: [mine]": "tasks: [sums]"},
            "generates answers, which",
        ),
        ("bert-classifier", PICK, {"tasks: [mine]": "tasks: [pick]"}, "scores options of each example"),
        ("bert-classifier", MINE, {"method: none": "method: none, shots: 2"}, "reads no demonstrations"),
        ("bert-classifier", MINE, {}, "LABEL_0, LABEL_1.* have none for the class 'a'"),
        (
            "bert-classifier",
            MINE,
            {"./model}": "./model, labels: {a: LABEL_0, b: LABEL_9}}"},
            "no label 'LABEL_9'",
        ),
        ("bert-classifier", MINE, {"./model}": "./model, labels: {a: LABEL_0, b: LABEL_0}}"}, "one by one"),
        (
            "llama",
            MINE,
            {"./model}": "./model, labels: {a: LABEL_0}}"},
            "labels are those of a class",
        ),
        ("bert-masked", MINE, {}, "option-likelihood needs a causal or an encoder-decoder model"),
    ],
)
def test_what_has_no_sense_is_said_at_plan(
    folder: Path, family: str, task: str, changes: dict[str, str], says: str
) -> None:
    save_tiny(family, folder / "model")
    with pytest.raises(SuiteError, match=says):
        load(suite(folder, task, **changes))


@pytest.mark.parametrize("settings", [{"problem_type": "regression"}, {"num_labels": 1}])
def test_a_head_that_chooses_no_class_is_refused(folder: Path, settings: dict[str, Any]) -> None:
    save_tiny("bert-classifier", folder / "model", **settings)
    with pytest.raises(SuiteError, match="does not choose one of several classes"):
        load(suite(folder, MINE))


def test_labels_named_in_the_suite_are_part_of_the_identity(folder: Path) -> None:
    from zobench.suite import expand

    save_tiny("bert-classifier", folder / "model")
    ids = []
    for pair in ("{a: LABEL_0, b: LABEL_1}", "{b: LABEL_1, a: LABEL_0}", "{a: LABEL_1, b: LABEL_0}"):
        spec = expand(load(suite(folder, MINE, **{"./model}": f"./model, labels: {pair}}}"}))).runs[0].spec
        assert type(spec).model_validate_json(spec.model_dump_json()) == spec
        ids.append(spec.run_id({"model": "m", "data": "d", "schema": "1"}))
    assert ids[0] == ids[1] != ids[2]
