"""Notices of the page about results that are less comparable than they appear."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from synthetic import Entry, Study, make_synthetic
from typer.testing import CliRunner

from zobench.cli import app
from zobench.plugins import builtin_names, lookup, revision
from zobench.report import notices, provenance
from zobench.report.analysis import analyse
from zobench.report.build import build
from zobench.report.comparability import _too_few
from zobench.store.reader import read_run
from zobench.store.writer import RunFolder


def test_ties_are_counted_on_the_page_where_there_are_any(tmp_path: Path) -> None:
    study = Study([Entry("mezo", 0.05), Entry("fzoo", 0.09)], {"topic": 0.7}, seeds=(0, 1), attacks=())
    folder = make_synthetic(tmp_path / "results", study)
    found = analyse(folder)
    assert notices.ties(found.source) == ()
    for path in sorted((folder / "runs").iterdir()):
        tables = {n: t.to_pylist() for n, t in read_run(folder, path.name).items()}
        if tables["runs"][0]["row"] == "mezo":
            last = next(m for m in tables["metrics"] if m["final"] and m["metric"] == "accuracy")
            tables["metrics"].append({**last, "metric": "ties", "value": 3.0, "n": 40})
            RunFolder(path).finish("done", tables)
    (sentence,) = notices.ties(analyse(folder).source)
    assert sentence.startswith("Test predictions whose best options tie: 6 of 80 (mezo). ")
    assert "6 of 80 (mezo)" in build(folder, tmp_path / "page.html").read_text(encoding="utf-8")


def test_the_catalogue_names_the_revisions_of_the_cards() -> None:
    names = builtin_names("methods")
    assert {n: revision(n) for n in names} == {n: lookup("methods", n).card.revision for n in names}
    assert revision("somebody-elses") is None


def made(folder: Path, **changes: dict[str, Any]) -> Path:
    """Two rows; by row, what their runs table says instead."""
    study = Study([Entry("mezo", 0.05), Entry("zo-adam", 0.09)], {"topic": 0.7}, seeds=(0, 1), attacks=())
    results = make_synthetic(folder, study)
    for path in sorted((results / "runs").iterdir()):
        tables = {n: t.to_pylist() for n, t in read_run(results, path.name).items()}
        run = tables["runs"][0]
        RunFolder(path).finish(
            "done", {**tables, "runs": [run | changes.get(run["row"].replace("-", "_"), {})]}
        )
    return results


def test_runs_of_an_earlier_revision_are_named_in_table_warnings_and_run_pages(tmp_path: Path) -> None:
    results = made(tmp_path / "results", zo_adam={"environment": "{}"})
    found = analyse(results)
    flags = {s.row: s.flags for s in found.ranking.standings}
    assert flags == {"mezo": (), "zo-adam": ("made by revision 1 of zo-adam, now 2 (2 of 2 runs)",)}
    assert provenance.sentences(found.runs) == ("2 runs (zo-adam): made by revision 1 of zo-adam, now 2.",)
    text = build(results, tmp_path / "page.html", site=True).read_text(encoding="utf-8")
    assert text.count("made by revision 1 of zo-adam, now 2") >= 2
    pages = [p.read_text(encoding="utf-8") for p in (tmp_path / "pages").iterdir()]
    assert sum("made by revision 1 of zo-adam" in page for page in pages) == 2


def test_runs_of_half_precision_from_before_the_rule_for_ties_are_named(tmp_path: Path) -> None:
    scored = json.dumps({"digests": {"scoring": "2"}})
    task = {"dtype": "bfloat16", "task": "nano-topic"}
    results = made(tmp_path, mezo=task | {"environment": "{}"}, zo_adam=task | {"environment": scored})
    told = dict(zip(*(lambda r: (r["row"], provenance.made_by(r)))(analyse(results).runs), strict=True))
    assert told["mezo"] == "scored by revision 1, where ties went to the first option"
    assert "scored" not in told["zo-adam"]


PLUGGED = """\
suite: small
models: {nano: {name: "builtin:nano"}}
tasks: {nano-topic: {}}
methods:
  mezo: {}
  zo-adam: {}
seeds: [0, 1]
budget: {forwards: 4, batch_size: 4}
"""


@pytest.fixture
def unknown(tmp_path: Path) -> Path:
    """Results whose first row used a method of a package, from before plugin code was recorded."""
    from zobench.spec import Budget, Component, ModelRef, RunSpec

    parts = {"model": ModelRef(name="builtin:nano"), "task": Component(name="nano-topic")}
    spec = RunSpec(**parts, method=Component(name="theirs"), seed=0, budget=Budget(forwards=4))
    changed = {"method": "theirs", "spec": spec.model_dump_json(), "environment": "{}"}
    return made(tmp_path / "results", mezo=changed)


def test_runs_of_unknown_plugin_code_are_named(unknown: Path) -> None:
    found = analyse(unknown)
    (sentence,) = provenance.sentences(found.runs)
    assert sentence == "2 runs (mezo): plugin code unknown (theirs)."


def test_plan_lists_what_lies_in_its_folder_and_was_made_otherwise(unknown: Path, tmp_path: Path) -> None:
    suite = tmp_path / "suite.yaml"
    suite.write_text(PLUGGED + f"output: {unknown}\n")
    said = " ".join(CliRunner().invoke(app, ["plan", str(suite)]).output.split())
    assert "2 runs (mezo): plugin code unknown (theirs); such runs are made again" in said
    assert "revision" not in said
    suite.write_text(PLUGGED)
    assert "plugin code unknown" not in CliRunner().invoke(app, ["plan", str(suite)]).output


def test_too_few_seeds_are_one_reason_for_all_tasks() -> None:
    assert _too_few(0, ["npo", "rmu"], 1) == "no seeds on npo, rmu, one is required"
    assert _too_few(1, ["npo"], 3) == "1 seed on npo, 3 are required"
