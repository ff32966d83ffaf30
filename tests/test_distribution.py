"""Settings of divided runs have upper limits, so that a slip of the keyboard does not pass the plan."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from zobench.distribution import Clients, Split


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (Split, {"shards": 99_999_999_999_999}),
        (Clients, {"number": 99_999_999_999_999}),
        (Clients, {"number": 4, "local_steps": 10**12}),
    ],
)
def test_numbers_that_no_run_can_reach_are_refused(kind: type, given: dict[str, int]) -> None:
    with pytest.raises(ValidationError, match="less than or equal to"):
        kind(**given)


def test_the_largest_numbers_are_taken() -> None:
    assert Split(shards=4096, by="both").parts == 2048
    assert Clients(number=100_000, local_steps=100_000).number == 100_000
