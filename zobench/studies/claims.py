"""Tests published claims at the scale of the built-in model: writes ``docs/claims.md`` from stored runs.

    python -m zobench.studies.claims --from RESULTS NAME   # compact the results of suite NAME, write the page
    python -m zobench.studies.claims                       # only write the page, from docs/results/*.parquet

``docs/results/NAME.parquet`` has one record per run and evaluation point: task, row, group, selected
parameters, seed, forward passes, test accuracy. The whole page is computed from it; verdicts follow the rule
printed there.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from zobench.metrics.curves import time_to_target
from zobench.metrics.intervals import Interval
from zobench.metrics.paired import Comparison, compare
from zobench.metrics.verdicts import Verdict, judge
from zobench.studies import claims_results, committed, markdown
from zobench.studies.rate_edges import rate_edges

SUITE, REAL = "queries-to-target", "fewshot-real"
"""Names of the committed tables."""
REFERENCE = "mezo"
SHARE = 0.9
MARGIN, FACTOR = 0.02, 1.25
"""Largest differences that do not matter: of an accuracy, and as a factor of forward passes (the bounds used
for bioequivalence)."""
CLAIMED = {"fewer": "better", "higher": "better", "lower": "worse", "no gain": "not better"}


@dataclass(frozen=True, slots=True)
class Claim:
    """A published statement about a row against MeZO.

    Attributes:
        kind: ``fewer`` forward passes to the same accuracy; ``higher`` or ``lower`` accuracy at equal forward
            passes; ``no gain``: no higher accuracy at equal forward passes.
        ratio: the published ratio of forward passes, if there is one.
    """

    row: str
    kind: Literal["fewer", "higher", "lower", "no gain"]
    says: str
    source: str
    ratio: float | None = None


CLAIMS = (
    Claim(
        "fzoo",
        "fewer",
        "the accuracy of MeZO with 3 times fewer forward passes (11 tasks)",
        "2506.09034",
        1 / 3,
    ),
    Claim("fzoo", "fewer", "18 times fewer forward passes (RoBERTa-large)", "2506.09034", 1 / 18),
    Claim("fzoo", "higher", "3 % more accurate on average", "2506.09034"),
    Claim("zo-muon", "fewer", "24.7 % of MeZO's queries to the same accuracy (SST-2)", "2602.17155", 0.247),
    Claim("mezo n=4", "no gain", "n > 1 gives no consistent gain at equal forward passes", "2305.17333"),
    Claim("sparse-mezo", "higher", "3.7 points more accurate (LLaMA-7B, average)", "2402.15751"),
    Claim("sparse-mezo", "fewer", "3.5 times fewer steps to the same accuracy (RTE)", "2402.15751", 1 / 3.5),
    Claim("one-point", "lower", "one-point below two-point at equal forward passes", "2305.17333, table 11"),
    Claim("conmezo", "fewer", "about twice as fast to the same loss", "2511.02757", 0.5),
    Claim(
        "hizoo", "higher", "higher on RoBERTa-large (70.9 against 67.4)", "2402.15173 as quoted in 2506.09034"
    ),
    Claim("subzero", "higher", "more accurate than MeZO (OPT-13B)", "2410.08989"),
    Claim("kerzoo", "higher", "2.6 to 2.9 points more accurate (OPT-2.7B)", "2505.18886"),
)


def finals(points: pd.DataFrame) -> pd.DataFrame:
    """Final accuracy of every run, as ``value``."""
    last = points.sort_values("forwards").groupby(["task", "row", "seed"], as_index=False).tail(1)
    return last.rename(columns={"accuracy": "value"})


def targets(points: pd.DataFrame, share: float = SHARE) -> dict[str, float]:
    """Per task: nine tenths (``share``) of the way from chance to the mean final accuracy of MeZO."""
    last = finals(points)
    last = last[last["row"] == REFERENCE].groupby("task")[["value", "chance"]].mean()
    return {str(t): float(r["chance"] + share * (r["value"] - r["chance"])) for t, r in last.iterrows()}


def times(points: pd.DataFrame, share: float = SHARE) -> pd.DataFrame:
    """Forward passes until the target is first met; a run that misses it counts as its budget (``reached``
    False)."""
    goal = targets(points, share)
    lines = []
    for (task, row, seed), run in points.groupby(["task", "row", "seed"]):
        run = run.sort_values("forwards")
        met = time_to_target(run["forwards"].tolist(), run["accuracy"].tolist(), goal[str(task)])
        spent = met.time if met.reached else float(run["budget"].iloc[0])
        lines.append((task, row, seed, max(spent, 1.0), met.reached))
    return pd.DataFrame(lines, columns=["task", "row", "seed", "time", "reached"])


@dataclass(frozen=True, slots=True)
class Against:
    """A row against MeZO on common tasks and seeds: accuracy difference, and geometric mean ratio of forward
    passes to target with its interval; each with its verdict, corrected over all rows."""

    row: str
    accuracy: Comparison
    ratio: tuple[float, float, float]
    on_accuracy: Verdict
    on_forwards: Verdict
    reached: int
    runs: int


def against_reference(
    points: pd.DataFrame, reference: str = REFERENCE, share: float = SHARE
) -> list[Against]:
    """Comparisons of all other methods with one row, best final accuracy first; the target is MeZO's. Missed
    targets pull ratios to 1: without all runs of both rows, equivalence of forward passes is undecided."""
    points = points[points["group"] == "method"]
    last, spent = finals(points), times(points, share)
    logs = spent.assign(value=np.log(spent["time"]))
    pairs: dict[str, tuple[Comparison, Comparison]] = {}
    for row in points["row"].unique():
        accuracy, forwards = compare(last, row, reference), compare(logs, row, reference)
        if row != reference and accuracy is not None and forwards is not None:
            pairs[row] = (accuracy, forwards)
    accuracies, ratios = ([pair[i] for pair in pairs.values()] for i in (0, 1))
    on_accuracy, on_forwards = _judged(accuracies, MARGIN, True), _judged(ratios, math.log(FACTOR), False)
    found = []
    for i, (row, (accuracy, forwards)) in enumerate(pairs.items()):
        reached = spent.loc[spent["row"] == row, "reached"]
        ends, said = _ratio(forwards.difference), on_forwards[i]
        if said.word == "equivalent" and not spent.loc[spent["row"].isin((row, reference)), "reached"].all():
            said = replace(said, word="undecided")
        found.append(Against(row, accuracy, ends, on_accuracy[i], said, int(reached.sum()), len(reached)))
    return sorted(found, key=lambda a: -a.accuracy.difference.value)


def _judged(found: list[Comparison], margin: float, higher: bool) -> list[Verdict]:
    return judge([c.difference for c in found], [c.p for c in found], margin=margin, higher=higher)


def _ratio(log: Interval) -> tuple[float, float, float]:
    return math.exp(log.value), math.exp(log.low), math.exp(log.high)


def verdict(claim: Claim, found: Against) -> Verdict:
    """The verdict on the measure that the claim concerns."""
    return found.on_forwards if claim.kind == "fewer" else found.on_accuracy


def factor(claim: Claim, found: Against) -> str:
    """Whether the published ratio of forward passes is ``inside`` or ``outside`` the measured interval."""
    if claim.ratio is None:
        return ""
    _, low, high = found.ratio
    return "inside" if low <= claim.ratio <= high else "outside"


def measured(claim: Claim, found: Against) -> str:
    if claim.kind == "fewer":
        return "{:.2f} × MeZO's forward passes [{:.2f}, {:.2f}]".format(*found.ratio)
    d = found.accuracy.difference
    return f"{100 * d.value:+.1f} points [{100 * d.low:+.1f}, {100 * d.high:+.1f}]"


def page(points: pd.DataFrame, trials: pd.DataFrame, real: pd.DataFrame) -> str:
    """The whole page in Markdown."""
    found = against_reference(points)
    goal = ", ".join(f"{t} {100 * v:.1f} %" for t, v in sorted(targets(points).items()))
    head = HEAD.format(
        earlier=committed.BEFORE_REVISION_2,
        tasks=" and ".join(sorted(points["task"].unique())),
        seeds=points["seed"].nunique(),
        budget=int(points["budget"].max()),
        goal=goal,
        commits=markdown.commits(points),
        rule=markdown.rule(
            f"the {len(found)} methods below, separately for accuracy and forward passes",
            f"{100 * MARGIN:g} points of accuracy, or a factor of {FACTOR:g} in forward passes",
        ),
    )
    lines = [head, *claims_table(CLAIMS, found), "", "## Every method against MeZO", "", TABLE_HEAD]
    lines += [*methods_table(points, trials, found), "", REAL_HEAD, *_real_table(real)]
    return "\n".join(lines) + "\n"


def claims_table(claims: Sequence[Claim], found: Sequence[Against]) -> list[str]:
    """Lines of the table of published statements and what was measured; those about rows that were not run
    are left out."""
    by_row = {a.row: a for a in found}
    lines = []
    for c in claims:
        if c.row in by_row:
            a = by_row[c.row]
            said = f"**{verdict(c, a).word}**"
            lines.append(
                [f"`{c.row}`", c.says, c.source, measured(c, a), CLAIMED[c.kind], said, factor(c, a)]
            )
    head = ["row", "published", "source", "measured here", "claimed", "verdict", "published factor"]
    return markdown.table(head, lines)


def methods_table(points: pd.DataFrame, trials: pd.DataFrame, found: Sequence[Against]) -> list[str]:
    """Lines of the table of every row, best mean final accuracy first."""
    edges, by_row = rate_edges(points, trials), {a.row: _cells(a) for a in found}
    tasks = sorted(points["task"].unique())
    means = finals(points).groupby(["row", "task"])["value"].mean()
    lines = []
    for row in sorted(points["row"].unique(), key=lambda r: -means[r].mean()):
        accuracy = [markdown.percent(means.get((row, t))) for t in tasks]
        edge = ", ".join(t.removeprefix("nano-") for t in edges.get(row, []))
        lines.append([f"`{row}`", *accuracy, *by_row.get(row, [markdown.NOTHING] * 7), edge])
    head = ["row", *tasks, "difference", "p", "verdict", "cost ratio", "p", "verdict", "reached", "edge"]
    return markdown.table(head, lines)


def _cells(a: Against) -> list[str]:
    ratio = "{:.2f} [{:.2f}, {:.2f}]".format(*a.ratio)
    accuracy, forwards = ([markdown.p_value(said.p, 2), said.word] for said in (a.on_accuracy, a.on_forwards))
    return [markdown.points(a.accuracy.difference), *accuracy, ratio, *forwards, f"{a.reached}/{a.runs}"]


def _real_table(real: pd.DataFrame) -> list[str]:
    last = finals(real)
    lines = []
    for row, runs in sorted(last.groupby("row"), key=lambda g: -g[1]["value"].mean()):
        pair = None if row == REFERENCE else compare(last, str(row), REFERENCE)
        shown = markdown.NOTHING if pair is None else markdown.points(pair.difference)
        mean = markdown.percent(runs["value"].mean())
        lines.append([f"`{row}`", mean, shown, str(len(runs)), markdown.commits(runs)])
    return markdown.table(["row", "accuracy", "difference from MeZO", "runs", "code"], lines)


HEAD = """# Published claims tested at this scale

