"""The message of a traceback is kept whole."""

from __future__ import annotations

import traceback

import pytest

from zobench.store.reasons import first_line, reason


def recorded(error: BaseException) -> str:
    try:
        raise error
    except BaseException:  # noqa: BLE001 - as the runner does
        return traceback.format_exc()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError("one"), "RuntimeError: one"),
        (RuntimeError("one\ntwo\n\n    three"), "RuntimeError: one\ntwo\n\n    three"),
        (ValueError(), "ValueError"),
        (SystemExit(3), "SystemExit: 3 (sys.exit was called)"),
    ],
)
def test_all_lines_of_the_message(error: BaseException, expected: str) -> None:
    assert reason(recorded(error)) == expected


def test_the_last_exception_of_a_chain() -> None:
    try:
        try:
            _ = {}["key"]
        except KeyError as error:
            raise ValueError("no entry\nof this name") from error
    except ValueError:
        text = traceback.format_exc()
    assert reason(text) == "ValueError: no entry\nof this name"
    assert first_line(text) == "ValueError: no entry …"


def test_a_text_without_frames_is_kept() -> None:
    assert reason("the worker was killed\nby signal 9") == "the worker was killed\nby signal 9"
    assert first_line("one\n") == "one"
    assert first_line("") == first_line(None) == "no error recorded"
