"""Noise baselines of an earlier version, whose ids contained their row name: they are read, named, and left
out after the suite was run again."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from synthetic_rows import described

from zobench.cli.finding import find_run
from zobench.cli.run_view import print_run
from zobench.fields import identity
from zobench.report.analysis import analyse
from zobench.report.build import html
from zobench.report.source import open_results
from zobench.spec import Budget, Component, ModelRef, RunSpec, Unlearning, _digest, identifying
from zobench.store.writer import RunFolder


def spec_of(like: str, distance: float = 1.5) -> RunSpec:
    section = Unlearning(
        role="noise",
        data=Component(name="nano-facts"),
        oracle=ModelRef(name="o"),
        distance=distance,
        like=like,
    )
    return RunSpec(
        model=ModelRef(name="m"),
        task=Component(name="npo"),
        method=Component(name="none"),
        seed=1,
        budget=Budget(forwards=0),
        unlearning=section,
    )


ABOUT = described("npo", 1)
DIGESTS = identifying(ABOUT["model_digest"], ABOUT["data_digest"])
TODAY = spec_of("mezo").run_id(DIGESTS)
EARLIER = _digest(spec_of("mezo").canonical(display=True), DIGESTS)


def write(target, run_id, row, value):
    about = {
        **ABOUT, "run_id": run_id, "suite": "s", "row": f"noise as far as {row}", "group": "control",
        "purpose": "result", "status": "done", "method": "none", "seed": 1, "forwards": 0,
        "budget_forwards": 0,
        "batch_size": 16, "primary_metric": "accuracy", "spec": spec_of(row).model_dump_json(),
        "environment": "{}",
    }  # fmt: skip
    metric = {
        "run_id": run_id, "task": "npo", "split": "test", "condition_kind": "clean", "condition": "",
        "metric": "accuracy", "value": value, "n": 10, "final": True, "forwards": 0,
    }  # fmt: skip
    folder = RunFolder(target / "runs" / run_id)
    folder.path.mkdir(parents=True)
    folder.write_json("spec.json", {"row": row})
    folder.finish("done", {"runs": [about], "metrics": [metric]})


def test_the_name_of_a_row_is_no_part_of_its_noise_controls() -> None:
    assert spec_of("mezo").run_id(DIGESTS) == spec_of("another name").run_id(DIGESTS)
    assert spec_of("mezo", 1.5).run_id(DIGESTS) != spec_of("mezo", 1.6).run_id(DIGESTS)
    assert identity(spec_of("mezo"))["unlearning"]["like"] is None
    assert spec_of("mezo").superseded_by(EARLIER, DIGESTS) == TODAY
    assert spec_of("mezo").superseded_by(TODAY, DIGESTS) is None
    assert spec_of("mezo").superseded_by("f" * 20, DIGESTS) is None, "no id of this run at all"


def test_an_old_folder_reads_and_says_that_its_runs_are_superseded(tmp_path) -> None:
    write(tmp_path, EARLIER, "mezo", 0.25)
    found = open_results(tmp_path)
    assert found.superseded == (1, 0)
    assert found.finals["value"].tolist() == [0.25]
    assert "Superseded runs: 1. In an earlier version" in html(analyse(tmp_path, "fewshot"))
    out = io.StringIO()
    print_run(find_run(EARLIER, tmp_path), Console(file=out, width=200))
    assert f"done, superseded by {TODAY}" in out.getvalue()


def test_the_run_that_was_made_again_takes_its_place(tmp_path) -> None:
    write(tmp_path, EARLIER, "mezo", 0.25)
    write(tmp_path, TODAY, "renamed", 0.5)
    found = open_results(tmp_path)
    assert found.superseded == (0, 1)
    assert found.runs["run_id"].tolist() == [TODAY]
    assert found.finals["value"].tolist() == [0.5]
    assert found.sql("select run_id from runs")["run_id"].tolist() == [TODAY]


@pytest.mark.parametrize("text", ['{"unlearning": {"like": "x"}}', '{"like":"x"}'])
def test_a_specification_that_is_not_understood_is_left_alone(tmp_path, text) -> None:
    from zobench.report.superseded import today_of

    assert today_of("a", text, "b", "c") is None
