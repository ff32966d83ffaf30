"""A task trained on rephrased examples: only accepted texts change; a file that matches no example is
refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from zobench.data.rephrase import Verdict, accepted, rephrase, save
from zobench.runner.factory import CATALOGUE, configured
from zobench.spec import Component
from zobench.suite import SuiteError, expand, load
from zobench.tasks.nano import NanoSentiment

SUITE = """\
suite: rephrased
models: {{nano: {{name: "builtin:nano"}}}}
tasks:
  plain: {{task: nano-sentiment}}
  other: {{task: rephrased, params: {{file: "{file}", of: nano-sentiment{more}}}}}
methods: {{mezo: {{}}}}
seeds: [1]
budget: {{forwards: 4, batch_size: 2}}
"""


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, str]:
    """A file that rephrases the training rows of class 0, and the name of their field."""
    task = NanoSentiment(NanoSentiment.Config())
    field = task.prompt.fields[0]
    found = rephrase(
        task.splits(1).train,
        field,
        lambda row, name: [row.text[name].rstrip(". ") + " indeed"],
        lambda row, name, proposal: Verdict(row.label == 0, reason="class 0 only"),
    )
    assert 0 < found.share < 1
    save(found, tmp_path / "kept.jsonl")
    return tmp_path / "kept.jsonl", field


def test_training_rows_are_the_accepted_ones(written: tuple[Path, str]) -> None:
    file, field = written
    task = configured("tasks", Component(name="rephrased", params={"file": str(file), "text": field}))
    inner = NanoSentiment(NanoSentiment.Config())
    new, old = task.splits(1), inner.splits(1)
    for after, before in zip(new.train, old.train, strict=True):
        assert (after.id, after.label) == (before.id, before.label)
        changed = before.text[field].rstrip(". ") + " indeed" if before.label == 0 else before.text[field]
        assert after.text[field] == changed
    assert (new.validation, new.test, new.demonstrations) == (old.validation, old.test, old.demonstrations)
    assert new.digest() != old.digest()
    assert (task.kind, task.primary_metric, task.chance) == (inner.kind, inner.primary_metric, inner.chance)


def test_a_suite_compares_both(written: tuple[Path, str], tmp_path: Path) -> None:
    from zobench.runner.execute import run_one
    from zobench.runner.jobs import Job
    from zobench.runner.process_cache import ProcessCache
    from zobench.store.reader import read_run

    file, field = written
    suite = tmp_path / "suite.yaml"
    text = SUITE.format(file=file, more=f", text: {field}").replace(
        "budget:", "evaluation: {test_items: 4}\nbudget:"
    )
    suite.write_text(text, encoding="utf-8")
    bench, first = ProcessCache(CATALOGUE), []
    for run in expand(load(suite)).runs:
        outcome = run_one(Job(run, "rephrased"), tmp_path / "runs", bench)
        assert outcome.status == "done", outcome.error
        first.append(read_run(tmp_path / "runs", outcome.run_id)["steps"].to_pylist()[0])
    assert first[0]["seeds"] == first[1]["seeds"]
    assert first[0]["losses"] != first[1]["losses"]


def test_what_fits_nothing_is_refused(written: tuple[Path, str], tmp_path: Path) -> None:
    suite, (file, field) = tmp_path / "suite.yaml", written
    suite.write_text(SUITE.format(file=tmp_path / "none.jsonl", more=""), encoding="utf-8")
    with pytest.raises(SuiteError, match="no file"):
        load(suite)
    params = {"file": str(file), "of": "nano-topic", "text": field}
    with pytest.raises(ValueError, match="rephrases no training example of 'nano-topic'"):
        configured("tasks", Component(name="rephrased", params=params)).splits(1)
    (tmp_path / "broken.jsonl").write_text('{"after": "x"}\n')
    with pytest.raises(ValueError, match=r"broken.jsonl:1: not a rephrasing"):
        accepted([], field, tmp_path / "broken.jsonl")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ("{of: nano-sentimnt}", "unknown task 'nano-sentimnt'; did you mean 'nano-sentiment'"),
        ("{of: nano-topic, params: {test_row: 3}}", "no parameter 'test_row'; did you mean 'test_rows'"),
        ("{of: nano-topic, params: {test_rows: 0}}", "test_rows must be a whole number of at least 1"),
    ],
)
@pytest.mark.parametrize("task", ["smoothllm", "denoised-smoothing", "rephrased"])
def test_a_wrong_inner_task_is_refused_before_anything_runs(
    written: tuple[Path, str], tmp_path: Path, task: str, params: str, message: str
) -> None:
    text = SUITE.format(file=written[0], more="")
    text = text.replace("{task: nano-sentiment}", f"{{task: {task}, params: {params}}}")
    if task == "rephrased":
        text = text.replace("params: {of", f'params: {{file: "{written[0]}", of', 1)
    (tmp_path / "suite.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(SuiteError, match=message) as refused:
        load(tmp_path / "suite.yaml")
    assert "suite.yaml:4: tasks.plain.params" in str(refused.value)


def test_scores_to_train_on_are_the_inner_tasks(written: tuple[Path, str], tmp_path: Path) -> None:
    file, field = written
    suite = tmp_path / "suite.yaml"
    text = SUITE.format(file=file, more=f", text: {field}").replace("mezo: {}", "mezo: {train_on: f1}")
    suite.write_text(text, encoding="utf-8")
    load(suite)
    suite.write_text(text.replace("of: nano-sentiment", "of: nano-choice"), encoding="utf-8")
    with pytest.raises(SuiteError, match="task 'other' has no f1 to train on; valid: loss, accuracy"):
        load(suite)
