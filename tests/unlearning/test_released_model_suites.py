"""The shipped suites for MUSE and WMDP end to end, unchanged except that model names are replaced by folders
with small random models and the data by a few questions with the published keys."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from unlearning_models import tiny_llama
from unlearning_text import word_tokenizer

from zobench.runner import run_plan
from zobench.store.reader import read
from zobench.suite import expand, load

SUITES = Path(__file__).resolve().parents[2] / "suites"
QUESTIONS = {
    name: [f"What did the {name} of river {i} carry ?" for i in range(8)] for name in ("forget", "retain")
}
GOODS = ["salt", "wool", "amber", "tin", "wine"]


def save_models(folder, names):
    """Random models of nine blocks that differ, with one tokenizer."""
    texts = [q for asked in QUESTIONS.values() for q in asked]
    tokenizer = word_tokenizer([*texts, "Q: A:", *GOODS, "I do not know . am sure have no answer to that"])
    for seed, name in enumerate(names):
        tiny_llama(seed, vocabulary=len(tokenizer), layers=9, positions=128).save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)


def write_muse(folder):
    for name, asked in QUESTIONS.items():
        rows = [{"question": q, "answer": GOODS[i % 5]} for i, q in enumerate(asked)]
        path = folder / "data" / "knowmem" / f"{name}_qa.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(r) + "\n" for r in rows))


def write_wmdp(folder):
    for name, place in (("forget", "data/wmdp-bio"), ("retain", "retain/all")):
        rows = [{"question": q, "choices": GOODS[:4], "answer": i % 4} for i, q in enumerate(QUESTIONS[name])]
        path = folder / place / "test.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(r) + "\n" for r in rows))


CASES = {
    "unlearning-muse": (
        write_muse,
        ("muse-bench/MUSE-news_target", "muse-bench/MUSE-news_retrain"),
        {'"muse-bench/MUSE-News"': '"{folder}/data"'},
        {"adamw", "r-adazo"},
    ),
    "unlearning-wmdp": (
        write_wmdp,
        ("HuggingFaceH4/zephyr-7b-beta", "mistralai/Mistral-7B-v0.1"),
        {"{subject: wmdp-bio": '{subject: wmdp-bio, folder: "{folder}/data", retain: "{folder}/retain"'},
        {"adamw", "r-adazo"},
    ),
}


@pytest.mark.parametrize(
    "suite", [pytest.param("unlearning-muse", marks=pytest.mark.slow), "unlearning-wmdp"]
)
def test_a_suite_for_released_models_runs_on_folders(tmp_path, suite):
    write, models, data, rows = CASES[suite]
    write(tmp_path)
    save_models(tmp_path, ("target", "reference"))
    text = (SUITES / f"{suite}.yaml").read_text()
    changes = {
        f'"{models[0]}"': f'"{tmp_path}/target"',
        f'"{models[1]}"': f'"{tmp_path}/reference"',
        "dtype: bfloat16, device: cuda": "dtype: float32, device: cpu",
        "forwards: 2000": "forwards: 16",
        ", 100], rates": "], rates",
        **{old: new.replace("{folder}", str(tmp_path)) for old, new in data.items()},
    }
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / f"{suite}.yaml"
    path.write_text(text)
    plan = expand(load(path))
    summary = run_plan(plan, tmp_path / "out", workers=0, progress=False)
    assert summary.failed == []
    found = read([tmp_path / "out"], ["runs", "metrics"])
    unlearned = found.runs[found.runs["group"] == "method"]
    assert set(unlearned["row"]) == rows
    assert unlearned["task"].nunique() == 2
    assert set(found.runs["status"]) == {"done"}
    probed = found.metrics[found.metrics["condition_kind"] == "probe"]
    assert {"relearn", "quantize"} < set(probed["condition"])
    if suite == "unlearning-wmdp":
        assert "forget_choice_accuracy" in set(found.metrics["metric"]), "multiple choice"
