"""The guards that ``.ci/nightly --surface guards`` removes one by one are where it expects them."""

from __future__ import annotations

import pytest
from reliability.guards import GUARDS, Guard
from reliability.nightly_guards import ROOT


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_the_guard_and_its_test_exist(guard: Guard) -> None:
    assert (ROOT / "zobench" / guard.file).read_text().count(guard.old) == 1
    file, _, name = guard.test.partition("::")
    assert f"def {name.partition('[')[0]}(" in (ROOT / file).read_text() or not name


def test_the_documented_table_has_every_guard() -> None:
    text = (ROOT / "docs" / "reliability.md").read_text()
    for guard in GUARDS:
        assert f"| {guard.name} | `{guard.file}` |" in text
