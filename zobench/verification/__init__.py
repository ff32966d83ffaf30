"""Leaderboards that do not have to trust their submitters: a run as one file, and its verification.

``write_submission(results, run_id, file)`` writes the file. ``verify_submission(file)`` replays the run from
its scalars and specification, recomputes losses on the declared minibatches, evaluates the resulting weights
and reports what was checked. ``add_to_results(report, folder)`` adds the run, marked as verified, to a
results folder. The scalars alone prove only that they lead to the weights; the recomputed losses prove that
they come from the data.
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
