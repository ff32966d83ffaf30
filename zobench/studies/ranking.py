"""ZO-RankSGD with hidden scorers: compacts the runs of ``suites/ranking.yaml`` and writes its part of
``docs/systems.md``.

    python -m zobench.studies.ranking --from RESULTS
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from zobench.studies import markdown
from zobench.studies.image_runs import compact, difference, final

NAME = "ranking"
TASKS = ("likeness", "class")
ROWS = ("zo-ranksgd", "zo-ranksgd-search", "mezo", "random-search")
SHARE = 0.9
"""Target: this share of the way from the mean score at the start to MeZO's mean final score."""


def target(points: pd.DataFrame) -> float:
    """The score that counts as reached on the task of these points."""
    start, end = (final(points, row, "score").mean() for row in ("start", "mezo"))
    return float(start + SHARE * (end - start))


def reached(points: pd.DataFrame, row: str) -> str:
    """Queries at the first measured point of each run that has the target, in order."""
    goal, found = target(points), []
    for _, run in points[points["row"] == row].groupby("seed"):
        met = run.loc[run["value"] >= goal, "at"]
        found.append(int(met.min()) if len(met) else None)
    met_first = sorted(v for v in found if v is not None)
    return ", ".join([str(v) for v in met_first] + ["missed"] * found.count(None))


def section(table: pd.DataFrame) -> str:
    """The part of the page on rankings."""
    table = table[table["metric"] == "score"]
    lines = [TEXT.format(seeds=table["seed"].nunique(), share=f"{100 * SHARE:.0f}")]
    points = sorted(table["at"].unique())
    header = ["scorer", "row", *map(str, points), "minus `mezo`", "queries to the target"]
    rows = []
    for task in TASKS:
        part = table[table["task"] == task]
        for row in ROWS:
            curve = part[part["row"] == row].groupby("at")["value"].mean()
            end = final(part, row, "score")
            against = "–" if row == "mezo" else difference(end, final(part, "mezo", "score"))
            cells = [f"{curve[at]:.3f}" for at in points]
            rows.append([f"{task} ({target(part):.3f})", f"`{row}`", *cells, against, reached(part, row)])
    return "\n".join([*lines, *markdown.table(header, rows)])


TEXT = """## ZO-RankSGD with a hidden scorer

`zobench run suites/ranking.yaml`: the start code of `nano-flow` (784 numbers, 3 Euler steps) is tuned for 200
queries of a scorer, {seeds} seeds. `zo-ranksgd` gets rankings alone, the best three of eight images; `mezo`
gets the scores. *likeness* prefers images like a hidden test image, *class* images of one class by
`nano-cnn`, from a sampler without a class. Each row had four trials with another seed's scorer.

*Published* (2303.03751): people who rank images guide a diffusion model; there is no measure of quality in
it. *Found here*: the table, mean scores by queries, and differences in the final score paired by seed with
95 % t intervals, not corrected for their number. Target (beside the scorer): {share} % of the way from the
start to MeZO's mean final score; queries of each run at the first measured point that has it. The published
code weights the ranked points so that the weights do not sum to zero; here they do. A person ranks with
`zobench rate`.

A high score on *class* does not make a good image: the pictures of `zo-ranksgd` and `random-search` there
are noise that the classifier takes for the digit, because their steps lead the code far from the noise that
the generator was trained on. Those of `mezo` and `zo-ranksgd-search` are digits.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--from", dest="source", required=True, metavar="RESULTS")
    compact(Path(parser.parse_args().source), NAME, "scorer")


if __name__ == "__main__":
    main()
