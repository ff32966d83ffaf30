"""Verify a run by rebuilding its weights from the base model and its scalars alone: no forward pass is spent.

For methods that replay from scalars the recorded losses take the place of the model; the same steps happen
and the digest of the tuned weights must come out equal to the one in the record. A replay *to* a step still
replays the whole run, so that the digest covers every step, and then restores the weights of that step.

Methods whose card says ``scalars+artifacts`` start with the artifacts of the run, found by their digest among
the results.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zobench.runner.environment import level_note, plugin_note, revision_problem
from zobench.runner.factory import DEFAULT, Factory, load_parts
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
    run_id, row, method: which run.
    steps: steps replayed.
    recorded, rebuilt: SHA-256 of the tuned weights after the last step, as recorded and as rebuilt.
    at: steps taken by the weights that were asked for; ``steps`` unless a replay to a step was.
    digest: SHA-256 of the tuned weights at that step.
    exported: what was written where; empty without an export.
    note: why the digests may differ although nothing was changed; empty if they may not.
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
        to: number of steps after which to stand; the whole run by default, 0 for the starting weights.
        export: where to write the model (see :func:`zobench.runner.exporting.export`); nothing is written
            where the digest does not match.
        trust_code: run the Python code of the base model's repository, where the run did. Trust is given by
            whoever replays: the record of a run, which may be a stranger's, cannot give it.

    Raises:
        ValueError: no such finished run, a model that brings code and no trust in it, another base model
            than recorded, a method that does not replay from scalars, a step that comes out different from
            its record, a step beyond the run.
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
    workshop, environment = load_parts(parts), json.loads(row["environment"] or "{}")
    lm = _base_model(workshop, spec, row, _trusted(spec.model, path, trust_code))
    space = workshop.space(spec.space, lm.module)
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
    """The model that the run started from; ``ValueError`` if that is another one here, or the method has
    another revision."""
    card = workshop.method(spec.method.name).card
    if problem := revision_problem(json.loads(row["environment"] or "{}"), card.name, card.revision):
        raise ValueError(f"run {row['run_id']} cannot be replayed: {problem}")
    lm = workshop.load_model(ref)
    if lm.identity.digest != row["model_digest"]:
        raise ValueError(
            f"model {spec.model.name!r} is not the one of the run: its weights have another digest"
        )
    return lm


def _trusted(model: ModelRef, run: Path, trust_code: bool) -> ModelRef:
    """The model as it may be loaded here."""
    if model.trust_remote_code and not trust_code:
        raise ValueError(
            f"run {run.name} in {run.parent} wants the Python code of model {model.name!r} to be run on this "
            "machine; look at that code, then replay with --trust-code"
        )
    return model


def _follow(optimizer: Optimizer, records: Sequence[StepRecord], at: int) -> dict[str, torch.Tensor]:
    """Take every step; the tuned values after ``at`` of them."""
    from zobench.zo.trajectory import Replayer

    replayer = Replayer(optimizer)
    kept = optimizer.space.snapshot()
    for number, record in enumerate(records, start=1):
        replayer.follow(record)
        if number == at:
            kept = optimizer.space.snapshot()
    return kept


def step_record(row: dict[str, Any]) -> StepRecord:
    """A row of the steps table as a step record; its cumulative counts do not matter to a replay."""
    from zobench.zo.trajectory import from_row

    return from_row(
        {
            **row,
            "extras": json.loads(row["extras"]),
            "loss": math.nan if row["loss"] is None else row["loss"],
        }
    )
