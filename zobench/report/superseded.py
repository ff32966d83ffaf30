"""Runs that an earlier zobench named by more than decides their outcome, and that `zobench run` makes again.

The name of a row was part of the id of its noise controls. Such a run is read as before. It is shown until
the run with the current id is in one of the folders; from then on it is left out."""

from __future__ import annotations

import pandas as pd
from pydantic import ValidationError

from zobench.spec import RunSpec, identifying

NAMED_AFTER_A_ROW = '"like":"'
"""In the specification of every such run, and of few others."""


def superseded(runs: pd.DataFrame) -> dict[str, str]:
    """Run id -> the id of today, of every run of the table that is superseded."""
    found = {}
    held = runs["spec"].fillna("").str.contains(NAMED_AFTER_A_ROW, regex=False) & runs["model_digest"].notna()
    columns = ["run_id", "spec", "model_digest", "data_digest"]
    for run_id, text, model, data in runs.loc[held, columns].itertuples(index=False):
        today = today_of(run_id, text, model, data)
        if today is not None:
            found[str(run_id)] = today
    return found


def today_of(run_id: str, spec: str, model: str, data: str) -> str | None:
    """The id of today of a superseded run; ``None`` for others, and where the specification is of a kind that
    this zobench does not know."""
    try:
        return RunSpec.model_validate_json(spec).superseded_by(run_id, identifying(model, data))
    except ValidationError:
        return None


def sentences(shown: int, left_out: int) -> tuple[str, ...]:
    """What the page says of them, among its warnings."""
    told = []
    if shown:
        told.append(
            f"Superseded runs: {shown}. An earlier zobench named noise controls after their row; they are "
            "shown until the suite is run again."
        )
    if left_out:
        told.append(f"Superseded runs: {left_out}, left out because the suite was run again.")
    return tuple(told)
