"""Merges results folders of several machines into a new one, for ``zobench merge``.

Nothing of a folder is trusted: run ids and names become paths through :mod:`.paths` only, each file is
compared with its recorded digest, tables must follow the schema and hold records of their own run, and a file
that is a symbolic link is refused. Everything is checked before the first file is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from zobench.store import files
from zobench.store.compaction import own_rows, write_manifest
from zobench.store.digests import DamagedFile, check_file, file_digest
from zobench.store.gathering import write_parts
from zobench.store.paths import artifact_file, compacted_file, run_file, run_folder
from zobench.store.plan_file import Entry, PlanFile, read_plan, write_plan
from zobench.store.reader import (
    compacted_statuses,
    compacted_table,
    loose_runs,
    manifest,
    read_run,
    results_paths,
    to_schema,
)
from zobench.store.schema import SCHEMA_VERSION, TABLES
from zobench.store.writer import ENVIRONMENT, FINAL_STATUSES, SPEC, STATUS, parquet_bytes

MOST_LISTED = 10


@dataclass(slots=True)
class TakenRuns:
    """Runs that are taken from one folder: those with a folder of their own, by their status, and compacted
    ones. ``statuses`` are those of all runs of the folder."""

    runs: Path
    loose: dict[str, dict[str, Any]] = field(default_factory=dict)
    compacted: set[str] = field(default_factory=set)
    statuses: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Merged:
    """Number of runs written, of runs that several folders hold with identical records, and of failed or
    interrupted runs that were left out because another folder holds their result."""

    runs: int
    identical: int
    replaced: int


def merge(
    folders: Sequence[str | Path], output: str | Path, check: Callable[[Path], None] | None = None
) -> Merged:
    """Write the runs of all ``folders`` into the new results folder ``output``; the folders do not change.

    A run that several folders hold with identical records is written once. A result (done, diverged, budget)
    takes precedence over a failed or interrupted run. The plans of folders of one suite are joined. ``check``
    is called with each runs folder before anything is written, and refuses it by an error: the command's is
    :func:`zobench.verification.identity.refuse_false_ids`.

    Raises:
        ValueError: ``output`` exists; a name is not valid; folders hold different records of one run.
        DamagedFile: the content of a file differs from what was recorded.
    """
    target = Path(output)
    if target.exists():
        raise ValueError(f"{target} exists already; merged results are written into a new folder")
    origins, identical, replaced = _chosen(results_paths(folders))
    for origin in origins:
        _check(origin)
        if check is not None:
            check(origin.runs)
    runs = target / "runs"
    runs.mkdir(parents=True)
    for origin in origins:
        for run_id, status in origin.loose.items():
            _copy_run(origin.runs, runs, run_id, status)
    _write_compacted(origins, runs)
    _copy_artifacts(origins, runs)
    if (plan := _joined_plan([o.runs for o in origins])) is not None:
        write_plan(runs, plan)
    return Merged(sum(len(o.loose) + len(o.compacted) for o in origins), identical, replaced)


def _chosen(paths: Sequence[Path]) -> tuple[list[TakenRuns], int, int]:
    """From which folder each run is taken; ``ValueError`` with all conflicts."""
    origins = [TakenRuns(path) for path in paths]
    of_run: dict[str, TakenRuns] = {}
    conflicts, identical, replaced = [], 0, 0
    for origin in origins:
        loose, compacted = loose_runs(origin.runs), compacted_statuses(origin.runs)
        origin.statuses = {i: str(s["status"]) for i, s in loose.items()} | compacted
        for run_id in origin.statuses:
            run_folder(origin.runs, run_id)  # refuses an id that is not one
            before = of_run.get(run_id)
            if before is not None:
                better = _better(origin, before, run_id)
                if better is None:
                    same = _records(origin.runs, run_id) == _records(before.runs, run_id)
                    identical += same
                    conflicts += [] if same else [f"run {run_id} of {before.runs} and {origin.runs}"]
                    continue
                replaced += 1
                if better is before:
                    continue
                before.loose.pop(run_id, None)
                before.compacted.discard(run_id)
            of_run[run_id] = origin
            if run_id in compacted:
                origin.compacted.add(run_id)
            else:
                origin.loose[run_id] = loose[run_id]
    if conflicts:
        rest = [f"and {len(conflicts) - MOST_LISTED} more"] if len(conflicts) > MOST_LISTED else []
        listed = "; ".join(conflicts[:MOST_LISTED] + rest)
        raise ValueError(f"different records of one run, nothing was merged: {listed}")
    return origins, identical, replaced


def _better(one: TakenRuns, other: TakenRuns, run_id: str) -> TakenRuns | None:
    """The folder that has a result of the run, if only one has."""
    final = [origin.statuses[run_id] in FINAL_STATUSES for origin in (one, other)]
    if final[0] == final[1]:
        return None
    return one if final[0] else other


def _records(runs: Path, run_id: str) -> dict[str, bytes]:
    """All records of a run in a form that can be compared; not the files, whose bytes depend on compaction
    and on versions of libraries."""
    tables = read_run(runs, run_id)
    return {name: parquet_bytes(t.combine_chunks()) for name, t in tables.items() if t.num_rows}


def files_of(runs: Path, run_id: str, status: dict[str, Any]) -> Iterator[tuple[Path, str | None]]:
    """Files of a finished run with their recorded digests; the status, which was read, comes last."""
    folder, digests = run_folder(runs, run_id), status.get("digests", {})
    for path in (*(run_file(folder, t) for t in status["tables"]), folder / SPEC, folder / ENVIRONMENT):
        if path.name.endswith(".parquet") or path.exists():
            yield path, digests.get(path.name)
    yield folder / STATUS, None


def _check(origin: TakenRuns) -> None:
    """Read every file that will be written."""
    for run_id, status in origin.loose.items():
        for path, digest in files_of(origin.runs, run_id, status):
            if path.is_symlink():
                raise ValueError(f"{path} is a link: the files of a run must be inside its folder")
            check_file(path, digest)
        for name in status["tables"]:
            own_rows(origin.runs, run_id, status, name)
    if origin.compacted:
        body = manifest(origin.runs)
        for name in body["files"]:
            path = compacted_table(origin.runs, body, name)
            if path.is_symlink():
                raise ValueError(f"{path} is a link: tables must be inside the results folder")


def _copy_run(origin: Path, runs: Path, run_id: str, status: dict[str, Any]) -> None:
    folder = run_folder(runs, run_id)
    folder.mkdir()
    for path, digest in files_of(origin, run_id, status):
        files.write_atomic(folder / path.name, path.read_bytes())
        check_file(folder / path.name, digest)


def _write_compacted(origins: Sequence[TakenRuns], runs: Path) -> None:
    names, digests = {}, {}
    for name in TABLES if any(o.compacted for o in origins) else ():
        target = compacted_file(runs, f"{name}-000001.parquet")
        target.parent.mkdir(exist_ok=True)
        if write_parts(target, name, _compacted_parts(origins, name)):
            names[name], digests[name] = target.name, file_digest(target)
        else:
            files.remove_file(target)
    if names:
        write_manifest(
            runs, {"schema_version": SCHEMA_VERSION, "generation": 1, "files": names, "digests": digests}
        )


def _compacted_parts(origins: Sequence[TakenRuns], name: str) -> Iterator[pa.Table]:
    for origin in origins:
        body = manifest(origin.runs)
        if name in body["files"] and origin.compacted:
            wanted = pa.array(sorted(origin.compacted), pa.string())
            stream = pq.ParquetFile(compacted_table(origin.runs, body, name))
            for group in range(stream.num_row_groups):
                part = to_schema(stream.read_row_group(group), name)
                yield part.filter(pc.is_in(part["run_id"], wanted))


def _copy_artifacts(origins: Sequence[TakenRuns], runs: Path) -> None:
    """Copy the tensors that the replay of the written runs needs, as far as a folder has them."""
    from zobench.store.reader import read

    needed = sorted(set(read(runs, ["runs"]).runs["artifacts_digest"].dropna()) - {""})
    for digest in needed:
        target = artifact_file(runs, digest)
        found = [p for o in origins if (p := artifact_file(o.runs, digest)).is_file() and not p.is_symlink()]
        if not found:
            continue
        target.parent.mkdir(exist_ok=True)
        if file_digest(found[0]) != digest:
            raise DamagedFile(found[0], "its bytes are not those of its name")
        files.write_atomic(target, found[0].read_bytes())


def _joined_plan(paths: Sequence[Path]) -> PlanFile | None:
    """The entries of all plans, each with the run ids of all; ``None`` if a folder has no plan, or another
    suite's."""
    plans = [read_plan(path) for path in paths]
    if None in plans or len({p.suite for p in plans if p is not None}) != 1:
        return None
    joined: dict[tuple[str, str, str], Entry] = {}
    for entry in (e for p in plans if p is not None for e in p.entries):
        key = (entry.row, entry.kind, entry.key)
        ids = joined[key].run_ids if key in joined else ()
        merged = tuple(dict.fromkeys((*ids, *entry.run_ids)))
        joined[key] = entry.with_ids(merged)
    first = plans[0]
    assert first is not None, "checked above"
    return first.model_copy(update={"entries": tuple(joined.values())})
