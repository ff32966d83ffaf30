"""Hostile YAML is refused with a message: nested aliases, deep nesting, wrong tags, arbitrary input."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zobench.strict_yaml import MOST_LEVELS
from zobench.suite.problems import SuiteError
from zobench.suite.source import read

ALIASES = "a0: &a0 [x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 8)}]\n" for i in range(1, 9)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ALIASES, "every alias expanded"),
        ("a: " + "[" * (MOST_LEVELS + 2) + "]" * (MOST_LEVELS + 2), "levels deep"),
        ("a: " + "[" * 3000 + "]" * 3000, "levels deep"),
    ],
    ids=["aliases", "deep", "very deep"],
)
def test_what_is_too_large_or_too_deep_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(text)
    with pytest.raises(SuiteError, match=message) as found:
        read(path)
    assert "s.yaml" in str(found.value)


@pytest.mark.parametrize("value", ["!!int abc", "!!float x", "!!bool maybe", "!!int ''"])
def test_a_wrong_explicit_tag_is_a_problem_with_its_line(tmp_path: Path, value: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(f"a: 1\nb: {value}\n")
    (problem,) = read(path).problems
    assert (problem.line, problem.key) == (2, "b")


NOT_AS_WRITTEN = {
    "1_000": "not a number in YAML 1.2",
    "1_0.5": "not a number in YAML 1.2",
    "0x1_f": "not a number in YAML 1.2",
    "0b11": "not a number in YAML 1.2",
    "!!float 1": "tag 'tag:yaml.org,2002:float' is not allowed",
    "!!int 1": "tag 'tag:yaml.org,2002:int' is not allowed",
    "!!str 1": "tag 'tag:yaml.org,2002:str' is not allowed",
    "!!seq [1]": "tag 'tag:yaml.org,2002:seq' is not allowed",
    "!!set {a}": "tag 'tag:yaml.org,2002:set' is not allowed",
    "1e-400": "smaller than every double-precision number but 0",
    "-0.001e-330": "smaller than every double-precision number but 0",
    "1e400": "not a finite number",
    "9223372036854775808": "does not fit into 64 bits",
    "1" + 400 * "0": "does not fit into 64 bits",
}


@pytest.mark.parametrize("value", NOT_AS_WRITTEN)
def test_a_number_that_would_be_read_as_another_is_refused_with_line_and_key(
    tmp_path: Path, value: str
) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(f"a: 1\nb:\n  - {value}\n")
    (problem,) = read(path).problems
    assert (problem.line, problem.key) == (3, "b[0]")
    assert NOT_AS_WRITTEN[value] in problem.message


def test_a_verbatim_tag_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("a: 1\nb: !<tag:yaml.org,2002:int> 1\n")
    with pytest.raises(SuiteError, match=r"s.yaml:2.*tag 'tag:yaml.org,2002:int' is not allowed"):
        read(path)


@pytest.mark.parametrize("text", ["0", "-0.0", "0e-400", "5e-324", "9223372036854775807", "0.000"])
def test_numbers_at_the_limits_are_read(tmp_path: Path, text: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(f"v: {text}\n")
    document = read(path)
    assert document.problems == []
    assert repr(document.value["v"]) == repr(float(text) if "." in text or "e" in text else int(text))


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="ab:-[]{}&*!|>'\"#%@ \n\t0.~\x1b\ud800é,?", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s.yaml"
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        with contextlib.suppress(SuiteError):  # anything else fails
            read(path)
