"""``verify_submission``: the checks in order; a failed check may leave the later ones unchecked."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from zobench.parameters import configure
from zobench.runner.environment import level_note, revision_problem
from zobench.runner.factory import DEFAULT, load_parts
from zobench.runner.process_cache import ProcessCache, refuse_untrusted
from zobench.runner.record import noise_backend
from zobench.runner.replaying import step_record
from zobench.runner.spaces import space_of
from zobench.spec import RunSpec
from zobench.verification import claims
from zobench.verification.auditing import TOLERANCE, Audit, audit
from zobench.verification.evaluating import evaluate, evaluate_elsewhere
from zobench.verification.report import (
    NEVER_CHECKED,
    Demands,
    VerificationReport,
    chance_of_missing,
    listed,
)
from zobench.verification.submission import read_submission

if TYPE_CHECKING:
    from zobench.zo.base import StepRecord
    from zobench.zo.space import ParameterSpace


@dataclass(slots=True)
class _Bench:
    """The verifier's own specification (which may load the model from elsewhere), model and data."""

    report: VerificationReport
    demands: Demands
    spec: RunSpec
    bench: ProcessCache
    records: list[StepRecord]

    @property
    def tolerance(self) -> float:
        given = self.demands.tolerance
        return TOLERANCE[self.spec.model.dtype] if given is None else given


def verify_submission(
    path: str | Path, demands: Demands | None = None, *, parts: str = DEFAULT
) -> VerificationReport:
    """Check a submission file.

    Cost: the forward passes of the recomputed steps, one update of the weights per step, and one evaluation.

    Raises:
        ValueError: the file is not a submission of this version, it requires code from the model's
            repository or of a reward that is not trusted, or its model, task or method is not installed here.
    """
    demands = demands or Demands()
    submission = read_submission(path)
    with _named(path):
        spec = _own_spec(submission.spec, demands)
        refuse_untrusted(spec, own_code=demands.trust_code)
    report = VerificationReport(submission, steps=len(submission.steps))
    records = _records(submission.steps, path)
    bench = ProcessCache(load_parts(parts), own_code=demands.trust_code)
    work = _Bench(report, demands, spec, bench, records)
    with _threads(submission.environment.get("threads")):
        with _named(path):
            agrees = _identity(work) and _sources(work)
        if agrees:
            _weights(work)
    made = {f.check for f in report.findings}
    for check in ("trajectory", "size", "losses", "end of training", "weights", "test metrics"):
        if check not in made:
            report.add(check, "not checked", "a check before it failed")
    for check, reason in NEVER_CHECKED:
        report.add(check, "not checked", reason)
    return report


@contextlib.contextmanager
def _named(path: str | Path) -> Iterator[None]:
    """Name the file where its model, task or method is refused."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _records(rows: Sequence[dict[str, Any]], path: str | Path) -> list[StepRecord]:
    """The steps; ``ValueError`` names the first that is not one: a null where a list belongs, say."""
    found = []
    for number, row in enumerate(rows):
        try:
            found.append(step_record(row))
        except (TypeError, ValueError, KeyError, AttributeError, RecursionError) as error:
            told = f"{type(error).__name__}: {str(error)[:200]}"
            raise ValueError(f"{path}: line {number + 1} of the steps is not a step ({told})") from error
    return found


def _own_spec(spec: RunSpec, demands: Demands) -> RunSpec:
    model = spec.model
    if demands.model is not None:
        changes = {"name": demands.model, "revision": None, "trust_remote_code": False}
        model = model.model_copy(update=changes)
    if demands.device is not None:
        model = model.model_copy(update={"device": demands.device})
    if model.trust_remote_code:
        raise ValueError(
            f"the submission requires running code from {spec.model.name!r}; inspect the code, download the "
            "model to a folder yourself and name the folder with --model"
        )
    return spec.model_copy(update={"model": model})


@contextlib.contextmanager
def _threads(recorded: object) -> Iterator[None]:
    """Use as many threads as the run did, because sums are split by thread and round accordingly."""
    before = torch.get_num_threads()
    if isinstance(recorded, int) and 0 < recorded <= 1024:
        torch.set_num_threads(recorded)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _identity(work: _Bench) -> bool:
    found = list(claims.contradictions(work.report.submission))
    card = work.bench.parts.method(work.spec.method.name).card
    if problem := revision_problem(work.report.submission.environment, card.name, card.revision):
        found.append(problem)
    detail = listed(found) if found else "run id, specification and row agree"
    return work.report.add("identity", "failed" if found else "passed", detail)


def _sources(work: _Bench) -> bool:
    """Compare base model, data and facts with the verifier's own."""
    run, report = work.report.submission.run, work.report
    model, data = work.bench.model(work.spec.model).identity, work.bench.data(work.spec)
    same = [
        _digest(report, "base model", model.digest, run["model_digest"]),
        _digest(report, "data", data.digest, run["data_digest"]),
        _facts(work),
    ]
    return all(same)


