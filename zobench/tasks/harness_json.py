"""Restores the original text of local JSON files in tasks of the lm-evaluation harness.

``datasets`` (5.2) converts a JSON column of dates written as text to timestamps, and in a column of text and
numbers converts "007" to 7, which changes gold answers. Columns that it changed are restored.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zobench.data.files import json_lines, parsed, utf8


def keep_text(task: Any, name: str) -> None:
    """Replace the changed columns of ``task.dataset`` by the text of the file.

    In a column of text and numbers, the numbers become text too. Warns once per column (``UserWarning``) with
    its name. Tasks that do not read local JSON files are left unchanged.
    """
    config = task.config
    arguments = config.dataset_kwargs or {}
    if config.dataset_path != "json" or "data_files" not in arguments:
        return
    files = arguments["data_files"]
    by_split = files if isinstance(files, dict) else {"train": files}
    for split, paths in by_split.items():
        local = [Path(p) for p in (paths if isinstance(paths, list) else [paths])]
        if split not in task.dataset or not all(p.is_file() for p in local):
            continue
        rows = [row for path in local for row in _rows(path, arguments.get("field"))]
        if len(rows) == len(task.dataset[split]):
            task.dataset[split] = _restored(task.dataset[split], rows, f"lm-eval task {name!r}, {split}")


def _rows(path: Path, field: str | None) -> Iterator[dict[str, Any]]:
    """The objects of a JSON file: an array, an array under ``field``, or one object per line."""
    text = utf8(path, encoding="utf-8-sig")
    if field is None and not text.lstrip().startswith("["):
        yield from json_lines(path)
        return
    loaded = parsed(text, str(path))
    yield from (loaded if field is None else loaded[field])


def _restored(rows: Any, raw: list[dict[str, Any]], where: str) -> Any:
    for column in rows.column_names:
        found = rows[column]
        pairs = zip(raw, found, strict=True)
        changed = next(((r[column], f) for r, f in pairs if _is_other_text(r.get(column), f)), None)
        if changed is None:
            continue
        warnings.warn(
            f"{where}: the JSON reader changed the text of column {column!r} ({changed[0]!r} became "
            f"{changed[1]!r}); the text of the file is used",
            stacklevel=2,
        )
        rows = rows.remove_columns(column).add_column(column, [_text(r.get(column)) for r in raw])
    return rows


def _is_other_text(raw: Any, found: Any) -> bool:
    return isinstance(raw, str) and raw != found


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)
