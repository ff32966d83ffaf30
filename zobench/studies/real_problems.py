"""Word problems of the real language model under attack: paired comparisons over the same problems.

Each line compares the answers to the problems that the model solved before any attack: how many stay right
under the attack and under the attack's random baseline, how many are right under one of the two alone, and
the exact McNemar p-value (:func:`zobench.metrics.paired.mcnemar`), which concerns this one model. Correction
by Holm over all lines.
"""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
import pyarrow.parquet as pq

from zobench.metrics.paired import holm, mcnemar
from zobench.store.paths import COMPACT
from zobench.studies import committed, markdown

Case = tuple[str, str]
"""Name of the attack in the suite, and ``attack`` or ``null`` (its random baseline)."""
PAIR: tuple[Case, Case] = (("paired-number", "attack"), ("paired-no-number", "attack"))
"""The same sentences at the same places, with and without a number."""
COLUMNS = (
    "attack",
    "against",
    "right under it",
    "right under the other",
    "only it",
    "only the other",
    "p, Holm",
)


def lines(suite: str, task: str) -> list[str]:
    """Lines of the table for the attacks on the catalogue task ``task``."""
    solved = answers(suite, task)
    pairs = list(compared(solved))
    tests = [mcnemar(list(solved[one]), list(solved[other])) for one, other in pairs]
    corrected = holm([p for _, _, p in tests])
    rows = []
    for (one, other), (only_one, only_other, _), p in zip(pairs, tests, corrected, strict=True):
        against = "its baseline" if other[1] == "null" else other[0]
        right = [f"{int(solved[case].sum())} of {len(solved)}" for case in (one, other)]
        rows.append([one[0], against, *right, str(only_one), str(only_other), markdown.p_value(p, 2)])
    return markdown.table(COLUMNS, rows)


def compared(solved: pd.DataFrame) -> Iterator[tuple[Case, Case]]:
    """Every attack and its baseline, then the pair with and without a number."""
    for name in sorted(set(solved.columns.get_level_values(0))):
        yield (name, "attack"), (name, "null")
    yield PAIR


def answers(suite: str, task: str) -> pd.DataFrame:
    """Right or not, a row per problem that was solved before the attack, a column per :data:`Case`."""
    (file,) = (committed.results() / suite / "runs" / COMPACT).glob("attacks-*.parquet")
    found = pq.read_table(file).to_pandas()
    found = found[(found["task"] == task) & found["clean_correct"].astype(bool)]
    return found.pivot(
        index="example_id", columns=["condition", "condition_kind"], values="final_correct"
    ).astype(bool)
