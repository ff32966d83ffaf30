"""Whether rows keep their order from a small board to the real language model, as Kendall's rank correlation.

Small boards are committed results: ``fewshot.parquet`` (the built-in model of 0.9 million parameters) and
``fewshot-real.parquet`` (the head of a sentence encoder). Rows are matched by name; a row that only one side
has does not count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from scipy.stats import kendalltau

from zobench.studies import committed, markdown

PAIRS = (
    ("sst2", "fewshot", "nano-sentiment"),
    ("trec", "fewshot", "nano-topic"),
    ("sst2", "fewshot-real", "sst2"),
)
"""Task of the real model, file of the small board, and its task: of one kind each (sentiment, kind of topic
or question)."""
RESAMPLED, SEED = 2000, 0
SeedValues = Mapping[str, np.ndarray]


def small(name: str, task: str) -> dict[str, np.ndarray]:
    """Final clean test accuracies of every row, one per seed."""
    found = committed.read(name)
    found = found[found["task"] == task]
    if "condition_kind" in found:
        found = found[found["condition_kind"] == "clean"].rename(columns={"value": "accuracy"})
    else:  # points along training: the last of each seed is the result
        found = found.sort_values("forwards").groupby(["row", "seed"], as_index=False).last()
    return {str(row): mine["accuracy"].to_numpy(float) for row, mine in found.groupby("row")}


def tau(ours: SeedValues, theirs: SeedValues) -> float:
    """Kendall's tau-b of the mean accuracies of the rows in both; nan if either side has one value only."""
    rows = sorted(set(ours) & set(theirs))
    return float(kendalltau([ours[r].mean() for r in rows], [theirs[r].mean() for r in rows]).statistic)


def interval(ours: SeedValues, theirs: SeedValues) -> tuple[float, float]:
    """2.5 and 97.5 percentiles of tau over rows whose seeds are drawn again with replacement."""
    rng = np.random.default_rng(SEED)
    rows = sorted(set(ours) & set(theirs))

    def again(side: SeedValues) -> dict[str, np.ndarray]:
        return {r: rng.choice(side[r], len(side[r])) for r in rows}

    low, high = np.nanpercentile([tau(again(ours), again(theirs)) for _ in range(RESAMPLED)], [2.5, 97.5])
    return float(low), float(high)


def p_value(ours: SeedValues, theirs: SeedValues) -> float:
    """Two-sided p of tau = 0 over the rows (exact without ties)."""
    rows = sorted(set(ours) & set(theirs))
    return float(kendalltau([ours[r].mean() for r in rows], [theirs[r].mean() for r in rows]).pvalue)


def compared(real: pd.DataFrame) -> list[str]:
    """Lines of the table; ``real`` has the columns row, task and value, one line per finished result."""
    header = ["real task", "small board", "rows in both", "tau", "over seeds", "p"]
    return markdown.table(header, _lines(real))


def _lines(real: pd.DataFrame) -> Iterator[list[str]]:
    for task, name, other in PAIRS:
        groups = real[real["task"] == task].groupby("row")["value"]
        ours = {str(row): values.to_numpy(float) for row, values in groups}
        theirs = small(name, other)
        rows = sorted(set(ours) & set(theirs))
        low, high = interval(ours, theirs)
        yield [
            task,
            f"`{name}`, {other}",
            f"{len(rows)}: {', '.join(rows)}",
            f"{tau(ours, theirs):.2f}",
            f"[{low:.2f}, {high:.2f}]",
            markdown.p_value(p_value(ours, theirs), 2),
        ]
