"""The suite file as types: what a user may write, before names are looked up and grids expanded.

Strict: an unknown key and a wrong type are errors, nothing is converted. The reference for users is
``docs/suite.md``; :mod:`zobench.suite.spec` has what a suite expands to.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator

from zobench.suite.spec import Budget, ModelRef

Number = int | float
Params = dict[str, Any]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class TaskEntry(Strict):
    """A task by catalogue name (the entry's own name unless given) with literal parameters."""

    task: str | None = None
    params: Params = {}


class AttackEntry(Strict):
    """An attack by catalogue name (the entry's own name unless given) with literal parameters."""

    attack: str | None = None
    params: Params = {}


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


class Tune(Strict):
    """One row selected on validation data: ``trials`` settings from ``space``, each on every one of
    ``seeds``."""

    space: dict[str, Domain]
    seeds: tuple[Annotated[int, Field(ge=0)], ...]
    trials: int | None = Field(default=None, ge=1)
    sampler: Literal["grid", "random", "tpe"] = "grid"
    sampler_seed: int = Field(default=0, ge=0)
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
    perturbation: Literal["auto", "in-place", "snapshot", "streamed", "batched"] = "auto"
    noise: Literal["counter", "legacy"] = "counter"


class EvaluationEntry(Strict):
    """When and on what every run is measured; ``attack_items`` caps the attacked test rows."""

    at: tuple[Annotated[int, Field(ge=0)], ...] = ()
    test_items: int | None = Field(default=None, ge=1)
    validation_items: int | None = Field(default=None, ge=1)
    attack_items: int | None = Field(default=None, ge=1)
    lm_eval: tuple[str, ...] = ()
    lm_eval_include: str | None = None
    lm_eval_limit: int | None = Field(default=None, ge=1)


class Executor(Strict):
    """How runs are spread; no part of a run's identity. ``threads`` per worker; ``None`` lets the runner
    choose."""

    kind: Literal["process", "inline", "ray"] = "process"
    workers: int | None = Field(default=None, ge=1)
    threads: int | None = Field(default=None, ge=1)


class Checkpoint(Strict):
    """Steps between two atomic checkpoints of a run."""

    every_steps: int = Field(default=50, ge=1)


class Suite(Strict):
    """A whole validated suite. ``path`` is the file it came from."""

    path: str
    suite: str
    description: str = ""
    models: dict[str, ModelRef]
    tasks: dict[str, TaskEntry]
    methods: dict[str, MethodEntry]
    attacks: dict[str, AttackEntry] = {}
    seeds: tuple[int, ...]
    budget: Budget
    evaluation: EvaluationEntry = EvaluationEntry()
    executor: Executor = Executor()
    checkpoint: Checkpoint = Checkpoint()
    trackers: tuple[str, ...] = ()
    output: str | None = None


SECTIONS: dict[str, tuple[type[Any], bool]] = {
    "models": (ModelRef, True),
    "tasks": (TaskEntry, True),
    "methods": (MethodEntry, True),
    "attacks": (AttackEntry, True),
    "budget": (Budget, False),
    "evaluation": (EvaluationEntry, False),
    "executor": (Executor, False),
    "checkpoint": (Checkpoint, False),
}
"""Sections of the file: their type, and whether they map names to entries of that type."""

REQUIRED = ("suite", "models", "tasks", "methods", "seeds", "budget")
