"""Moves finished runs into one parquet file per table, so that ten thousand runs do not need 40,000 files.

The new generation of files is written beside the old one and becomes valid atomically, when the manifest is
replaced. Until then, the run folders are read; afterwards they are ignored and deleted. After a
crash at any point every run can still be read, exactly once, and the next compaction removes the leftovers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from zobench.store import files
from zobench.store.digests import file_digest, sealed
from zobench.store.gathering import write_parts
from zobench.store.lock import FolderLock
from zobench.store.paths import COMPACT, compacted_file, run_folder
from zobench.store.reader import (
    MANIFEST,
    MANIFEST_COPY,
    checked_table,
    compacted_statuses,
    compacted_table,
    loose_runs,
    manifest,
    read_parquet,
    runs_folder,
    to_schema,
)
from zobench.store.schema import SCHEMA_VERSION, TABLES
from zobench.store.writer import FINAL_STATUSES, STATUS

_RUNS_AT_A_TIME = 256


def compact(folder: str | Path) -> int:
    """Compact every finished run of ``folder``. Runs that failed or were interrupted are not changed. Runs
    with failed measurements are not changed either, because these measurements are tried again in the run's
    folder.

    Returns the number of runs moved. A second call moves nothing. If another compaction is in progress, 0 is
    returned.
    """
    runs = runs_folder(folder)
    lock = FolderLock.acquire(runs / COMPACT)
    if lock is None:
        return 0
    with lock:
        files.remove_temporaries(runs / COMPACT)
        old = manifest(runs)
        known = set(compacted_statuses(runs))
        for run_id in known:
            run_folder(runs, run_id)  # validates ids from the file before anything is written or removed
        loose = {
            i: s
            for i, s in loose_runs(runs).items()
            if s["status"] in FINAL_STATUSES and "failures" not in s["tables"]
        }
        fresh = {i: s for i, s in loose.items() if i not in known}
        if fresh:
            write_manifest(runs, _write_generation(runs, old, fresh))
        _remove_leftovers(runs, set(known) | set(fresh))
    return len(fresh)


def drop_compacted(runs: Path, run_ids: set[str]) -> int:
    """Write the next generation without these runs; returns the number of runs dropped. ``ValueError`` if
    another process is compacting."""
    dropped = run_ids & set(compacted_statuses(runs))
    if not dropped:
        return 0
    lock = FolderLock.acquire(runs / COMPACT)
    if lock is None:
        raise ValueError(f"{runs}: another process is compacting; try again when it is done")
    with lock:
        files.remove_temporaries(runs / COMPACT)
        write_manifest(runs, _write_generation(runs, manifest(runs), {}, dropped))
        _remove_leftovers(runs, dropped)
    return len(dropped)


def write_manifest(runs: Path, body: dict[str, Any]) -> None:
    """Make this generation the valid one. A copy is written for the case that the manifest is damaged
    later."""
    data = sealed(body)
    files.write_atomic(runs / COMPACT / MANIFEST, data, sync=True, sync_entry=True)
    files.write_atomic(runs / COMPACT / MANIFEST_COPY, data, sync=True)


def _write_generation(
    runs: Path, old: dict[str, Any], fresh: dict[str, dict[str, Any]], without: Collection[str] = ()
) -> dict[str, Any]:
    generation = old["generation"] + 1
    names, digests = {}, {}
    for name in TABLES:
        target = compacted_file(runs, f"{name}-{generation:06d}.parquet")
        if _write_table(target, name, _parts(runs, name, old, fresh, without)):
            names[name], digests[name] = target.name, file_digest(target)
    body = {"schema_version": SCHEMA_VERSION, "generation": generation}
    return {**body, "files": names, "digests": digests}


def _write_table(target: Path, name: str, parts: Iterator[pa.Table]) -> bool:
    """Write the parts one after the other into one file. If there are no records, write no file and return
    False."""
    temporary = files.temporary_name(target)
    if write_parts(temporary, name, parts) == 0:
        files.remove_file(temporary)
        return False
    files.commit(temporary, target)
    return True


def _parts(
    runs: Path, name: str, old: dict[str, Any], fresh: dict[str, dict[str, Any]], without: Collection[str]
) -> Iterator[pa.Table]:
    """The row groups of the old generation, then the new runs in batches, so that memory stays bounded."""
    if name in old["files"]:
        stream = pq.ParquetFile(compacted_table(runs, old, name))
        for group in range(stream.num_row_groups):
            part = to_schema(stream.read_row_group(group), name)
            gone = pc.is_in(part["run_id"], pa.array(sorted(without), pa.string()))
            yield part.filter(pc.invert(gone)) if without else part
    ids = sorted(i for i, status in fresh.items() if name in status["tables"])
    for start in range(0, len(ids), _RUNS_AT_A_TIME):
        chunk = ids[start : start + _RUNS_AT_A_TIME]
        yield pa.concat_tables([own_rows(runs, i, fresh[i], name) for i in chunk]).combine_chunks()


def own_rows(runs: Path, run_id: str, status: dict[str, Any], name: str) -> pa.Table:
    """One table of a run. ``ValueError`` if a record has another run id than the folder, because compacted
    records are later removed by their run id."""
    path = checked_table(run_folder(runs, run_id), status, name)
    table = read_parquet(path, name)
    others = set(table["run_id"].unique().to_pylist()) - {run_id}
    if others:
        raise ValueError(
            f"{path}: contains records of run {sorted(map(str, others))[0]!r}; nothing was compacted"
        )
    return table


def _remove_leftovers(runs: Path, compacted: set[str]) -> None:
    """Delete the folders of compacted runs and the files of older generations.

    A folder that another process has locked is left for the next compaction; that process will notice that
    the run is already finished.
    """
    for run_id in sorted(compacted):
        folder = run_folder(runs, run_id)
        if not folder.is_dir():
            continue
        lock = FolderLock.acquire(folder)
        if lock is not None:
            with lock:
                files.remove_file(folder / STATUS)  # first, so that no reader sees a run without its tables
                files.remove_tree(folder)
    current = set(manifest(runs)["files"].values())
    for path in (runs / COMPACT).glob("*.parquet"):
        if path.name not in current:
            files.remove_file(path)
