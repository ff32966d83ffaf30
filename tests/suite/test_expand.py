"""Expansion: which runs, in which order, with which literal specification and identity."""

from __future__ import annotations

from pathlib import Path

import pytest

from zobench.runner.plan_record import finals_entry
from zobench.suite import SuiteError, expand, load
from zobench.suite.plan import Plan

pytestmark = pytest.mark.usefixtures("fake_catalogues")

BASE = """\
suite: small
models:
  nano: {name: "builtin:nano"}
tasks:
  nano-topic: {params: {k: 8}}
  mood: {task: nano-sentiment}
methods:
  mezo: {params: {lr: 1e-3}, task_params: {mood: {lr: 2e-3}}}
  fzoo: {tasks: [mood]}
  zero-shot: {group: control, attacks: false}
attacks:
  typos: {attack: char-typos, params: {rate: 0.2}}
seeds: [1, 2, 3]
budget: {forwards: 100, batch_size: 8}
evaluation: {at: [50, 20], test_items: 200, attack_items: 30}
"""


def plan_of(folder: Path, text: str) -> Plan:
    path = folder / "s.yaml"
    path.write_text(text)
    return expand(load(path))


def ids(plan: Plan) -> list[str]:
    """Of every run whose parameters are known before anything ran: untuned runs and listed tuning trials."""
    trials = [
        run
        for study in plan.studies
        for candidate in study.candidates
        for run in study.trials(candidate, study.schedule[0][1])
    ]
    return [run.spec.run_id({"data": "d"}) for run in (*plan.runs, *trials)]


def test_every_cell_once_seed_slowest_method_fastest(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, BASE)
    cells = [(r.spec.seed, r.spec.task.name, r.row) for r in plan.runs]
    one_seed = [
        ("nano-topic", "mezo"),
        ("nano-topic", "zero-shot"),
        ("nano-sentiment", "mezo"),
        ("nano-sentiment", "fzoo"),
        ("nano-sentiment", "zero-shot"),
    ]
    assert cells == [(seed, *cell) for seed in (1, 2, 3) for cell in one_seed]
    assert len(set(ids(plan))) == len(plan.runs)


def test_seeds_share_all_parts_of_a_specification(tmp_path: Path) -> None:
    runs = [run for run in plan_of(tmp_path, BASE).runs if (run.row, run.shown_task) == ("mezo", "mood")]
    assert [run.spec.seed for run in runs] == [1, 2, 3]
    for name in ("model", "task", "method", "space", "budget", "evaluation", "attacks"):
        assert len({id(getattr(run.spec, name)) for run in runs}) == 1, name


def test_specs_are_literal_with_defaults_spelled_out(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, BASE)
    topic, mood = plan.runs[0].spec, plan.runs[2].spec
    assert topic.method.params == {
        "lr": 0.001, "eps": 0.001, "n": 1, "rule": "sgd", "betas": [0.9, 0.99], "clip": None,
    }  # fmt: skip
    assert mood.method.params["lr"] == 0.002
    assert topic.task.params == {"k": 8, "words": ["a", "b"]}
    assert topic.evaluation.at == (20, 50)
    assert topic.attacks[0].name == "char-typos"
    assert topic.attacks[0].params == {"rate": 0.2}
    assert topic.attack_items == 30


def test_a_method_without_steps_has_no_budget_and_no_curve(tmp_path: Path) -> None:
    run = plan_of(tmp_path, BASE).runs[1]
    assert (run.row, run.group) == ("zero-shot", "control")
    assert run.spec.budget.forwards == 0
    assert run.spec.budget.batch_size == 8
    assert run.spec.evaluation.at == ()
    assert run.spec.attacks == ()
    assert run.spec.attack_items is None


def test_evaluation_points_beyond_a_smaller_override_are_left_out(tmp_path: Path) -> None:
    text = BASE.replace("fzoo: {tasks: [mood]}", "fzoo: {budget: {forwards: 30}}")
    spec = next(r.spec for r in plan_of(tmp_path, text).runs if r.row == "fzoo")
    assert spec.budget.forwards == 30
    assert spec.evaluation.at == (20,)


def test_a_sweep_makes_a_row_for_each_point(tmp_path: Path) -> None:
    text = BASE.replace(
        "fzoo: {tasks: [mood]}", "fzoo: {tasks: [mood], sweep: {lr: [1e-3, 1e-2], n: [1, 2]}}"
    )
    rows = [r for r in plan_of(tmp_path, text).rows() if r.startswith("fzoo")]
    assert rows == ["fzoo lr=0.001 n=1", "fzoo lr=0.001 n=2", "fzoo lr=0.01 n=1", "fzoo lr=0.01 n=2"]


def test_same_suite_same_ids(tmp_path: Path) -> None:
    assert ids(plan_of(tmp_path, BASE)) == ids(plan_of(tmp_path, BASE))


