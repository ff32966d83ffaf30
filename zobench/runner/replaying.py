"""Verifies a run by rebuilding its weights from the base model and its recorded scalars, without forward
passes.

For methods that can be replayed from scalars, the recorded losses replace the evaluations of the model. The
same steps are taken, and the digest of the trained weights must equal the recorded one. A replay *to* a step
still replays the whole run, so that the digest covers every step, and then restores the weights of that step.

Methods whose card says ``scalars+artifacts`` additionally load the artifacts of the run, which are found by
their digest in the results folder.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zobench.names import json_value
from zobench.runner.environment import level_note, plugin_note, revision_problem
from zobench.runner.factory import DEFAULT, Factory, load_parts
from zobench.runner.spaces import space_of
from zobench.spec import ModelRef, RunSpec
from zobench.store.artifacts import read_artifacts
from zobench.store.reader import read_run, runs_folder
from zobench.zo.method import Method

if TYPE_CHECKING:
    import torch

    from zobench.models.base import LanguageModel
    from zobench.zo.base import Optimizer, StepRecord
    from zobench.zo.space.base import ParameterSpace


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """Attributes:
    run_id, row, method: the run.
    steps: number of steps replayed.
    recorded, rebuilt: SHA-256 of the trained weights after the last step, as recorded and as rebuilt.
    at: the step whose weights were requested; equals ``steps`` unless ``to`` was given.
    digest: SHA-256 of the trained weights at that step.
    exported: description of the exported files; empty without an export.
    note: why the digests may differ although nothing was changed; empty if they should not.
    plugins: how the code of installed plugins differs from the run's; empty if it does not.
    """

    run_id: str
    row: str
    method: str
    steps: int
    recorded: str
    rebuilt: str
    at: int
    digest: str
    exported: str = ""
    note: str = ""
    plugins: str = ""

    @property
    def matches(self) -> bool:
        return self.recorded == self.rebuilt

    def __str__(self) -> str:
        lines = [
            f"run {self.run_id} ({self.row}): {self.steps} steps of {self.method} replayed from scalars",
            f"recorded {self.recorded}",
            f"rebuilt  {self.rebuilt}",
            "equal" if self.matches else "DIFFERENT" + (f" ({self.note})" if self.note else ""),
        ]
        if self.plugins:
            lines.append(self.plugins)
        if self.at != self.steps:
            lines.append(f"step {self.at}: {self.digest}")
        return "\n".join([*lines, *([self.exported] if self.exported else [])])


def replay(
    run_dir: str | Path,
    *,
    to: int | None = None,
    export: str | Path | None = None,
    trust_code: bool = False,
    parts: str = DEFAULT,
) -> ReplayReport:
    """Rebuild the weights of the finished run ``run_dir`` (``.../runs/<run_id>``, compacted or not).

    Args:
        to: number of steps after which the weights are returned; default: all; 0: the starting weights.
        export: target of the exported model (see :func:`zobench.runner.exporting.export`); nothing is
            written if the digest does not match.
        trust_code: allow running the Python code of the base model's repository, if the run did. The record
            of the run cannot give this permission, because it may come from somebody else.

    Raises:
        ValueError: there is no such finished run; the model needs code that is not trusted; the base model
            differs from the recorded one; the method cannot be replayed from scalars; a step differs from
            its record; ``to`` is beyond the last step.
    """
    path = Path(run_dir)
    tables = {name: t.to_pylist() for name, t in read_run(path.parent, path.name).items()}
    row: dict[str, Any] = tables["runs"][0]
    if row["weights_digest"] is None:
        raise ValueError(f"run {path.name} is {row['status']}: it has no final weights to compare with")
    spec = RunSpec.model_validate_json(row["spec"])
    records = [step_record(r) for r in tables.get("steps", [])]
    at = len(records) if to is None else to
    if not 0 <= at <= len(records):
        raise ValueError(f"run {path.name} has {len(records)} steps: it cannot be replayed to step {at}")
    workshop, environment = load_parts(parts), json_value(row["environment"] or "{}")
    lm = _base_model(workshop, spec, row, _trusted(spec.model, path, trust_code))
    space = space_of(spec, lm, workshop)
    try:
        optimizer = workshop.optimizer(spec, space)
        if isinstance(optimizer, Method) and row["artifacts_digest"]:
            optimizer.load_artifacts(read_artifacts(runs_folder(path.parent), row["artifacts_digest"]))
        kept = _follow(optimizer, records, at)
        rebuilt = space.digest()
        space.restore(kept)
        digest, exported = space.digest(), ""
        if export is not None and rebuilt == row["weights_digest"]:
            exported = _exported(Path(export), lm, space, (path.name, row["row"], spec, at, digest))
    finally:
        space.remove()
    return ReplayReport(
        path.name,
        row["row"],
        spec.method.name,
        len(records),
        row["weights_digest"],
        rebuilt,
        at,
        digest,
        exported,
        level_note(environment, spec),
        plugin_note(environment, spec),
    )


def _exported(
    target: Path, lm: LanguageModel, space: ParameterSpace, origin: tuple[str, str, RunSpec, int, str]
) -> str:
    from zobench.runner.exporting import Origin, export

    return export(target, lm, space, Origin(*origin))


def _base_model(workshop: Factory, spec: RunSpec, row: dict[str, Any], ref: ModelRef) -> LanguageModel:
    """The model that the run started from; ``ValueError`` if the available model or the method's revision
    differs."""
    card = workshop.method(spec.method.name).card
    if problem := revision_problem(json_value(row["environment"] or "{}"), card.name, card.revision):
        raise ValueError(f"run {row['run_id']} cannot be replayed: {problem}")
    lm = workshop.load_model(ref)
    if lm.identity.digest != row["model_digest"]:
        raise ValueError(f"model {spec.model.name!r} differs from the run's: its weights have another digest")
    return lm


def _trusted(model: ModelRef, run: Path, trust_code: bool) -> ModelRef:
    """The model reference, if it may be loaded; ``ValueError`` if it needs code that is not trusted."""
    if model.trust_remote_code and not trust_code:
        raise ValueError(
            f"run {run.name} in {run.parent} needs to execute Python code of model {model.name!r} on this "
            "machine; inspect that code, then replay with --trust-code"
        )
    return model


def _follow(optimizer: Optimizer, records: Sequence[StepRecord], at: int) -> dict[str, torch.Tensor]:
    """Replay every step; return the trained values after ``at`` steps."""
    from zobench.zo.trajectory import Replayer

    replayer = Replayer(optimizer)
    kept = optimizer.space.snapshot()
    for number, record in enumerate(records, start=1):
        replayer.follow(record)
        if number == at:
            with optimizer.settled():
                kept = optimizer.space.snapshot()
    optimizer.settle()
    return kept


def step_record(row: dict[str, Any]) -> StepRecord:
    """A record of the steps table as ``StepRecord``; a replay does not use its cumulative counts."""
    from zobench.zo.trajectory import from_row

    return from_row(
        {
            **row,
            "extras": json_value(row["extras"]),
            "loss": math.nan if row["loss"] is None else row["loss"],
        }
    )
