"""Pages, terminal and progress lines use the names that a suite gives to its tasks and models; run ids do not
depend on these names. ``diff`` and ``export`` select runs by the plan, as pages do."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from zobench.cli import app
from zobench.report.analysis import analyse
from zobench.report.build import html
from zobench.report.diff import compare_folders
from zobench.report.tables import labels
from zobench.store import compact, read
from zobench.verification import write_submission

SUITE = """\
suite: small
models:
{models}
tasks:
{tasks}
methods:
  mezo: {{params: {{lr: {lr}}}}}
  zero-shot: {{method: none, group: control}}
seeds: [1, 2]
budget: {{forwards: 4, batch_size: 4}}
evaluation: {{test_items: 10}}
"""
NANO = '  nano: {name: "builtin:nano"}'
TOPIC = "  nano-topic: {}"
TWO_TASKS = "  few: {task: nano-sentiment, params: {k: 4}}\n  many: {task: nano-sentiment, params: {k: 8}}"
TWO_MODELS = f'{NANO}\n  short: {{name: "builtin:nano", max_length: 48}}'
COMMAND = CliRunner()


def called(*arguments: object) -> Result:
    return COMMAND.invoke(app, [str(a) for a in arguments])


def ran(folder: Path, models: str = NANO, tasks: str = TOPIC, lr: str = "1e-3") -> str:
    folder.mkdir(exist_ok=True)
    suite = folder / "suite.yaml"
    suite.write_text(SUITE.format(models=models, tasks=tasks, lr=lr))
    found = called("run", suite, "--output", folder / "results", "--workers", 0)
    assert found.exit_code == 0, found.output
    return found.output


def shown(results: Path) -> list[str]:
    found = analyse(results)
    return [labels(found.source)[b] for b in found.ranking.blocks]


@pytest.mark.parametrize("compacted", [False, True])
def test_two_entries_of_one_task_keep_their_names(tmp_path: Path, compacted: bool) -> None:
    said = ran(tmp_path, tasks=TWO_TASKS)
    results = tmp_path / "results"
    if compacted:
        compact(results)
    assert shown(results) == ["few", "many"]
    assert "mezo on few, seed 1" in said
    assert "mezo on many, seed 2" in said
    assert "k=4" not in said
    assert said.count("all runs share this process (--workers 0") == 1
    page = html(analyse(results))
    assert "<td>few</td>" in page
    assert "nano-sentiment k=4" not in page
    (results / "runs" / "plan.json").unlink()
    without = shown(results)
    assert len(without) == 2
    assert all(label.startswith("nano-sentiment ") for label in without), "as runs of any age say"


def test_a_name_is_no_part_of_identity(tmp_path: Path) -> None:
    ran(tmp_path, tasks=TWO_TASKS)
    before = set(read(tmp_path / "results").runs["run_id"])
    renamed = TWO_TASKS.replace("few:", "four:")
    said = ran(tmp_path, tasks=renamed)
    assert "8/8 done (8 kept)" in said
    assert set(read(tmp_path / "results").runs["run_id"]) == before
    assert shown(tmp_path / "results") == ["four", "many"]


def test_two_entries_of_one_model_are_neither_pooled_nor_refused(tmp_path: Path) -> None:
    said = ran(tmp_path, models=TWO_MODELS)
    results = tmp_path / "results"
    assert shown(results) == ["nano-topic · nano", "nano-topic · short"]
    assert "mezo on nano-topic, short, seed 1" in said
    runs = analyse(results).runs
    assert runs.groupby(["row", "block"])["seed"].nunique().tolist() == [2, 2, 2, 2]
    (results / "runs" / "plan.json").unlink()
    assert shown(results) == ["nano-topic · nano max_length=48", "nano-topic · nano max_length=None"]


def test_one_name_for_two_things_in_merged_folders_says_more(tmp_path: Path) -> None:
    ran(tmp_path / "a", tasks="  few: {task: nano-sentiment, params: {k: 4}}")
    ran(tmp_path / "b", tasks="  few: {task: nano-sentiment, params: {k: 8}}")
    found = analyse([tmp_path / "a" / "results", tmp_path / "b" / "results"])
    names = sorted(labels(found.source).values())
    assert [n.split()[0] for n in names] == ["few", "few"]
    assert "k=4" in names[0]
    assert "k=8" in names[1]


# what diff and export take for current


def test_diff_compares_what_the_plan_wants(tmp_path: Path) -> None:
    ran(tmp_path / "a")
    ran(tmp_path / "b")
    ran(tmp_path / "b", lr="1e-2")
    a, b = tmp_path / "a" / "results", tmp_path / "b" / "results"
    found = compare_folders(a, b)
    mezo = next(c for c in found.changes if c.row == "mezo")
    assert mezo.reasons == ("different method params",)
    assert mezo.comparison is not None
    assert mezo.comparison.pairs == 2, "not four over two settings"
    said = called("diff", a, b)
    assert "B: 2 other runs in the folder are not in the current suite" in " ".join(said.output.split())
    old = called("diff", a, b, "--suite", tmp_path / "a" / "suite.yaml")
    assert old.exit_code == 0
    assert "identical" in old.output
    everything = compare_folders(a, b, every=True)
    assert len(everything.only_b) == 1
    assert "(not in the plan: " in everything.only_b[0]
    assert called("diff", a, b, "--all").exit_code in (0, 1)


@pytest.mark.parametrize("compacted", [False, True])
def test_export_writes_what_the_plan_wants(tmp_path: Path, compacted: bool) -> None:
    ran(tmp_path)
    first = (tmp_path / "suite.yaml").read_text()
    ran(tmp_path, lr="1e-2")
    (tmp_path / "first.yaml").write_text(first)
    results = tmp_path / "results"
    if compacted:
        compact(results)

    def exported(*more: object) -> dict[str, str]:
        out = tmp_path / "tables"
        found = called("export", results, "--tables", out, *more)
        assert found.exit_code == 0, found.output
        table = pq.read_table(out / "ranking.parquet").to_pydict()
        rows = [row.split(" (")[0] + ("…" if "(" in row else "") for row in table["row"]]
        return dict(zip(rows, table["status"], strict=True))

    assert exported() == {"mezo": "2 done", "zero-shot": "2 done"}
    assert exported("--all") == {"mezo": "2 done", "mezo…": "2 done", "zero-shot": "2 done"}
    assert exported("--suite", tmp_path / "first.yaml") == {"mezo": "2 done", "zero-shot": "2 done"}


def test_merged_folders_go_by_their_own_plans(tmp_path: Path) -> None:
    ran(tmp_path / "a")
    ran(tmp_path / "b", tasks="  nano-sentiment: {}")
    ran(tmp_path / "b", tasks="  nano-sentiment: {}", lr="1e-2")
    ran(tmp_path / "b", tasks="  nano-sentiment: {}")
    both = [tmp_path / "a" / "results", tmp_path / "b" / "results"]
    found = analyse(both)
    assert found.source.others == 2
    assert found.runs.groupby(["row", "block"]).size().tolist() == [2, 2, 2, 2]
    assert compare_folders(both, both).exit_code == 0
    assert called("diff", both[0], both[0]).exit_code == 0


def test_a_tuned_row_whose_grid_changed_is_not_pooled(tmp_path: Path) -> None:
    def tuned(grid: str) -> None:
        text = SUITE.format(models=NANO, tasks=TOPIC, lr="1e-3")
        searched = f"  mezo: {{tune: {{space: {{lr: {grid}}}, seeds: [101]}}}}"
        suite = tmp_path / "suite.yaml"
        suite.write_text(text.replace("  mezo: {params: {lr: 1e-3}}", searched))
        found = called("run", suite, "--output", tmp_path / "results", "--workers", 0)
        assert found.exit_code == 0, found.output

    tuned("[1e-3, 1e-2]")
    results = tmp_path / "results"
    first = set(analyse(results).runs.query("row == 'mezo'")["run_id"])
    tuned("[3e-3, 3e-2]")
    found = analyse(results)
    second = set(found.runs.query("row == 'mezo'")["run_id"])
    assert len(first) == len(second) == 2
    assert not first & second
    assert found.source.others == 4, "two results and two trials of the first grid"
    (search,) = (t for t in found.source.runs.query("purpose == 'tuning'").groupby("tuning_of"))
    assert len(search[1]) == 2
    compact(results)
    assert set(analyse(results).runs.query("row == 'mezo'")["run_id"]) == second
    old = compare_folders(results, results)
    assert [c.verdict for c in old.changes if c.row == "mezo"] == ["identical"]


def test_a_submission_that_was_added_is_shown_in_a_row_of_its_own(tmp_path: Path) -> None:
    ran(tmp_path / "theirs", lr="1e-2")
    ran(tmp_path / "ours")
    ours = tmp_path / "ours" / "results"
    theirs = read(tmp_path / "theirs" / "results").runs
    run_id = str(theirs[(theirs["row"] == "mezo") & (theirs["seed"] == 1)].iloc[0]["run_id"])
    file = write_submission(tmp_path / "theirs" / "results", run_id, tmp_path / "s.zip")
    found = called("verify", file, "--add", ours)
    assert found.exit_code == 0, found.output
    rows = analyse(ours).runs.groupby("row").size().to_dict()
    (added,) = (row for row in rows if "(submitted: " in row)
    assert rows == {"mezo": 2, "zero-shot": 2, added: 1}
    assert added.startswith("mezo (submitted: ")
    compact(ours)
    assert analyse(ours).runs.groupby("row").size().to_dict() == rows
    assert "0 runs that are not in the suite" in called("prune", ours).output
    assert compare_folders(tmp_path / "theirs" / "results", ours).only_b == (added,)
    plan = json.loads((ours / "runs" / "plan.json").read_text())
    assert run_id not in json.dumps(plan)
