"""Records all runs of a suite in the results folder: before anything runs, and with ids as runs finish."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from zobench.spec import PlannedRun, placeholder
from zobench.store import files
from zobench.store.paths import run_folder
from zobench.store.plan_file import Entry, PlanFile, read_plan, with_known_ids, write_plan
from zobench.store.reader import read
from zobench.suite.plan import Follower, Plan, TuningStudy

EntryKind = Literal["run", "trials", "finals", "noise control"]


class PlanRecord:
    """The plan file of one results folder while its suite is run.

    Known run ids are kept for plan entries that did not change, so that a call for a part of the plan
    (``--only``, ``--task``, ``--seed``) does not remove those of others. A plan entry's first outcome in this
    call replaces its ids; if the call is for ``seeds``, ids of a tuned row's runs with other seeds are kept.
    """

    def __init__(self, plan: Plan, runs: Path, seeds: Sequence[int] = ()) -> None:
        self._plan, self._runs, self._seeds = plan, runs, seeds
        before = read_plan(runs)
        wanted = (*with_known_ids(entries(plan), before), *_kept_beside(plan, before))
        self._entries = {(e.kind, e.row, e.key): e for e in wanted}
        self._before = before
        self._of_job: dict[str, tuple[str, str, str]] = {}
        self._fresh: set[tuple[str, str, str]] = set()

    def expect(self, entry: Entry, job: str) -> None:
        """Register that the job with this key executes a run of ``entry``."""
        self._of_job[job] = (entry.kind, entry.row, entry.key)

    def ended(self, job: str, run_id: str) -> None:
        """Record the run id of a job."""
        key = self._of_job.get(job)
        if not run_id or key is None or key not in self._entries:
            return
        entry = self._entries[key]
        known = entry.run_ids if key in self._fresh else self._of_other_seeds(entry)
        self._fresh.add(key)
        if run_id not in known:
            known = (*known, run_id)
        self._entries[key] = entry.with_ids(known)

    def _of_other_seeds(self, entry: Entry) -> tuple[str, ...]:
        """Known ids of a tuned row's runs that this call does not execute."""
        if not self._seeds or entry.kind != "finals" or not entry.run_ids:
            return ()
        table = read(self._runs, ["runs"]).runs
        others = set(table.run_id[~table.seed.isin(self._seeds)])
        return tuple(i for i in entry.run_ids if i in others)

    def save(self) -> None:
        """Write the file, and remove the recorded failures of plugins that can be imported now."""
        wanted = tuple(self._entries.values())
        _remove_repaired(self._runs, self._before, {i for entry in wanted for i in entry.run_ids})
        write_plan(self._runs, PlanFile(suite=self._plan.suite, path=self._plan.path, entries=wanted))


def entries(plan: Plan) -> tuple[Entry, ...]:
    """All entries of a plan, without run ids."""
    out = [run_entry(run) for run in plan.runs]
    for study in plan.studies:
        out += [trials_entry(study), finals_entry(study)]
    out += [noise_entry(follower) for follower in plan.followers]
    return (*out, *(unloadable_entry(one.run) for one in plan.unloadable))


def _kept_beside(plan: Plan, before: PlanFile | None) -> tuple[Entry, ...]:
    """Earlier entries of the rows, models and tasks whose plugin cannot be imported now."""
    lost = {(one.run.row, one.run.shown_model, one.run.shown_task) for one in plan.unloadable}
    return tuple(e for e in (before.entries if before else ()) if e.cell in lost and not e.unloadable)


def _remove_repaired(runs: Path, before: PlanFile | None, wanted: set[str]) -> None:
    """Remove records of failed imports that the plan no longer has."""
    for entry in before.entries if before else ():
        for run_id in entry.run_ids if entry.unloadable else ():
            if run_id not in wanted:
                files.remove_tree(run_folder(runs, run_id))


def unloadable_entry(run: PlannedRun) -> Entry:
    """The entry of a run that needs a plugin which cannot be imported."""
    return run_entry(run).with_ids((placeholder(run.spec),), unloadable=True)


def run_entry(run: PlannedRun) -> Entry:
    digest = _digest(run.spec.canonical())
    return _entry("run", run.row, (run,), digest, (digest,))


def trials_entry(study: TuningStudy) -> Entry:
    return _entry("trials", study.row, study.trial_templates, _digest(_search(study)), ())


def finals_entry(study: TuningStudy) -> Entry:
    specs = [run.spec.canonical() for run in study.final_templates]
    return _entry(
        "finals",
        study.row,
        study.final_templates,
        _digest([_search(study), specs]),
        tuple(_digest(spec) for spec in specs),
        study,
    )


def noise_entry(follower: Follower) -> Entry:
    digest = _digest(follower.template.spec.canonical())
    run = follower.template
    return _entry("noise control", run.row, (run,), _digest([follower.row, digest]), (digest,))


def _search(study: TuningStudy) -> list[Any]:
    """What determines a search: its settings, and the trials without their tuned parameters."""
    settings = study.model_dump(
        mode="json", exclude={"row", "trial_templates", "final_templates", "final_seeds"}
    )
    return [settings, [run.spec.canonical() for run in study.trial_templates]]


def _entry(
    kind: EntryKind,
    row: str,
    runs: Sequence[PlannedRun],
    key: str,
    specs: tuple[str, ...],
    study: TuningStudy | None = None,
) -> Entry:
    model, task = (runs[0].shown_model, runs[0].shown_task) if runs else ("", "")
    if study is not None:
        model, task = study.model, study.task
    seeds = tuple(run.spec.seed for run in runs)
    return Entry(row=row, kind=kind, model=model, task=task, seeds=seeds, key=key, specs=specs)


def _digest(body: Any) -> str:
    text = body if isinstance(body, str) else json.dumps(body, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