def _facts(work: _Bench) -> bool:
    """Compare the row's data about model, task and method with the verifier's own."""
    parameters = work.bench.model(work.spec.model).identity.parameters
    about = work.bench.about(work.spec)
    card = work.bench.parts.method(work.spec.method.name).card
    return claims.measured_here(work.report, parameters, about, card)


def _digest(report: VerificationReport, check: str, own: str, declared: object, note: str = "") -> bool:
    told = "as declared" if own == declared else f"{str(declared)[:16]}… declared" + (note and f"; {note}")
    return report.add(check, "passed" if own == declared else "failed", f"{own[:16]}… here, {told}")


def _weights(work: _Bench) -> None:
    """All checks that need the rebuilt weights."""
    spec, report = work.spec, work.report
    lm = work.bench.model(spec.model)
    if spec.perturbation != "offload":
        work.bench.remember(spec.model)
    space = space_of(spec, lm, work.bench.parts)
    try:
        if not _trajectory(work, space):
            return
        note = level_note(report.submission.environment, spec)
        _digest(report, "weights", space.digest(), report.submission.run["weights_digest"], note)
        evaluate(report, spec, work.bench, work.tolerance)
        if work.demands.test_seed is not None:
            evaluate_elsewhere(report, spec, work.bench, work.demands.test_seed)
    finally:
        space.remove()
        work.bench.put_back(spec.model)


def _trajectory(work: _Bench, space: ParameterSpace) -> bool:
    spec, report, records = work.spec, work.report, work.records
    chosen = drawn(len(records), work.demands)
    try:
        rows, declared = report.submission.steps, report.submission.run.get("artifacts_digest")
        found = audit(spec, work.bench, space, records, rows, chosen, work.tolerance, declared)
    except ValueError as error:
        return report.add("trajectory", "failed", str(error))
    detail = f"{len(records)} steps: seeds, coefficients, step sizes and counts follow the method's rule"
    report.add("trajectory", "passed", detail)
    report.steps_checked, report.exact = found.checked, found.exact
    report.noise_backend = noise_backend(spec.noise, space)
    spent = {"sequences": found.sequences, "tokens": found.tokens}
    mode = spec.perturbation if found.perturbation is None else found.perturbation
    claims.compared(report, "size", {"tuned_parameters": space.numel, "perturbation": mode, **spent})
    _losses(work, found)
    method = work.bench.parts.method(spec.method.name)
    cost = method.cost(configure(method.Config, spec.method.params))
    wrong = list(claims.wrong_end(report.submission, records, found.forwards, cost))
    said = (
        listed(wrong) if wrong else f"{found.forwards} of {spec.budget.forwards} forwards, status as earned"
    )
    report.add("end of training", "failed" if wrong else "passed", said)
    return True


def _losses(work: _Bench, found: Audit) -> None:
    total = len(work.records)
    if found.wrong:
        work.report.add("losses", "failed", listed(found.wrong))
        return
    if total and not found.checked:
        work.report.add("losses", "not checked", "no steps were requested")
        return
    missed = chance_of_missing(total, found.checked)
    detail = (
        f"recomputed at {found.checked} of {total} steps, {found.exact} equal to the bit; "
        f"largest relative difference {found.worst:.2g}, of a coefficient {found.slope_error:.2g} of their "
        f"root mean square; a forged tenth of the steps would be missed with probability {missed:.2g}"
    )
    work.report.add("losses", "passed", detail)


def drawn(steps: int, demands: Demands) -> frozenset[int]:
    """Positions to recompute: all, or as many as requested, drawn without replacement."""
    if demands.steps is None or demands.steps >= steps:
        return frozenset(range(steps))
    source = random.SystemRandom() if demands.draw_seed is None else random.Random(demands.draw_seed)
    return frozenset(source.sample(range(steps), demands.steps))
