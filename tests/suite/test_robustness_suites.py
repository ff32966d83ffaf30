"""The robustness suites hold what the issue asks of them; the one of real models is planned without a hub."""

from __future__ import annotations

from pathlib import Path

import pytest

from zobench.suite import expand, load
from zobench.suite.cost import estimate
from zobench.suite.spec import RunSpec

SUITES = Path(__file__).resolve().parents[2] / "suites"


def specs(name: str) -> dict[tuple[str, str], RunSpec]:
    """The spec of the first seed by row and task."""
    runs = expand(load(SUITES / f"{name}.yaml")).runs
    return {(r.row, r.spec.task.name): r.spec for r in reversed(runs)}


def arms(spec: RunSpec) -> set[str]:
    return {a.params["arm"] for a in spec.attacks if a.name == "irrelevant-sentence"}


def test_the_short_suite_has_its_attacks_before_and_after_two_optimizers() -> None:
    found = specs("robustness")
    assert {row for row, _ in found} == {"zero-shot", "mezo", "fzoo"}
    problems, sentiment = found["mezo", "nano-problems"], found["mezo", "nano-sentiment"]
    assert {"mscr-controlled", "missing-question", "pwws", "deepwordbug-like"} <= {
        a.name for a in problems.attacks
    }
    assert arms(problems) == {"no-number", "number", "paired-number", "paired-no-number"}
    assert arms(sentiment) == {"no-number", "paired-number", "paired-no-number"}
    budgets = [a.params["budget"] for a in problems.attacks if a.params["budget"]]
    assert budgets == [30, 30, 30]
    assert problems.attack_items == 32
    assert found["zero-shot", "nano-problems"].attacks == problems.attacks
    assert 0 in problems.evaluation.attacks_at


@pytest.mark.parametrize("name", ["robustness", "robustness-full", "math-robustness"])
def test_paired_arms_differ_in_the_number_alone(name: str) -> None:
    for spec in specs(name).values():
        params = [a.params for a in spec.attacks if a.params.get("arm", "").startswith("paired")]
        plain = [p for p in params if p["arm"] == "paired-no-number"]
        assert all({**p, "arm": "paired-number"} in params for p in plain)
        assert len(params) == 2 * len(plain)


def test_the_full_suite_runs_every_attack_that_edits_text() -> None:
    from zobench.plugins import entries

    run = {a.name for spec in specs("robustness-full").values() for a in spec.attacks}
    apart = {"option-order", "imia-2506.02711"}  # options of multiple choice; membership of training rows
    assert set(entries("attacks")) - apart <= run


def test_the_real_models_are_planned_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZOBENCH_DATA", raising=False)
    plan = expand(load(SUITES / "math-robustness.yaml"))
    assert "Qwen/Qwen2.5-Math-1.5B-Instruct" in {r.spec.model.name for r in plan.runs}
    assert {r.spec.task.name for r in plan.runs} == {"gsm8k", "math500", "gsm-plus", "gsm-ic"}
    by_task = {r.spec.task.name: {a.label for a in r.spec.attacks} for r in plan.runs}
    assert {"mscr", "mscr-controlled", "mscr-masked", "number defended"} <= by_task["gsm8k"]
    assert by_task["gsm-plus"] == by_task["gsm-ic"] == set()
    assert (estimate(plan).total("attacked_rows") or 0) > 0
