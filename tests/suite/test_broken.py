"""Invalid suites: each gives the expected file, line, key, message and hint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from zobench.suite import SuiteError, load

pytestmark = pytest.mark.usefixtures("fake_catalogues")

GOOD = """\
suite: small
models:
  nano: {name: "builtin:nano"}
tasks:
  nano-topic: {}
methods:
  mezo: {}
attacks:
  char-typos: {}
seeds: [1, 2]
budget: {forwards: 100}
evaluation: {at: [50]}
"""


@dataclass(frozen=True)
class Broken:
    """``old`` in the good suite is replaced by ``new``; ``says`` must be the start of a problem (after the
    file)."""

    name: str
    old: str
    new: str
    says: str
    hint: str = ""


CASES = [Broken(**case) for case in YAML(typ="safe").load(Path(__file__).with_name("broken.yaml"))]


@pytest.mark.parametrize("case", CASES, ids=[c.name for c in CASES])
def test_broken_suite(tmp_path: Path, case: Broken) -> None:
    assert case.old in GOOD
    path = tmp_path / "s.yaml"
    path.write_text(GOOD.replace(case.old, case.new, 1))
    with pytest.raises(SuiteError) as caught:
        load(path)
    texts = [str(p).removeprefix(f"{path}:") for p in caught.value.problems]
    fitting = [text for text in texts if text.startswith(case.says)]
    assert fitting, texts
    assert case.hint in fitting[0]


def test_the_good_suite_is_good(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(GOOD)
    assert load(path).suite == "small"


def test_all_errors_at_once_in_line_order(tmp_path: Path) -> None:
    text = GOOD.replace("nano-topic: {}", "nano-topics: {}").replace(
        "mezo: {}", "mezo: {params: {esp: 1}, x: 2}"
    )
    text = text.replace("  mezo:", "  fzoo: {params: {n: two}}\n  mezo:").replace("[1, 2]", "[1, 1]")
    path = tmp_path / "s.yaml"
    path.write_text(text.replace("builtin:nano", "builtin:nanno"))
    with pytest.raises(SuiteError) as caught:
        load(path)
    assert [(p.line, p.key) for p in caught.value.problems] == [
        (3, "models.nano.name"),
        (5, "tasks.nano-topics"),
        (7, "methods.fzoo.params.n"),
        (8, "methods.mezo.x"),
        (11, "seeds[1]"),
    ]
    assert str(caught.value).count("\n") == 4


def test_a_problem_in_an_included_file_names_that_file(tmp_path: Path) -> None:
    (tmp_path / "common.yaml").write_text("methods:\n  mezo:\n    params: {esp: 1}\n")
    path = tmp_path / "s.yaml"
    path.write_text(GOOD.replace("methods:\n  mezo: {}", "include: common.yaml"))
    with pytest.raises(SuiteError) as caught:
        load(path)
    (problem,) = caught.value.problems
    assert problem.file == str(tmp_path / "common.yaml")
    assert (problem.line, problem.key) == (3, "methods.mezo.params.esp")
    assert problem.hint == "did you mean 'eps'?"


@pytest.mark.parametrize("content", [b"", b"- 1\n", b"\xff\xfe\x00", b"just text"])
def test_no_mapping_no_suite(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "s.yaml"
    path.write_bytes(content)
    with pytest.raises(SuiteError, match=r"s\.yaml:1: "):
        load(path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=r"nothing\.yaml:1: cannot be read: No such file"):
        load(tmp_path / "nothing.yaml")


def test_a_name_that_no_file_can_have(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=r"no file can have the name .*\.\.\. \(\d+ characters\)"):
        load(tmp_path / f"{'x' * 5000}.yaml")
