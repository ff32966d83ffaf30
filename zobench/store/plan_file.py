"""``runs/plan.json``: the runs of the suite that was last run in a results folder; replaced atomically.

A run's id needs the digests of its model and data, which are known only after a worker has loaded them. Until
then an entry is identified by the digest of its specification, afterwards by the id alone, so that a run on
changed data is a different run.

The file is a sealed JSON object (:mod:`.digests`) with a line per entry. It is written and read an entry at
a time: the whole object of many runs, and the copies that its digest needs, would fill the memory."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from zobench.store import files
from zobench.store.digests import DIGEST, SEAL, DamagedFile, unsealed

FILE = "plan.json"
_FIRST = "entries"
"""Key of the entries, the first of the sorted keys of a plan."""
_LINES_AT_A_TIME = 1000


@dataclass(frozen=True, slots=True)
class Entry:
    """Runs of one leaderboard entry on one task and model.

    Attributes:
        model, task: their names in the suite (in plans of earlier versions: in the catalogue).
        kind: one run; the trials of a search; the runs with the selected parameters; a noise baseline.
        key: SHA-256 of everything that determines the entry, including the search; equal keys mean the same
            runs.
        specs: SHA-256 of the specifications, which identify the runs while ``run_ids`` is empty.
        seeds: seeds of the runs.
        run_ids: ids of the runs, as soon as they are known.
        unloadable: whether a plugin that the run needs could not be imported. ``run_ids`` is then the
            placeholder under which its failure is recorded.
    """

    row: str
    kind: Literal["run", "trials", "finals", "noise control"]
    model: str
    task: str
    seeds: tuple[int, ...]
    key: str
    specs: tuple[str, ...] = ()
    run_ids: tuple[str, ...] = ()
    unloadable: bool = False

    @property
    def cell(self) -> tuple[str, str, str]:
        """Leaderboard entry, model and task."""
        return self.row, self.model, self.task

    def with_ids(self, run_ids: Sequence[str], *, unloadable: bool = False) -> Entry:
        """The entry with these run ids."""
        return dataclasses.replace(self, run_ids=tuple(run_ids), unloadable=unloadable)


_FIELDS = tuple(field.name for field in dataclasses.fields(Entry))


class PlanFile(BaseModel):
    """The whole plan of a suite."""

    version: Literal[1] = 1
    suite: str
    path: str = ""
    entries: tuple[Entry, ...] = ()


def read_plan(runs: Path) -> PlanFile | None:
    """The plan in this runs folder; ``None`` if there is none; ``DamagedFile`` if the file is not a plan."""
    path = runs / FILE
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        return _Reading().plan(data) or PlanFile.model_validate(unsealed(data, path))
    except ValidationError as error:
        raise DamagedFile(path, "it is not a plan") from error


class _Reading:
    """Reads a plan that is as :func:`write_plan` and earlier versions wrote it: every entry is hashed and
    becomes an :class:`Entry` as soon as it is parsed."""

    def __init__(self) -> None:
        self.hash, self.count = _started(), 0

    def plan(self, data: bytes) -> PlanFile | None:
        """The plan in ``data``; ``None`` if that differs from what was written, or has no digest."""
        try:
            body = json.loads(data.decode(), object_hook=self._object)
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
            return None
        found = body.get(_FIRST) if isinstance(body, dict) else None
        if not isinstance(found, list) or not self.count == len(found) == _count(found):
            return None
        recorded = body.pop(DIGEST, None)
        rest = {key: value for key, value in body.items() if key != _FIRST}
        if _ended(self.hash, rest) != recorded:
            return None
        rest.pop(SEAL, None)
        return PlanFile(entries=tuple(found), **rest)

    def _object(self, body: dict[str, Any]) -> Any:
        if _FIRST in body:
            return body
        _add(self.hash, self.count, body)
        self.count += 1
        try:
            return _entries().validate_python(_shared(body))
        except ValidationError:
            return body


def _count(found: list[Any]) -> int:
    return sum(isinstance(one, Entry) for one in found)


@functools.cache
def _entries() -> TypeAdapter[Entry]:
    return TypeAdapter(Entry)


def _shared(body: dict[str, Any]) -> dict[str, Any]:
    """``body`` with one object for each text that many entries, or several keys of an entry, have."""
    named = {k: sys.intern(body[k]) for k in ("row", "model", "task") if isinstance(body.get(k), str)}
    same = {"specs": [body["key"]]} if body.get("specs") == [body.get("key")] else {}
    return {**body, **named, **same}


def write_plan(runs: Path, plan: PlanFile) -> None:
    """Replace the plan atomically."""
    files.write_atomic(runs / FILE, _lines(plan))


def _lines(plan: PlanFile) -> Iterator[bytes]:
    """The text of the file."""
    digest, waiting = _started(), [f'{{"{_FIRST}": [']
    for number, entry in enumerate(plan.entries):
        body = {name: getattr(entry, name) for name in _FIELDS}
        _add(digest, number, body)
        end = "" if number == len(plan.entries) - 1 else ","
        waiting.append(f"  {json.dumps(body, sort_keys=True, ensure_ascii=False)}{end}")
        if len(waiting) == _LINES_AT_A_TIME:
            yield "".join(f"{line}\n" for line in waiting).encode()
            waiting.clear()
    rest: dict[str, Any] = {**plan.model_dump(mode="json", exclude={_FIRST}), SEAL: 1}
    rest[DIGEST] = _ended(digest, rest)
    tail = json.dumps(rest, indent=1, sort_keys=True, ensure_ascii=False)
    yield "\n".join([*waiting, f" ],{tail[1:]}"]).encode()


# The digest is that of zobench.store.digests: over the canonical text of all but the digest itself.


def _started() -> hashlib._Hash:
    return hashlib.sha256(f'{{"{_FIRST}":['.encode())


def _add(digest: hashlib._Hash, number: int, body: dict[str, Any]) -> None:
    digest.update(("," if number else "").encode() + _canonical(body))


def _ended(digest: hashlib._Hash, rest: dict[str, Any]) -> str:
    digest.update(b"]," + _canonical(rest)[1:])
    return digest.hexdigest()


def _canonical(body: dict[str, Any]) -> bytes:
    return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()


def with_known_ids(entries: Sequence[Entry], before: PlanFile | None) -> tuple[Entry, ...]:
    """``entries`` with the run ids that an earlier plan has for the same leaderboard entry and key."""
    earlier = before.entries if before else ()
    known = {(e.row, e.kind, e.key): e.run_ids for e in earlier if not e.unloadable}
    return tuple(
        e if e.unloadable else e.with_ids(known.get((e.row, e.kind, e.key), e.run_ids)) for e in entries
    )
