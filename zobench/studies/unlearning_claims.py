"""Does the order of the optimizer determine how robust forgetting is? Writes ``docs/unlearning-claims.md``.

    python -m zobench.studies.unlearning_results RESULTS   # first: docs/results/unlearning-full*.parquet
    python -m zobench.studies.unlearning_claims

Verdicts follow the rule printed on the page.
"""

from __future__ import annotations

from zobench.metrics.verdicts import DECIDED
from zobench.studies import committed, markdown
from zobench.studies.rate_edges import rate_edges
from zobench.studies.unlearning_statements import (
    ANY,
    CORRELATION_MARGIN,
    FAMILIES,
    GRADES,
    MARGIN,
    MATCHED,
    Statement,
    Study,
    before,
    statements,
    worst,
)

TITLES = {
    "matched-forget": "At matched forgetting",
    "matched-retain": "At matched retention",
    "test": "At equal forward passes",
}


def edges(study: Study) -> dict[str, list[str]]:
    """Rows whose selected learning rate is at an end of its grid, with the objectives."""
    return rate_edges(study.runs[study.runs["role"] == "unlearn"], study.trials, "objective")


def page(study: Study) -> str:
    """The whole page in Markdown."""
    told = statements(study)
    own = study.runs[study.runs["role"] == "unlearn"]
    head = HEAD.format(
        earlier=committed.BEFORE_REVISION_2,
        runs=len(own),
        objectives=", ".join(f"`{o}`" for o in sorted(own["objective"].unique())),
        rows=", ".join(f"`{r}` ({GRADES[r]})" for r in study.rows()),
        seeds=own["seed"].nunique(),
        budget=int(own["forwards"].max()),
        commits=markdown.commits(own),
        margin=f"{100 * MARGIN:g}",
        rule=markdown.rule(
            f"all {len(told)} statements of this page",
            f"{100 * MARGIN:g} points of recovery rate, or {CORRELATION_MARGIN:g} of a rank correlation",
        ),
    )
    lines = [head, "## Summary", "", *_short(told), "", "## Rows", "", ROWS_HEAD, *_overview(study)]
    for split in MATCHED:
        mine = [s for s in told if s.split == split]
        lines += ["", f"## {TITLES[split]}", "", SPLIT_HEAD[split], *_means(study, split), ""]
        lines += [MATRIX_HEAD, *_matrix(mine), "", STATEMENTS_HEAD, *_table(mine)]
    lines += ["", f"## {TITLES['test']}", "", NOISE_HEAD, *_table([s for s in told if s.split == "test"])]
    return "\n".join(lines) + "\n"


def _short(told: list[Statement]) -> list[str]:
    """Counts of verdicts for each comparison, then all significant statements."""
    lines = []
    for split, title in TITLES.items():
        mine = [s for s in told if s.split == split]
        said = [s.said.word for s in mine]
        counts = ", ".join(f"{said.count(v)} {v}" for v in sorted(set(said)))
        where = " (rows also differ without a probe)" if split == "matched-retain" else ""
        lines += [f"**{title}**{where}: {counts or 'no statement'}.", ""]
        sure = [s for s in mine if s.said.word in DECIDED]
        lines += [
            f"- {s.says}: **{s.said.word}** ({_effect(s)}, corrected p = {s.said.p:.3g}{_kept(s)})"
            for s in sure
        ]
        lines += [""] if sure else []
    return lines[:-1]


def _kept(s: Statement) -> str:
    return "; keeps less" if s.keeps_less else ""


def _effect(s: Statement) -> str:
    d = s.effect.difference
    if s.correlates:
        return f"{d.value:+.2f} [{d.low:+.2f}, {d.high:+.2f}]"
    return f"{100 * d.value:+.1f} points [{100 * d.low:+.1f}, {100 * d.high:+.1f}]"


def _table(told: list[Statement]) -> list[str]:
    lines = []
    for s in told:
        price = "" if s.price is None else f"{100 * s.price.difference.value:+.1f}{_kept(s)}"
        p = (markdown.p_value(s.effect.p), markdown.p_value(s.said.p))
        lines.append([s.says, _effect(s), *p, price, str(s.effect.pairs), f"**{s.said.word}**"])
    head = ["statement", "difference", "p", "corrected", "retained", "pairs", "verdict"]
    return markdown.table(head, lines)


def _matrix(told: list[Statement]) -> list[str]:
    """Overview of the differences: a line per pair of rows, a column per kind of probe."""
    columns = [*FAMILIES, ANY]
    cells: dict[str, dict[str, str]] = {}
    for s in told:
        if s.price is not None:
            text = f"{100 * s.effect.difference.value:+.0f}"
            pair = s.says.split(" is recovered from ")[1].replace(" than from ", " − ")
            cells.setdefault(pair, {})[s.about] = f"**{text}**" if s.said.word in DECIDED else text
    lines = [[pair, *(c.get(x, markdown.NOTHING) for x in columns)] for pair, c in cells.items()]
    return markdown.table(["recovery rate of a minus that of b, points", *columns], lines)


