"""Execute a plan of tiny runs, and compare what two of them recorded."""

from __future__ import annotations

from zobench.runner.scheduler import run_plan
from zobench.store.reader import read

PARTS = "runner_fakes:PARTS"


def run(plan, output, **more):
    return run_plan(plan, output, **{"progress": False, "parts": PARTS, **more})


def values(output):
    """(row, seed, condition, metric, at) -> value, of all runs."""
    results = read(output)
    merged = results.metrics.merge(results.runs[["run_id", "row", "seed", "method_params"]], on="run_id")
    keys = ["row", "seed", "method_params", "condition_kind", "metric", "params"]
    assert not merged.duplicated(subset=[*keys]).any()
    return {tuple(r[k] for k in keys): r["value"] for _, r in merged.iterrows()}