DISPLAY_ONLY = [
    ("suite: small", "suite: renamed\ndescription: other words"),
    ("fzoo: {tasks: [mood]}", "fzoo: {tasks: [mood], note: preset, group: control}"),
    ("  mezo: {params: {lr: 1e-3}", "  renamed row: {method: mezo, params: {lr: 0.0010}"),
    ("lr: 1e-3}", "eps: 1e-3, lr: 1e-3}"),
    ("at: [50, 20]", "at: [20, 50]"),
    (
        "seeds: [1, 2, 3]",
        "executor: {workers: 7, kind: inline}\ncheckpoint: {every_steps: 3}\nseeds: [1, 2, 3]",
    ),
    ("mood: {task: nano-sentiment}", "mood: {task: nano-sentiment, params: {k: 16}}"),
]


@pytest.mark.parametrize(("old", "new"), DISPLAY_ONLY, ids=[new[:24] for _, new in DISPLAY_ONLY])
def test_what_is_only_for_display_changes_no_id(tmp_path: Path, old: str, new: str) -> None:
    assert old in BASE
    assert ids(plan_of(tmp_path, BASE.replace(old, new))) == ids(plan_of(tmp_path, BASE))


IDENTITY = [
    ("lr: 1e-3}", "lr: 2e-3}"),
    ("k: 8", "k: 9"),
    ("batch_size: 8", "batch_size: 9"),
    ("rate: 0.2", "rate: 0.3"),
    ("test_items: 200", "test_items: 100"),
    ('"builtin:nano"', '"builtin:nano-facts"'),
]


@pytest.mark.parametrize(("old", "new"), IDENTITY, ids=[new for _, new in IDENTITY])
def test_what_decides_the_outcome_changes_ids(tmp_path: Path, old: str, new: str) -> None:
    assert ids(plan_of(tmp_path, BASE.replace(old, new))) != ids(plan_of(tmp_path, BASE))


def test_only_keeps_one_row_and_names_the_nearest(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, BASE)
    assert {r.row for r in plan.only("fzoo").runs} == {"fzoo"}
    with pytest.raises(ValueError, match="no row 'fzo' in suite 'small'; did you mean 'fzoo'"):
        plan.only("fzo")


def test_a_part_keeps_rows_tasks_and_seeds_and_searches_whole(tmp_path: Path) -> None:
    text = BASE.replace(
        "fzoo: {tasks: [mood]}", "fzoo: {tasks: [mood], tune: {space: {lr: [1e-4, 1e-3]}, seeds: [9]}}"
    )
    plan = plan_of(tmp_path, text)
    part = plan.part(tasks=("mood",), seeds=(2, 3))
    assert {(r.shown_task, r.spec.seed) for r in part.runs} == {("mood", 2), ("mood", 3)}
    assert {r.row for r in part.runs} == {r.row for r in plan.runs}
    (study,) = part.studies
    assert [r.spec.seed for r in study.finals({"lr": 1e-3})] == [2, 3]
    assert [len(study.trials(c)) for c in study.candidates] == [1, 1]
    assert finals_entry(study) == finals_entry(plan.studies[0])
    assert plan.part() == plan
    assert not plan.part(rows=("fzoo",)).runs
    with pytest.raises(ValueError, match="no task 'moo' in suite 'small'; did you mean 'mood'"):
        plan.part(tasks=("moo",))
    with pytest.raises(ValueError, match=r"no seed 7 in suite 'small'; it has \[1, 2, 3\]"):
        plan.part(seeds=(7,))


def test_a_plan_survives_json(tmp_path: Path) -> None:
    text = BASE.replace(
        "fzoo: {tasks: [mood]}",
        "fzoo: {tune: {space: {lr: {low: 1e-4, high: 1e-2}}, trials: 2, seeds: [9], sampler: tpe}}",
    )
    plan = plan_of(tmp_path, text)
    assert Plan.model_validate_json(plan.model_dump_json()) == plan


def test_errors_stop_before_anything_is_expanded(tmp_path: Path) -> None:
    with pytest.raises(SuiteError):
        plan_of(tmp_path, BASE.replace("seeds: [1, 2, 3]", "seeds: []"))


def test_attack_names_and_points_reach_the_spec(tmp_path: Path) -> None:
    text = BASE.replace("evaluation: {at: [50, 20]", "evaluation: {at: [50, 20], attacks_at: [100, 20]")
    text = text.replace("  fzoo: {tasks: [mood]}", "  fzoo: {tasks: [mood], budget: {forwards: 50}}")
    specs = {run.row: run.spec for run in plan_of(tmp_path, text).runs}
    assert [(a.name, a.alias, a.label) for a in specs["mezo"].attacks] == [("char-typos", "typos", "typos")]
    assert specs["mezo"].evaluation.attacks_at == (20, 100)
    assert specs["fzoo"].evaluation.attacks_at == (20,)


def test_an_attack_may_keep_to_some_tasks(tmp_path: Path) -> None:
    text = BASE.replace("params: {rate: 0.2}}", "params: {rate: 0.2}, tasks: [mood]}")
    specs = [run.spec for run in plan_of(tmp_path, text).runs if run.row == "mezo"]
    assert {s.task.name: [a.label for a in s.attacks] for s in specs} == {
        "nano-topic": [],
        "nano-sentiment": ["typos"],
    }
