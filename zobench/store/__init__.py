"""Storage of results: a folder per run while it is executed, parquet tables afterwards.

One writer (:mod:`.writer`), one reader (:mod:`.reader`), one schema (:mod:`.schema`). Layout of a results
folder::

    runs/<run_id>/spec.json          the resolved RunSpec and the display settings of its entry
    runs/<run_id>/environment.json   hardware and software that it ran on
    runs/<run_id>/steps.jsonl        append-only log, one line per step; an incomplete last line is dropped
    runs/<run_id>/checkpoint.safetensors   weights, method state and position; replaced atomically
    runs/<run_id>/checkpoint-earlier.safetensors   the one before, for when the last is damaged
    runs/<run_id>/<table>.parquet    written when the run ends
    runs/<run_id>/reserve            disk space reserved to record a failure; only during the run
    runs/<run_id>/status.json        written last, with all digests: without it the run is unfinished
    runs/compact/manifest.json       the files that contain the compacted runs
    runs/damaged/<name>/             runs set aside because a file was damaged (:mod:`.damage`)

Read it with pandas in one line: ``zobench.store.read("reports/fewshot").runs`` is a data frame.
"""

from __future__ import annotations

from typing import Any

_LAZY = {
    "Results": "zobench.store.reader",
    "query": "zobench.store.sql",
    "read": "zobench.store.reader",
    "compact": "zobench.store.compaction",
    "RunFolder": "zobench.store.writer",
}

__all__ = ["Results", "RunFolder", "compact", "query", "read"]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_LAZY[name]), name)
