"""The replay of a submission, with losses recomputed at chosen steps.

Every step is replayed from its recorded losses, which checks that seeds, coefficients, step sizes and counts
follow the method's rule from the first step to the last. At a chosen step a second optimizer takes the same
state and the declared minibatch, and evaluates the model itself; then the weights are restored and the
recorded step is replayed as well. Losses on another machine differ in their last bits; replaying the record
keeps the weights on the recorded trajectory.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from zobench.runner.losses import objective_of
from zobench.runner.method_data import RunMethodData
from zobench.store.artifacts import artifacts_digest
from zobench.zo.method import Method
from zobench.zo.objective import Meter
from zobench.zo.trajectory import Replayer

if TYPE_CHECKING:
    from zobench.runner.process_cache import ProcessCache
    from zobench.spec import RunSpec
    from zobench.zo.base import Optimizer, StepRecord
    from zobench.zo.space import ParameterSpace

TOLERANCE = {"float32": 1e-5, "float16": 5e-3, "bfloat16": 2e-2}
"""Largest accepted relative difference of a recomputed loss, by dtype of the weights: some tens of rounding
units (a few for bfloat16), for another order of summation on another machine. Chosen, not measured."""


@dataclass(slots=True)
class Audit:
    """Attributes:
    checked: number of recomputed steps.
    exact: number of those with bit-identical losses (and derivatives).
    worst: largest relative difference of a loss.
    slope_error: largest difference of a coefficient, divided by the root mean square of the recorded ones.
    wrong: error messages about single steps.
    forwards, sequences, tokens: training cost of all steps by the method's rule on the declared minibatches.
    perturbation: the mode of the perturbation engine.
    """

    checked: int = 0
    exact: int = 0
    worst: float = 0.0
    slope_error: float = 0.0
    wrong: list[str] = field(default_factory=list)
    forwards: int = 0
    sequences: int = 0
    tokens: int = 0
    perturbation: str | None = None


def audit(
    spec: RunSpec,
    bench: ProcessCache,
    space: ParameterSpace,
    records: Sequence[StepRecord],
    rows: Sequence[dict[str, Any]],
    chosen: frozenset[int],
    tolerance: float,
    artifacts: str | None = None,
) -> Audit:
    """Replay all ``records`` and recompute those at the positions ``chosen``; the space ends at the run's
    final weights.

    ``artifacts`` is the declared digest of what the method computed before its first step; it is recomputed.

    Raises:
        ValueError: the artifacts differ, or a step or its number of forward passes does not follow from its
            losses by the method's rule.
    """
    found = Audit()
    optimizer = bench.parts.optimizer(spec, space)
    started = start(spec, bench, optimizer, artifacts) if records else Meter()
    replayer = Replayer(optimizer)
    meter = replayer.meter
    meter.forwards, meter.sequences, meter.tokens = started.forwards, started.sequences, started.tokens
    if isinstance(optimizer, Method):
        found.perturbation = optimizer.engine.mode
    scale = _scale(records)
    for position, record in enumerate(records):
        if position in chosen:
            own = recompute(spec, bench, space, replayer.optimizer, position)
            before = rows[position - 1]["tokens"] if position else started.tokens
            tokens = rows[position]["tokens"] - before
            _compare(found, record, own, tokens, tolerance, scale)
        batch = bench.minibatch(spec, position)
        again = replayer.follow(record, sequences=batch.sequences, tokens=batch.tokens)
        _same_words(record, again)
        for name, spent in (("forwards", meter.forwards), ("tokens", meter.tokens)):
            if rows[position][name] != spent:
                raise ValueError(
                    f"step {position}: {rows[position][name]} {name} are recorded, {spent} were spent"
                )
    optimizer.settle()
    found.forwards, found.sequences, found.tokens = meter.forwards, meter.sequences, meter.tokens
    return found


def start(spec: RunSpec, bench: ProcessCache, optimizer: Optimizer, declared: str | None) -> Meter:
    """Supply and prepare the optimizer as the runner does; returns the meter with its cost."""
    objective = objective_of(spec, bench)
    optimizer.supply(RunMethodData(spec, bench))
    optimizer.prepare(objective)
    artifacts = optimizer.artifacts() if isinstance(optimizer, Method) else {}
    own = artifacts_digest(artifacts) if artifacts else None
    if own != declared:
        raise ValueError(
            f"before step 0: artifacts (masks, bases, anchors) of digest {own} here, {declared} declared"
        )
    return objective.meter


def recompute(
    spec: RunSpec, bench: ProcessCache, space: ParameterSpace, optimizer: Optimizer, position: int
) -> StepRecord:
    """The step computed with the model from this state on the declared minibatch.

    Weights and optimizer are left unchanged. Cost: the forward passes of one step."""
    before = space.snapshot()
    twin = bench.parts.optimizer(spec, space)
    twin.supply(RunMethodData(spec, bench))
    twin.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    objective = objective_of(spec, bench)
    batch = bench.minibatch(spec, position)
    objective.set_batch(batch, sequences=batch.sequences, tokens=batch.tokens)
    try:
        return twin.step(objective)
    finally:
        space.restore(before)


def _compare(
    found: Audit, record: StepRecord, own: StepRecord, tokens: int, tolerance: float, scale: float
) -> None:
    found.checked += 1
    if len(own.losses) != len(record.losses):
        found.wrong.append(
            f"step {record.step}: {len(record.losses)} losses recorded, {len(own.losses)} recomputed"
        )
        return
    recorded, recomputed = answers(record), answers(own)
    differences = {name: _difference(recorded.get(name, math.nan), v) for name, v in recomputed.items()}
    name = max(differences, key=lambda n: differences[n], default="")
    worst = differences.get(name, 0.0)
    found.worst = max(found.worst, worst)
    found.exact += worst == 0.0
    if worst > tolerance:
        old = recorded.get(name, math.nan)
        found.wrong.append(
            f"step {record.step}: {name} {old:.9g} recorded, {recomputed[name]:.9g} recomputed"
        )
    if tokens != own.tokens:
        found.wrong.append(f"step {record.step}: {tokens} tokens recorded, {own.tokens} in the minibatch")
    if scale > 0.0 and len(own.coefficients) == len(record.coefficients):
        pairs = zip(record.coefficients, own.coefficients, strict=True)
        errors = [abs(a - b) / scale for a, b in pairs if math.isfinite(a) and math.isfinite(b)]
        found.slope_error = max([found.slope_error, *errors])


def answers(record: StepRecord) -> dict[str, float]:
    """All values that the model computed in a step: losses, and derivatives in forward mode."""
    slopes = {name: value for name, value in record.extras.items() if name.startswith("derivative_")}
    return {**{f"loss {i}": value for i, value in enumerate(record.losses)}, **slopes}


def _difference(recorded: float, own: float) -> float:
    """Difference relative to the larger of 1 and the loss; 0 if both are the same non-finite value, infinite
    if only one is finite."""
    if recorded == own or (math.isnan(recorded) and math.isnan(own)):
        return 0.0
    if not (math.isfinite(recorded) and math.isfinite(own)):
        return math.inf
    return abs(recorded - own) / max(1.0, abs(own))


def _scale(records: Sequence[StepRecord]) -> float:
    values = [c for r in records for c in r.coefficients if math.isfinite(c)]
    return math.sqrt(math.fsum(c * c for c in values) / len(values)) if values else 0.0


def _same_words(record: StepRecord, again: StepRecord) -> None:
    """Compare values that are shown but not needed for the replay: the plotted loss, the reason of a refused
    step, and the extras."""
    same = record.loss == again.loss or (math.isnan(record.loss) and not math.isfinite(again.loss))
    if not same or record.reason != again.reason:
        raise ValueError(
            f"step {record.step}: loss {record.loss!r} ({record.reason or 'moved'}) is recorded, its losses "
            f"give {again.loss!r} ({again.reason or 'moved'})"
        )
    for name in sorted({*record.extras, *again.extras} - {"loss_bits"}):
        old, new = record.extras.get(name), again.extras.get(name)
        if old != new and not (old is not None and new is not None and math.isnan(old) and math.isnan(new)):
            raise ValueError(f"step {record.step}: {name} {old!r} is recorded, its losses give {new!r}")
