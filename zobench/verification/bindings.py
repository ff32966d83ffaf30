"""The treatment of each column of a submission: what happens if a submitter changes its value.

``failed``: the column follows from the specification, is covered by a digest, or is recomputed and compared,
so a changed value fails a check. ``own``: not compared; results contain the verifier's own value instead.
``left out``: a claim that is not checked and not copied into results. ``marked``: a claim that is copied and
named in the note of the leaderboard entry. docs/verification.md has the same table.
"""

from __future__ import annotations

from typing import Literal

from zobench.store.schema import TABLES

Binding = Literal["failed", "own", "left out", "marked"]


def _bound(table: str, **columns: str) -> dict[str, Binding]:
    """The treatment of every column of the table: as given in ``columns``, ``failed`` for all others."""
    names = TABLES[table].names
    kinds: dict[str, Binding] = dict.fromkeys(names, "failed")
    for kind, listed in columns.items():
        for column in listed.split():
            assert column in kinds, f"{table} has no column {column}"
            kinds[column] = kind.replace("_", " ")  # type: ignore[assignment]
    return kinds


BINDINGS: dict[str, dict[str, Binding]] = {
    "runs": _bound(
        "runs",
        own="noise_backend git_commit git_dirty zobench_version schema_version environment",
        left_out="suite group error evaluation_forwards train_seconds evaluation_seconds peak_memory_bytes "
        "resumed started_utc finished_utc diagnostic_forwards warnings attack_cards generated_tokens "
        "judge_tokens failed_scores",
        marked="row note tuning_forwards",
    ),
    "steps": _bound("steps", left_out="seconds generated_tokens judge_tokens failed_scores"),
    "metrics": _bound("metrics", left_out="seconds generated_tokens"),
    "predictions": _bound("predictions", own="prompt gold_text"),
}
"""By table and column. For ``metrics`` it applies to the final clean test metrics of the run's own task; all
other lines of that table are left out."""

LEFT_OUT = tuple(name for name, how in BINDINGS["runs"].items() if how == "left out")
MARKED = tuple(name for name, how in BINDINGS["runs"].items() if how == "marked")


def unchecked() -> str:
    """The run's columns that no check covers, for the report."""
    names = [name for name, how in BINDINGS["runs"].items() if how != "failed"]
    rest = "its environment; seconds of its steps and metrics; prompt and gold_text of its answers"
    return f"{', '.join(names)} of the run; {rest}"
