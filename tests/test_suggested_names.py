"""Suggestions for misspelt names."""

from __future__ import annotations

from zobench.names import nearest, suggestion


def test_a_name_is_suggested_once() -> None:
    """A suite has a task once for each of its rows."""
    assert nearest("sentiment", ["nano-sentiment", "nano-topic", "nano-sentiment"]) == (
        "; did you mean 'nano-sentiment'?"
    )
    assert suggestion("x", ["b", "a", "b"]) == "valid: a, b"
