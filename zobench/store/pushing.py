"""Uploads finished results to S3 storage, for ``zobench push``.

The files lie there as in the results folder. Their names, sizes and digests are in ``pushed.json``, which is
written last and removed first: without it there are no results for a reader, and while a reader copies files
that are being replaced, their digests differ from those that it has read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from zobench.store.digests import DamagedFile, check_file, file_digest, sealed, unsealed
from zobench.store.merging import files_of
from zobench.store.paths import COMPACT, artifact_file, pushed_file
from zobench.store.plan_file import FILE as PLAN
from zobench.store.plan_file import PlanFile, read_plan
from zobench.store.reader import (
    MANIFEST,
    MANIFEST_COPY,
    compacted_statuses,
    compacted_table,
    loose_runs,
    manifest,
    read,
    results_paths,
)
from zobench.store.remote import Address, Storage
from zobench.store.writer import ENVIRONMENT, FINAL_STATUSES, SPEC, STATUS

PUSHED = "pushed.json"
AT_A_TIME = 8
MOST_LISTED = 3
MOST_BYTES = 2**28
Status = dict[str, Any]
OF_RUNS = (STATUS, SPEC, ENVIRONMENT)
OF_STORE = (PLAN, f"{COMPACT}/{MANIFEST}", f"{COMPACT}/{MANIFEST_COPY}")


class PushedFile(BaseModel):
    """Size and SHA-256 of one file."""

    model_config = ConfigDict(frozen=True, strict=True)

    size: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class Pushed(BaseModel):
    """Content of ``pushed.json``: the files by their names relative to the folder ``runs``."""

    model_config = ConfigDict(frozen=True)

    version: Literal[1] = 1
    files: dict[str, PushedFile]


@dataclass(frozen=True, slots=True)
class Uploaded:
    """Files and bytes uploaded; none if the same results were there."""

    files: int
    bytes: int


def push(folder: str | Path, place: Address, *, unfinished: bool = False, replace: bool = False) -> Uploaded:
    """Upload the finished runs of a results folder, its plan and the artifacts of its runs.

    Args:
        unfinished: upload what is finished although runs are missing, and failed runs as well.
        replace: replace other results at this address.

    Raises:
        ValueError: runs are missing; other files are there; a file is a link; the storage fails.
        DamagedFile: the content of a file differs from what was recorded.
    """
    runs = results_paths(folder)[0]
    loose, compacted = loose_runs(runs), compacted_statuses(runs)
    if not unfinished:
        refuse_unfinished(runs, {i: str(s["status"]) for i, s in loose.items()} | compacted)
        loose = {i: s for i, s in loose.items() if s["status"] in FINAL_STATUSES}
    if not loose and not compacted:
        raise ValueError(f"{folder} has no finished run to push")
    local = dict(_local_files(runs, {i: s for i, s in loose.items() if i not in compacted}))
    files = {n: PushedFile(size=p.stat().st_size, sha256=file_digest(p)) for n, p in local.items()}
    storage = Storage(place)
    before = read_pushed(storage)
    if before is not None and before.files == files:
        return Uploaded(0, 0)
    if not replace:
        _refuse_others(storage, before, files)
    storage.remove(PUSHED)
    at_once(lambda name: _upload(storage, name, local[name]), files)
    body = Pushed(files=files).model_dump(mode="json")
    storage.copy_to(PUSHED, BytesIO(sealed(body)))
    stale = [] if before is None else sorted(set(before.files) - set(files))
    at_once(storage.remove, stale)
    return Uploaded(len(files), sum(f.size for f in files.values()))


def refuse_unfinished(runs: Path, statuses: dict[str, str]) -> None:
    """``ValueError`` if a run of the plan has no result, or a run folder has none."""
    plan = read_plan(runs)
    missing = [] if plan is None else list(_missing(plan, statuses))
    missing += [f"run {i} is {s}" for i, s in statuses.items() if plan is None and s not in FINAL_STATUSES]
    if missing:
        rest = f" and {len(missing) - MOST_LISTED} more" if len(missing) > MOST_LISTED else ""
        raise ValueError(
            f"{runs}: not finished: {'; '.join(missing[:MOST_LISTED])}{rest}; 'zobench run' of its suite "
            "finishes the runs, --unfinished pushes those that are"
        )


def _missing(plan: PlanFile, statuses: dict[str, str]) -> Iterator[str]:
    for entry in plan.entries:
        least = 1 if entry.kind == "trials" else len(entry.seeds)
        finished = [i for i in entry.run_ids if statuses.get(i) in FINAL_STATUSES]
        if len(entry.run_ids) < least or len(finished) < len(entry.run_ids):
            seeds = ", ".join(map(str, entry.seeds))
            yield f"{entry.kind} of {entry.row} on {entry.task} (seeds {seeds}) without result"


def _local_files(runs: Path, loose: dict[str, Status]) -> Iterator[tuple[str, Path]]:
    """Name relative to ``runs`` and path of every file to upload, after a check against its digest."""
    for path in _paths(runs, loose):
        if path.is_symlink():
            raise ValueError(f"{path} is a link: results must be inside their folder")
        name = path.relative_to(runs).as_posix()
        assert pushed_file(runs, name, OF_RUNS, OF_STORE) == path, "a reader accepts the name"
        yield name, path


def _paths(runs: Path, loose: dict[str, Status]) -> Iterator[Path]:
    for run_id, status in loose.items():
        for path, digest in files_of(runs, run_id, status):
            check_file(path, digest)
            yield path
    body = manifest(runs)
    for name in body["files"]:
        yield compacted_table(runs, body, name)
    for path in (runs / COMPACT / MANIFEST, runs / COMPACT / MANIFEST_COPY, runs / PLAN):
        if path.is_file():
            yield path
    for digest in sorted(set(read(runs, ["runs"]).runs["artifacts_digest"].dropna()) - {""}):
        path = artifact_file(runs, digest)
        if path.is_file():
            if file_digest(path) != digest:
                raise DamagedFile(path, "its bytes are not those of its name")
            yield path


def read_pushed(storage: Storage) -> Pushed | None:
    """The list of pushed files, whose names are valid; ``None`` if there is none."""
    data = storage.read(PUSHED, MOST_BYTES)
    if data is None:
        return None
    where = f"{storage.place}/{PUSHED}"
    try:
        found = Pushed.model_validate(unsealed(data, Path(PUSHED)))
    except DamagedFile as error:
        raise ValueError(f"{where} is damaged: {error.reason}; 'zobench push' writes it again") from error
    except ValidationError as error:
        raise ValueError(f"{where} is not a list of pushed files; 'zobench push' writes one") from error
    for name in found.files:
        pushed_file(Path(str(storage.place)), name, OF_RUNS, OF_STORE)
    return found


def _refuse_others(storage: Storage, before: Pushed | None, files: dict[str, PushedFile]) -> None:
    """``ValueError`` if other results, or other files, are at the address; those of an interrupted push of
    the same names are not."""
    if before is not None:
        names = set(before.files) | set(files)
        other = sum(before.files.get(name) != files.get(name) for name in names)
        raise ValueError(
            f"{storage.place}: other results are there ({other} files differ); --replace replaces them"
        )
    strange = sorted(set(storage.names()) - set(files))
    if strange:
        raise ValueError(
            f"{storage.place}: {len(strange)} files are there that are not of these results, such as "
            f"{strange[0]!r}; choose another prefix, or --replace"
        )


def _upload(storage: Storage, name: str, path: Path) -> None:
    with path.open("rb") as stream:
        storage.copy_to(name, stream)


def at_once(action: Callable[[str], None], names: Iterable[str]) -> None:
    """Apply ``action`` to all names on several threads; after the first error, begin no other."""
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        waiting = [pool.submit(action, name) for name in names]
        try:
            for one in waiting:
                one.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
