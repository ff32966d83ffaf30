"""``runs/plan.json``: what the suite that was run last in a results folder wants, replaced atomically.

A run's id needs the digests of its model and data, which are known once a worker has loaded them. Until then
an entry is recognised by the digest of its specification; from then on by the id alone, so that a run on data
that changed is another run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from zobench.store import files
from zobench.store.digests import DamagedFile, read_sealed, sealed

FILE = "plan.json"


class Entry(BaseModel):
    """What one row wants on one task and model.

    Attributes:
        model, task: their names in the suite (those of the catalogue in plans of an earlier zobench).
        kind: one run; the trials of a search; the runs with what a search chose; a noise control.
        key: SHA-256 of what decides the entry, the search included; equal keys ask for the same runs.
        specs: SHA-256 of the specifications by which a run is recognised while ``run_ids`` is empty.
        seeds: seeds of the runs.
        run_ids: the runs, once known.
    """

    model_config = ConfigDict(frozen=True)

    row: str
    kind: Literal["run", "trials", "finals", "noise control"]
    model: str
    task: str
    seeds: tuple[int, ...]
    key: str
    specs: tuple[str, ...] = ()
    run_ids: tuple[str, ...] = ()


class PlanFile(BaseModel):
    """The whole plan of a suite."""

    version: Literal[1] = 1
    suite: str
    path: str = ""
    entries: tuple[Entry, ...] = ()


def read_plan(runs: Path) -> PlanFile | None:
    """The plan beside these runs, or ``None``; ``DamagedFile`` where the file is no plan."""
    try:
        return PlanFile.model_validate(read_sealed(runs / FILE))
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise DamagedFile(runs / FILE, "it is not a plan") from error


def write_plan(runs: Path, plan: PlanFile) -> None:
    """Replace the plan: a reader sees the old one or the new."""
    body: dict[str, Any] = plan.model_dump(mode="json")
    files.write_atomic(runs / FILE, sealed(body))


def with_known_ids(entries: Sequence[Entry], before: PlanFile | None) -> tuple[Entry, ...]:
    """``entries`` with the ids that an earlier plan knew for the same row and key."""
    known = {(e.row, e.kind, e.key): e.run_ids for e in before.entries} if before else {}
    return tuple(
        e.model_copy(update={"run_ids": known.get((e.row, e.kind, e.key), e.run_ids)}) for e in entries
    )
