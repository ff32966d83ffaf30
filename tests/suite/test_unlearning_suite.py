"""Unlearning suites: refusals at planning with their messages, and the expansion of a valid suite."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from zobench.suite import SuiteError, expand, load
from zobench.suite.cost import estimate, steps_and_forwards
from zobench.suite.schema import EvaluationEntry

GOOD = """\
suite: forget
models: {facts: {name: "builtin:nano-facts"}}
unlearning:
  oracle: {name: "builtin:nano-facts-oracle"}
  objectives:
    npo: {params: {beta: 0.5}}
    grad-diff: {}
  probes:
    quantize: {params: {bits: [4], groups: [0]}}
    hard relearning: {probe: relearn, params: {steps: [0, 10], rates: [1e-3]}}
methods:
  adamw: {params: {lr: 3e-4}}
  mezo: {params: {lr: 1e-4}, tasks: [npo]}
seeds: [0, 1]
budget: {forwards: 120, batch_size: 8}
"""


@pytest.fixture
def write(tmp_path: Path):
    def make(text: str) -> Path:
        path = tmp_path / "forget.yaml"
        path.write_text(text)
        return path

    return make


def problems(path: Path) -> str:
    with pytest.raises(SuiteError) as caught:
        load(path)
    return str(caught.value)


def test_a_suite_expands_to_references_rows_and_noise_controls(write) -> None:
    plan = expand(load(write(GOOD)))
    rows = plan.rows()
    assert rows == (
        "full model",
        "oracle",
        "adamw",
        "mezo",
        "noise as far as adamw",
        "noise as far as mezo",
    )
    assert len(plan.runs) == 2 * (2 * 2 + 2 + 1), "seeds x (references per objective, adamw twice, mezo once)"
    assert len(plan.followers) == 2 * 3
    groups = {r.row: r.group for r in plan.runs}
    assert groups["oracle"] == groups["full model"] == "control"
    assert groups["adamw"] == "method"
    section = next(r for r in plan.runs if r.row == "adamw").spec.unlearning
    assert section is not None
    assert [p.name for p in section.probes] == ["quantize", "relearn"]
    assert section.data.params == {"percent": 10}
    assert section.match_forget == 0.5


def test_a_follower_knows_its_run_and_takes_its_distance(write) -> None:
    plan = expand(load(write(GOOD)))
    follower = plan.followers[0]
    mine = [r for r in plan.runs if follower.follows(r)]
    assert len(mine) == 1
    run = follower.filled(1.5)
    assert run.spec.unlearning is not None
    assert (run.spec.unlearning.role, run.spec.unlearning.distance) == ("noise", 1.5)
    assert run.spec.canonical() != follower.template.spec.canonical()


def test_one_row_brings_its_noise_control_along(write) -> None:
    plan = expand(load(write(GOOD)))
    for row in ("mezo", "noise as far as mezo"):
        assert set(plan.only(row).rows()) == {"mezo", "noise as far as mezo"}


def test_costs_count_the_preparation_of_minibatches(write) -> None:
    plan = expand(load(write(GOOD)))
    by = {(r.row, r.spec.task.name): steps_and_forwards(r) for r in plan.runs}
    assert by["adamw", "npo"] == (30, 120), "a gradient and the reference are 4 forwards"
    assert by["adamw", "grad-diff"] == (40, 120)
    assert by["mezo", "npo"] == (40, 120), "two losses and the reference"
    assert by["oracle", "npo"] == (0, 0)
    assert {c.row for c in estimate(plan).rows} == set(plan.rows())


def test_two_gradient_methods_are_refused_for_forward_passes_with_the_reason(write) -> None:
    text = GOOD.replace("    grad-diff: {}\n", "    blur: {params: {layer: 0}}\n").replace(
        ", tasks: [npo]", ""
    )
    said = problems(write(text))
    assert "methods.mezo: mezo uses forward passes only; 'blur' (blur) cannot be run with it" in said
    assert "orthogonal to the forget gradient" in said
    assert "tasks: [npo]" in said
    assert "adamw" not in said
    plan = expand(load(write(text.replace("mezo: {params: {lr: 1e-4}}", "sgd: {}"))))
    by = {(r.row, r.spec.task.name): steps_and_forwards(r) for r in plan.runs}
    assert by["sgd", "blur"] == (17, 119), "two gradients and the reference are 7 forwards"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("grad-diff: {}", "grad-dif: {}", "unknown objective 'grad-dif'; did you mean 'grad-diff'?"),
        ("quantize: {", "quantise: {", "unknown probe 'quantise'; did you mean 'quantize'?"),
        ("beta: 0.5", "bet: 0.5", "unlearning.objectives.npo.params.bet: unknown parameter"),
        (
            "bits: [4]",
            "bits: [40]",
            "bits: must be a non-empty list (a whole number from 2 to 8 each), not [40]",
        ),
        ("nano-facts-oracle", "nano-fact-oracle", "unknown built-in model 'builtin:nano-fact-oracle'"),
        ("tasks: [npo]", "tasks: [npoo]", "no task 'npoo' in this suite"),
        (
            "objectives:\n    npo: {params: {beta: 0.5}}\n    grad-diff: {}",
            "data: {source: muse}\n  objectives:\n    npo: {}\n    r2mu: {}",
            "needs traces and general, which the data of 'muse' does not contain",
        ),
        (
            "  adamw:",
            "  oracle: {method: adamw}\n  adamw:",
            "row name 'oracle' is reserved in unlearning suites",
        ),
        ("  adamw:", "  none: {}\n  adamw:", "takes no steps"),
        ("  objectives:", "  data: {source: nano-fact}\n  objectives:", "did you mean 'nano-facts'?"),
        (
            "  objectives:",
            "  data: {params: {percent: 7}}\n  objectives:",
            "percent: must be one of 1, 5, 10, not 7",
        ),
        ("  objectives:", "  pair: {steps: 5}\n  objectives:", "is unused: no model 'pair:full'"),
        ("builtin:nano-facts-oracle", "pair:oracle", "needs unlearning.pair"),
        (
            'oracle: {name: "builtin:nano-facts-oracle"}',
            'oracle: {name: "pair:oracle"}\n  pair: {base: "builtin:nano-facts", width: 32}',
            "width: is unused: the shape is that of 'base'",
        ),
        ("  objectives:", "  chek_every: 5\n  objectives:", "did you mean 'check_every'?"),
        ("seeds:", "tasks: {nano-topic: {}}\nseeds:", "tasks: cannot be combined with 'unlearning'"),
        ("seeds:", "evaluation: {test_items: 5}\nseeds:", "has no meaning in an unlearning suite"),
        ("lr: 1e-4}", "lr: 1e-4}, labels: shuffled", "methods.mezo.labels: has no meaning"),
        ("lr: 1e-4}", "lr: 1e-4}, space: {kind: prefix}", "probes need a plain model"),
    ],
)
def test_mistakes_are_named_with_the_nearest_name(write, old: str, new: str, said: str) -> None:
    assert old in GOOD
    assert said in problems(write(GOOD.replace(old, new)))


WITH_A_MEANING = {"at"}
"""Keys of ``evaluation`` that an unlearning suite reads; a new key is either refused there or stands here."""


@pytest.mark.parametrize("key", sorted(EvaluationEntry.model_fields))
def test_every_key_of_evaluation_is_read_or_refused(write, key: str) -> None:
    unset = json.dumps(EvaluationEntry().model_dump(mode="json")[key])
    path = write(GOOD.replace("seeds:", f"evaluation: {{{key}: {unset}}}\nseeds:"))
    if key in WITH_A_MEANING:
        load(path)
    else:
        assert f"evaluation.{key}: has no meaning in an unlearning suite" in problems(path)


def test_all_keys_without_a_meaning_are_named_at_once(write) -> None:
    text = "evaluation: {attacks_at: [10], attacks_along: [], lm_eval_limit: 5, lm_eval_attack: {}}\nseeds:"
    said = problems(write(GOOD.replace("seeds:", text)))
    for key in ("attacks_at", "attacks_along", "lm_eval_limit", "lm_eval_attack"):
        assert f"evaluation.{key}: has no meaning in an unlearning suite" in said


@pytest.mark.parametrize("setting", ["labels: true", "shots: 0", "train_on: loss", "attacks: false"])
def test_a_row_of_unlearning_refuses_what_belongs_to_tasks(write, setting: str) -> None:
    key = setting.partition(":")[0]
    said = problems(write(GOOD.replace("lr: 1e-4}", f"lr: 1e-4}}, {setting}")))
    assert f"methods.mezo.{key}: has no meaning in an unlearning suite" in said


def test_rows_get_as_many_tuning_trials(write) -> None:
    tune = "{tune: {space: {lr: %s}, seeds: [7]}}"
    text = GOOD.replace("{params: {lr: 3e-4}}", tune % "[1e-4, 1e-3]")
    uneven = text.replace("{params: {lr: 1e-4}, tasks: [npo]}", tune % "[1e-4, 3e-4, 1e-3]")
    assert "3 tuning trials, but 'adamw' has 2" in problems(write(uneven))
    even = expand(load(write(text.replace("{params: {lr: 1e-4}, tasks: [npo]}", tune % "[1e-4, 3e-4]"))))
    assert {s.metric for s in even.studies} == {"selection_score"}
    assert {s.goal for s in even.studies} == {"max"}


def test_pairs_are_named_by_how_they_are_made(write) -> None:
    text = GOOD.replace("builtin:nano-facts-oracle", "pair:oracle").replace("builtin:nano-facts", "pair:full")
    text = text.replace("  objectives:", "  pair: {steps: 50}\n  objectives:")
    spec = expand(load(write(text))).runs[0].spec
    assert spec.unlearning is not None
    digest = spec.model.name.split("/")[0]
    assert spec.model.name == f"{digest}/full"
    assert spec.unlearning.oracle.name == f"{digest}/oracle"
    other = expand(load(write(text.replace("steps: 50", "steps: 51")))).runs[0].spec
    assert other.model.name != spec.model.name


def test_other_suites_keep_their_identity() -> None:
    root = Path(__file__).resolve().parents[2]
    spec = expand(load(root / "suites" / "fewshot.yaml")).runs[0].spec
    assert "unlearning" not in spec.canonical()
