"""Rows that an unlearning suite adds to its own: the two reference models, and a noise baseline of equal norm
for every row."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Literal

from zobench.fields import identity, shared
from zobench.models.nano import TEXT
from zobench.parameters import configure, literal
from zobench.spec import (
    Budget,
    Component,
    Evaluation,
    ModelRef,
    PlannedRun,
    RunSpec,
    Unlearning,
    UnlearningSettings,
)
from zobench.suite.components import resolved, task_of
from zobench.suite.plan import Follower
from zobench.suite.rows import SuiteRow, models_of, tasks_of
from zobench.suite.schema import Suite

FULL, ORACLE = "full model", "oracle"
SELECTION = "selection_score"
"""Metric that tuning maximizes on the validation half by default."""
PAIR_VERSION = 1
Role = Literal["unlearn", "full", "oracle", "noise"]


def noise_row(row: str) -> str:
    """Name of the noise baseline of a row."""
    return f"noise as far as {row}"


def section_of(suite: Suite, role: Role, like: str | None = None) -> Unlearning:
    """The literal unlearning settings of a run in that role."""
    entry = suite.unlearning
    assert entry is not None, "called for unlearning suites only"
    return Unlearning(
        role=role,
        data=data_of(suite),
        oracle=model_of(suite, entry.oracle),
        probes=tuple(
            resolved("probes", p.probe or n, p.params).model_copy(update={"alias": n if p.probe else ""})
            for n, p in entry.probes.items()
        ),
        match_forget=entry.match.forget,
        match_retain=entry.match.retain,
        like=like,
        **shared(UnlearningSettings, entry),
    )


def data_of(suite: Suite) -> Component:
    """The data source with all parameters, defaults included."""
    from zobench.unlearning.sources import SOURCES

    assert suite.unlearning is not None
    given = suite.unlearning.data
    params = literal(configure(SOURCES[given.source], given.params))
    # Parameters added later default to None and count only if set, so that older runs keep their identity.
    kept = {k: v for k, v in params.items() if v is not None or k in given.params}
    return Component(name=given.source, params=kept)


def _with_attention(ref: ModelRef) -> ModelRef:
    if ref.attention != "auto":
        return ref
    if ref.name.startswith("pair:") or ref.name.removeprefix("builtin:") in TEXT:
        return ref.model_copy(update={"attention": "sdpa"})
    from zobench.models.inspection import with_attention

    return with_attention(ref)


def model_of(suite: Suite, ref: ModelRef) -> ModelRef:
    """The reference with its attention resolved. The names ``pair:full`` and ``pair:oracle`` get a digest of
    the settings with which the pair is trained."""
    ref = _with_attention(ref)
    if suite.unlearning is None or suite.unlearning.pair is None or not ref.name.startswith("pair:"):
        return ref
    body = [
        PAIR_VERSION,
        identity(suite.unlearning.pair),
        data_of(suite).model_dump(mode="json"),
    ]
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]
    return ref.model_copy(update={"name": f"pair:{digest}/{ref.name.removeprefix('pair:')}"})


def reference_runs(suite: Suite, model: str, objective: str, seed: int) -> list[PlannedRun]:
    """Runs of the full model and the oracle on one objective; empty if this is not an unlearning suite."""
    if suite.unlearning is None:
        return []
    notes = {"full": "the model before unlearning", "oracle": "trained without the forget set"}
    names = {"full": FULL, "oracle": ORACLE}
    roles: tuple[Literal["full", "oracle"], ...] = ("full", "oracle")
    return [
        PlannedRun(
            row=names[role],
            group="control",
            note=notes[role],
            spec=_measured(suite, model, objective, seed, section_of(suite, role)),
            task_name=objective,
            model_name=model,
        )
        for role in roles
    ]


def noise_followers(
    suite: Suite, rows: Sequence[SuiteRow], cells: Sequence[tuple[str, str]]
) -> tuple[Follower, ...]:
    """A noise baseline for every run that unlearns, tuned rows included."""
    if suite.unlearning is None or not suite.unlearning.noise:
        return ()
    found = []
    for seed in suite.seeds:
        for model, objective in cells:
            for row in rows:
                entry = suite.methods[row.entry]
                if model in models_of(suite, entry) and objective in tasks_of(suite, entry):
                    section = section_of(suite, "noise", like=row.name)
                    spec = _measured(suite, model, objective, seed, section)
                    note = f"the full model moved at random, as far as {row.name} moved it"
                    run = PlannedRun(
                        row=noise_row(row.name),
                        group="control",
                        note=note,
                        spec=spec,
                        task_name=objective,
                        model_name=model,
                    )
                    found.append(Follower(row=row.name, template=run))
    return tuple(found)


def _measured(suite: Suite, model: str, objective: str, seed: int, section: Unlearning) -> RunSpec:
    """A run that takes no steps."""
    return RunSpec(
        model=model_of(suite, suite.models[model]),
        task=task_of(suite, objective),
        method=Component(name="none"),
        seed=seed,
        budget=Budget(forwards=0, batch_size=suite.budget.batch_size),
        evaluation=Evaluation(),
        unlearning=section,
    )