{earlier}
*Words changed on 2026-11-29*: a verdict is one of better, worse, equivalent, undecided, as on every page, and
is determined by p-values corrected by Holm. Before, uncorrected intervals decided between "appears",
"contradicted" and "not shown"; the row `kerzoo` was contradicted then and is undecided now. The sentences
were made plainer. No number changed.

Written by `python -m zobench.studies.claims` from `docs/results/queries-to-target.parquet`, the runs of
`zobench run suites/queries-to-target.yaml`: {tasks} on the built-in model with about a million
parameters, all weights tuned, {budget} forward passes per run, {seeds} seeds, code {commits}. The learning
rate of every method was selected from five values, half a decade apart, on validation examples of another
data seed (`docs/results/queries-to-target-trials.parquet`). The centres of the grids come from one pilot
experiment for all methods (`benchmarks/rate_pilot.py`). Other parameters are each paper's defaults. Verdicts
apply to this scale: results with a million parameters, {budget} forward passes and two classification tasks
need not hold with seven billion parameters and forty thousand forward passes, and vice versa. Some
claims of recent methods are on a [page of their own](recent-claims.md).

*Rule.* A row is compared with `mezo` on common tasks and seeds: final test accuracy (mean over tasks of
paired differences, 95 % t interval), and forward passes until nine tenths of the way from chance to MeZO's
mean final accuracy ({goal}), as geometric mean of paired ratios. A run that misses the target counts as its
whole budget, which moves ratios towards 1; so forward passes are called equivalent only where all runs of
both rows reach it (this condition was added on 2026-11-30: `mezo-one-sided` and `subzero` were equivalent
before). Higher accuracy and fewer forward passes are better: compare "claimed" with "verdict". "Published
factor": whether the published ratio of forward passes lies in the interval.

{rule}
"""
TABLE_HEAD = """Mean final test accuracy (%) per task; difference from MeZO in points; ratio of forward passes
to target; p-values by paired t test after Holm, and verdicts; runs that reached the target; tasks on which
the selected learning rate is at the edge of its grid, so that a wider grid might give better results.
"""
REAL_HEAD = """## Real data: SST-2 on a sentence encoder

`zobench run suites/fewshot-real.yaml`: all-MiniLM-L6-v2, at most 32 tokens, the classification head tuned;
final test accuracy in per cent on 500 examples, difference in points with 95 % t interval over paired seeds.
"""


def from_results() -> str:
    """The page from the committed files."""
    return page(*map(committed.read, (SUITE, f"{SUITE}-trials", REAL)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--from", dest="source", nargs=2, metavar=("RESULTS", "NAME"))
    options = parser.parse_args()
    if options.source:
        claims_results.compact(Path(options.source[0]), options.source[1])
    committed.write_page("claims", from_results())


if __name__ == "__main__":
    main()
