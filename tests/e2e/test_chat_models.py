"""A model with a chat template through ``zobench plan`` and ``zobench run``: all kinds of tasks, attacks."""

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

from chat_templates import FOLDED, NO_SYSTEM

SUITE = """\
suite: chat
models:
  plain: {name: MODEL}
  chat: {name: MODEL, chat: true, system: Be kind.}
tasks:
  mine: {task: classification, params: {data: r.csv, template: "{text} It was", words: {a: bad, b: good}}}
  first:
    task: classification
    params: {data: r.csv, template: "{text} It was", words: {a: bad, b: good}, scoring: label-words}
  pick: {task: choice, params: {data: q.jsonl, question: q, options: [x, y], answer: gold}}
  sums:
    task: generation
    params: {data: q.jsonl, template: "Q: {q}", answer: n, match: number, max_new_tokens: 4}
methods:
  mezo: {params: {lr: 1e-3}}
  shown: {method: none, shots: 2, group: control, attacks: false}
attacks:
  char-typos: {tasks: [mine, sums], params: {budget: 12}}
seeds: [1]
budget: {forwards: 4, batch_size: 4}
evaluation: {test_items: 4, attack_items: 2}
executor: {kind: inline}
"""


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from tiny_models import save_tiny
    from transformers import AutoTokenizer

    model = save_tiny("llama", tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.chat_template = FOLDED
    tokenizer.save_pretrained(model)
    rows = "".join(f"a fine film number {i},{'ab'[i % 2]}\n" for i in range(20))
    (tmp_path / "r.csv").write_text("text,label\n" + rows)
    asked = [
        {"q": f"what is {i} and 1?", "x": "less", "y": "more", "gold": "xy"[i % 2], "n": i + 1}
        for i in range(20)
    ]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    path = tmp_path / "chat.yaml"
    path.write_text(SUITE.replace("MODEL", "./model"))
    monkeypatch.chdir(tmp_path)
    return path


def called(*arguments: Any) -> str:
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    assert done.exit_code == 0, done.output
    return done.output


def test_every_kind_of_task_runs_as_a_chat(suite: Path) -> None:
    shown = called("plan", suite, "--show-prompts", "1")
    assert "'Q: what is" in shown
    assert r"'<s><|user|>\nBe kind.\n\na fine film number" in shown
    assert r"It was<|end|>\n<|model|>\n'" in shown
    called("run", suite)
    results = read(["reports/chat"])
    assert set(results.runs["status"]) == {"done"}
    assert len(results.runs) == len(set(results.runs["run_id"])) == 16
    attacked = results.attacks
    assert len(attacked) == 2 * 2 * 2 * 2
    texts = [*attacked["original"], *attacked["edited"]]
    assert not [text for text in texts if "<|" in text or "kind" in text]
    losses = {}
    for file in Path("reports/chat/runs").glob("*/spec.json"):
        planned = json.loads(file.read_text())
        steps = results.steps[results.steps["run_id"] == file.parent.name]
        losses[planned["model_name"], planned["task_name"], planned["row"]] = list(steps["loss"])
    for task in ("mine", "first", "pick", "sums"):
        assert losses["chat", task, "mezo"] != losses["plain", task, "mezo"]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            "chat: true, system: Be kind.",
            "system: Be kind.",
            "system is the system message of a chat: write chat",
        ),
        ("{name: MODEL, chat: true,", '{name: "builtin:nano", chat: true,', "its tokenizer has none"),
        ("chat: true", "chat: yes", "write true"),
    ],
)
def test_mistakes_are_said_at_plan(suite: Path, old: str, new: str, says: str) -> None:
    assert old in SUITE
    suite.write_text(SUITE.replace(old, new).replace("MODEL", "./model"))
    with pytest.raises(SuiteError, match=says):
        load(suite)


def test_templates_are_tried_at_plan(suite: Path) -> None:
    (suite.parent / "model" / "chat_template.jinja").write_text(NO_SYSTEM)
    with pytest.raises(SuiteError, match=r"chat.yaml:4: models.chat.name: .* fails: no system role"):
        load(suite)
