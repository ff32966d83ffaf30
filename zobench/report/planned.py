"""Selects the runs of a folder that are in its plan (``runs/plan.json``): one per row, task, model and seed.

If a folder has no plan, all its runs are shown. Submissions that were added to a folder are always shown. The
page states how many runs were left out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from pydantic import ValidationError

from zobench.names import json_value
from zobench.spec import RunSpec
from zobench.store.plan_file import Entry, read_plan, with_known_ids
from zobench.store.reader import read, runs_folder
from zobench.store.writer import FINAL_STATUSES

MOST_LISTED = 8


@dataclass(frozen=True, slots=True)
class Belonging:
    """Ids of the runs in the plan, each with its rows (none if there is no plan) and the suite's names of its
    model and task."""

    wanted: Mapping[str, tuple[str, ...]]
    total: int
    variants: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def rows(self, runs: pd.DataFrame) -> list[str]:
        """Row names: the recorded name if the plan has it, otherwise the plan's (of a renamed row). Runs that
        are not in the plan get a name that says so."""
        out = []
        for run_id, row in zip(runs["run_id"], runs["row"], strict=True):
            names = self.wanted.get(run_id)
            if names is None:
                out.append(f"{row} (not in the plan: {self.variants[run_id]})")
            else:
                out.append(row if row in names or not names else names[0])
        return out


def belonging(folders: Sequence[str | Path], runs: pd.DataFrame, suite: Sequence[Entry] | None) -> Belonging:
    """Which of ``runs`` are in ``suite`` or, without it, in the plan of their folder."""
    wanted: dict[str, tuple[str, ...]] = {}
    names: dict[str, tuple[str, str]] = {}
    for folder in folders:
        plan = read_plan(runs_folder(folder))
        here = runs
        if len(folders) > 1:
            here = runs[runs["run_id"].isin(read([folder], ["runs"]).runs["run_id"])]
        entries = plan.entries if plan is not None else None
        if suite is not None:
            entries = with_known_ids(suite, plan)
        found = dict.fromkeys(here["run_id"], ()) if entries is None else _matched(here, entries)
        for run_id, asked in found.items():
            wanted[run_id] = (*wanted.get(run_id, ()), *(e.row for e in asked))
            if asked:
                names.setdefault(run_id, (asked[0].model, asked[0].task))
    others = runs[~runs["run_id"].isin(wanted)]
    variants = {i: _variant(text) for i, text in zip(others["run_id"], others["spec"], strict=True)}
    for run_id, row, environment in others[["run_id", "row", "environment"]].itertuples(
        index=False, name=None
    ):
        if _submitted(environment):
            wanted[run_id] = (f"{row} (submitted: {variants[run_id]})",)
    return Belonging(wanted, len(runs), variants, names)


def _matched(runs: pd.DataFrame, entries: Sequence[Entry]) -> dict[str, tuple[Entry, ...]]:
    by_id: dict[str, tuple[Entry, ...]] = {}
    by_spec: dict[str, tuple[Entry, ...]] = {}
    for entry in entries:
        for run_id in entry.run_ids:
            by_id[run_id] = (*by_id.get(run_id, ()), entry)
        for spec in () if entry.run_ids else entry.specs:
            by_spec[spec] = (*by_spec.get(spec, ()), entry)
    found = {i: by_id[i] for i in runs["run_id"] if i in by_id}
    if by_spec:
        for run_id, text in zip(runs["run_id"], runs["spec"], strict=True):
            asked = by_spec.get(_spec_digest(text))
            if asked and run_id not in found:
                found[run_id] = asked
    return found


def _spec_digest(text: str) -> str:
    """SHA-256 of a recorded specification; empty if this version of zobench cannot parse it."""
    try:
        return hashlib.sha256(RunSpec.model_validate_json(text).canonical().encode()).hexdigest()
    except ValidationError:
        return ""


def _submitted(environment: str | None) -> bool:
    """Whether a run is a submission that ``zobench verify --add`` put here. It is in no plan and is shown in
    a separate row."""
    try:
        return "verification" in json_value(environment or "{}")
    except json.JSONDecodeError:
        return False


def _variant(text: str) -> str:
    """Six hexadecimal digits that identify a specification without its seed."""
    body = json_value(text) if text else {}
    body.pop("seed", None)
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:6]


def one_run_each(runs: pd.DataFrame) -> None:
    """Raise a ``ValueError`` with a list if a row, task, model and seed has several results, because their
    mean would be a mean over different settings."""
    results = runs[(runs["purpose"] != "tuning") & runs["status"].isin(FINAL_STATUSES)]
    double = results[results.duplicated(["row", "block", "seed"], keep=False)]
    if double.empty:
        return
    double = double.sort_values(["row", "block", "seed"])
    columns = ["run_id", "row", "label", "seed", "budget_forwards", "method_params"]
    lines = [
        f"  {run_id}  {row}, {label}, seed {seed}: {budget} forward passes, {params}"
        for run_id, row, label, seed, budget, params in double[columns].itertuples(index=False, name=None)
    ]
    rest = len(lines) - MOST_LISTED
    more = [f"  and {rest} more"] if rest > 0 else []
    raise ValueError(
        "several runs of one row, task, model and seed, which are not averaged:\n"
        + "\n".join([*lines[:MOST_LISTED], *more])
        + "\nselect the runs of one suite with --suite FILE"
    )


def sentences(others: int, shown_by: str = "zobench report --all") -> tuple[str, ...]:
    """The statement of the page about runs that are left out, with the command that shows them."""
    if not others:
        return ()
    one = "other run in the folder is not in the current suite and is"
    several = "other runs in the folder are not in the current suite and are"
    return (
        f"{others} {one if others == 1 else several} not shown: "
        f"'{shown_by}' shows them, 'zobench prune' lists and removes them.",
    )


def unwanted(folder: str | Path) -> list[tuple[str, str, str]]:
    """Run id, row and status of every finished run that is not in the folder's plan; ``ValueError`` if there
    is no plan."""
    if read_plan(runs_folder(folder)) is None:
        raise ValueError(f"{folder} has no plan; 'zobench run SUITE' writes one")
    runs = read([folder], ["runs"]).runs
    found = belonging([folder], runs, None)
    others = runs[~runs["run_id"].isin(found.wanted)]
    return list(others[["run_id", "row", "status"]].itertuples(index=False, name=None))
