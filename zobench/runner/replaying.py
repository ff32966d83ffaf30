"""Verify a run by rebuilding its weights from the base model and its scalars alone: no forward pass is spent.

For methods whose card says ``replay: scalars`` the recorded losses take the place of the model; the same
steps happen and the digest of the tuned weights must come out equal to the one in the record.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zobench.runner.parts import DEFAULT, load_parts
from zobench.store.reader import read_run
from zobench.suite.parameters import configure
from zobench.suite.spec import RunSpec


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """Attributes:
    run_id, row, method: which run.
    steps: steps replayed.
    recorded, rebuilt: SHA-256 of the tuned weights, as recorded and as rebuilt.
    """

    run_id: str
    row: str
    method: str
    steps: int
    recorded: str
    rebuilt: str

    @property
    def matches(self) -> bool:
        return self.recorded == self.rebuilt

    def __str__(self) -> str:
        verdict = "equal" if self.matches else "DIFFERENT"
        return (
            f"run {self.run_id} ({self.row}): {self.steps} steps of {self.method} replayed from scalars\n"
            f"recorded {self.recorded}\nrebuilt  {self.rebuilt}\n{verdict}"
        )


def replay(run_dir: str | Path, *, parts: str = DEFAULT) -> ReplayReport:
    """Rebuild the weights of the finished run ``run_dir`` (``.../runs/<run_id>``, compacted or not).

    Raises:
        ValueError: no such finished run, another base model than recorded, a method that does not replay from
            scalars, or a step that comes out different from its record.
    """
    from zobench.zo.engine import Engine
    from zobench.zo.trajectory import from_row
    from zobench.zo.trajectory import replay as rebuild

    path = Path(run_dir)
    tables = read_run(path.parent, path.name)
    row: dict[str, Any] = tables["runs"].to_pylist()[0]
    if row["weights_digest"] is None:
        raise ValueError(f"run {path.name} is {row['status']}: it has no final weights to compare with")
    spec = RunSpec.model_validate_json(row["spec"])
    workshop = load_parts(parts)
    method = workshop.method(spec.method.name)
    if method.card.replay != "scalars":
        raise ValueError(f"{spec.method.name} does not replay from scalars but by: {method.card.replay}")
    lm = workshop.load_model(spec.model)
    if lm.identity.digest != row["model_digest"]:
        raise ValueError(
            f"model {spec.model.name!r} is not the one of the run: its weights have another digest"
        )
    records = [from_row(_record(r)) for r in (tables["steps"].to_pylist() if "steps" in tables else [])]
    digest = rebuild(
        records,
        workshop.space(spec.space, lm.module),
        method,
        configure(method.Config, spec.method.params),
        seed=spec.seed,
        engine=Engine(mode=spec.perturbation, noise=spec.noise),
    )
    return ReplayReport(path.name, row["row"], spec.method.name, len(records), row["weights_digest"], digest)


def _record(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the steps table as a step record; its cumulative counts do not matter to a replay."""
    return {
        **row,
        "extras": json.loads(row["extras"]),
        "loss": math.nan if row["loss"] is None else row["loss"],
    }
