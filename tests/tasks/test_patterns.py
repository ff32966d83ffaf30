"""Regular expressions that users or data give as answers."""

from __future__ import annotations

import pytest

from zobench.rewards.form import FormatConfig
from zobench.tasks.matching import gold_problem

COUNT = "a{" + "1" * 5000 + "}"
"""A count of more digits than ``int`` reads: a ValueError of its own in the package ``regex``."""


def test_a_pattern_that_cannot_be_compiled_is_a_problem_of_its_answer() -> None:
    assert "digits" in str(gold_problem(COUNT, "regex"))
    assert gold_problem("a{3}", "regex") is None


@pytest.mark.parametrize("pattern", [COUNT, "("])
def test_a_pattern_that_cannot_be_compiled_is_refused_as_parameter(pattern: str) -> None:
    with pytest.raises(ValueError, match="is not a regular expression"):
        FormatConfig(pattern=pattern)
