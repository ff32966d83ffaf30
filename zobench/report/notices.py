"""Sentences of the page about results that a reader would otherwise take for more alike than they are."""

from __future__ import annotations

from zobench.report.source import Source


def ties(source: Source) -> tuple[str, ...]:
    """Rows whose final test predictions had several best options, with how many."""
    finals = source.finals
    clean = (
        (finals["split"] == "test") & (finals["condition_kind"] == "clean") & (finals["purpose"] != "tuning")
    )
    tied = finals[clean & (finals["metric"] == "ties")].groupby("row")[["value", "n"]].sum()
    tied = tied[tied["value"] > 0]
    if tied.empty:
        return ()
    listed = ", ".join(f"{int(v):,} of {int(n):,} ({row})" for row, v, n in tied.itertuples())
    return (
        f"Test predictions whose best options tie: {listed}. Among tied options the answer is drawn by the "
        "example's identity, the same for every row.",
    )
