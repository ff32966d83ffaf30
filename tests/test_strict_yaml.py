"""One reader for all YAML: every hostile sample is refused by suites, leaderboards and lm-eval folders."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

import zobench
from zobench import strict_yaml
from zobench.report import leaderboard
from zobench.suite import load, source

PACKAGE = Path(zobench.__file__).parent
FEW_ALIASES = "a0: &a0 [x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 8)}]\n" for i in range(1, 9)
)
DEEP = "title: " + "[" * 3000 + "]" * 3000
HOSTILE = {
    "aliases": (FEW_ALIASES, "every alias expanded"),
    "aliases of mappings": ("a: &a {x: 1}\n" + FEW_ALIASES.replace("[x,", "[*a,"), "every alias expanded"),
    "deep lists": (DEEP, "levels deep"),
    "deep mappings": ("{a: " * 3000 + "1" + "}" * 3000, "levels deep"),
    "deep blocks": ("- " * 3000 + "a", "levels deep"),
    "too long": ("# " + "x" * strict_yaml.MOST_BYTES, "larger than"),
    "not UTF-8": (b"title: \xff\xfe", "cannot be read"),
    "tag": ("title: !!int abc", "tag|invalid literal"),
    "tag of a truth value": ("title: !!bool maybe", "tag|maybe"),
    "empty number": ("title: !!int ''", "tag|malformed"),
    "code": ("title: !!python/object/apply:os.getcwd []", "tag"),
}


def _suite(path: Path) -> None:
    document = source.read(path)
    if document.problems:
        raise source.SuiteError(document.problems)


def _lm_eval(path: Path) -> None:
    pytest.importorskip("lm_eval")
    from zobench.tasks.lm_eval_adapter import _check_folder

    _check_folder(path.parent)


READERS: dict[str, Callable[[Path], object]] = {
    "suite": _suite,
    "leaderboard": leaderboard.load,
    "lm-eval folder": _lm_eval,
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("sample", HOSTILE)
def test_a_hostile_file_is_refused_in_one_line_that_names_it(
    tmp_path: Path, reader: str, sample: str
) -> None:
    text, message = HOSTILE[sample]
    path = tmp_path / "hostile.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=message) as found:
        READERS[reader](path)
    assert "hostile.yaml" in str(found.value)
    assert "\n" not in str(found.value)
    assert len(str(found.value)) < 500


@pytest.mark.parametrize(
    "text", ["- a", "abc", "", "3", "title: [a]", 'title: "\\ud800"', "where: &a {b: *a}"]
)
def test_what_is_no_leaderboard_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "board.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"board\.yaml"):
        leaderboard.load(path)


def test_files_included_by_an_lm_eval_task_are_bounded_as_well(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "other.yml").write_text(FEW_ALIASES)
    path = tmp_path / "folder" / "task.yaml"
    path.write_text("task: t\ninclude: ../other.yml\n")
    with pytest.raises(ValueError, match=r"task\.yaml.*other\.yml:\d+: more than"):
        _lm_eval(path)
    path.write_text("task: t\ninclude: 3\n")
    with pytest.raises(ValueError, match=r"task\.yaml: malformed"):
        _lm_eval(path)


def test_files_that_include_each_other_twice_are_counted(tmp_path: Path) -> None:
    for i in range(40):  # without the bound, 2 ** 40 files are read
        (tmp_path / f"{i}.yaml").write_text(f"include: [{i + 1}.yaml, {i + 1}.yaml]\n")
    (tmp_path / "40.yaml").write_text("a: 1\n")
    document = source.read(tmp_path / "0.yaml")
    assert any("at most 100 files" in p.message for p in document.problems)


@pytest.mark.parametrize("name", ["a\\0b", "x" * 5000, "."])
def test_an_include_that_is_no_file_name_is_a_problem(tmp_path: Path, name: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(f'include: "{name}"\n')
    (problem,) = source.read(path).problems
    assert problem.message.startswith("no file")
    assert len(str(problem)) < 500


def test_problems_of_a_file_are_limited(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("a: [" + "!x 1, " * 2_000 + "]\n")
    problems = source.read(path).problems
    assert len(problems) == strict_yaml.MOST_PROBLEMS + 1
    assert "only the first are shown" in str(problems[-1])


def test_an_include_of_many_keys_takes_linear_work(tmp_path: Path) -> None:
    """Each of the 3,000 keys replaces an included one; the lines of all others are looked at once."""
    keys = "".join(f"k{i}: {i}\n" for i in range(3_000))
    (tmp_path / "base.yaml").write_text(keys)
    path = tmp_path / "s.yaml"
    path.write_text("include: base.yaml\n" + keys)
    document = source.read(path)
    assert document.problems == []
    assert len(document.value) == 3_000
    assert document.places[("k9",)].line == 11


def test_no_other_file_of_the_package_reads_yaml() -> None:
    """lm_eval_adapter.py parses events for the size, and leaves reading to the harness."""
    pattern = re.compile(r"YAML\(|yaml\.(safe_)?load|SafeLoader|load_yaml\(")
    found = {str(p.relative_to(PACKAGE)) for p in PACKAGE.rglob("*.py") if pattern.search(p.read_text())}
    assert found == {"strict_yaml.py", "tasks/lm_eval_adapter.py"}


@pytest.mark.parametrize("value", [{}, {"a": 1}, [1], [[10**300] * 40]])
def test_a_collection_in_place_of_a_truth_value_is_a_problem(tmp_path: Path, value: object) -> None:
    suite = json.loads(SMALL)
    suite["methods"]["mezo"]["attacks"] = value
    path = tmp_path / "s.yaml"
    path.write_text(json.dumps(suite))
    with pytest.raises(ValueError, match=r"s\.yaml:1: methods\.mezo\.attacks") as found:
        load(path)
    assert all(len(line) < 600 for line in str(found.value).splitlines())


@pytest.mark.parametrize("key", ["models", "tasks"])
def test_a_name_that_no_file_can_have_is_a_problem(tmp_path: Path, key: str) -> None:
    suite = json.loads(SMALL)
    if key == "models":
        suite["models"]["nano"]["name"] = "/" + "x" * 3000
    else:
        params = {"data": "x" * 3000 + ".csv", "label": "l", "template": "{text}"}
        suite["tasks"] = {"mine": {"task": "classification", "params": params}}
    path = tmp_path / "s.yaml"
    path.write_text(json.dumps(suite))
    with pytest.raises(ValueError, match=r"s\.yaml:1: .*no file can have the name"):
        load(path)


SMALL = """{"suite": "s", "models": {"nano": {"name": "builtin:nano"}}, "tasks": {"nano-topic": {}},
"methods": {"mezo": {}}, "seeds": [1], "budget": {"forwards": 8}}"""
