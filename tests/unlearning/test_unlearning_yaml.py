"""Unlearning suites as YAML, from the file to the records: variants of the forget set, every optimizer of the
library, and refusals of the commands."""

from __future__ import annotations

import math

import pytest
from typer.testing import CliRunner
from unlearning_runs import PARTS, people, write_files

from zobench.plugins import entries, missing_package
from zobench.runner import run_plan
from zobench.runner.process_cache import ProcessCache
from zobench.store.reader import read
from zobench.suite import SuiteError, expand, load
from zobench.unlearning.forget_sets import WATERMARK, by_author

SUITE = """\
suite: forget
models: {{tiny: {{name: full}}}}
unlearning:
  oracle: {{name: oracle}}
  data: {{source: files, params: {{forget: "{forget}", retain: "{retain}", holdout: "{holdout}"}}}}
  objectives: {{npo: {{}}}}
  forget_set: {variant}
  scored_retain: 1.0
  truth: false
  noise: false
  match: {{forget: null, retain: null}}
  check_every: 0
methods:
{methods}
seeds: [0]
budget: {{forwards: {forwards}, batch_size: 4}}
"""


@pytest.fixture
def write(tmp_path):
    files = write_files(tmp_path)

    def make(variant="{}", methods="  adamw: {}", forwards=24):
        path = tmp_path / "forget.yaml"
        path.write_text(SUITE.format(variant=variant, methods=methods, forwards=forwards, **files))
        return path

    return make


def run(path, folder):
    """Records of a suite's runs and their metrics."""
    summary = run_plan(expand(load(path)), folder, workers=0, progress=False, parts="unlearning_runs:PARTS")
    assert summary.failed == []
    return read([folder], ["runs", "metrics"])


def seen(path):
    """The forget requests that the optimizer of a suite is given, in order."""
    plan = expand(load(path))
    spec = next(r.spec for r in plan.runs if r.group == "method")
    return ProcessCache(PARTS).facts(spec).requests


FORGET = people()["forget"]
FIRST, SECOND = (tuple(rows) for rows in by_author(FORGET).values())


def test_coresets_by_share_and_by_keyword(write):
    (half,) = seen(write("{share: 0.5}"))
    assert len(half) == len(FORGET) / 2
    assert {r.question for r in half} < {r.question for r in FORGET}
    (chosen,) = seen(write("{keywords: [pet]}"))
    assert {r.attribute for r in chosen} == {"pet"}
    (least,) = seen(write("{share: 0.01}"))
    assert len(least) == 1


@pytest.mark.parametrize("noise", ["incomplete", "rewritten", "watermarked"])
def test_noisy_forget_sets(write, noise):
    (rows,) = seen(write(f"{{noise: {noise}, noise_share: 0.5}}"))
    changed = [(a, b) for a, b in zip(rows, FORGET, strict=True) if a.answer != b.answer]
    assert len(changed) == len(FORGET) / 2
    for given, fact in changed:
        assert given.question == fact.question
        if noise == "incomplete":
            assert fact.answer.startswith(given.answer)
        elif noise == "rewritten":
            assert given.answer == fact.paraphrased_answer
        else:
            assert given.answer == f"{WATERMARK} {fact.answer}"


@pytest.mark.parametrize("nested", [False, True])
def test_sequential_and_nested_requests(write, nested):
    first, second = seen(write(f"{{requests: 2, nested: {str(nested).lower()}}}"))
    assert [r.question for r in first] == [r.question for r in FIRST]
    rest = [r.question for r in second]
    assert rest == [r.question for r in (*FIRST, *SECOND)] if nested else rest == [r.question for r in SECOND]


VARIANTS = [
    "{share: 0.5}",
    "{keywords: [pet]}",
    "{noise: rewritten}",
    "{noise: watermarked, noise_share: 0.5}",
    "{requests: 2}",
    "{requests: 2, nested: true}",
]


def test_every_variant_runs_to_the_same_scored_facts_and_to_other_weights(write, tmp_path):
    digests, sizes = set(), set()
    for i, variant in enumerate(["{}", *VARIANTS]):
        found = run(write(variant), tmp_path / f"out{i}")
        mine = found.runs[found.runs["group"] == "method"].iloc[0]
        assert mine["status"] == "done"
        digests.add(mine["weights_digest"])
        scored = found.metrics[(found.metrics["run_id"] == mine["run_id"]) & found.metrics["final"]]
        sizes |= set(scored.loc[scored["metric"] == "forget_value_probability", "n"])
    assert len(digests) == 1 + len(VARIANTS), "the optimizer saw other rows"
    assert sizes == {len(FORGET) / 2}, "whatever it saw, the same half is scored"


