"""Text columns of the report: Python objects, one for each text."""

from __future__ import annotations

import pandas as pd

from zobench.report.source import plain_text


def test_equal_texts_of_a_column_are_one_object() -> None:
    made = pd.DataFrame({"a": ["x1", "x2", None, "x1"], "b": [1, 2, 3, 4]}, index=[3, 5, 7, 9])
    frame = made.astype({"a": "str"})
    found = plain_text(frame)
    assert found.equals(frame.astype({"a": object}))
    assert list(found.columns) == ["a", "b"]
    assert found["a"].loc[3] is found["a"].loc[9]
    assert plain_text(frame.iloc[:0])["a"].dtype == object
