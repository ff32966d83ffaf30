"""``zobench status DIR``: counts the runs of a results folder and checks its files against their digests."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from zobench.cli.console import say
from zobench.store.reasons import first_line

if TYPE_CHECKING:
    from zobench.store.reader import Results

MOST_LISTED = 20
"""Runs without a result that are listed."""


def print_status(folder: Path, mend: bool) -> bool:
    """Print counts, damage, failed runs and measurements, and files set aside; return whether no damage
    remains."""
    from zobench.store import damage
    from zobench.store.reader import read, results_paths

    runs = results_paths(folder)[0]
    found = damage.mend(runs) if mend else damage.damage_in(runs)
    counts, unrecorded = _counts(runs)
    total = ", ".join(f"{n} {status}" for status, n in sorted(counts.items())) or "no runs"
    say(f"{folder}: {total}")
    if unrecorded:
        say(f"{folder}: digests not recorded for {unrecorded} runs, made before zobench recorded them")
    for one in found:
        say(f"damaged: {one}")
    if mend or not found:
        tables = read(runs, ["runs", "failures"])
        for line in [*_failed(tables), *_unmeasured(tables)]:
            say(line)
    for one in damage.set_aside(runs):
        say(f"set aside: runs/damaged/{one.name}: {one.path} ({one.reason})")
    return mend or all(one.done for one in found)


def _failed(tables: Results) -> list[str]:
    """Runs without a result, one line each, with the last line of their error."""
    from zobench.store.writer import FINAL_STATUSES

    table = tables.runs
    table = table[~table["status"].isin(FINAL_STATUSES)].sort_values(["row", "run_id"])
    lines = [
        f"{status}: {row} ({run_id}): {first_line(error)}"
        for run_id, row, status, error in table[["run_id", "row", "status", "error"]].itertuples(
            index=False, name=None
        )
    ]
    rest = len(lines) - MOST_LISTED
    return lines[:MOST_LISTED] + ([f"and {rest} more runs without a result"] if rest > 0 else [])


def _unmeasured(tables: Results) -> list[str]:
    """Failed measurements of finished runs, one line each."""
    rows = tables.runs.set_index("run_id")["row"]
    return [
        f"not measured: {f['measurement']} of {rows[f['run_id']]} ({f['run_id']}; {f['tries']} "
        f"{'try' if f['tries'] == 1 else 'tries'}): {f['reason']}"
        for f in tables.tables["failures"].to_pylist()
    ]


def _counts(runs: Path) -> tuple[Counter[str], int]:
    """Number of runs by status, and number of runs without recorded digests."""
    from zobench.store.damage import run_ids
    from zobench.store.digests import DamagedFile
    from zobench.store.paths import run_folder
    from zobench.store.reader import compacted_statuses, manifest, read_status

    loose: dict[str, tuple[str, bool]] = {}
    for run_id in run_ids(runs):  # before the manifest: see store.reader
        try:
            status = read_status(run_folder(runs, run_id))
        except DamagedFile:
            loose[run_id] = "damaged", False
        else:
            known = "unfinished" if status is None else str(status["status"])
            loose[run_id] = known, status is not None and "digests" not in status
    counts: Counter[str] = Counter()
    try:
        compacted = compacted_statuses(runs)
        unrecorded = 0 if "digests" in manifest(runs) else len(compacted)
    except DamagedFile:
        counts["compacted and damaged"] += 1
        compacted, unrecorded = {}, 0
    counts.update(compacted.values())
    others = [found for run_id, found in loose.items() if run_id not in compacted]
    counts.update(status for status, _ in others)
    return counts, unrecorded + sum(earlier for _, earlier in others)