NOT_PLAIN = {
    "essa": "singular-values",
    "qzo": "scales",
    "zeroqat": "fake-quant",
    "qes": "codes",
    "quzo": "codes",
    "zoqo": "codes",
}
"""Methods that tune something else than weights, and the only space they know."""
WITH = {
    "meerkat": "{params: {scores: magnitude}}",
    "p-rge": "{space: {kind: lora, params: {r: 2}}}",
    "deepzero": "{params: {n: 8, pruning: uniform}}",
    **dict.fromkeys(
        ("cma-es", "pgpe", "snes", "nevergrad"),
        "{params: {n: 8}, space: {kind: names, params: {include: ['*norm*']}}}",
    ),
    "sharpzo": "{params: {n: 8, dimension: 4}, space: {kind: names, params: {include: ['*norm*']}}}",
    "xnes": "{space: {kind: masked, params: {share: 0.0001}}}",
}


@pytest.mark.slow
def test_every_optimizer_of_the_library_unlearns(write, tmp_path):
    """All others (``grzo`` and ``dp-zo`` need losses of examples) take steps on NPO and leave another
    model."""
    left_out = ("none", "grzo", "dp-zo", "flowopt", "zo-ae-ds", *NOT_PLAIN)
    names = [
        n
        for n, e in entries("methods").items()
        if e.origin == "builtin" and n not in left_out and not missing_package(n)
    ]
    assert len(names) > 60
    path = write(methods="\n".join(f"  {n}: {WITH.get(n, '{}')}" for n in names), forwards=48)
    found = run(path, tmp_path / "out")
    runs = found.runs[found.runs["group"] == "method"].set_index("row")
    assert set(runs.index) == set(names)
    assert set(runs["status"]) == {"done"}
    moved = found.metrics[found.metrics["metric"] == "distance"].set_index("run_id")["value"]
    for name, run_id in runs["run_id"].items():
        assert math.isfinite(moved[run_id]), name
        assert moved[run_id] > 0, name
        assert 0 < runs.loc[name, "forwards"] <= 48, name


def test_a_method_that_needs_losses_of_examples_is_refused(write):
    with pytest.raises(SuiteError, match="uses the losses of single examples"):
        load(write(methods="  grzo: {}"))


@pytest.mark.parametrize("name", NOT_PLAIN)
def test_methods_that_leave_no_plain_model_are_refused(write, name):
    with pytest.raises(SuiteError, match=f"'{name}' does not support the parameter space 'full'"):
        load(write(methods=f"  {name}: {{}}"))
    with pytest.raises(SuiteError, match="probes need a plain model"):
        load(write(methods=f"  {name}: {{space: {{kind: {NOT_PLAIN[name]}}}}}"))


@pytest.mark.parametrize("objective", ["blur", "sift", "task-vector"])
def test_the_command_refuses_forward_passes_for_two_gradients_with_the_reason(write, monkeypatch, objective):
    from zobench.cli.app import app
    from zobench.plugins import lookup

    monkeypatch.setenv("COLUMNS", "1000")
    path = write(methods="  mezo: {}")
    params = "{}" if objective == "task-vector" else "{params: {layer: 0}}"
    path.write_text(path.read_text().replace("npo: {}", f"{objective}: {params}"))
    for command in ("plan", "run"):
        found = CliRunner().invoke(app, [command, str(path)])
        assert found.exit_code != 0
        assert f"mezo uses forward passes only; '{objective}'" in found.output
        assert lookup("objectives", objective).card.zo_refusal.split(",")[0][:60] in found.output


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ("{percent: 1, authors: 42}", "with 42 authors percent can be 5, 10"),
        ("{percent: 1, authors: 9}", "use more authors"),
        ("{authors: 201}", "TOFU has 200"),
        ("{percent: 10, authors: 10, holdout: 9}", "retain need at least one author"),
    ],
)
def test_sizes_of_tofu_that_leave_nobody_are_refused_before_any_file_is_read(
    write, params, words, monkeypatch
):
    monkeypatch.delenv("ZOBENCH_DATA", raising=False)
    path = write()
    lines = [
        f"  data: {{source: tofu, params: {params}}}" if "source:" in x else x
        for x in path.read_text().split("\n")
    ]
    path.write_text("\n".join(lines))
    with pytest.raises(SuiteError, match=words):
        load(path)
