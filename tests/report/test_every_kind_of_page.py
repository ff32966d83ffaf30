"""Faults that were seen when every kind of page was looked at (docs/log.md)."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from markupsafe import Markup
from synthetic import Entry, Study, make_synthetic

from zobench.report import notices, page, rank_diagram, tuning
from zobench.report.analysis import Analysis, analyse
from zobench.report.build import build
from zobench.report.leaderboard import Leaderboard
from zobench.report.model_titles import model_titles
from zobench.report.overview import headline, warnings

LONG = "mezo on adapters of 12 layers"


def small(**more: Any) -> Study:
    entries = [Entry("mezo", 0.05), Entry("broken", status={("topic", 0): "failed", ("topic", 1): "failed"})]
    return Study(entries, {"topic": 0.7}, seeds=(0, 1), steps=4, **{"examples": 0, "attacks": (), **more})


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Analysis:
    study = small(tuned=("broken",))
    study.entries[0].status["topic", 1] = "interrupted"
    study.entries.append(Entry("fzoo"))
    return analyse(make_synthetic(tmp_path_factory.mktemp("results"), study))


def test_runs_without_a_result_are_counted_and_said_to_be_missing(found: Analysis) -> None:
    assert notices.unfinished(found.source) == (
        "Without a result: 2 runs failed, 1 run interrupted. The section Runs has the reasons.",
    )
    source = dataclasses.replace(found.source, runs=found.source.runs.query("status == 'done'"))
    assert notices.unfinished(source) == ()
    (search,) = tuning.collect(source)
    assert search["flags"][-1] == "searched, but without a run"


def test_rows_that_are_apart_for_one_reason_are_told_once(found: Analysis) -> None:
    one = dataclasses.replace(found.ranking.standings[0], ranked=False, reasons=("another budget",))
    rows = tuple(dataclasses.replace(one, row=name) for name in "abcd")
    others = tuple(dataclasses.replace(one, row=n, reasons=(f"reason {n}",)) for n in "efg")
    told = headline(dataclasses.replace(found.ranking, standings=(*rows, *others)))
    expected = "a, b, c and d: another budget; e: reason e; f: reason f; and 1 other"
    assert told == f"No row can be ranked: {expected}."


def test_seeds_are_too_few_only_where_rows_are_compared(found: Analysis) -> None:
    ranked = [dataclasses.replace(s, ranked=True) for s in found.ranking.standings if s.row != "broken"]
    runs = found.runs[found.runs["row"] != "broken"]
    for rows, seeds, said in ((1, 2, None), (2, 1, "no difference can be tested"), (2, 2, "only large")):
        ranking = dataclasses.replace(found.ranking, standings=tuple(ranked[:rows]))
        told = [w for w in warnings(ranking, runs[runs["seed"] < seeds]) if "per row" in w]
        assert len(told) == (said is not None)
        assert all(str(said) in w for w in told)


def test_a_model_that_the_suite_taught_is_called_after_its_base() -> None:
    pair = {"unlearning": {"pair": {"base": "package:smollm2-135m"}}}
    texts = [json.dumps(pair), json.dumps({"unlearning": {"pair": {}}}), "{}"]
    models = ["pair:0123/full", "pair:4567/full", "builtin:nano"]
    runs = pd.DataFrame({"model": models, "environment": "{}", "spec": texts})
    assert model_titles(runs) == [
        "a small transformer, taught the facts by the suite",
        "builtin:nano",
        "package:smollm2-135m, taught the facts by the suite",
    ]


def test_names_in_the_rank_diagram_of_a_phone_are_whole() -> None:
    _, phone, _ = rank_diagram.diagram({LONG: 1.0, "b": 2.0, "c": 3.0}).split("</svg>")
    assert f">{LONG} <tspan" in phone
    assert "…" not in phone


@pytest.mark.parametrize(
    ("scale", "value", "text"),
    [
        ("count", 16.6667, "16.7"),
        ("count", 0.0, "0.0"),
        ("number", 0.05, "0.050"),
        ("number", 5e-5, "5e−5"),
        ("number", -0.0013, "−0.0013"),
    ],
)
def test_scores_have_the_digits_of_their_column(scale: Any, value: float, text: str) -> None:
    assert Leaderboard(title="x", scale=scale).show(value) == text


def test_no_line_ends_between_a_number_and_its_sign() -> None:
    said = Markup("95 % of all, adjusted p = 0.04; p &lt; 0.001, a % b")
    wanted = "95\u00a0% of all, adjusted p\u00a0=\u00a00.04; p\u00a0&lt;\u00a00.001, a % b"
    assert page.unbroken(said) == wanted


@pytest.mark.browser
@pytest.mark.slow
def test_a_page_of_one_row_compares_nothing(tmp_path: Path, open_page: Any) -> None:
    study = small(points=1)
    study.entries = study.entries[:1]
    seen = open_page(build(make_synthetic(tmp_path / "runs", study), tmp_path / "page.html"), width=390)
    text = seen.page.inner_text("main")
    assert "so no pair was tested" in text
    assert "No pair is undecided" not in text
    assert seen.page.inner_text("#pairs").splitlines()[-1].startswith("This page has one row")
    said = seen.page.evaluate("withoutText([{ text: '' }, { text: '' }])")
    assert said == " (these records have no prompts)."
    assert seen.page.evaluate("withoutText([{ text: 'a' }, { text: '' }])").startswith(" Of 1 of them: (")
    assert seen.problems == []


@pytest.mark.browser
@pytest.mark.slow
def test_rows_with_the_same_tasks_share_the_note_below_the_curves(tmp_path: Path, open_page: Any) -> None:
    study = small()
    study.tasks = {"topic": 0.7, "sentiment": 0.7}
    study.entries = [Entry(name, status={("topic", 0): "failed", ("topic", 1): "failed"}) for name in "ab"]
    study.entries.append(Entry("c", fields={"budget_forwards": 300}))
    seen = open_page(build(make_synthetic(tmp_path / "runs", study), tmp_path / "page.html"))
    seen.page.locator("#c-plot").scroll_into_view_if_needed()
    seen.page.wait_for_selector("#c-plot .scatterlayer .trace")
    assert seen.page.inner_text("#c-partial") == "a, b: mean over sentiment alone."
    colours = seen.page.evaluate("new Set(DATA.rows.map((_, i) => colourOf(i))).size")
    assert colours == 3, "no row is ranked: the methods have the colours"
    assert seen.problems == []
