"""Own data in a suite: paths relative to the suite file, identity by content, errors reported at planning."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from zobench.cli.app import app
from zobench.suite import SuiteError, expand, load

SUITE = """\
suite: own
models:
  nano: {name: "builtin:nano"}
tasks:
  mine:
    task: classification
    params: {data: reviews.csv, label: stars, template: "{text} It was", words: {1: terrible, 5: great}}
methods:
  mezo: {}
seeds: [0, 1]
budget: {forwards: 20}
"""


def reviews(count: int) -> str:
    words = ("awful and dull", "lovely and bright")
    return "text,stars\n" + "".join(f"film {i} is {words[i % 2]},{5 if i % 2 else 1}\n" for i in range(count))


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    (tmp_path / "reviews.csv").write_text(reviews(200))
    path = tmp_path / "own.yaml"
    path.write_text(SUITE)
    return path


def problems(path: Path) -> str:
    with pytest.raises(SuiteError) as caught:
        load(path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("labels", "task", "parts"),
    [
        ("ab" * 50, "classification", {}),
        ("ab" * 6, "classification", {}),
        ("abcde" * 2 + "ab", "classification", {"split_seed": 1}),
        ("abab", "classification", {"shares": [0.5, 0.0, 0.5]}),
        ("ab", "generation", {"shares": [0.5, 0.0, 0.5]}),
        ("abc", "generation", {}),
    ],
)
def test_init_writes_a_suite_that_can_be_planned_for_few_records(
    labels: str, task: str, parts: dict[str, object], tmp_path: Path
) -> None:
    (tmp_path / "few.csv").write_text(
        "text,label\n" + "".join(f"text {i},{label}\n" for i, label in enumerate(labels))
    )
    path = tmp_path / "few.yaml"
    options = ["--data", str(tmp_path / "few.csv"), "--label", "label"]
    done = CliRunner().invoke(app, ["init", str(path), *options])
    assert done.exit_code == 0, done.output
    spec = expand(load(path)).runs[0].spec
    assert spec.task.name == task
    given = {key: spec.task.params[key] for key in ("split_seed", "shares")}
    assert given == {"split_seed": 0, "shares": [0.6, 0.2, 0.2], **parts}
    assert spec.budget.batch_size <= 8


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (["a,x", "b,x", "c,y"], "need two classes each, and no division of its 3 records gives them that"),
        (
            ["a,x", "b,x", "c,", "d,"],
            r"of .* have an empty 'label' \(2, the first is record 3\)",
        ),
    ],
)
def test_init_refuses_before_anything_is_written(rows: list[str], told: str, tmp_path: Path) -> None:
    (tmp_path / "few.csv").write_text("\n".join(["text,label", *rows, ""]))
    options = ["--data", str(tmp_path / "few.csv"), "--label", "label"]
    done = CliRunner().invoke(app, ["init", str(tmp_path / "few.yaml"), *options])
    assert done.exit_code == 2
    assert re.search(told, done.stderr), done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["few.csv"]


def test_paths_are_relative_to_the_suite_file(
    suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    run = expand(load(suite)).runs[0]
    assert run.spec.task.params["data"] == "../reviews.csv"
    assert run.spec.task.files == ("data", "validation", "test")


def test_identity_is_the_content_and_not_the_path(suite: Path, tmp_path: Path) -> None:
    first = expand(load(suite)).runs[0].spec
    other = tmp_path / "sub" / "moved.csv"
    other.parent.mkdir()
    other.write_text(reviews(200))
    moved = tmp_path / "moved.yaml"
    moved.write_text(SUITE.replace("reviews.csv", "sub/moved.csv"))
    second = expand(load(moved)).runs[0].spec
    digests = {"model": "m", "data": "d", "schema": "s"}
    assert first.task != second.task
    assert first.run_id(digests) == second.run_id(digests)
    assert first.run_id(digests) != first.run_id({**digests, "data": "e"})


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            "label: stars",
            "label: star",
            "own.yaml:7: tasks.mine.params: label: .* has no column 'star'; did you mean",
        ),
        ("5: great", "4: great", "record 2: label '5' is not among words"),
        ("reviews.csv", "review.csv", "review.csv: no such file"),
        ("{text}", "{txt}", "has no column 'txt'"),
        ("data: reviews.csv, ", "", "data"),
    ],
)
def test_mistakes_are_said_at_plan(suite: Path, old: str, new: str, says: str) -> None:
    assert old in SUITE
    suite.write_text(SUITE.replace(old, new))
    import re

    assert re.search(says, problems(suite))


def test_one_class_is_said_at_plan(suite: Path, tmp_path: Path) -> None:
    (tmp_path / "reviews.csv").write_text("text,stars\n" + "".join(f"film {i},5\n" for i in range(20)))
    assert "all training examples have the same label" in problems(suite)


def test_plan_says_sizes_and_duplicates(suite: Path, tmp_path: Path) -> None:
    with (tmp_path / "reviews.csv").open("a") as file:
        file.write(",5\n")
    found = CliRunner().invoke(app, ["plan", str(suite)])
    assert found.exit_code == 0
    flat = " ".join(found.output.split())
    assert "121 to train, 40 to select, 40 to test" in flat
    assert "1 examples have an empty 'text'" in flat


def test_plan_says_which_prompts_are_too_long(suite: Path, tmp_path: Path) -> None:
    with (tmp_path / "reviews.csv").open("a") as file:
        file.write(f"{'very ' * 4000}long,5\n")
    found = CliRunner().invoke(app, ["plan", str(suite)])
    flat = " ".join(found.output.split())
    assert "builtin:nano on classification: 1 of 201 prompts are longer than" in flat
    assert "for instance example 201" in flat


def test_plan_shows_prompts_and_the_tokens_of_answers(suite: Path) -> None:
    found = CliRunner().invoke(app, ["plan", str(suite), "--show-prompts", "2"])
    assert found.exit_code == 0
    shown = found.output[found.output.index("builtin:nano on classification\n") :].splitlines()
    assert len(shown) == 1 + 2 * 3
    assert "It was'" in shown[1]
    assert sorted(line[3] for line in shown[2:4]) == [" ", "*"]
    assert "'terrible': " in shown[2]


@pytest.mark.parametrize(
    ("body", "label", "holds"),
    [
        (reviews(40), "stars", "task: classification"),
        ("q,a\n" + "".join(f"how much is {i} + {i}?,{2 * i}\n" for i in range(40)), "a", "match: number"),
        ("q,a\n" + "".join(f"name {i}?,name{i}\n" for i in range(40)), "a", "match: exact"),
    ],
)
def test_init_writes_a_suite_that_plans(tmp_path: Path, body: str, label: str, holds: str) -> None:
    (tmp_path / "mine.csv").write_text(body)
    (tmp_path / "suites").mkdir()
    target = tmp_path / "suites" / "mine.yaml"
    args = ["init", str(target), "--data", str(tmp_path / "mine.csv"), "--label", label]
    assert CliRunner().invoke(app, args).exit_code == 0
    assert holds in target.read_text()
    assert 'data: "../mine.csv"' in target.read_text()
    assert CliRunner().invoke(app, ["plan", str(target)]).exit_code == 0


def test_init_without_a_name_takes_that_of_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "reviews.csv").write_text(reviews(10))
    monkeypatch.chdir(tmp_path)
    args = ["init", "--model", "builtin:nano", "--data", "reviews.csv", "--label", "stars"]
    assert "zobench run reviews.yaml" in CliRunner().invoke(app, args).output
    assert expand(load(tmp_path / "reviews.yaml")).suite == "reviews"
    assert "reviews.yaml exists already" in CliRunner().invoke(app, args).stderr
    assert CliRunner().invoke(app, ["init"]).exit_code == 0
    assert expand(load(tmp_path / "mine.yaml")).suite == "mine"


def test_init_says_what_is_wrong_with_the_file(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text(reviews(10))
    base = ["init", str(tmp_path / "a.yaml"), "--data", str(tmp_path / "mine.csv")]
    assert "belong together" in CliRunner().invoke(app, base).stderr
    assert "did you mean 'stars'" in CliRunner().invoke(app, [*base, "--label", "star"]).stderr
    (tmp_path / "mine.csv").write_text("text,stars\na,1\nb,1\n")
    assert "has one value only" in CliRunner().invoke(app, [*base, "--label", "stars"]).stderr
    assert not (tmp_path / "a.yaml").exists()


@pytest.mark.slow
def test_own_file_through_run_and_resume(
    suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first = CliRunner().invoke(app, ["run", str(suite), "--workers", "0"])
    assert first.exit_code == 0, first.output
    assert (tmp_path / "reports" / "own" / "index.html").is_file()
    (tmp_path / "data").mkdir()
    (tmp_path / "reviews.csv").rename(tmp_path / "data" / "renamed.csv")
    suite.write_text(SUITE.replace("reviews.csv", "data/renamed.csv"))
    again = CliRunner().invoke(app, ["run", str(suite), "--workers", "0"])
    assert again.exit_code == 0
    assert "2 kept" in again.output
