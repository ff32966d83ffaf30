"""The suite of real models end to end on GSM8K examples, with the built-in model in place of each model.

The built-in model answers less than one percent of these examples correctly, even with the prompt format of
its training. Many examples are therefore evaluated, so that the attacks have correct answers to attack.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from e2e.conftest import Command
from ruamel.yaml import YAML

from zobench import store

SUITE = Path(__file__).resolve().parents[2] / "suites" / "math-robustness.yaml"
ROWS = {"train": 40, "dev": 4, "test": 260, "max_new_tokens": 48, "prompt": "Q: {question}\nA:"}


def small(folder: Path) -> Path:
    """The suite with nano for every model, few rows, and the built-in masked LM; everything else as it is."""
    yaml = YAML()
    body = yaml.load(SUITE.read_text(encoding="utf-8"))
    body["models"] = {"nano": {"name": "builtin:nano"}}
    body["tasks"] = {name: {"params": {"source": "local", **ROWS}} for name in ("gsm8k", "math500")}
    body["tasks"]["math500"]["params"] = {"source": "local", "test": 12, "max_new_tokens": 32}
    for entry in body["attacks"].values():
        params = entry.get("params", {})
        if "masked_lm" in params:
            params["masked_lm"] = "builtin:nano-mlm"
        if "budget" in params:
            params["budget"] = 8
    body["attacks"]["mscr"]["params"] = {"budget": 12}
    for name in ("bert-attack-like", "textbugger-like"):
        body["attacks"][name]["params"] = {**body["attacks"][name].get("params", {}), "budget": 8}
    body["seeds"], body["budget"] = [1], {"forwards": 20, "batch_size": 4}
    body["evaluation"].update({"at": [0, 10], "attacks_at": [0], "test_items": 260, "attack_items": 260})
    body["executor"] = {"kind": "inline"}
    path = folder / "small.yaml"
    with path.open("w", encoding="utf-8") as stream:
        yaml.dump(body, stream)
    return path


@pytest.mark.slow
@pytest.mark.wordnet
def test_math_robustness_on_gsm8k_rows(zobench: Command, tmp_path: Path) -> None:
    if not os.environ.get("ZOBENCH_DATA"):
        pytest.skip("ZOBENCH_DATA is not set: the rows of GSM8K are not here")
    done = zobench("run", small(tmp_path), "--output", "out")
    assert done.returncode == 0, done.stderr[-2000:] + done.stdout[-2000:]
    runs = store.read([tmp_path / "out"]).frame("runs")
    assert set(runs["status"]) == {"done"}
    assert set(zip(runs["row"], runs["task"], strict=True)) == {
        ("zero-shot", "gsm8k"), ("mezo", "gsm8k"), ("fzoo", "gsm8k"), ("zero-shot", "math500"),
    }  # fmt: skip
    metrics = store.read([tmp_path / "out"]).frame("metrics")
    final = metrics[metrics["final"] & (metrics["condition_kind"] == "attack")]
    listed = set(YAML(typ="safe").load(SUITE.read_text(encoding="utf-8"))["attacks"])
    # Accuracy over the variants of a problem stands under the attack they are variants of.
    assert set(final["condition"]) == {*listed, "irrelevant-sentence"}
    named = set(final["metric"])
    assert {"accuracy", "strict_accuracy", "accuracy_before", "queries_total", "attacked"} <= named
    on_words = final["run_id"].isin(runs[runs["task"] == "gsm8k"]["run_id"])
    attacked = final[on_words & (final["metric"] == "attacked")].set_index("condition")["value"]
    assert attacked.groupby(level=0).min().reindex(sorted(listed)).gt(0).all(), attacked.to_string()
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "mscr-wordnet" in page
