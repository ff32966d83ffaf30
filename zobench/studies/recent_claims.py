"""Claims of recent methods at the scale of the built-in model: writes ``docs/recent-claims.md``.

    python -m zobench.studies.recent_claims --from RESULTS   # compact results of suites/recent-methods.yaml
    python -m zobench.studies.recent_claims                  # only write the page, from docs/results

Targets, comparisons and verdicts are those of :mod:`zobench.studies.claims`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from zobench.studies import claims, claims_results, committed, markdown
from zobench.studies.claims import Claim

SUITE = "recent-methods"
"""Name of the suite and of the committed tables."""
SHARE = 0.5
"""Share of the way to MeZO's final accuracy: at nine tenths, MeZO arrives at its last point only."""


@dataclass(frozen=True, slots=True)
class Relative:
    """A claim about a row against the row ``to``."""

    claim: Claim
    to: str = claims.REFERENCE


CLAIMS = (
    Relative(
        Claim(
            "zo-muon", "fewer", "24.7 % of MeZO's queries to the same accuracy (SST-2)", "2602.17155", 0.247
        )
    ),
    Relative(Claim("mezo-gv", "fewer", "faster than n-SPSA at equal queries", "2601.04710"), "mezo n=2"),
    Relative(Claim("mezo-gv", "higher", "better than n-SPSA at equal queries", "2601.04710"), "mezo n=2"),
    Relative(Claim("mezo-greedy", "fewer", "faster than n-SPSA at equal queries", "2601.04710"), "mezo n=2"),
    Relative(Claim("mezo-greedy", "higher", "better than n-SPSA at equal queries", "2601.04710"), "mezo n=2"),
    Relative(Claim("bszo", "higher", "up to 6.67 points above baselines (OPT-13B)", "2601.01452")),
    Relative(Claim("loren", "higher", "more accurate than other zeroth-order methods", "2511.07971")),
    Relative(Claim("loren", "fewer", "faster convergence than they have", "2511.07971")),
    Relative(Claim("grzo", "higher", "3 points above MeZO (Llama3-8B)", "2606.02857")),
    Relative(Claim("helene", "fewer", "up to 20 times faster than MeZO", "2411.10696", 1 / 20)),
    Relative(Claim("helene", "higher", "1.5 points above MeZO on average", "2411.10696")),
    Relative(Claim("agzo", "higher", "above other zeroth-order methods (Qwen3, Pangu)", "2601.17261")),
    Relative(
        Claim("zo-mopi", "fewer", "1.5 to 4 times ZO-Muon's convergence speed (OPT-13B)", "2605.09034"),
        "zo-muon",
    ),
    Relative(Claim("adamezo", "fewer", "up to 70 % fewer forward passes than MeZO", "2605.00650", 0.3)),
    Relative(Claim("adamezo", "higher", "can outperform MeZO", "2605.00650")),
)


COLUMNS = ["row", "against", "published", "source", "measured here", "claimed", "verdict", "published factor"]


def against(points: pd.DataFrame, to: str = claims.REFERENCE) -> list[claims.Against]:
    """Comparisons with one row."""
    return claims.against_reference(points, to, SHARE)


def claimed(points: pd.DataFrame, listed: Sequence[Relative] = CLAIMS) -> list[str]:
    """Lines of the table of statements; those about rows that were not run are left out."""
    found = {to: against(points, to) for to in dict.fromkeys(r.to for r in listed)}
    lines = []
    for relative in listed:
        claim, to = relative.claim, relative.to
        for a in found[to]:
            if a.row == claim.row:
                measured = forwards(a) if claim.kind == "fewer" else claims.measured(claim, a)
                said = f"**{claims.verdict(claim, a).word}**"
                cells = [f"`{claim.row}`", f"`{to}`", claim.says, claim.source, measured]
                lines.append([*cells, claims.CLAIMED[claim.kind], said, claims.factor(claim, a)])
    return markdown.table(COLUMNS, lines)


def forwards(a: claims.Against) -> str:
    """The ratio of forward passes, or that there is none to be seen."""
    if not a.reached and a.ratio == (1.0, 1.0, 1.0):
        return "no run of either reaches the target before its budget ends"
    return "{:.2f} × its forward passes [{:.2f}, {:.2f}]".format(*a.ratio)


