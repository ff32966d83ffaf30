"""``runs/plan.json``: the runs of the suite that was last run in a results folder; replaced atomically.

A run's id needs the digests of its model and data, which are known only after a worker has loaded them. Until
then an entry is identified by the digest of its specification, afterwards by the id alone, so that a run on
changed data is a different run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from zobench.store import files
from zobench.store.digests import DamagedFile, read_sealed, sealed

FILE = "plan.json"


class Entry(BaseModel):
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

    model_config = ConfigDict(frozen=True)

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


class PlanFile(BaseModel):
    """The whole plan of a suite."""

    version: Literal[1] = 1
    suite: str
    path: str = ""
    entries: tuple[Entry, ...] = ()


def read_plan(runs: Path) -> PlanFile | None:
    """The plan in this runs folder; ``None`` if there is none; ``DamagedFile`` if the file is not a plan."""
    try:
        return PlanFile.model_validate(read_sealed(runs / FILE))
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise DamagedFile(runs / FILE, "it is not a plan") from error


def write_plan(runs: Path, plan: PlanFile) -> None:
    """Replace the plan atomically."""
    body: dict[str, Any] = plan.model_dump(mode="json")
    files.write_atomic(runs / FILE, sealed(body))


def with_known_ids(entries: Sequence[Entry], before: PlanFile | None) -> tuple[Entry, ...]:
    """``entries`` with the run ids that an earlier plan has for the same leaderboard entry and key."""
    earlier = before.entries if before else ()
    known = {(e.row, e.kind, e.key): e.run_ids for e in earlier if not e.unloadable}
    return tuple(
        e if e.unloadable else e.model_copy(update={"run_ids": known.get((e.row, e.kind, e.key), e.run_ids)})
        for e in entries
    )
