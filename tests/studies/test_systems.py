"""The page on image systems is the one made from the committed runs, and its suites are what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from zobench.runner import run_plan
from zobench.studies import committed, systems
from zobench.suite import expand, load

SUITES = Path(__file__).resolve().parents[2] / "suites"


def test_the_page_is_made_from_the_committed_runs() -> None:
    points, trials = committed.read("vision"), committed.read("vision-trials")
    flow = committed.read("flowopt")
    assert committed.page("systems") == systems.page(points, trials, flow)
    assert flow["commit"].notna().all()
    assert points["commit"].notna().all()


def test_every_claim_is_about_a_row_that_was_run() -> None:
    rows = set(committed.read("vision")["row"])
    assert {c.row for c in systems.CLAIMS} <= rows
    assert {"mezo", "zo-muon", "subspace-mezo", "lozo", "fzoo", "adamw", "zero-shot"} == rows


@pytest.mark.parametrize("name", ["vision", "vision-full"])
def test_all_methods_get_equal_forward_passes_of_equal_minibatches(name: str) -> None:
    plan = expand(load(SUITES / f"{name}.yaml"))
    specs = [run.spec for s in plan.studies for run in s.final_templates]
    assert len({(s.budget.forwards, s.budget.batch_size, s.task.model_dump_json()) for s in specs}) == 1
    assert {study.size for study in plan.studies} == {4}
    assert len({study.row for study in plan.studies}) == (6 if name == "vision" else 9)


def test_the_suite_runs_at_a_small_size(tmp_path: Path) -> None:
    """One seed, 20 forward passes of 4 images, one setting for each method."""
    text = (SUITES / "vision.yaml").read_text("utf-8")
    text = text.replace("ruleset: tuned", "ruleset: open").replace("seeds: [1, 2]", "seeds: [1]")
    text = text.replace("forwards: 300, batch_size: 16", "forwards: 20, batch_size: 4")
    text = text.replace("at: [0, 100, 200], test_items: 300", "at: [10], test_items: 20")
    lines = [line for line in text.splitlines() if "tune:" not in line]
    path = tmp_path / "smoke.yaml"
    path.write_text(
        "\n".join(lines)
        .replace("  mezo:\n", "  mezo: {}\n")
        .replace("  lozo:\n", "  lozo: {}\n")
        .replace("  fzoo:\n", "  fzoo: {}\n")
    )
    plan = expand(load(path))
    outcome = run_plan(plan, tmp_path / "out", workers=0)
    assert not outcome.failed
    assert outcome.done == 7
