"""Handling of damaged files: a damaged finished run is set aside, an unfinished one is made resumable.

Files that were set aside are in ``runs/damaged/NAME``, together with ``damage.json``, which describes the
damage. A compacted table contains many runs, so all of its runs are set aside together. A file is deleted
only if the next ``zobench run`` writes it again without loss.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zobench.store import files
from zobench.store.checkpoint_file import CHECKPOINT, EARLIER, read_checkpoint
from zobench.store.compaction import drop_compacted
from zobench.store.digests import DamagedFile, check_file, file_digest, read_sealed, sealed
from zobench.store.gathering import follows_schema
from zobench.store.lock import LOCK_NAME, FolderLock
from zobench.store.paths import ARTIFACTS, COMPACT, DAMAGED, STORE_FOLDERS, is_run_id, run_folder
from zobench.store.plan_file import FILE as PLAN
from zobench.store.plan_file import read_plan
from zobench.store.reader import (
    MANIFEST,
    MANIFEST_COPY,
    checked_table,
    compacted_table,
    manifest,
    read,
    read_parquet,
    read_status,
)
from zobench.store.step_log import STEPS_LOG, holds_step, readable_steps
from zobench.store.writer import ENVIRONMENT, SPEC, RunFolder

RECORD = "damage.json"
_READ_WHOLE = ("runs", "metrics")
"""Tables that every call of ``zobench run`` reads. If they have no recorded digest, they are checked by
reading them completely."""


@dataclass(frozen=True, slots=True)
class Damage:
    """A damaged file and what was done about it; ``name`` is the run id, or what else the file belongs to."""

    name: str
    path: Path
    reason: str
    done: str = ""

    def __str__(self) -> str:
        return f"{self.path} is damaged ({self.reason})" + (f": {self.done}" if self.done else "")


def run_problem(folder: Path) -> DamagedFile | None:
    """The first damaged file of a run that has a status, according to the digests in the status."""
    try:
        status = read_status(folder)
        if status is None:
            return None
        digests = status.get("digests")
        for name in status["tables"]:
            path = checked_table(folder, status, name)
            if digests is None and name in _READ_WHOLE:
                read_parquet(path, name)
            elif digests is None:
                follows_schema(path, name)
        for name in (SPEC, ENVIRONMENT):
            check_file(folder / name, (digests or {}).get(name))
    except DamagedFile as error:
        return error
    except FileNotFoundError as error:
        return DamagedFile(Path(str(error.filename or folder)), "it is gone")
    return None


def compacted_problem(runs: Path) -> DamagedFile | None:
    """The first damaged file of the compacted tables."""
    try:
        body = manifest(runs)
        for name in body["files"]:
            path = compacted_table(runs, body, name)
            if "digests" not in body:
                follows_schema(path, name)
    except DamagedFile as error:
        return error
    except FileNotFoundError as error:
        return DamagedFile(Path(str(error.filename)), "it is gone")
    return None


def damage_in(runs: Path) -> list[Damage]:
    """All damaged files in a runs folder; nothing is changed. Every file is read once. If there is an
    undamaged second copy (of a checkpoint or the manifest), ``done`` states that nothing is lost."""
    found = [(i, run_problem(run_folder(runs, i))) for i in run_ids(runs)]
    found.append((COMPACT, compacted_problem(runs)))
    found += [(ARTIFACTS, problem) for problem in _artifact_problems(runs)]
    try:
        read_plan(runs)
    except DamagedFile as error:
        found.append((PLAN, error))
    harmless = [d for i in run_ids(runs) for d in _progress_damage(i, run_folder(runs, i))]
    return [Damage(name, p.path, p.reason) for name, p in found if p is not None] + harmless + _spare(runs)


def unfinished_steps(folder: Path) -> list[dict[str, Any]]:
    """Records in the step log of an unfinished run; ``DamagedFile`` also if the log has fewer steps than a
    checkpoint."""
    rows, problems = _progress_problems(folder)
    for problem in problems:
        if problem.path.name == STEPS_LOG:
            raise problem
    return rows


def _progress_problems(folder: Path) -> tuple[list[dict[str, Any]], list[DamagedFile]]:
    """Readable steps of an unfinished run, and the damage to the files from which it would resume."""
    rows, problem = readable_steps(folder)
    problems = [problem] if problem is not None else []
    for name in (CHECKPOINT, EARLIER):
        try:
            found = read_checkpoint(folder / name)
        except DamagedFile as error:
            problems.append(error)
            continue
        last = None if found is None else found.position.get("log")
        if last and not problems and not holds_step(folder, last):
            problems.append(DamagedFile(folder / STEPS_LOG, f"steps before {name} are missing"))
    return rows, problems


def _progress_damage(run_id: str, folder: Path) -> Iterator[Damage]:
    for found in _progress_problems(folder)[1]:
        done = "the run will go back to its last good checkpoint, or start again"
        yield Damage(run_id, found.path, found.reason, done)


def _spare(runs: Path) -> list[Damage]:
    """A damaged manifest, or a damaged copy of it, if the other of the two is undamaged."""
    found = []
    for name in (MANIFEST, MANIFEST_COPY):
        try:
            read_sealed(runs / COMPACT / name)
        except FileNotFoundError:
            continue
        except DamagedFile as error:
            found.append(Damage(COMPACT, error.path, error.reason, "it will be written again"))
    return found if len(found) == 1 else []


def mend(runs: Path) -> list[Damage]:
    """Set aside damaged finished runs of a runs folder and make damaged unfinished runs resumable, so that
    the other runs can be read and the missing ones executed again."""
    found = [d for i in run_ids(runs) for d in mend_run(runs, i)]
    found += _mend_compacted(runs)
    for problem in _artifact_problems(runs):
        found.append(_aside(runs, ARTIFACTS, problem))
        found += _without_artifact(runs, problem)
    try:
        read_plan(runs)
    except DamagedFile as error:
        found.append(_aside(runs, PLAN, error))
    return found


def mend_run(runs: Path, run_id: str) -> list[Damage]:
    """Set a damaged finished run aside. If its log and checkpoint still exist, it is marked as unfinished
    instead. A run that a process is executing is not changed."""
    folder = run_folder(runs, run_id)
    if run_problem(folder) is None or (lock := FolderLock.acquire(folder)) is None:
        return []
    with lock:
        problem = run_problem(folder)
        if problem is None:
            return []
        if any((folder / name).exists() for name in (CHECKPOINT, EARLIER, STEPS_LOG)):
            RunFolder(folder).reopen()
            return [Damage(run_id, problem.path, problem.reason, "the run is opened again")]
        return [_set_aside(runs, folder, problem)]


def set_aside(runs: Path) -> list[Damage]:
    """The damage that was set aside so far, read from the files ``damage.json``."""
    found = []
    for folder in sorted(p for p in (runs / DAMAGED).glob("*") if p.is_dir()):
        try:
            body = read_sealed(folder / RECORD)
        except (FileNotFoundError, DamagedFile):
            body = {}
        found.append(Damage(folder.name, Path(str(body.get("file", folder))), str(body.get("reason", "?"))))
    return found


def _mend_compacted(runs: Path) -> list[Damage]:
    folder = runs / COMPACT
    if not folder.is_dir() or (lock := FolderLock.acquire(folder)) is None:
        return []
    with lock:
        problem = compacted_problem(runs)
        if problem is not None:
            return [_set_aside(runs, folder, problem)]
        for damage in _spare(runs):
            whole = MANIFEST_COPY if damage.path.name == MANIFEST else MANIFEST
            files.write_atomic(damage.path, (folder / whole).read_bytes(), sync=True)
            return [Damage(COMPACT, damage.path, damage.reason, f"written again from {whole}")]
    return []


def _artifact_problems(runs: Path) -> Iterator[DamagedFile]:
    for path in sorted((runs / ARTIFACTS).glob("*.safetensors")):
        if file_digest(path) != path.stem:
            yield DamagedFile(path, "its bytes are not those of its name")


def _without_artifact(runs: Path, problem: DamagedFile) -> list[Damage]:
    """Set aside the runs whose replay needs a damaged artifact: executing them again writes it again."""
    table = read([runs], ["runs"]).runs
    ids = list(table.loc[table["artifacts_digest"] == problem.path.stem, "run_id"])
    found = []
    for run_id in ids:
        folder = run_folder(runs, run_id)
        lock = FolderLock.acquire(folder) if folder.is_dir() else None
        if lock is not None:
            with lock:
                found.append(_set_aside(runs, folder, problem))
    drop_compacted(runs, set(ids))
    return found


def _set_aside(runs: Path, folder: Path, problem: DamagedFile) -> Damage:
    """Move a folder whose lock the caller holds. The lock file is moved last, so that no other process waits
    for a lock that no longer exists."""
    target = _free_name(runs, folder.name)
    files.write_atomic(folder / RECORD, _record(runs, folder.name, problem))
    target.parent.mkdir(exist_ok=True)
    files.move(folder, target)
    files.remove_file(target / LOCK_NAME)
    return Damage(folder.name, problem.path, problem.reason, f"set aside as {_shown(runs, target)}")


def _aside(runs: Path, name: str, problem: DamagedFile) -> Damage:
    """Move a single file into a folder of its own."""
    target = _free_name(runs, name)
    target.mkdir(parents=True)
    files.write_atomic(target / RECORD, _record(runs, name, problem))
    files.move(problem.path, target / problem.path.name)
    return Damage(name, problem.path, problem.reason, f"set aside as {_shown(runs, target)}")


def _record(runs: Path, name: str, problem: DamagedFile) -> bytes:
    when = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    file = _shown(runs, problem.path)
    return sealed({"name": name, "file": file, "reason": problem.reason, "found_utc": when})


def _free_name(runs: Path, name: str) -> Path:
    folder = runs / DAMAGED / name
    number = 1
    while folder.exists():
        number += 1
        folder = runs / DAMAGED / f"{name}-{number}"
    return folder


def _shown(runs: Path, path: Path) -> str:
    """The path as seen from the results folder."""
    return str(path.relative_to(runs.parent)) if path.is_relative_to(runs.parent) else str(path)


def run_ids(runs: Path) -> list[str]:
    """Names of the folders that may be runs, regardless of their content."""
    entries = runs.iterdir() if runs.is_dir() else ()
    names = (p.name for p in entries if p.is_dir() and not p.is_symlink() and p.name not in STORE_FOLDERS)
    return sorted(name for name in names if is_run_id(name))