def on_card(points: pd.DataFrame, row: str) -> str:
    """What the card of the method says of its row: verdicts and numbers against the row its paper names."""
    to = next((r.to for r in CLAIMS if r.claim.row == row), claims.REFERENCE)
    a = next(a for a in against(points, to) if a.row == row)
    d = a.accuracy.difference
    accuracy = f"{100 * d.value:+.1f} points [{100 * d.low:+.1f}, {100 * d.high:+.1f}]"
    return (
        f"on our boards (docs/recent-claims.md, against {to}): accuracy {a.on_accuracy.word}, {accuracy}; "
        f"forward passes {a.on_forwards.word}, {forwards(a).replace('×', 'times')}"
    )


def page(points: pd.DataFrame, trials: pd.DataFrame) -> str:
    """The whole page in Markdown."""
    found = against(points)
    goal = ", ".join(f"{t} {100 * v:.1f} %" for t, v in sorted(claims.targets(points, SHARE).items()))
    head = HEAD.format(
        budget=int(points["budget"].max()),
        seeds=points["seed"].nunique(),
        commits=markdown.commits(points),
        tasks=" and ".join(sorted(points["task"].unique())),
        goal=goal,
        rule=markdown.rule(
            f"the {len(found)} comparisons with one row, separately for accuracy and forward passes",
            f"{100 * claims.MARGIN:g} points of accuracy, or a factor of {claims.FACTOR:g} in forward passes",
        ),
    )
    lines = [head, *claimed(points), "", "## Every row against MeZO", "", claims.TABLE_HEAD]
    return "\n".join([*lines, *claims.methods_table(points, trials, found)]) + "\n"


HEAD = """# Claims of recent methods at this scale

Written by `python -m zobench.studies.recent_claims` from `docs/results/recent-methods.parquet`, the runs of
`zobench run suites/recent-methods.yaml`: {tasks} on the built-in model with about a million parameters, all
weights tuned, {budget} forward passes per run, {seeds} seeds, code {commits}. The methods are from papers
published in 2025 and 2026, or are compared with in these. The learning rate of every row was selected from
four values half a decade apart on validation examples of another data seed
(`docs/results/recent-methods-trials.parquet`). The centres of the grids are those of
`benchmarks/rate_pilot.py` (`docs/results/rate-pilot.json` for `mezo` and `zo-muon`,
`docs/results/rate-pilot-recent.json` for all others; for `zo-mopi` the best of the five decades was the
last, so that it got two more). Other parameters are the defaults of each method's card.

{seeds} seeds and one task show large differences only, and the selection of rates by one validation set
of 96 examples is noisy (column "edge": the rate lies at an end of its grid). Rows that were not run are
named in the suite's comment. Results with a million parameters and {budget} forward passes need not hold
with seven billion parameters and forty thousand forward passes, and vice versa.

*Rule.* Paired differences of final test accuracy, and ratios of forward passes until half of the way from
chance to MeZO's mean final accuracy ({goal}); nine tenths, as on the [page of earlier claims](claims.md),
is where MeZO itself arrives at its last point only (chosen when the runs of `mezo`, `mezo n=2` and
`zo-muon` were known and no others). A run that misses the target counts as its whole budget, which moves
ratios towards 1; so forward passes are called equivalent only where all runs of both rows reach it. Each
row is compared with the row that its paper compares with; `mezo n=2` is n-SPSA with four forward passes per
step. Compare "claimed" with "verdict". "Published factor": whether the published ratio of forward passes
lies in the interval. Claims of less memory or time are not tested here (those of `adalezo` are of time only).

{rule}
"""


def from_results() -> str:
    """The page from the committed files."""
    return page(committed.read(SUITE), committed.read(f"{SUITE}-trials"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--from", dest="source", metavar="RESULTS", type=Path)
    options = parser.parse_args()
    if options.source:
        claims_results.compact(options.source, SUITE)
    committed.write_page("recent-claims", from_results())


if __name__ == "__main__":
    main()
