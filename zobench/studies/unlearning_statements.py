"""Statements on whether the order of the optimizer determines how robust forgetting is, from compact results.

Statements are made for all pairs of rows of different order; none was selected by its outcome.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats

from zobench.metrics.paired import Comparison, compare, compare_groups
from zobench.metrics.verdicts import Verdict, judge

MARGIN, CORRELATION_MARGIN = 0.02, 0.1
"""Largest differences that do not matter: of the recovery rate and of the retained score (0 to 1), and of a
rank correlation."""
UNJUDGED = Verdict("undecided", float("nan"), float("nan"))
KEYS = ["objective", "row", "seed"]
GRADES = {
    "r-adazo-sphere": "zeroth",
    "r-adazo": "zeroth",
    "zo-adam": "zeroth",
    "alternating": "mixed",
    "adam": "first",
    "sophia": "second",
}
ORDER = ("zeroth", "mixed", "first", "second")
FAMILIES = {
    "relearning": ("relearn", "relearn slowly"),
    "fine-tuning on retained facts": ("fine-tune",),
    "quantization": ("quantize",),
    "pruning": ("prune",),
    "weight noise": ("weight-noise",),
    "asking otherwise": ("rephrase", "prefix", "option-order", "mscr"),
}
ANY = "the most successful probe"
MATCHED = ("matched-forget", "matched-retain")


@dataclass(frozen=True, slots=True)
class Study:
    """The data of the page: three files."""

    points: pd.DataFrame
    runs: pd.DataFrame
    trials: pd.DataFrame

    def rows(self) -> list[str]:
        """Rows that unlearn, sorted by the order of their optimizer."""
        found = set(self.runs.loc[self.runs["role"] == "unlearn", "row"])
        return [r for grade in ORDER for r in GRADES if GRADES[r] == grade and r in found]


@dataclass(frozen=True, slots=True)
class Statement:
    """``says`` claims a negative ``effect``. ``price``: difference of the retained scores of the same models
    before the probe, if the statement compares two rows. ``said``: the verdict, corrected over all statements
    of the page."""

    split: str
    about: str
    says: str
    effect: Comparison
    price: Comparison | None = None
    said: Verdict = UNJUDGED
    correlates: bool = False

    @property
    def keeps_less(self) -> bool:
        """Whether the interval of ``price`` lies below minus the margin, so that apparent robustness may be
        damage of the model."""
        return self.price is not None and self.price.difference.high < -MARGIN


def worst(points: pd.DataFrame, split: str, conditions: tuple[str, ...] | None) -> pd.DataFrame:
    """The highest recovery rate of each unlearned model over settings of these probes (``None``: of all
    probes); columns ``task, row, seed, value``."""
    part = points[(points["split"] == split) & (points["role"] == "unlearn") & points["s"].notna()]
    wanted = part["condition"] != "none" if conditions is None else part["condition"].isin(conditions)
    return _named(part[wanted].groupby(KEYS)["s"].max())


def before(points: pd.DataFrame, split: str, column: str, role: str = "unlearn") -> pd.DataFrame:
    """The recovery rate or the retained score without a probe, in the same form."""
    part = points[(points["split"] == split) & (points["role"] == role) & (points["condition"] == "none")]
    return _named(part.groupby(KEYS)[column].mean())


def _named(values: pd.Series) -> pd.DataFrame:
    return values.dropna().rename("value").reset_index().rename(columns={"objective": "task"})


def statements(study: Study) -> list[Statement]:
    """All statements that the runs can test, judged together; a lower value is better."""
    found = [*_of_grades(study), *_of_distance(study), *_of_noise(study)]
    margins = [CORRELATION_MARGIN if s.correlates else MARGIN for s in found]
    differences, p_values = [s.effect.difference for s in found], [s.effect.p for s in found]
    judged = judge(differences, p_values, margin=margins, higher=False)
    return [replace(s, said=said) for s, said in zip(found, judged, strict=True)]


def pairs(rows: list[str]) -> list[tuple[str, str]]:
    """Pairs of rows, the one of lower order first; rows of the same order are not compared."""
    rank = {r: ORDER.index(GRADES[r]) for r in rows}
    return [(a, b) for a in rows for b in rows if rank[a] < rank[b]]


def _of_grades(study: Study) -> Iterator[Statement]:
    for split in MATCHED:
        kept = before(study.points, split, "retained")
        for about, conditions in (*FAMILIES.items(), (ANY, None)):
            values = worst(study.points, split, conditions)
            for a, b in pairs(study.rows()):
                effect = compare(values, a, b)
                if effect is not None:
                    says = (
                        f"after {about}, less of the forgotten facts is recovered from `{a}` than from `{b}`"
                    )
                    yield Statement(split, about, says, effect, compare(kept, a, b))


def _of_distance(study: Study) -> Iterator[Statement]:
    """Rank correlation over rows, one for each objective and seed, compared with 0."""
    split = "matched-forget"
    moved = study.runs[study.runs["role"] == "unlearn"].assign(moved=lambda d: d["distance"] * d[split])
    moved = moved[[*KEYS, "moved"]].rename(columns={"objective": "task"})
    for about in ("relearning", "fine-tuning on retained facts"):
        both = worst(study.points, split, FAMILIES[about]).merge(moved, on=["task", "row", "seed"]).dropna()
        groups: dict[str, list[float]] = {}
        for (task, _), own in both.groupby(["task", "seed"]):
            if own["moved"].nunique() > 2 and own["value"].nunique() > 1:
                groups.setdefault(str(task), []).append(float(stats.spearmanr(own["moved"], own["value"])[0]))
        if groups:
            found = [np.array(g) for g in groups.values()]
            says = f"the farther a row moved the weights, the less is recovered by {about} (rank correlation)"
            yield Statement(
                split, about, says, compare_groups(found, [0 * g for g in found]), correlates=True
            )


def _of_noise(study: Study) -> Iterator[Statement]:
    both = pd.concat([_selectivity(study, role) for role in ("unlearn", "noise")], ignore_index=True)
    for row in study.rows():
        effect = compare(both, row, f"noise as far as {row}")
        if effect is not None:
            says = f"`{row}` forgets more selectively than a random move of the same distance"
            yield Statement("test", "", says, effect)


def _selectivity(study: Study, role: str) -> pd.DataFrame:
    """Recovery rate minus the retained score, without a probe: lower means more selective forgetting."""
    s, kept = (before(study.points, "test", column, role) for column in ("s", "retained"))
    both = s.merge(kept, on=["task", "row", "seed"], suffixes=("", "_kept"))
    return both.assign(value=both["value"] - both["value_kept"]).drop(columns="value_kept")
