"""Whether the ids of recorded runs follow from their specifications and digests, for ``zobench merge``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from zobench.names import json_value
from zobench.spec import RunSpec, identifying, placeholder
from zobench.store.reader import locate, parts
from zobench.store.writer import FINAL_STATUSES

MOST_LISTED = 10
COLUMNS = ["run_id", "status", "spec", "environment", "model_digest", "data_digest"]


def refuse_false_ids(runs: Path) -> None:
    """``ValueError``, with a list, if the id of a run in this runs folder is not that of its specification
    and its digests. A run that failed before its model was loaded may have the id of such runs."""
    found = list(_problems(runs))
    if found:
        rest = [f"and {len(found) - MOST_LISTED} more"] if len(found) > MOST_LISTED else []
        raise ValueError(f"{runs}: nothing was merged: {'; '.join([*found[:MOST_LISTED], *rest])}")


def _problems(runs: Path) -> Iterator[str]:
    for part in parts(locate([runs], ["runs"]), "runs"):
        for batch in part.select(COLUMNS).to_batches(max_chunksize=1000):
            for run in batch.to_pylist():
                if (problem := problem_of(run)) is not None:
                    yield f"run {run['run_id']}: {problem}"


def problem_of(run: dict[str, Any]) -> str | None:
    """What is wrong with the id of a run, from its row; ``None`` if nothing is."""
    try:
        spec = RunSpec.model_validate_json(run["spec"] or "")
    except ValidationError:
        return "its specification cannot be read by this version of zobench"
    if run["status"] not in FINAL_STATUSES and run["run_id"] == placeholder(spec):
        return None
    digests = _recorded(run)
    declared = {part: run[f"{part}_digest"] for part in ("model", "data")}
    if digests is None or any(value and digests.get(part) != value for part, value in declared.items()):
        return "its digests are not recorded, or contradict each other"
    if run["run_id"] == spec.run_id(digests) or spec.superseded_by(run["run_id"], digests) is not None:
        return None
    return "the id is not that of its specification and its digests"


def _recorded(run: dict[str, Any]) -> dict[str, str] | None:
    """The digests that determine the id; runs of early versions recorded those of model and data only."""
    try:
        environment = json_value(run["environment"] or "{}")
    except json.JSONDecodeError:
        return None
    found = environment.get("digests") if isinstance(environment, dict) else None
    if found is None and run["model_digest"] and run["data_digest"]:
        return identifying(run["model_digest"], run["data_digest"])
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        return None
    return found
