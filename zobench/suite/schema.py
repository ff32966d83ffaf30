"""The suite file as types: what a user may write, before names are looked up and grids expanded.

Strict: an unknown key and a wrong type are errors, nothing is converted. The reference for users is
``docs/suite.md``; :mod:`zobench.spec` has what a suite expands to.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator

from zobench.spec import (
    Budget,
    Diagnostics,
    ForgetSet,
    ModelRef,
    Pair,
    PerturbationMode,
    Precision,
    TrainOn,
)

Number = int | float
Params = dict[str, Any]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class TaskEntry(Strict):
    """A task by catalogue name (the entry's own name unless given) with literal parameters."""

    task: str | None = None
    params: Params = {}


class AttackEntry(Strict):
    """An attack by catalogue name (the entry's own name unless given) with literal parameters, on all
    tasks of the suite or on some."""

    attack: str | None = None
    params: Params = {}
    tasks: tuple[str, ...] | None = None


class Range(Strict):
    """An interval to draw from; whole numbers at both ends mean whole draws. ``log``: uniform in the
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


class Halving(Strict):
    """Successive halving: all settings at a small budget, the best ``1/factor`` of them at ``factor`` times
    as much, and so on over ``rungs`` up to the whole budget. Every rung trains from the base model and is
    charged."""

    factor: int = Field(default=2, ge=2)
    rungs: int = Field(default=3, ge=2)


class Tune(Strict):
    """One row selected on validation data: ``trials`` settings from ``space`` (empty: the method's own), each
    on every one of ``seeds``."""

    space: dict[str, Domain] = {}
    seeds: tuple[Annotated[int, Field(ge=0)], ...]
    trials: int | None = Field(default=None, ge=1)
    sampler: Literal["grid", "random", "tpe"] = "grid"
    sampler_seed: int = Field(default=0, ge=0)
    halving: Halving | None = None
    metric: str | None = None
    goal: Literal["max", "min"] | None = None
    selection: Literal["validation"] = "validation"


class SpaceEntry(Strict):
    """The parameter space that is tuned."""

    kind: str = "full"
    params: Params = {}


class BudgetOverride(Strict):
    """Parts of the suite's budget that one method changes."""

    forwards: int | None = Field(default=None, ge=0)
    batch_size: int | None = Field(default=None, ge=1)


def _labels(value: Any) -> Any:
    return "true" if value is True else value


class MethodEntry(Strict):
    """One leaderboard row, or several with ``sweep``."""

    method: str | None = None
    params: Params = {}
    task_params: dict[str, Params] = {}
    sweep: dict[str, list[Any]] = {}
    tune: Tune | None = None
    space: SpaceEntry = SpaceEntry()
    labels: Annotated[Literal["true", "shuffled"], BeforeValidator(_labels)] = "true"
    shots: int = Field(default=0, ge=0)
    group: Literal["method", "control"] = "method"
    tasks: tuple[str, ...] | None = None
    models: tuple[str, ...] | None = None
    budget: BudgetOverride = BudgetOverride()
    attacks: bool | tuple[str, ...] = True
    note: str = ""
    perturbation: PerturbationMode = "auto"
    noise: Literal["counter", "legacy"] = "counter"
    train_on: TrainOn = "loss"
    precision: Precision = "auto"


class EvaluationEntry(Strict):
    """When and on what every run is measured; ``attack_items`` caps the attacked test rows."""

    at: tuple[Annotated[int, Field(ge=0)], ...] = ()
    attacks_at: tuple[Annotated[int, Field(ge=0)], ...] = ()
    attacks_along: tuple[str, ...] = ()
    test_items: int | None = Field(default=None, ge=1)
    validation_items: int | None = Field(default=None, ge=1)
    attack_items: int | None = Field(default=None, ge=1)
    lm_eval: tuple[str, ...] = ()
    lm_eval_include: str | None = None
    lm_eval_limit: int | None = Field(default=None, ge=1)
    lm_eval_attack: dict[str, str] = {}
    attack_similarity: str | None = Field(default=None, min_length=1)


class Executor(Strict):
    """How runs are spread; no part of a run's identity. ``threads`` per worker; ``None`` lets the runner
    choose."""

    kind: Literal["process", "inline", "ray"] = "process"
    workers: int | None = Field(default=None, ge=1)
    threads: int | None = Field(default=None, ge=1)


class Checkpoint(Strict):
    """Steps between two atomic checkpoints of a run."""

    every_steps: int = Field(default=50, ge=1)


class ObjectiveEntry(Strict):
    """An unlearning objective by catalogue name (the entry's own name unless given)."""

    objective: str | None = None
    params: Params = {}


class ProbeEntry(Strict):
    """A probe by catalogue name (the entry's own name unless given)."""

    probe: str | None = None
    params: Params = {}


class DataEntry(Strict):
    """Where the facts come from."""

    source: str = "nano-facts"
    params: Params = {}


class Match(Strict):
    """Levels of the matched comparisons: ``forget`` as S (0 oracle, 1 full model), ``retain`` as a share of
    the full model's retained score; ``null``: none."""

    forget: float | None = Field(default=0.5, gt=0, lt=1)
    retain: float | None = Field(default=0.95, gt=0, lt=1)


class UnlearningEntry(Strict):
    """Makes a suite one of unlearning: its objectives take the place of tasks, and every model goes through
    the probes. ``noise``: a noise control of equal norm for every row."""

    oracle: ModelRef
    data: DataEntry = DataEntry()
    pair: Pair | None = None
    objectives: dict[str, ObjectiveEntry]
    probes: dict[str, ProbeEntry] = {}
    forget_set: ForgetSet = ForgetSet()
    check_every: int = Field(default=10, ge=0)
    scored_retain: float = Field(default=0.1, gt=0, le=1)
    truth: bool = True
    generate: int | None = Field(default=None, ge=1)
    scored_other: float | None = Field(default=None, gt=0, le=1)
    match: Match = Match()
    noise: bool = True


class Suite(Strict):
    """A whole validated suite. ``path`` is the file it came from."""

    path: str
    suite: str
    description: str = ""
    models: dict[str, ModelRef]
    tasks: dict[str, TaskEntry] = {}
    methods: dict[str, MethodEntry]
    attacks: dict[str, AttackEntry] = {}
    unlearning: UnlearningEntry | None = None
    seeds: tuple[int, ...]
    budget: Budget
    evaluation: EvaluationEntry = EvaluationEntry()
    executor: Executor = Executor()
    checkpoint: Checkpoint = Checkpoint()
    diagnostics: Diagnostics | None = None
    trackers: tuple[str, ...] = ()
    ruleset: Literal["open", "tuned", "self-tuned"] = "open"
    output: str | None = None

    @property
    def blocks(self) -> tuple[str, ...]:
        """What rows are compared on: the tasks, or the objectives of an unlearning suite."""
        return tuple(self.tasks if self.unlearning is None else self.unlearning.objectives)


SECTIONS: dict[str, tuple[type[Any], bool]] = {
    "models": (ModelRef, True),
    "tasks": (TaskEntry, True),
    "methods": (MethodEntry, True),
    "attacks": (AttackEntry, True),
    "unlearning": (UnlearningEntry, False),
    "budget": (Budget, False),
    "evaluation": (EvaluationEntry, False),
    "executor": (Executor, False),
    "checkpoint": (Checkpoint, False),
    "diagnostics": (Diagnostics, False),
}
"""Sections of the file: their type, and whether they map names to entries of that type."""

REQUIRED = ("suite", "models", "tasks", "methods", "seeds", "budget")
"""``tasks`` only where there is no ``unlearning``."""
