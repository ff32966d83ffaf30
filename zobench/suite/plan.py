"""A plan: every run of a suite with its literal specification, and its tuning studies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from zobench.fields import Frozen
from zobench.names import nearest
from zobench.spec import PlannedRun
from zobench.suite.components import resolved
from zobench.suite.schema import CheckpointSettings, Domain, ExecutorSettings, LimitSettings


class TuningStudy(Frozen):
    """The search for the tuned parameters of one row on one task.

    For ``grid`` and ``random`` all candidates are known in advance. For ``tpe`` the next candidate depends on
    earlier scores. :class:`zobench.suite.tuning.Tuner` handles all three.
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
    """With successive halving: (number of settings, budget in forward passes) of each rung, the whole budget
    last."""
    metric: str | None
    """Validation metric; ``None`` means the task's primary metric."""
    goal: Literal["max", "min"]
    candidates: tuple[dict[str, Any], ...] = ()
    """In the order of the file; empty for ``tpe``."""
    trial_templates: tuple[PlannedRun, ...]
    """One per tuning seed, with ``purpose="tuning"``. Their method's params lack the tuned parameters."""
    final_templates: tuple[PlannedRun, ...]
    """One per seed of the suite, to be filled with the selected parameters."""
    final_seeds: tuple[int, ...] | None = None
    """Seeds whose final runs are executed; ``None``: all. Not part of the study's definition."""

    def trials(self, candidate: dict[str, Any], forwards: int | None = None) -> tuple[PlannedRun, ...]:
        """Trial runs of one candidate, one per tuning seed, with this budget (``None``: the whole budget)."""
        filled = tuple(fill(run, candidate) for run in self.trial_templates)
        return filled if forwards is None else tuple(at_budget(run, forwards) for run in filled)

    @property
    def schedule(self) -> tuple[tuple[int, int | None], ...]:
        """Number of settings and budget in forward passes of each rung; ``None`` is the whole budget."""
        return self.rungs or ((self.size, None),)

    def finals(self, winner: dict[str, Any]) -> tuple[PlannedRun, ...]:
        """The row's runs with the selected parameters, one per executed seed."""
        return tuple(fill(run, winner) for run in self.executed)

    @property
    def executed(self) -> tuple[PlannedRun, ...]:
        """The final templates of the executed seeds."""
        wanted = self.final_seeds
        return tuple(t for t in self.final_templates if wanted is None or t.spec.seed in wanted)


class Follower(Frozen):
    """A run that depends on another run: a noise baseline moves as far as a run of ``row`` moved.

    ``template`` lacks the distance. It belongs to the run of ``row`` with the same model, task and seed.
    """

    row: str
    template: PlannedRun

    def follows(self, run: PlannedRun) -> bool:
        ours, theirs = self.template.spec, run.spec
        same = (ours.model, ours.task, ours.seed) == (theirs.model, theirs.task, theirs.seed)
        return run.row == self.row and theirs.purpose == "result" and same

    def filled(self, distance: float) -> PlannedRun:
        """The run with its distance."""
        assert self.template.spec.unlearning is not None, "noise baselines belong to unlearning"
        section = self.template.spec.unlearning.model_copy(update={"distance": distance})
        spec = self.template.spec.model_copy(update={"unlearning": section})
        return self.template.model_copy(update={"spec": spec})


class UnloadableRun(Frozen):
    """A run that needs a plugin which cannot be imported. Its specification has the parameters written in the
    suite file; ``error`` names file, line, plugin and what to do."""

    run: PlannedRun
    error: str


