"""The robustness suites contain the required attacks and models; the one of real models is planned without
the hub."""

from __future__ import annotations

from pathlib import Path

import pytest

from zobench.spec import RunSpec
from zobench.suite import expand, load
from zobench.suite.cost import estimate

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


def test_the_full_suite_runs_every_attack_and_every_defence() -> None:
    from zobench.plugins import entries

    found = specs("robustness-full")
    run = {a.name for spec in found.values() for a in spec.attacks}
    images = {name for name, entry in entries("attacks").items() if entry.load().edits == "image"}
    assert len(images) == 3
    assert set(entries("attacks")) - images <= run
    assert {a.name for a in found["mezo", "nano-choice"].attacks} == {"option-order"}
    assert {"smoothllm", "denoised-smoothing", "denoised-smoothing-rge"} < {task for _, task in found}
    assert {"sam", "csam", "zosa"} < {row for row, _ in found}
    injected = [a.params for a in found["mezo", "nano-problems"].attacks if a.name == "irrelevant-sentence"]
    injected += [a.params for a in found["mezo", "nano-sentiment"].attacks if a.name == "irrelevant-sentence"]
    assert {p["sentences"] for p in injected} == {1, 2, 3, 5}
    assert {p["length_ratio"] for p in injected} == {None, 0.25, 0.5, 1.0, 2.0, 10.0}
    assert {p["position"] for p in injected} == {"start", "random", "before-question", "after"}
    assert {p["role"] for p in injected} == {"none", "other", "overlap"}
    assert {p["topic"] for p in injected} == {"in", "off"}
    assert {p["number_range"] for p in injected} == {"in", "out"}


def test_the_real_models_are_planned_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZOBENCH_DATA", raising=False)
    plan = expand(load(SUITES / "math-robustness.yaml"))
    assert "Qwen/Qwen2.5-Math-1.5B-Instruct" in {r.spec.model.name for r in plan.runs}
    assert {r.spec.task.name for r in plan.runs} == {"gsm8k", "math500", "gsm-plus", "gsm-ic"}
    by_task = {r.spec.task.name: {a.label for a in r.spec.attacks} for r in plan.runs}
    assert {"mscr", "mscr-controlled", "mscr-masked", "number defended"} <= by_task["gsm8k"]
    assert by_task["gsm-plus"] == by_task["gsm-ic"] == set()
    assert (estimate(plan).total("attacked_rows") or 0) > 0
