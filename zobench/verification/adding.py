"""A verified run among others: the verifier's own numbers under the submitter's row name, so marked."""

from __future__ import annotations

import json
from pathlib import Path

from zobench.store.lock import FolderLock
from zobench.store.paths import run_folder
from zobench.store.reader import finished
from zobench.store.writer import ENVIRONMENT, SPEC, RunFolder
from zobench.verification import claims
from zobench.verification.report import VerificationReport


def add_to_results(report: VerificationReport, folder: str | Path) -> Path:
    """Write the verified run into the results folder ``folder`` and return its run folder.

    Metrics and answers are those the verifier measured; what was not checked (seconds, memory, attacks, the
    curve) is left empty, and forwards spent on tuning stand as claimed. ``note`` says what was checked, and
    the environment holds the whole report.

    Raises:
        ValueError: the submission was not verified, or the folder has the run already.
    """
    if not report.passed:
        raise ValueError("only a submission that passed every check may be added to results")
    claimed, spec = report.submission.run, report.submission.spec
    run_id = claims.declared_id(spec, claimed, report.submission.environment)
    runs = Path(folder) / "runs"
    if runs.is_dir() and finished(runs, run_id) is not None:
        raise ValueError(f"{folder} has run {run_id} already")
    environment = {**report.submission.environment, "verification": report.as_dict()}
    row = {
        **claimed,
        "note": "; ".join(filter(None, (str(claimed["note"] or ""), report.mark()))),
        "spec": spec.model_dump_json(),
        "environment": json.dumps(environment, sort_keys=True),
        **dict.fromkeys(("train_seconds", "evaluation_seconds", "peak_memory_bytes")),
    }
    steps = [{**step, "seconds": None} for step in report.submission.steps]
    target_folder = run_folder(runs, run_id)
    lock = FolderLock.acquire(target_folder)
    if lock is None:
        raise ValueError(f"{folder}: another process is making run {run_id}")
    with lock:
        target = RunFolder(target_folder)
        target.write_json(SPEC, {"row": claimed["row"], "spec": spec.model_dump(mode="json")})
        target.write_json(ENVIRONMENT, environment)
        target.finish(str(claimed["status"]), {"runs": [row], "steps": steps, **_without_seconds(report)})
    return target_folder


def _without_seconds(report: VerificationReport) -> dict[str, list[dict[str, object]]]:
    metrics = [{**row, "seconds": None} for row in report.rows["metrics"]]
    return {**report.rows, "metrics": metrics}
