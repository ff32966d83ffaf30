"""The first table of ``docs/systems.md``: published statements, what was found here, and its interval.

p-values are corrected by Holm over all statements of the table.
"""

from __future__ import annotations

import numpy as np

from zobench.metrics.intervals import exact_shares, wilson
from zobench.metrics.paired import compare_groups
from zobench.metrics.verdicts import judge
from zobench.studies import certified, flowopt, ib_ft, image_pretrained, markdown, proxies, pruning, ranking
from zobench.studies.image_differences import Tables
from zobench.studies.image_statements import STATEMENTS

NAMES = (
    "vision",
    image_pretrained.NAME,
    flowopt.NAME,
    "deepzero",
    certified.FULL,
    "patch-defence",
    "vision-robustness",
    ranking.NAME,
    "quantized-flow",
    pruning.NAME,
    proxies.FULL,
    ib_ft.NAME,
)
"""What the table is made from."""


def section(tables: Tables) -> str:
    """The overview."""
    arrays = [np.asarray(s.values(tables), dtype=float) for s in STATEMENTS]
    found = [compare_groups([a], [np.zeros(len(a))]) for a in arrays]
    said = judge([c.difference for c in found], [c.p for c in found])
    rows = [
        [
            s.system,
            s.says,
            s.measure,
            s.shown(c.difference),
            str(c.pairs),
            markdown.p_value(v.p, 2),
            WORDS[s.level][v.word],
        ]
        for s, c, v in zip(STATEMENTS, found, said, strict=True)
    ]
    head = ["system", "published", "compared here", "found, 95 % interval", "pairs", "p", "verdict"]
    return "\n".join([TEXT.format(shares=shares_of(tables)), *markdown.table(head, rows)])


WORDS = {
    False: {"better": "as published", "worse": "the opposite", "undecided": "undecided"},
    True: {"better": "above", "worse": "below", "undecided": "undecided"},
}
"""Verdicts on statements of an advantage, and on those of no disadvantage."""


def shares_of(tables: Tables) -> str:
    """Two statements about shares, with exact and Wilson intervals."""
    runs = tables[flowopt.NAME]
    above = runs[runs["row"] == "flowopt-above"].groupby("seed")["status"].first() == "diverged"
    low, high = exact_shares(above.mean(), len(above))
    patches = tables["patch-defence"]
    clean = patches[(patches["task"] == "smoothvlm mask 0.2") & (patches["metric"] == "abstained")]
    images = int(clean["n"].max())
    refused = wilson(round(clean["value"].mean() * images), images)
    return SHARES.format(
        diverged=int(above.sum()),
        runs=len(above),
        low=100 * float(low),
        high=100 * float(high),
        refused=100 * refused.value,
        images=images,
        least=100 * refused.low,
        most=100 * refused.high,
    )


SHARES = """\
Two statements on shares: FlowOpt converges below a step size; above it, {diverged} of {runs} runs diverged
[{low:.0f}, {high:.0f} %]. An independent test of SmoothVLM saw 99.2 to 100 % of benign queries refused; here
mask 0.2 abstains on {refused:.0f} % of {images} clean images [{least:.1f}, {most:.1f} %]."""
TEXT = """## Published statements and findings

One line for each statement that a suite of this page tests. The sections below have settings, all rows, and
what differs from the publication, above all the size (here 5,000 to 3.4 million parameters). Mean
paired differences over seeds (FlowOpt: images; Square Attack: rows and seeds) with 95 % t intervals, which
are not corrected. *As published*: significant in the published direction at 0.05 after Holm over the lines
of this table; *the opposite*: significant in the other direction; *above* or *below* where the statement is
that nothing is lost. *Undecided*: anything else, which is no evidence of equality; with two to five pairs
it is to be expected. Where all pairs have the same difference, the interval has no width and the p-value is
that of the sign-flip test.

{shares}
"""