def _overview(study: Study) -> list[str]:
    edge, own = edges(study), study.runs[study.runs["role"] == "unlearn"]
    s, kept = before(study.points, "test", "s"), before(study.points, "test", "retained")
    lines = [
        "| row | order | forwards | backwards | seconds | MiB | ‖Δθ‖ | reached | rate | retained | edge |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in study.rows():
        mine = own[own["row"] == row]
        mean = mine[["forwards", "backwards", "train_seconds", "memory", "distance"]].mean()
        now, retained = (100 * f.loc[f["row"] == row, "value"].mean() for f in (s, kept))
        costs = " | ".join(f"{mean[n]:.0f}" for n in ("forwards", "backwards", "train_seconds", "memory"))
        reached = f"{int(mine['reached'].sum())}/{len(mine)}"
        scores = f"{mean['distance']:.2f} | {reached} | {now:.0f} | {retained:.0f}"
        lines.append(f"| `{row}` | {GRADES[row]} | {costs} | {scores} | {', '.join(edge.get(row, []))} |")
    return lines


def _means(study: Study, split: str) -> list[str]:
    """Mean recovery rate of every row before and after each kind of probe."""
    kept, plain = before(study.points, split, "retained"), before(study.points, split, "s")
    columns = {about: worst(study.points, split, c) for about, c in (*FAMILIES.items(), (ANY, None))}
    lines = [
        "| row | runs | retained | no probe | " + " | ".join(columns) + " |",
        "|---|" + "---|" * (len(columns) + 3),
    ]
    for row in study.rows():
        cells = [f.loc[f["row"] == row, "value"] for f in (kept, plain, *columns.values())]
        numbers = " | ".join(f"{100 * c.mean():.0f}" if len(c) else "–" for c in cells)
        lines.append(f"| `{row}` | {len(cells[0])} | {numbers} |")
    return lines


HEAD = """# Does the order of the optimizer determine how robust forgetting is?

{earlier}
*Words changed on 2026-11-29*: a verdict is one of better, worse, equivalent, undecided, as on every page.
Before, "supported" stood for better, "contradicted" for worse, "not supported" and "cannot be tested" for
undecided. "Order" stood as "grade", "recovery rate" as "S". No number changed.

Written by `python -m zobench.studies.unlearning_claims` from `docs/results/unlearning-full*.parquet`:
the {runs} unlearned models of `zobench run suites/unlearning-full.yaml`. Objectives:
{objectives}. Rows and the order of their optimizer:
{rows}. {seeds} seeds, at most {budget} forward passes, code {commits}. The model has 0.45 M parameters and
the facts are invented, so nothing here applies to large models.

The recovery rate is 0 as in the oracle, which never saw the facts, and 1 as in the full model, both after the
same probe. A statement refers to the worst setting of its probe. The published thesis (arXiv 2510.00761,
which was not read in the original) is that less is recovered the lower the order of the optimizer. The
statements cover every pair of rows of different order, every kind of probe and both kinds of matching; none
was omitted because of its outcome.

*Rule.* Difference: mean over objectives of paired differences over seeds, 95 % t interval, paired t test.
Every statement claims a lower value, so lower is better: **better** means that the statement holds here,
**worse** that its opposite holds. "Keeps less": the 95 % interval of the difference in retained facts, before
the probe, lies below -{margin} points, so that apparent robustness may be damage of the model.

{rule}
"""
ROWS_HEAD = """At equal forward passes, mean over runs; rate: recovery rate; rate and retained facts in %;
reached: runs that reached the oracle's level; edge: objectives whose tuned learning rate is at an end of its
grid, so that a wider grid might be better. The two zeroth-order rows tune one matrix, the others all weights.
"""
SPLIT_HEAD = {
    "matched-forget": """Every model is moved back towards the original until its recovery rate without a
probe is 50 %; runs that never forgot as much are left out. Mean recovery rate in %, worst setting:
""",
    "matched-retain": """Every model is moved back towards the original until it keeps the same share of the
retained facts. Rows then also differ without a probe in how much they have forgotten. Mean recovery rate in
%, worst setting:
""",
}
MATRIX_HEAD = """Overview of the differences, the row of lower order first; bold: corrected p below 0.05.
"""
STATEMENTS_HEAD = """All statements; retained: difference in retained facts before the probe, points.
"""
NOISE_HEAD = """Recovery rate minus the retained score (0 to 1) without a probe, compared with the full model
moved by the same distance in a random direction: a move that destroys the model forgets everything but is not
selective.
"""


def from_results() -> str:
    """The page from the committed files."""
    return page(Study(*(committed.read(f"unlearning-full{e}") for e in ("", "-runs", "-trials"))))


def main() -> None:
    committed.write_page("unlearning-claims", from_results())


if __name__ == "__main__":
    main()
