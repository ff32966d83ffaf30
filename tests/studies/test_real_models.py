"""The tables on the real language model agree with the committed results, from which later runs go on."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from zobench.metrics.intervals import wilson
from zobench.report.source import open_results
from zobench.store.plan_file import read_plan
from zobench.studies import committed, real_models, real_problems
from zobench.suite.source import read

README = committed.docs().parent / "README.md"
PAGE = committed.docs() / "real-models.md"


@pytest.mark.parametrize("path", [README, PAGE], ids=["README", "page"])
def test_tables_are_those_of_the_committed_results(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "<!-- smollm2 -->" in text
    assert real_models.rewritten(text) == text


SUITES = (real_models.FEWSHOT, real_models.ROBUSTNESS, real_models.UNLEARNING)
EVERY = pytest.mark.parametrize("name", SUITES)


def test_the_page_has_every_table() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name in real_models.MADE:
        assert f"<!-- {name} -->\n|" in text


@EVERY
def test_committed_runs_belong_to_the_plan_and_are_finished(name: str) -> None:
    folder = committed.results() / name
    source = open_results(folder)
    assert len(source.runs) > 0
    assert source.others == 0
    assert set(source.runs["status"]) <= {"done", "diverged"}
    results = source.runs[source.runs["purpose"] == "result"]
    assert not results.duplicated(["row", "label", "seed"]).any()
    assert set(source.runs["dtype"]) == {"bfloat16"}
    assert {p.name for p in (folder / "runs").iterdir()} == {"compact", "plan.json"}


@EVERY
def test_the_plan_is_that_of_the_shipped_suite(name: str) -> None:
    plan = read_plan(committed.results() / name / "runs")
    assert plan is not None
    # Read as it stands: a loaded suite would need the model itself.
    suite = read(committed.docs().parent / "suites" / f"{name}.yaml").value
    references = {"full model", "oracle"} if "unlearning" in suite else set()
    tasks = suite["unlearning"]["objectives"] if references else suite["tasks"]
    assert {e.row for e in plan.entries} == set(suite["methods"]) | references
    assert {e.task for e in plan.entries} == set(tasks)
    assert {s for e in plan.entries if e.kind != "trials" for s in e.seeds} == set(suite["seeds"])


def test_a_cell_has_seeds_or_examples_for_its_interval() -> None:
    one = pd.DataFrame({"value": [0.75], "n": [400]})
    expected = wilson(300, 400)
    assert real_models._cell(one) == f"75.0 [{100 * expected.low:.1f}, {100 * expected.high:.1f}], 1 seed*"
    assert real_models._cell(pd.concat([one, one])).endswith(", 2 seeds*")
    both = pd.DataFrame({"value": [0.7, 0.8], "n": [400, 400]})
    shown = real_models._cell(both)
    assert shown.startswith("75.0 [")
    assert shown.endswith(", 2 seeds")
    assert real_models._cell(one.iloc[:0]) == "–"


def test_word_problems_are_compared_over_those_solved_before_the_attacks() -> None:
    solved = real_problems.answers(real_models.ROBUSTNESS, real_models.PROBLEMS)
    page = real_problems.lines(real_models.ROBUSTNESS, real_models.PROBLEMS)
    assert not solved.isna().any(axis=None)
    assert {kind for _, kind in solved.columns} == {"attack", "null"}
    number, none = (solved[case] for case in real_problems.PAIR)
    cells = page[-1].strip("| ").split(" | ")
    assert cells[4:6] == [str((number & ~none).sum()), str((none & ~number).sum())]
    # The corrected p-value is at least that of the test alone: 2 P(X <= 2), X ~ B(16, 1/2).
    assert float(cells[6]) >= 2 * (1 + 16 + 120) / 2**16


def test_keeping_needs_a_plan(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    with pytest.raises(ValueError, match=r"no plan\.json; is this the results folder of a suite\?"):
        real_models.keep(tmp_path)
