"""What two results folders must have in common: every number but clocks."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from zobench import store

TIMED = ["seconds", "train_seconds", "evaluation_seconds", "peak_memory_bytes", "started_utc", "finished_utc"]
CIRCUMSTANCE = ["resumed", "environment"]
ORDER = {
    "runs": ["run_id"],
    "steps": ["run_id", "step"],
    "metrics": ["run_id", "forwards", "params", "split", "condition_kind", "condition", "metric"],
    "predictions": ["run_id", "example_id"],
    "attacks": ["run_id", "condition_kind", "condition", "example_id"],
}


def tables(folder: Path) -> dict[str, pd.DataFrame]:
    """All tables in a fixed order, without clocks and without the count of interruptions."""
    found = store.read([folder])
    out = {}
    for name, keys in ORDER.items():
        table = found.frame(name).drop(columns=[*TIMED, *CIRCUMSTANCE], errors="ignore")
        out[name] = table.sort_values(keys).reset_index(drop=True)
    return out


def assert_same(a: Path, b: Path) -> None:
    """Every table of the two folders is equal, to the bit, but for clocks."""
    left, right = tables(a), tables(b)
    for name, table in left.items():
        assert len(table) > 0, name
        pd.testing.assert_frame_equal(table, right[name], check_exact=True, obj=name)
