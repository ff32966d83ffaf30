"""``work.json`` in a results folder: the whole plan of a suite, for workers that have no suite file."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from zobench.store import files
from zobench.store.digests import DamagedFile, read_sealed, sealed
from zobench.suite.plan import Plan

FILE = "work.json"


def write_work(folder: Path, plan: Plan) -> Path:
    """Write the plan, replacing an earlier one atomically; returns the file."""
    # As one string: a sealed file sorts its keys, and a sampler draws parameters in the order of the suite.
    folder.mkdir(parents=True, exist_ok=True)
    files.write_atomic(folder / FILE, sealed({"plan": plan.model_dump_json()}))
    return folder / FILE


def read_work(folder: Path) -> Plan:
    """The plan in the folder. ``ValueError`` if there is none, ``DamagedFile`` if the file is not a plan."""
    try:
        body = read_sealed(folder / FILE)
        return Plan.model_validate_json(body["plan"])
    except FileNotFoundError as error:
        raise ValueError(
            f"{folder} has no {FILE}: write it with 'zobench plan SUITE --to {folder}'"
        ) from error
    except (KeyError, ValidationError) as error:
        raise DamagedFile(folder / FILE, "it is not a plan") from error
