"""``train_on`` of each row and quantization groups are checked when the suite is read."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from zobench.suite import SuiteError, expand, load

SUITE = """\
suite: scores
models: {{nano: {{name: "builtin:nano"}}}}
tasks: {{nano-sentiment: {{}}}}
methods: {{row: {{method: {method}, train_on: {score}{more}}}}}
seeds: [1]
budget: {{forwards: 40, batch_size: 4}}
evaluation: {{test_items: 4}}
"""
GROUPS = """\
suite: groups
models: {{nano: {{name: "builtin:nano"}}}}
tasks: {{nano-sentiment: {{}}}}
methods: {{qzo: {{space: {{kind: scales, params: {params}}}}}}}
seeds: [1]
budget: {{forwards: 4, batch_size: 4}}
"""


def read(folder: Path, text: str):
    path = folder / "suite.yaml"
    path.write_text(text, encoding="utf-8")
    return load(path)


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(SuiteError) as caught:
        read(folder, text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        ("adamw", "uses gradients, and accuracy has no gradient"),
        ("sophia", "uses gradients, and accuracy has no gradient"),
        ("grzo", "uses the losses of single examples, which accuracy has not"),
        ("addax", "uses gradients in part of its step"),
        ("zo-fo-hybrid", "uses gradients in part of its step"),
        ("forward-gradient", "computes derivatives in forward mode"),
        ("none", "takes no steps"),
        ("meerkat", "scores entries by gradients before its first step"),
    ],
)
def test_methods_that_need_gradients_are_refused(tmp_path: Path, method: str, reason: str) -> None:
    text = SUITE.format(method=method, score="accuracy", more="")
    assert f"methods.row.train_on: method '{method}' {reason}" in refusal(tmp_path, text)


def test_meerkat_trains_on_a_score_with_another_mask(tmp_path: Path) -> None:
    more = ", params: {scores: magnitude}"
    (run,) = expand(read(tmp_path, SUITE.format(method="meerkat", score="f1", more=more))).runs
    assert run.spec.train_on == "f1"
    assert run.note == "trained on f1, without a gradient"


@pytest.mark.parametrize("key", ["gradient-cosine", "gradip"])
def test_diagnostics_that_read_a_gradient_are_refused(tmp_path: Path, key: str) -> None:
    text = SUITE.format(method="mezo", score="accuracy", more="") + f"diagnostics: {{measure: [{key}]}}\n"
    assert f"diagnostic '{key}' needs a gradient" in refusal(tmp_path, text)
    read(tmp_path, text.replace(key, "sharpness"))


def test_a_task_must_have_the_score(tmp_path: Path) -> None:
    text = SUITE.format(method="mezo", score="f1", more="").replace("nano-sentiment: {}", "copa: {}")
    assert "task 'copa' has no f1 to train on; valid: loss, accuracy" in refusal(tmp_path, text)


def test_unlearning_has_objectives_of_its_own(tmp_path: Path) -> None:
    text = """\
suite: forget
models: {facts: {name: "builtin:nano-facts"}}
unlearning:
  oracle: {name: "builtin:nano-facts-oracle"}
  objectives: {npo: {}}
