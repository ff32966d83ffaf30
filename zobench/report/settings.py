"""The configuration of each row, for the comparison of two rows: what their specifications say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pandas as pd

from zobench.names import json_value

COLUMNS = ("model_digest", "dtype", "device", "tuned_parameters", "zobench_version", "git_commit")
"""Columns of the runs table that count as configuration."""
LEFT_OUT = ("seed", "purpose", "task")
"""Keys of a specification in which the runs of one row differ."""
LONGEST = 200
MOST_PATHS = 400
"""Characters of a value, and number of settings that a page contains."""


def collect(runs: pd.DataFrame, names: list[str]) -> dict[str, Any]:
    """``paths``: the settings in which rows differ. ``values``: distinct values as texts. ``rows``: for each
    row the index of its value by setting, -1 if it has none. A setting that differs between the runs of a row
    has all of its values, joined."""
    found = {str(row): _of_row(part) for row, part in runs.groupby("row", sort=False)}
    every = sorted({path for one in found.values() for path in one})
    differs = [p for p in every if len({found.get(n, {}).get(p) for n in names}) > 1][:MOST_PATHS]
    values: dict[str, int] = {}

    def placed(text: str | None) -> int:
        return -1 if text is None else values.setdefault(text, len(values))

    rows = [[placed(found.get(name, {}).get(path)) for path in differs] for name in names]
    return {"paths": differs, "values": list(values), "rows": rows}


def _of_row(runs: pd.DataFrame) -> dict[str, str]:
    seen: dict[str, dict[str, None]] = {}
    for text in runs["spec"].dropna().unique():
        for path, value in _leaves(_parsed(text), ()):
            seen.setdefault(path, {})[value] = None
    for column in COLUMNS:
        for value in runs[column].dropna().unique() if column in runs else ():
            seen.setdefault(column.replace("_", " "), {})[str(value)] = None
    return {path: " | ".join(sorted(told))[:LONGEST] for path, told in seen.items()}


def _parsed(text: Any) -> Any:
    try:
        return json_value(str(text))
    except json.JSONDecodeError:
        return {}


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Path and text of every plain value; lists are plain values."""
    if isinstance(value, dict):
        for key, part in value.items():
            if path or key not in LEFT_OUT:
                yield from _leaves(part, (*path, str(key)))
    elif path and value is not None:
        yield " · ".join(path), value if isinstance(value, str) else json.dumps(value)
