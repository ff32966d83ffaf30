"""Adding a verified run to results: the verifier's own numbers under the submitter's row name, marked as
verified."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import zobench
from zobench.runner.environment import environment_record
from zobench.store.lock import FolderLock
from zobench.store.paths import run_folder
from zobench.store.reader import finished
from zobench.store.schema import SCHEMA_VERSION
from zobench.store.writer import ENVIRONMENT, SPEC, RunFolder
from zobench.verification import claims
from zobench.verification.bindings import BINDINGS, LEFT_OUT
from zobench.verification.report import VerificationReport


def add_to_results(report: VerificationReport, folder: str | Path) -> Path:
    """Write the verified run into the results folder ``folder`` and return its run folder.

    Metrics, answers, versions and environment are the verifier's own. Values that were not checked are left
    empty or named as claimed in ``note`` (:mod:`zobench.verification.bindings`). The environment contains the
    whole report and, under ``claimed``, the submitter's environment and the values left out.

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
    environment = _environment(report)
    row = {
        **{k: v for k, v in claimed.items() if k not in LEFT_OUT},
        **{c: environment[c] for c in ("git_commit", "git_dirty")},
        "zobench_version": zobench.__version__,
        "schema_version": SCHEMA_VERSION,
        "noise_backend": report.noise_backend,
        "group": "method",
        "note": "; ".join(filter(None, (str(claimed["note"] or ""), report.mark()))),
        "spec": spec.model_dump_json(),
        "environment": json.dumps(environment, sort_keys=True),
    }
    unchecked = dict.fromkeys(name for name, how in BINDINGS["steps"].items() if how == "left out")
    steps = [{**step, **unchecked} for step in report.submission.steps]
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


def _environment(report: VerificationReport) -> dict[str, Any]:
    """The verifier's environment, with the revisions of the run's identity and the submitter's claims."""
    claimed = report.submission.environment
    left_out = {name: report.submission.run[name] for name in LEFT_OUT}
    return {
        **environment_record(report.submission.spec.model.device),
        "digests": claimed.get("digests", {}),
        "verification": report.as_dict(),
        "claimed": {"environment": claimed, "row": left_out},
    }


def _without_seconds(report: VerificationReport) -> dict[str, list[dict[str, object]]]:
    metrics = [{**row, "seconds": None} for row in report.rows["metrics"]]
    return {**report.rows, "metrics": metrics}
