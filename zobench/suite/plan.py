"""A plan: every run of a suite with its literal specification, its tuning studies, and what it will cost."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from zobench.names import nearest
from zobench.spec import Frozen, PlannedRun
from zobench.suite.components import resolved
from zobench.suite.schema import CheckpointSettings, Domain, ExecutorSettings


class TuningStudy(Frozen):
    """The search that fills the open parameters of one row on one task.

    For ``grid`` and ``random`` every candidate is known and ``trials()`` lists all trial runs at once; for
    ``tpe`` the next candidate depends on the scores before it: ask :class:`zobench.suite.tuning.Tuner`,
    which serves all three.
    """

    row: str
    model: str
    task: str
    space: dict[str, Domain]
    sampler: Literal["grid", "random", "tpe"]
    sampler_seed: int
    size: int = Field(ge=1)
    """Number of candidates that are tried: the same for every task of the row."""
    seeds: tuple[int, ...]
    rungs: tuple[tuple[int, int], ...] = ()
    """With successive halving: how many settings are tried at how many forwards, the whole budget last."""
    metric: str | None
    """Validation metric; ``None`` means the task's primary metric."""
    goal: Literal["max", "min"]
    candidates: tuple[dict[str, Any], ...] = ()
    """In the order of the file; empty for ``tpe``."""
    trial_templates: tuple[PlannedRun, ...]
    """One per tuning seed, ``purpose="tuning"``; the tuned parameters are missing from their method's
    params."""
    final_templates: tuple[PlannedRun, ...]
    """One per seed of the suite; to be filled with the winner."""

    def trials(self, candidate: dict[str, Any], forwards: int | None = None) -> tuple[PlannedRun, ...]:
        """Trial runs of one candidate, one per tuning seed, at this budget (``None``: the whole)."""
        filled = tuple(fill(run, candidate) for run in self.trial_templates)
        return filled if forwards is None else tuple(at_budget(run, forwards) for run in filled)

    @property
    def schedule(self) -> tuple[tuple[int, int | None], ...]:
        """Settings tried and the forwards of each, rung by rung; ``None`` is the whole budget."""
        return self.rungs or ((self.size, None),)

    def finals(self, winner: dict[str, Any]) -> tuple[PlannedRun, ...]:
        """The row's runs with the chosen parameters, one per seed of the suite."""
        return tuple(fill(run, winner) for run in self.final_templates)


class Follower(Frozen):
    """A run that needs the outcome of another: a noise control moves as far as a run of ``row`` moved.

    ``template`` lacks the distance; it belongs to the run of ``row`` with its model, task and seed.
    """

    row: str
    template: PlannedRun

    def follows(self, run: PlannedRun) -> bool:
        ours, theirs = self.template.spec, run.spec
        same = (ours.model, ours.task, ours.seed) == (theirs.model, theirs.task, theirs.seed)
        return run.row == self.row and theirs.purpose == "result" and same

    def filled(self, distance: float) -> PlannedRun:
        """The run with its distance."""
        assert self.template.spec.unlearning is not None, "noise controls belong to unlearning"
        section = self.template.spec.unlearning.model_copy(update={"distance": distance})
        spec = self.template.spec.model_copy(update={"unlearning": section})
        return self.template.model_copy(update={"spec": spec})


class Plan(Frozen):
    """What ``zobench run`` does. ``runs`` are in an order that gives every row its first result early."""

    suite: str
    description: str = ""
    path: str = ""
    runs: tuple[PlannedRun, ...]
    studies: tuple[TuningStudy, ...] = ()
    followers: tuple[Follower, ...] = ()
    executor: ExecutorSettings = ExecutorSettings()
    checkpoint: CheckpointSettings = CheckpointSettings()
    trackers: tuple[str, ...] = ()
    output: str | None = None

    def rows(self) -> tuple[str, ...]:
        """Names of all rows, in the order of their first run; tuned rows, then noise controls, after the
        others."""
        names = [run.row for run in self.runs] + [study.row for study in self.studies]
        names += [follower.template.row for follower in self.followers]
        return tuple(dict.fromkeys(names))

    def only(self, row: str) -> Plan:
        """The part of the plan that makes one row; ``ValueError`` with the nearest name if there is none."""
        if row not in self.rows():
            raise ValueError(f"no row {row!r} in suite {self.suite!r}{nearest(row, self.rows())}")
        followers = tuple(f for f in self.followers if row in (f.row, f.template.row))
        rows = {row, *(f.row for f in followers)}
        runs = tuple(run for run in self.runs if run.row in rows)
        studies = tuple(study for study in self.studies if study.row in rows)
        return self.model_copy(update={"runs": runs, "studies": studies, "followers": followers})


def at_budget(run: PlannedRun, forwards: int) -> PlannedRun:
    """``run`` with another training budget."""
    budget = run.spec.budget.model_copy(update={"forwards": forwards})
    return run.model_copy(update={"spec": run.spec.model_copy(update={"budget": budget})})


def fill(template: PlannedRun, values: dict[str, Any]) -> PlannedRun:
    """``template`` with ``values`` among its method's parameters and all defaults spelled out."""
    method = template.spec.method
    component = resolved("methods", method.name, {**method.params, **values})
    return template.model_copy(update={"spec": template.spec.model_copy(update={"method": component})})