methods: {mezo: {train_on: accuracy}}
seeds: [0]
budget: {forwards: 120, batch_size: 8}
"""
    assert "methods.mezo.train_on: has no meaning in an unlearning suite" in refusal(tmp_path, text)


def test_an_unset_score_changes_no_identity(tmp_path: Path) -> None:
    loss, accuracy = (
        expand(read(tmp_path, SUITE.format(method="mezo", score=s, more=""))).runs[0].spec
        for s in ("loss", "accuracy")
    )
    assert "train_on" not in loss.canonical()
    assert "precision" not in loss.canonical()
    assert loss.run_id({}) != accuracy.run_id({})


@pytest.mark.parametrize(
    ("params", "where"),
    [("{group: 96}", "params.group: "), ("{}", "space: "), ("{group: 50, bits: 2}", "params.group: ")],
)
def test_groups_that_do_not_divide_a_layer_are_refused(tmp_path: Path, params: str, where: str) -> None:
    told = refusal(tmp_path, GROUPS.format(params=params))
    assert where in told
    assert "do not divide into groups of" in told
    assert "fit every layer" in told
    assert "(model 'nano')" in told


@pytest.mark.parametrize("params", ["{group: 64}", "{group: 0}"])
def test_groups_that_fit_are_taken(tmp_path: Path, params: str) -> None:
    read(tmp_path, GROUPS.format(params=params))


def test_targets_that_match_no_layer_are_refused(tmp_path: Path) -> None:
    told = refusal(tmp_path, GROUPS.format(params="{group: 64, targets: [query]}"))
    assert "['query'] match no linear layer; there are down_proj" in told


@pytest.mark.parametrize(
    ("space", "where", "told"),
    [
        (
            "{kind: lora, params: {targets: [c_attn]}}",
            "space.params.targets",
            "match no linear layer; there are",
        ),
        ("{kind: names, params: {include: ['head.*']}}", "space.params.include", "match none of"),
        ("{kind: masked, params: {include: ['head.*']}}", "space.params.include", "no parameter is tuned"),
        (
            "{kind: masked, params: {indices: {head: [0]}}}",
            "space.params.indices",
            "no parameter named 'head'",
        ),
        ("{kind: bias}", "space", "the module has no bias parameter"),
        ("{kind: zerotuning, params: {heads: 7}}", "space.params.heads", "outputs for 7 heads"),
    ],
)
def test_spaces_that_fit_no_layer_are_refused(tmp_path: Path, space: str, where: str, told: str) -> None:
    text = SUITE.format(method="mezo", score="loss", more=f", space: {space}")
    message = refusal(tmp_path, text)
    assert f"methods.row.{where}: " in message
    assert told in message


@pytest.mark.parametrize("space", ["lora", "prefix", "prompt", "last-layer", "masked", "fake-quant"])
def test_spaces_that_fit_are_taken(tmp_path: Path, space: str) -> None:
    read(tmp_path, SUITE.format(method="mezo", score="loss", more=f", space: {{kind: {space}}}"))


def test_models_that_are_not_here_are_left_to_the_run(tmp_path: Path) -> None:
    read(tmp_path, GROUPS.format(params="{}").replace("builtin:nano", "owner/name"))


TUNE = ", tune: {{space: {{lr: [1e-4, 1e-3]}}, seeds: [9], metric: {metric}}}"


@pytest.mark.parametrize(
    ("metric", "hint"),
    [("acuracy", "did you mean 'accuracy'"), ("strict_accuracy", "accuracy"), ("ece", "ece_15_equal_width")],
)
def test_a_metric_that_no_task_has_is_refused_before_the_search(
    tmp_path: Path, metric: str, hint: str
) -> None:
    text = SUITE.format(method="mezo", score="loss", more=TUNE.format(metric=metric))
    message = refusal(tmp_path, text)
    assert f"methods.row.tune.metric: task 'nano-sentiment' has no metric '{metric}'" in message
    assert hint in message


@pytest.mark.parametrize(
    ("metric", "goal"), [("accuracy", "max"), ("nll", "min"), ("ece_15_equal_width", "min")]
)
def test_a_declared_metric_is_searched_in_its_direction(tmp_path: Path, metric: str, goal: str) -> None:
    text = SUITE.format(method="mezo", score="loss", more=TUNE.format(metric=metric))
    (study,) = expand(read(tmp_path, text)).studies
    assert (study.metric, study.goal) == (metric, goal)


def test_declared_metrics_are_those_that_tasks_compute() -> None:
    from zobench.data.example import Example
    from zobench.plugins import lookup
    from zobench.tasks.base import Prediction

    chosen = Prediction("a", "x", True, label=0, log_probs=(math.log(0.75), math.log(0.25)))
    written = Prediction("a", "4", True, raw="#### 4", tokens=3, strict_correct=True)
    for name, prediction in (("nano-sentiment", chosen), ("nano-problems", written)):
        found = lookup("tasks", name)
        rows = [Example(f"{i}", {}, label=0, answer="4", meta={"steps": i}) for i in (1, 2, 3, 4)]
        assert set(found(found.Config()).metrics(rows, [prediction] * 4)) == set(found.measures_with({}))


@pytest.mark.slow
def test_a_harness_task_that_does_not_exist_is_refused_before_anything_runs(tmp_path: Path) -> None:
    pytest.importorskip("lm_eval")
    text = SUITE.format(method="mezo", score="loss", more="")
    text = text.replace("{test_items: 4}", "{test_items: 4, lm_eval: [gsm8k, gsm8kk]}")
    message = refusal(tmp_path, text)
    assert "evaluation.lm_eval[1]: unknown lm-eval task 'gsm8kk'; did you mean 'gsm8k'" in message
    assert "lm_eval[0]" not in message
