"""Hostile YAML is refused in words: nested aliases, deep nesting, wrong tags, anything at all."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zobench.suite.problems import SuiteError
from zobench.suite.source import MOST_LEVELS, read

ALIASES = "a0: &a0 [x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 8)}]\n" for i in range(1, 9)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ALIASES, "every alias written out"),
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


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="ab:-[]{}&*!|>'\"#%@ \n\t0.~\x1b\ud800é,?", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s.yaml"
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        with contextlib.suppress(SuiteError):  # anything else fails
            read(path)
