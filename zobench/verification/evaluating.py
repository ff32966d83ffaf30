"""Evaluation of the rebuilt weights by the verifier: on the run's test examples, which the verifier draws
itself, and on fresh examples by which the run cannot have been selected."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from zobench.data.example import Example
from zobench.runner.results import Measured, Spent
from zobench.runner.rows import demonstrations_of, measure, metric_rows, prediction_rows
from zobench.verification.bindings import BINDINGS
from zobench.verification.report import VerificationReport, listed

if TYPE_CHECKING:
    from zobench.runner.process_cache import ProcessCache
    from zobench.spec import RunSpec


def evaluate(report: VerificationReport, spec: RunSpec, bench: ProcessCache, tolerance: float) -> None:
    """Measure the final state and compare it with the claim.

    If every recomputed loss was bit-identical, the claimed metrics must agree up to ``tolerance``. Otherwise
    an answer near a tie may differ, and a difference of one example is accepted.
    """
    result = measure(spec, bench)
    report.metrics = {name: value.value for name, value in result.values.items()}
    _keep_rows(report, spec, result, bench)
    claimed = claims(report.submission.metrics, spec.task.name)
    bitwise = report.exact == report.steps_checked
    wrong, shown = [], []
    for name, own in result.values.items():
        slack = tolerance * max(1.0, abs(own.value)) + (0.0 if bitwise else 1.0 / max(1, own.n))
        value = claimed.get(name)
        shown.append(f"{name} {own.value:.4f}")
        if value is None or not (abs(value - own.value) <= slack or _both_nan(value, own.value)):
            wrong.append(
                f"{name} is {own.value:.6g}, {'nothing' if value is None else f'{value:.6g}'} claimed"
            )
    wrong += [
        f"{name} is claimed and the task does not measure it" for name in claimed if name not in result.values
    ]
    wrong += _other_rows(report)
    flipped = _other_answers(report.submission.predictions, result)
    if bitwise and report.steps and (other := _other_predictions(report, tolerance)):
        wrong.append(other)
    about = f"{len(result.examples)} rows: {', '.join(shown)}; {flipped} answers differ from those submitted"
    report.add("test metrics", "failed" if wrong else "passed", listed(wrong) if wrong else about)


def _both_nan(a: float, b: float) -> bool:
    return math.isnan(a) and math.isnan(b)


def claims(metrics: list[dict[str, Any]], task: str) -> dict[str, float | None]:
    """The claimed clean metrics of the final state on the run's own task, without lm-eval tasks."""
    rows = [m for m in metrics if m["final"] and m["condition_kind"] == "clean" and m["task"] == task]
    return {m["metric"]: m["value"] for m in rows}


def _keep_rows(report: VerificationReport, spec: RunSpec, result: Measured, bench: ProcessCache) -> None:
    run = report.submission.run
    steps = report.submission.steps
    spent = Spent(report.steps, int(run["forwards"]), int(steps[-1]["tokens"]) if steps else 0, 0.0)
    rows = metric_rows(spec, spent, result, at=spec.budget.forwards, final=True)
    answers = prediction_rows(spec, spent, result, bench.data(spec).task)
    named = {"metrics": rows, "predictions": answers}
    report.rows = {name: [{"run_id": run["run_id"], **r} for r in found] for name, found in named.items()}


def _other_rows(report: VerificationReport) -> list[str]:
    """Differences of the final clean metrics in step, cost, split, size or standard error from the verifier's
    own."""
    found = []
    own = {row["metric"]: row for row in report.rows["metrics"]}
    for row in report.submission.metrics:
        if not row["final"] or row["condition_kind"] != "clean" or row["metric"] not in own:
            continue
        mine = own[row["metric"]]
        if row["task"] != mine["task"]:
            continue
        for column in ("step", "forwards", "tokens", "split", "condition", "strength", "params", "n"):
            if row[column] != mine.get(column):
                found.append(f"{column} of {row['metric']} is {row[column]!r}, {mine.get(column)!r} here")
        if (value := mine.get("stderr")) is None or row["stderr"] is None:
            same = value is row["stderr"]
        else:  # 5 % covers rounding, and one example more or less
            same = math.isclose(value, row["stderr"], rel_tol=0.05, abs_tol=1e-9) or _both_nan(
                value, row["stderr"]
            )
        if not same:
            found.append(f"stderr of {row['metric']} is {row['stderr']!r}, {value!r} here")
    return found


def _other_predictions(report: VerificationReport, tolerance: float) -> str:
    """Message about the first submitted answer that differs from the verifier's own; empty if all agree, or
    none was submitted."""
    told = report.submission.predictions
    own = report.rows["predictions"]
    if told and len(told) != len(own):
        return f"{len(told)} answers are submitted, {len(own)} given here"
    for row, mine in zip(told, own, strict=False):
        for column, value in row.items():
            if BINDINGS["predictions"][column] != "failed":
                continue
            if column == "log_probs" and value is not None and mine[column] is not None:
                same = len(value) == len(mine[column]) and all(
                    abs(a - b) <= tolerance * max(1.0, abs(b)) or a == b
                    for a, b in zip(value, mine[column], strict=True)
                )
            else:
                same = value == mine.get(column)
            if not same:
                return f"{column} of answer {row['example_id']!r} is {value!r}, {mine.get(column)!r} here"
    return ""


def _other_answers(submitted: list[dict[str, Any]], result: Measured) -> int:
    told = {p["example_id"]: p["output"] for p in submitted}
    return sum(told.get(p.example_id, p.output) != p.output for p in result.predictions)


def evaluate_elsewhere(report: VerificationReport, spec: RunSpec, bench: ProcessCache, seed: int) -> None:
    """Metrics on the task's test examples under another data seed.

    Examples on which the run was trained, validated or measured are left out (of a fixed test set, those
    beyond ``evaluation.test_items`` remain). The metrics are reported without a threshold, because other
    examples differ in difficulty."""
    data = bench.data(spec)
    measured = data.splits.test[: spec.evaluation.test_items]
    seen = {_text(e) for e in (*data.splits.train, *data.splits.validation, *measured)}
    drawn = data.task.splits(seed).test
    rows = [e for e in drawn if _text(e) not in seen][: spec.evaluation.test_items]
    if not rows:
        report.add(
            "fresh test rows", "failed", f"data seed {seed} gives no test row that the run has not had"
        )
        return
    predictions = data.task.predict(bench.model(spec.model), rows, demonstrations_of(spec, data))
    values = data.task.metrics(rows, predictions)
    shown = ", ".join(f"{name} {value.value:.4f}" for name, value in values.items())
    report.add(
        "fresh test rows", "passed", f"{len(rows)} of {len(drawn)} rows of data seed {seed} are new: {shown}"
    )


def _text(example: Example) -> tuple[object, ...]:
    return (*sorted(example.text.items()), *example.candidates)
