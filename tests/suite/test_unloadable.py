"""A plugin that cannot be imported costs a suite the rows that need it, and no other."""

from __future__ import annotations

import pytest
import suite_fakes

from zobench import plugins
from zobench.plugins import Entry
from zobench.suite import SuiteError, expand, load
from zobench.suite.cost import estimate
from zobench.suite.notes import unloadable_notes

SUITE = """\
suite: small
models: {nano: {name: "builtin:nano"}}
tasks: {nano-topic: {}, nano-sentiment: {}}
methods:
  mezo: {}
  calm: {method: mezo, params: {n: 2}, attacks: false}
attacks:
  char-typos: {}
seeds: [1, 2]
budget: {forwards: 100}
evaluation: {at: [50], attacks_along: [char-typos]}
"""
TASKS = ("nano-topic", "nano-sentiment")
MEZO = {("mezo", task) for task in TASKS}
CALM = {("calm", task) for task in TASKS}
TOPIC = {("mezo", "nano-topic"), ("calm", "nano-topic")}
SWEPT = {(f"mezo x={x}", task) for x in (1, 2) for task in TASKS}
CASES = {
    "method": ("  mezo: {}", "  mezo: {method: broken, params: {x: 1}}", MEZO, CALM),
    "sweep": ("  mezo: {}", "  mezo: {method: broken, sweep: {x: [1, 2]}}", SWEPT, CALM),
    "tuned": ("  mezo: {}", "  mezo: {method: broken, tune: {seeds: [5], space: {x: [1]}}}", MEZO, CALM),
    "task": ("nano-topic: {}", "nano-topic: {task: broken, params: {k: 3}}", TOPIC, (MEZO | CALM) - TOPIC),
    "inner task": ("nano-topic: {}", "nano-topic: {params: {of: broken}}", TOPIC, (MEZO | CALM) - TOPIC),
    "attack": ("char-typos: {}", "char-typos: {attack: broken}", MEZO, CALM),
    "attack on a task": (
        "char-typos: {}",
        "char-typos: {attack: broken, tasks: [nano-topic]}",
        {("mezo", "nano-topic")},
        CALM,
    ),
}
"""A line of the suite and what replaces it; rows (on tasks) that cannot be planned then; rows that do not
change."""


@pytest.fixture(autouse=True)
def broken(fake_catalogues: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin of that name of every kind, which cannot be imported."""

    def known(kind: str) -> dict[str, Entry]:
        fakes = suite_fakes.fake_entries(kind) if kind in suite_fakes.TARGETS else {}
        return {**fakes, "broken": Entry("broken", "suite_fakes:Missing", "some-plugin")}

    monkeypatch.setattr(plugins, "entries", known)


@pytest.fixture
def planned(tmp_path):
    def plan(old="", new=""):
        assert old in SUITE
        path = tmp_path / "s.yaml"
        path.write_text(SUITE.replace(old, new, 1))
        return expand(load(path))

    return plan


def specs(runs):
    return {(run.row, run.task_name, run.spec.seed): run.spec for run in runs}


@pytest.mark.parametrize("case", CASES)
def test_the_other_rows_are_planned_as_they_were(planned, case):
    old, new, lost, kept = CASES[case]
    before, plan = planned(), planned(old, new)
    assert set(specs(one.run for one in plan.unloadable)) == {
        (*cell, seed) for cell in lost for seed in (1, 2)
    }
    now = specs(plan.runs)
    assert not {key[:2] for key in now} & lost
    assert kept <= {key[:2] for key in now}
    for key, spec in specs(before.runs).items():
        if key[:2] in kept:
            assert now[key] == spec
    assert {row for row, _ in lost} <= set(plan.rows())
    assert {cost.row for cost in estimate(plan).rows} == {key[0] for key in now}


def test_a_suite_of_broken_rows_plans_none(planned):
    plan = planned("nano-topic: {}, nano-sentiment: {}", "broken: {}")
    assert plan.runs == ()
    assert len(plan.unloadable) == 4


def test_the_message_names_the_line_the_package_and_what_to_do(planned, tmp_path):
    plan = planned("  mezo: {}", "  mezo: {method: broken, params: {x: 1}}")
    (note,) = unloadable_notes(plan)
    assert note.startswith(
        f"4 runs of mezo cannot be planned and will be recorded as failed: {tmp_path}/s.yaml:5: "
        "'broken' from some-plugin cannot be loaded: AttributeError("
    )
    assert note.endswith("; repair or reinstall some-plugin, then run the suite again")
    assert plan.unloadable[0].run.spec.method.params == {"x": 1}, "as written"


@pytest.mark.parametrize("target", ["NoConfig", "Topic"])
def test_a_class_that_is_no_method_is_named(planned, monkeypatch, target):
    monkeypatch.setattr(suite_fakes, "Missing", getattr(suite_fakes, target), raising=False)
    plan = planned("  mezo: {}", "  mezo: {method: broken}")
    lacking = {"NoConfig": "Config", "Topic": "card"}[target]
    assert f"'broken' from some-plugin is not one of the methods: its class has no '{lacking}'" in (
        plan.unloadable[0].error
    )
    assert {run.row for run in plan.runs} == {"calm"}


def test_a_part_of_the_plan_has_its_unloadable_rows_only(planned):
    plan = planned("  mezo: {}", "  mezo: {method: broken}")
    assert plan.part(rows=["calm"]).unloadable == ()
    found = plan.part(rows=["mezo"], tasks=["nano-topic"], seeds=[2])
    assert found.runs == ()
    assert [(o.run.row, o.run.task_name, o.run.spec.seed) for o in found.unloadable] == [
        ("mezo", "nano-topic", 2)
    ]


def test_runs_are_not_tracked_by_a_broken_tracker(planned):
    plan = planned("seeds:", "trackers: [broken]\nseeds:")
    assert (plan.trackers, plan.unloadable, len(plan.runs)) == ((), (), 8)
    (note,) = unloadable_notes(plan)
    assert note.startswith("runs are not tracked: 'broken' from some-plugin cannot be loaded")


def test_other_mistakes_are_still_reported(planned):
    with pytest.raises(SuiteError) as caught:
        planned("  mezo: {}", "  mezo: {method: broken, tasks: [nano-topi, nano-topic]}\n  fzooo: {}")
    assert {"methods.fzooo", "methods.mezo.tasks[0]"} <= {p.key for p in caught.value.problems}
    with pytest.raises(SuiteError, match=r"no task 'nano-topi' in this suite"):
        planned("mezo: {}", "mezo: {tasks: [nano-topi, nano-topic]}\n  fzoo: {method: broken}")
