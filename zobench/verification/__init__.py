"""Leaderboards that need not trust their submitters: a run as one file, and what checks it.

``write_submission(results, run_id, file)`` makes the file, ``verify_submission(file)`` replays the run from
its scalars and specification, recomputes losses on the declared minibatches, evaluates the resulting weights
and says what was checked; ``add_to_results(report, folder)`` puts the run, so marked, among others. Scalars
alone would only prove that scalars give weights; the recomputed losses show that they came from the data.
"""

from __future__ import annotations

from typing import Any

_LAZY = {
    "Demands": "zobench.verification.report",
    "VerificationReport": "zobench.verification.report",
    "Submission": "zobench.verification.submission",
    "add_to_results": "zobench.verification.adding",
    "read_submission": "zobench.verification.submission",
    "verify_submission": "zobench.verification.verify",
    "write_submission": "zobench.verification.submission",
}

__all__ = [
    "Demands",
    "Submission",
    "VerificationReport",
    "add_to_results",
    "read_submission",
    "verify_submission",
    "write_submission",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_LAZY[name]), name)
