"""Superseded runs: runs whose id, made by an earlier version of zobench, included display settings. `zobench
run` executes them again.

The id of a noise baseline included the name of its row. Such runs can still be read. They are shown until the
run with the current id is in one of the folders, and left out afterwards."""

from __future__ import annotations

import pandas as pd
from pydantic import ValidationError

from zobench.spec import RunSpec, identifying

NAMED_AFTER_A_ROW = '"like":"'
"""Text in the specification of every such run and of few others, for a fast preselection."""


def superseded(runs: pd.DataFrame) -> dict[str, str]:
    """Run id -> current id, for every superseded run of the table."""
    found = {}
    held = runs["spec"].fillna("").str.contains(NAMED_AFTER_A_ROW, regex=False) & runs["model_digest"].notna()
    columns = ["run_id", "spec", "model_digest", "data_digest"]
    for run_id, text, model, data in runs.loc[held, columns].itertuples(index=False):
        today = today_of(run_id, text, model, data)
        if today is not None:
            found[str(run_id)] = today
    return found


def today_of(run_id: str, spec: str, model: str, data: str) -> str | None:
    """The current id of a superseded run; ``None`` for others, and if the specification cannot be parsed by
    this version of zobench."""
    try:
        return RunSpec.model_validate_json(spec).superseded_by(run_id, identifying(model, data))
    except ValidationError:
        return None


def sentences(shown: int, left_out: int) -> tuple[str, ...]:
    """The warnings of the page about superseded runs."""
    told = []
    if shown:
        told.append(
            f"Superseded runs: {shown}. In an earlier version of zobench the ids of noise baselines included "
            "their row's name. These runs are shown until the suite is run again."
        )
    if left_out:
        told.append(f"Superseded runs: {left_out}, left out because the suite was run again.")
    return tuple(told)
