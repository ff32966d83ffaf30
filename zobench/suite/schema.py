"""Types of the suite file: what a user may write, before names are looked up and grids expanded.

Strict: unknown keys and wrong types are errors, and no value is converted. ``docs/suite.md`` is the reference
for users; :mod:`zobench.spec` defines what a suite expands to.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from zobench.fields import FieldMeta, Frozen
from zobench.spec import (
    ON_TASKS,
    Budget,
    Component,
    Count,
    Diagnostics,
    Evaluation,
    ModelRef,
    RowSettings,
    UnlearningSettings,
)

Number = int | float
Params = dict[str, Any]


class TaskEntry(Frozen):
    """A task by catalogue name (the entry's own name unless given) with literal parameters."""

    task: str | None = None
    params: Params = Field(default_factory=dict)


class AttackEntry(Frozen):
    """An attack by catalogue name (the entry's own name unless given) with literal parameters, on all
    tasks of the suite or on some."""

    attack: str | None = None
    params: Params = Field(default_factory=dict)
    tasks: tuple[str, ...] | None = None


class Range(Frozen):
    """An interval to sample from. If both ends are integers, samples are integers. ``log``: uniform in the
    logarithm."""

    low: Number
    high: Number
    log: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> Range:
        if not self.low < self.high:
            raise ValueError(f"low {self.low} must be smaller than high {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"a logarithmic range needs low > 0, not {self.low}")
        return self


def _domain_kind(value: Any) -> str | None:
    if isinstance(value, list):
        return "values"
    return "range" if isinstance(value, dict | Range) else None


Domain = Annotated[
    Annotated[list[Any], Tag("values")] | Annotated[Range, Tag("range")], Discriminator(_domain_kind)
]
"""What a tuned parameter may be: a list of values, or a range."""


class Halving(Frozen):
    """Successive halving: all settings at a small budget, the best ``1/factor`` of them at ``factor`` times
    that budget, and so on over ``rungs`` up to the whole budget. Every rung trains from the base model again,
    and its cost counts as tuning cost."""

    factor: int = Field(default=2, ge=2)
    rungs: int = Field(default=3, ge=2)


class Tune(Frozen):
    """One row whose parameters are selected on validation data: ``trials`` settings from ``space`` (empty:
    the method's own), each with every one of ``seeds``."""

    space: dict[str, Domain] = Field(default_factory=dict)
    seeds: tuple[Annotated[int, Field(ge=0)], ...]
    trials: int | None = Field(default=None, ge=1)
    sampler: Literal["grid", "random", "tpe"] = "grid"
    sampler_seed: int = Field(default=0, ge=0, le=2**32 - 1)
    halving: Halving | None = None
    metric: str | None = None
    goal: Literal["max", "min"] | None = None
    selection: Literal["validation"] = "validation"


class SpaceEntry(Frozen):
    """The space of trained parameters."""

    kind: str = "full"
    params: Params = Field(default_factory=dict)


class BudgetOverride(Frozen):
    """Parts of the suite's budget that one method overrides."""

    forwards: int | None = Field(default=None, ge=0)
    batch_size: int | None = Field(default=None, ge=1)
    micro_batch: Annotated[int | None, FieldMeta(unlearning=False)] = Field(default=None, ge=1)


class MethodEntry(RowSettings):
    """One leaderboard row, or several with ``sweep``."""

    method: str | None = None
    params: Params = Field(default_factory=dict)
    task_params: dict[str, Params] = Field(default_factory=dict)
    sweep: dict[str, list[Any]] = Field(default_factory=dict)
    tune: Tune | None = None
    space: SpaceEntry = SpaceEntry()
    group: Literal["method", "control"] = "method"
    tasks: tuple[str, ...] | None = None
    models: tuple[str, ...] | None = None
    budget: BudgetOverride = BudgetOverride()
    attacks: Annotated[bool | tuple[str, ...], ON_TASKS] = True
    note: str = ""


class EvaluationEntry(Evaluation):
    """When and on which examples every run is evaluated; ``attack_items``: maximum number of attacked test
    examples."""

    attack_items: Annotated[Count, ON_TASKS] = None


class ExecutorSettings(Frozen):
    """How runs are distributed; not part of a run's identity. ``threads``: per worker; ``None``: chosen by
    the runner. ``processes``: number of processes of each run with ``split``, at most one per shard.
    For ``ray``: ``address`` of an existing cluster, and ``gpus`` of a run on a CUDA device, a fraction if
    several share one."""

    kind: Literal["process", "inline", "ray"] = "process"
    workers: int | None = Field(default=None, ge=1)
    threads: int | None = Field(default=None, ge=1)
    processes: int = Field(default=1, ge=1)
    address: str | None = Field(default=None, min_length=1)
    gpus: float = Field(default=1.0, gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _whole_or_part(self) -> ExecutorSettings:
        if self.gpus > 1 and self.gpus != int(self.gpus):
            raise ValueError(f"gpus must be a fraction of one GPU or a whole number, not {self.gpus:g}")
        return self


class CheckpointSettings(Frozen):
    """Number of steps between two checkpoints of a run."""

    every_steps: int = Field(default=50, ge=1)


Minutes = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class LimitSettings(Frozen):
    """Minutes after which a run, or one step of it, is stopped as ``interrupted``; no part of a run's
    identity."""

    run_minutes: Minutes = 7 * 24 * 60
    step_minutes: Minutes = 120


class ObjectiveEntry(Frozen):
    """An unlearning objective by catalogue name (the entry's own name unless given)."""

    objective: str | None = None
    params: Params = Field(default_factory=dict)


class ProbeEntry(Frozen):
    """A probe by catalogue name (the entry's own name unless given)."""

    probe: str | None = None
    params: Params = Field(default_factory=dict)


class DataEntry(Frozen):
    """Source of the facts."""

    source: str = "nano-facts"
    params: Params = Field(default_factory=dict)


class Match(Frozen):
    """Levels of the matched comparisons: ``forget`` as recovery rate (0 oracle, 1 full model), ``retain`` as
    a share of the full model's retained score; YAML's ``null``: no matching."""

    forget: float | None = Field(default=0.5, gt=0, lt=1)
    retain: float | None = Field(default=0.95, gt=0, lt=1)


class UnlearningEntry(UnlearningSettings):
    """Section that makes a suite an unlearning suite: objectives replace tasks, and every model is measured
    under the probes. ``noise``: add a noise baseline of equal norm for every row."""

    oracle: ModelRef
    data: DataEntry = DataEntry()
    objectives: dict[str, ObjectiveEntry]
    probes: dict[str, ProbeEntry] = Field(default_factory=dict)
    match: Match = Match()
    noise: bool = True


class Unloadable(Frozen):
    """What a suite needs and cannot import (:mod:`zobench.suite.unloadable`); not written in a suite file.

    Attributes:
        methods: entries with a row that cannot be run, as written.
        blocks: tasks (or unlearning objectives) that cannot be loaded, with the parameters as written.
        attacks: attacks that cannot be loaded, as written.
        errors: entry of ``methods`` -> task -> file, line, error and what to do.
        trackers: tracker -> error. Its runs are not tracked.
    """

    methods: dict[str, MethodEntry]
    blocks: dict[str, Component]
    attacks: dict[str, AttackEntry]
    errors: dict[str, dict[str, str]]
    trackers: dict[str, str]


class Suite(Frozen):
    """A validated suite. ``path`` is its file."""

    path: str
    suite: str
    description: str = ""
    models: dict[str, ModelRef]
    tasks: dict[str, TaskEntry] = Field(default_factory=dict)
    methods: dict[str, MethodEntry]
    attacks: dict[str, AttackEntry] = Field(default_factory=dict)
    unlearning: UnlearningEntry | None = None
    seeds: tuple[int, ...]
    budget: Budget
    evaluation: EvaluationEntry = EvaluationEntry()
    executor: ExecutorSettings = ExecutorSettings()
    checkpoint: CheckpointSettings = CheckpointSettings()
    limits: LimitSettings = LimitSettings()
    diagnostics: Diagnostics | None = None
    trackers: tuple[str, ...] = ()
    ruleset: Literal["open", "tuned", "self-tuned"] = "open"
    output: str | None = None
    unloadable: Unloadable | None = None

    @property
    def blocks(self) -> tuple[str, ...]:
        """The tasks, or the objectives of an unlearning suite; rows are compared on each of them."""
        return tuple(self.tasks if self.unlearning is None else self.unlearning.objectives)


SECTIONS: dict[str, tuple[type[Any], bool]] = {
    "models": (ModelRef, True),
    "tasks": (TaskEntry, True),
    "methods": (MethodEntry, True),
    "attacks": (AttackEntry, True),
    "unlearning": (UnlearningEntry, False),
    "budget": (Budget, False),
    "evaluation": (EvaluationEntry, False),
    "executor": (ExecutorSettings, False),
    "checkpoint": (CheckpointSettings, False),
    "limits": (LimitSettings, False),
    "diagnostics": (Diagnostics, False),
}
"""Sections of the file: type, and whether the section maps names to entries of that type."""

REQUIRED = ("suite", "models", "tasks", "methods", "seeds", "budget")
"""``tasks`` only if there is no ``unlearning``."""
