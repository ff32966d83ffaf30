"""The section on IB-FT from invented runs with known differences, and the times of the suites of its page."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from zobench.studies import ib_ft, suite_times
from zobench.suite import expand, load
from zobench.suite.plan import Plan

PASS = {"zero-shot": 0.3, "adamw": 0.5, "adamw-hsic": 0.6, "mezo": 0.4, "mezo-hsic": 0.2}
"""Pass@1 of the first seed; 0.01 more for each further one."""


def invented() -> tuple[pd.DataFrame, pd.DataFrame]:
    points = [
        {
            "task": "t",
            "row": row,
            "params": '{"lr": 0.001}',
            "seed": seed,
            "at": 300,
            "metric": metric,
            "value": v,
        }
        for row in ib_ft.ROWS
        for seed in (1, 2, 3)
        for metric in ib_ft.METRICS
        for v in [PASS.get(row, PASS[ib_ft.plain_of(row)] if row[:4] != "zero" else 0.3) + 0.01 * seed - 0.01]
    ]
    losses = [
        {"row": "base", "metric": f"loss_{part}", "value": value}
        for part, values in (("memorized", (0.01, 0.03)), ("new", (1.0, 3.0)))
        for value in values
    ]
    rates = [
        {"task": "t", "row": row, "params": f'{{"lr": {lr}}}'}
        for row in ib_ft.ROWS[1:]
        for lr in ((0.0001, 0.001) if row == "mezo" else (0.0001, 0.001, 0.01))
    ]
    return pd.DataFrame([*points, *losses]), pd.DataFrame(rates)


def test_differences_that_survive_the_correction_are_named() -> None:
    runs, trials = invented()
    ours = (runs["row"] == "adamw-hsic") & (runs["metric"] == "accuracy")
    runs.loc[ours, "value"] += runs.loc[ours, "seed"] * 1e-4
    flat = " ".join(ib_ft.section(runs, trials).split())
    assert "After Holm over the 14 comparisons significant: `adamw-hsic` (Pass@1)." in flat


def test_the_section_says_what_the_runs_show() -> None:
    text = ib_ft.section(*invented())
    rows = {line.split(" | ")[0].strip("| "): line for line in text.splitlines() if line.startswith("| `")}
    assert set(rows) == {f"`{row}`" for row in ib_ft.ROWS}
    hsic = rows["`adamw-hsic`"]
    assert hsic.split(" | ")[1] == "61.0"
    assert hsic.count("+10.0 [+10.0, +10.0]") == 2
    assert rows["`mezo-hsic`"].count("-20.0 [-20.0, -20.0]") == 2
    assert rows["`mezo`"].endswith("| – | – | edge |"), "a plain row is compared with nothing"
    flat = " ".join(text.split())
    assert "than the plain loss: `adamw-hsic` (Pass@1), `adamw-hsic` (Pass@4(3)); worse: `mezo-hsic`" in flat
    assert "After Holm over the 14 comparisons none is significant: undecided." in flat, "equal differences"
    known = "0.0200 nats per token, at most 0.0300) and on 2 about people whom it has never seen (2.00; 0 of"
    assert known in flat


@pytest.fixture(scope="module")
def plan() -> Plan:
    return expand(load(Path(__file__).resolve().parents[2] / "suites" / "ib-ft.yaml"))


def test_all_rows_get_equal_forward_passes_and_trials(plan: Plan) -> None:
    specs = [run.spec for s in plan.studies for run in s.final_templates]
    assert {s.row for s in plan.studies} == set(ib_ft.ROWS) - {"zero-shot"}
    assert {(s.budget.forwards, s.budget.batch_size) for s in specs} == {(300, 16)}
    assert {s.size for s in plan.studies} == {3}


def test_every_measured_suite_keeps_its_limit() -> None:
    measured = {r["suite"]: r["cpu"] for r in suite_times.records()}
    late = {s for s, cpu in measured.items() if cpu is not None and cpu / 2 > suite_times.limit(s)}
    assert late == set()
    assert suite_times.limit("vision") == 8
