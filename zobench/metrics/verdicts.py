"""The four verdicts on a difference, and the correction for many comparisons.

For a difference a - b with an estimate d, its standard error s, its degrees of freedom and a margin:

- ``better`` or ``worse``: the two-sided test of no difference is significant;
- ``equivalent``: it is not, and two one-sided t tests (Schuirmann 1987, doi 10.1007/BF01068419) show
  -margin < a - b < margin, p = T_df(-(margin - |d|) / s), the larger of the two;
- ``undecided``: neither; this is not evidence of equality.

Both kinds of p-values are corrected by Holm over the comparisons that are judged together (the family). The
probability of one or more false differences in a family is at most ``alpha``, and likewise that of false
equivalences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from zobench.metrics.intervals import Interval
from zobench.metrics.paired import holm

Word = Literal["better", "worse", "equivalent", "undecided"]
DECIDED: tuple[Word, Word] = ("better", "worse")
TURNED: dict[Word, Word] = {"better": "worse", "worse": "better"}
"""The verdict on b against a from that on a against b; the other verdicts are symmetric."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A verdict with the corrected p-values of its tests: of no difference, and of a difference beyond the
    margin (``nan`` if no test is possible or there is no margin)."""

    word: Word
    p: float
    p_equivalent: float


def verdict(p: float, p_equivalent: float, a_is_better: bool, *, alpha: float = 0.05) -> Word:
    """The verdict for the corrected p-values of the test of no difference and of the test of equivalence."""
    if p < alpha:
        return "better" if a_is_better else "worse"
    return "equivalent" if p_equivalent < alpha else "undecided"


def judge(
    differences: Sequence[Interval],
    p_values: Sequence[float],
    *,
    margin: float | Sequence[float] = 0.0,
    alpha: float = 0.05,
    higher: bool = True,
) -> list[Verdict]:
    """The verdicts on a family of differences a - b with their uncorrected two-sided p-values.

    Args:
        margin: largest difference that does not matter, in units of the values; one for all or one for each.
            With 0 the verdict is never ``equivalent``.
        higher: whether the larger value is the better one.
    """
    adjusted, equivalent = holm(p_values), holm(equivalence_p(differences, margin))
    return [
        Verdict(verdict(p, e, (d.value > 0) == higher, alpha=alpha), float(p), float(e))
        for d, p, e in zip(differences, adjusted, equivalent, strict=True)
    ]


def equivalence_p(differences: Sequence[Interval], margin: float | Sequence[float]) -> NDArray[np.float64]:
    """Uncorrected p-values of the equivalence test; ``nan`` without a margin or without an interval.

    Differences that do not vary are inside the margin (p = 0) or outside (p = 1).
    """
    numbers = np.array([(d.value, d.stderr, d.df) for d in differences], dtype=float).reshape(-1, 3)
    value, stderr, df = numbers.T
    limit = np.asarray(margin, dtype=float)
    room = limit - np.abs(value)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = np.where(stderr > 0, special.stdtr(df, -room / stderr), np.where(room > 0, 0.0, 1.0))
    return np.where((df > 0) & (limit > 0) & ~np.isnan(value), p, np.nan)


def rule(family: str, margin: str, alpha: float = 0.05) -> str:
    """The rule as text; every page that shows verdicts uses this text."""
    alike = f"Equivalent: it is not, and both one-sided tests put it within {margin}."
    if not margin:
        alike = "Equivalent is never said, as no margin is set."
    return (
        f"Better or worse: the difference is significant at {alpha:g}. {alike} Undecided: anything else, "
        "which is no evidence of equality. The p-values of all these tests are corrected by Holm over "
        f"{family}; intervals are not corrected. Where all paired differences of a pair are "
        "equal there is no spread to test against: its p-value is that of the sign-flip test."
    )
