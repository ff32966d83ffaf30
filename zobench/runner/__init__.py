"""Executes runs (load, train, evaluate, attack, record), and distributes the runs of a plan over executors.

``run_plan(plan, output)`` executes the unfinished runs of a plan; ``run_one`` executes one run in a worker;
``replay(run_dir)`` rebuilds a run's weights from its scalars. Importing this package does not import torch.
"""

from __future__ import annotations

from typing import Any

_LAZY = {
    "Summary": "zobench.runner.scheduler",
    "run_plan": "zobench.runner.scheduler",
    "run_one": "zobench.runner.execute",
    "replay": "zobench.runner.replaying",
    "ReplayReport": "zobench.runner.replaying",
}

__all__ = ["ReplayReport", "Summary", "replay", "run_one", "run_plan"]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_LAZY[name]), name)
