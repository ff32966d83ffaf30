"""Move finished runs into one parquet file per table: ten thousand runs must not be forty thousand files.

The next generation of files is written beside the old one; replacing the manifest is the single moment at
which it counts. Before that moment the run folders are what is read, after it they are ignored and deleted. A
crash anywhere leaves every run readable exactly once, and the next compaction removes what is left over.
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
from zobench.store.writer import FINAL_STATUSES, STATUS, versioned

_RUNS_AT_A_TIME = 256


def compact(folder: str | Path) -> int:
    """Compact every run of ``folder`` that is a result; runs that failed or were interrupted stay as they
    are.

    Returns how many runs were moved. Doing it again moves nothing. Two compactions at once: the second
    returns 0.
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
            run_folder(runs, run_id)  # before anything is written: a stranger's file may name any path
        loose = {i: s for i, s in loose_runs(runs).items() if s["status"] in FINAL_STATUSES}
        fresh = {i: s for i, s in loose.items() if i not in known}
        if fresh:
            _write_manifest(runs, _write_generation(runs, old, fresh))
        _remove_leftovers(runs, set(known) | set(fresh))
    return len(fresh)


def drop_compacted(runs: Path, run_ids: set[str]) -> int:
    """Write the next generation without these runs; returns how many it dropped. ``ValueError`` while
    another process compacts."""
    dropped = run_ids & set(compacted_statuses(runs))
    if not dropped:
        return 0
    lock = FolderLock.acquire(runs / COMPACT)
    if lock is None:
        raise ValueError(f"{runs}: another process is compacting; try again when it is done")
    with lock:
        files.remove_temporaries(runs / COMPACT)
        _write_manifest(runs, _write_generation(runs, manifest(runs), {}, dropped))
        _remove_leftovers(runs, dropped)
    return len(dropped)


def _write_manifest(runs: Path, body: dict[str, Any]) -> None:
    """Let this generation count; the copy is for a manifest that was damaged."""
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
    """Stream the parts into one file; False, and no file, if there are no records."""
    temporary = files.temporary_name(target)
    rows = 0
    with pq.ParquetWriter(temporary, versioned(TABLES[name]), compression="zstd") as writer:
        for part in parts:
            rows += part.num_rows
            writer.write_table(part)
    if rows == 0:
        files.remove_file(temporary)
        return False
    files.commit(temporary, target)
    return True


def _parts(
    runs: Path, name: str, old: dict[str, Any], fresh: dict[str, dict[str, Any]], without: Collection[str]
) -> Iterator[pa.Table]:
    """The old generation's row groups, then the fresh runs some hundreds at a time: memory stays bounded."""
    if name in old["files"]:
        stream = pq.ParquetFile(compacted_table(runs, old, name))
        for group in range(stream.num_row_groups):
            part = to_schema(stream.read_row_group(group), name)
            gone = pc.is_in(part["run_id"], pa.array(sorted(without), pa.string()))
            yield part.filter(pc.invert(gone)) if without else part
    ids = sorted(i for i, status in fresh.items() if name in status["tables"])
    for start in range(0, len(ids), _RUNS_AT_A_TIME):
        chunk = ids[start : start + _RUNS_AT_A_TIME]
        yield pa.concat_tables([_own_rows(runs, i, fresh[i], name) for i in chunk])


def _own_rows(runs: Path, run_id: str, status: dict[str, Any], name: str) -> pa.Table:
    """One table of a run, all of whose rows carry the id of its folder; ``ValueError`` otherwise: what is
    compacted under an id is later removed under it."""
    path = checked_table(run_folder(runs, run_id), status, name)
    table = read_parquet(path, name)
    others = set(table["run_id"].unique().to_pylist()) - {run_id}
    if others:
        raise ValueError(f"{path}: holds rows of run {sorted(map(str, others))[0]!r}; nothing was compacted")
    return table


def _remove_leftovers(runs: Path, compacted: set[str]) -> None:
    """Delete the folders of compacted runs and the files of older generations.

    A folder that another process has locked is left for the next time: that process is about to find out that
    the run is finished.
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