class Plan(Frozen):
    """All that ``zobench run`` executes. The order of ``runs`` gives every row its first result early."""

    suite: str
    description: str = ""
    path: str = ""
    runs: tuple[PlannedRun, ...]
    studies: tuple[TuningStudy, ...] = ()
    followers: tuple[Follower, ...] = ()
    unloadable: tuple[UnloadableRun, ...] = ()
    executor: ExecutorSettings = ExecutorSettings()
    checkpoint: CheckpointSettings = CheckpointSettings()
    limits: LimitSettings = LimitSettings()
    trackers: tuple[str, ...] = ()
    untracked: tuple[str, ...] = ()
    """Errors of trackers that cannot be imported."""
    output: str | None = None

    def rows(self) -> tuple[str, ...]:
        """Names of all rows in the order of their first run; tuned rows, noise baselines, then rows that
        cannot be run, come last."""
        names = [run.row for run in self.runs] + [study.row for study in self.studies]
        names += [follower.template.row for follower in self.followers]
        names += [one.run.row for one in self.unloadable]
        return tuple(dict.fromkeys(names))

    def only(self, row: str) -> Plan:
        """:meth:`part` of one row."""
        return self.part(rows=(row,))

    def part(self, rows: Sequence[str] = (), tasks: Sequence[str] = (), seeds: Sequence[int] = ()) -> Plan:
        """The part of the plan that produces these rows on these tasks with these seeds (empty: all). A tuned
        row keeps its whole search, because its runs depend on it.

        Raises:
            ValueError: the plan has no such row, task or seed.
        """
        _check_names("row", rows, self.rows(), self.suite)
        _check_names("task", tasks, [run.shown_task for run in self._planned()], self.suite)
        known = sorted({run.spec.seed for run in self._planned()})
        if unknown := [seed for seed in seeds if seed not in known]:
            raise ValueError(f"no seed {unknown[0]} in suite {self.suite!r}; it has {known}")
        followers = tuple(
            f
            for f in self.followers
            if _chosen(f.template, (), tasks, seeds) and (not rows or {f.row, f.template.row} & {*rows})
        )
        # A noise baseline depends on the run whose distance it takes.
        kept = (*rows, *(f.row for f in followers)) if rows else ()
        studies = tuple(
            study.model_copy(update={"final_seeds": tuple(seeds)} if seeds else {})
            for study in self.studies
            if (not kept or study.row in kept) and (not tasks or study.task in tasks)
        )
        runs = tuple(run for run in self.runs if _chosen(run, kept, tasks, seeds))
        unloadable = tuple(one for one in self.unloadable if _chosen(one.run, rows, tasks, seeds))
        return self.model_copy(
            update={"runs": runs, "studies": studies, "followers": followers, "unloadable": unloadable}
        )

    def _planned(self) -> list[PlannedRun]:
        """Every planned result; those of tuned rows without their parameters."""
        finals = [run for study in self.studies for run in study.final_templates]
        others = [f.template for f in self.followers] + [one.run for one in self.unloadable]
        return [*self.runs, *finals, *others]


def _chosen(run: PlannedRun, rows: Sequence[str], tasks: Sequence[str], seeds: Sequence[int]) -> bool:
    listed = ((run.row, rows), (run.shown_task, tasks), (run.spec.seed, seeds))
    return all(not wanted or value in wanted for value, wanted in listed)


def _check_names(kind: str, names: Sequence[str], known: Sequence[str], suite: str) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"no {kind} {name!r} in suite {suite!r}{nearest(name, known)}")


def at_budget(run: PlannedRun, forwards: int) -> PlannedRun:
    """``run`` with another training budget."""
    budget = run.spec.budget.model_copy(update={"forwards": forwards})
    return run.model_copy(update={"spec": run.spec.model_copy(update={"budget": budget})})


def with_seed(run: PlannedRun, seed: int) -> PlannedRun:
    """``run`` with another seed. All other parts are shared, not copied: with a hundred thousand runs they
    would take most of the memory."""
    return run.model_copy(update={"spec": run.spec.model_copy(update={"seed": seed})})


def fill(template: PlannedRun, values: dict[str, Any]) -> PlannedRun:
    """``template`` with ``values`` among its method's parameters and all defaults filled in."""
    method = template.spec.method
    component = resolved("methods", method.name, {**method.params, **values})
    return template.model_copy(update={"spec": template.spec.model_copy(update={"method": component})})
