"""Rows with an information bottleneck in a suite file: refusals with the key, defaults, identity, note."""

from __future__ import annotations

from pathlib import Path

import pytest

from zobench.runner import run_plan
from zobench.runner.replaying import replay
from zobench.spec import identifying
from zobench.store.reader import read
from zobench.suite import SuiteError, expand, load
from zobench.trained_on import BottleneckRef

SUITE = """\
suite: bottleneck
models: {{m: {{name: "builtin:{model}"}}}}
tasks: {{{task}: {{}}}}
methods: {{row: {{method: {method}, train_on: {ref}{more}}}}}
seeds: [1]
budget: {{forwards: 6, batch_size: 4}}
evaluation: {{test_items: 16}}
{section}"""
PLAIN = {"model": "nano-facts", "task": "half-memorized", "method": "mezo", "more": "", "section": ""}
FORM = "{bottleneck: variational}"


def read_suite(folder: Path, ref: str, **kind: str):
    path = folder / "suite.yaml"
    path.write_text(SUITE.format(**{**PLAIN, "ref": ref, **kind}), encoding="utf-8")
    return load(path)


@pytest.mark.parametrize(
    ("ref", "kind", "message"),
    [
        ("{bottleneck: hsics}", {}, "train_on.bottleneck: must be one of variational, hsic"),
        ("{bottleneck: hsic, wait: 1}", {}, "train_on.wait: unknown key; did you mean 'weight'"),
        ("{bottleneck: hsic, weight: -1}", {}, "train_on.weight: must be"),
        ("{bottleneck: hsic, noise: 0.1}", {}, "train_on.noise: belongs to bottleneck: variational"),
        ("{bottleneck: variational, keep: 1}", {}, "train_on.keep: belongs to bottleneck: hsic"),
        (
            "{bottleneck: hsic, layer: 9}",
            {},
            "train_on.layer: layer 9 does not exist: the model has 3",
        ),
        (FORM, {"task": "nano-topic"}, "task 'nano-topic' has no generated answers"),
        (FORM, {"method": "none"}, "method 'none' takes no steps"),
        (FORM, {"method": "dp-zo"}, "uses the losses of single examples, which bottleneck has not"),
        (FORM, {"more": ", perturbation: grouped"}, "perturbation: grouped cannot compute a bottleneck"),
        (FORM, {"more": ", budget: {micro_batch: 2}"}, "bottleneck cannot be computed in parts"),
        (FORM, {"more": ", best_of: 2"}, "needs a reward to choose by"),
        (FORM, {"model": "nano-mlm"}, "a bottleneck needs a causal model, not masked"),
        ("7", {}, "must be loss, accuracy, f1, {reward: NAME} or {bottleneck: FORM}"),
    ],
)
def test_refusals_name_the_key(tmp_path: Path, ref: str, kind: dict[str, str], message: str) -> None:
    with pytest.raises(SuiteError) as refused:
        read_suite(tmp_path, ref, **kind)
    assert message in str(refused.value)


def test_settings_are_identity_and_the_row_says_them(tmp_path: Path) -> None:
    digests = identifying("m", "d")
    ids = set()
    for ref in ("loss", FORM, "{bottleneck: variational, weight: 0.2}", "{bottleneck: hsic}"):
        (planned,) = expand(read_suite(tmp_path, ref)).runs
        ids.add(planned.spec.run_id(digests))
    assert len(ids) == 4
    assert planned.spec.train_on == BottleneckRef(bottleneck="hsic")
    assert planned.note == "trained on the loss and 0.1 times the hsic bottleneck penalty"


def test_diagnostics_that_need_a_gradient_are_allowed(tmp_path: Path) -> None:
    section = "diagnostics: {measure: [gradient-cosine], every: 1, directions: 2}\n"
    assert read_suite(tmp_path, FORM, section=section).methods["row"].train_on.weight == 0.1


def test_a_run_is_trained_and_measured(tmp_path: Path) -> None:
    suite = read_suite(tmp_path, "{bottleneck: variational, prior: 33.0}", more=", perturbation: streamed")
    outcome = run_plan(expand(suite), tmp_path / "out", workers=0)
    assert (outcome.done, outcome.failed) == (1, [])
    tables = read([tmp_path / "out"], ("runs", "metrics", "steps"))
    assert {"accuracy_new", "pass_at_k"} <= set(tables.metrics["metric"])
    assert len(tables.steps) == 3
    assert replay(tmp_path / "out" / "runs" / tables.runs["run_id"][0]).matches
