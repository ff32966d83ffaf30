"""Escape and control characters in names and texts from data are never printed in a terminal."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from zobench.cli.console import text
from zobench.cli.run_view import _pairs, _spec, _warnings
from zobench.names import printable
from zobench.report.terminal import _text

HOSTILE = "best\x1b[2J\x1b]0;t\x07\x9b31m\u202e"


@settings(max_examples=300, deadline=None)
@given(st.text())
def test_whatever_is_shown_is_printable(value: str) -> None:
    shown = printable(value)
    assert shown.isprintable()
    assert len(shown) == len(value)
    assert printable(value, lines=True).translate({9: "", 10: ""}).isprintable()


def test_what_is_printable_stays() -> None:
    assert printable("mezo α=0.1 – [b]") == "mezo α=0.1 – [b]"
    assert printable("a\nb", lines=True) == "a\nb"


@pytest.mark.parametrize(
    "thing",
    [
        text(HOSTILE),
        _text(HOSTILE),
        _pairs({"error": HOSTILE, "note": HOSTILE}),
        _spec({HOSTILE: HOSTILE}),
        _warnings([{"trap": HOSTILE, "detail": HOSTILE, "steps": 1, "first_step": 0}]),
    ],
)
def test_tables_of_names_hold_no_escape_character(thing: object) -> None:
    out = io.StringIO()
    Console(file=out, width=200).print(thing)
    assert "best" in out.getvalue()
    assert not set("\x1b\x07\x9b\u202e") & set(out.getvalue())
