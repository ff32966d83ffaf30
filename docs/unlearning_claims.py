"""Does the grade of the optimizer decide how robust forgetting is? Writes ``docs/unlearning-claims.md``.

    python docs/unlearning_results.py RESULTS   # first: docs/results/unlearning-full*.parquet
    python docs/unlearning_claims.py

Statements are made for all pairs of rows of different grades, none chosen by its outcome; verdicts follow the
rule printed on the page.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from zobench.metrics.paired import Comparison, compare, compare_groups, holm

HERE = Path(__file__).resolve().parent
RESULTS, PAGE = HERE / "results", HERE / "unlearning-claims.md"
ALPHA, MARGIN = 0.05, 0.02
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
TITLES = {
    "matched-forget": "At matched forgetting",
    "matched-retain": "At matched retention",
    "test": "At equal forwards",
}
OPEN = ("not supported", "cannot be tested")


@dataclass(frozen=True, slots=True)
class Study:
    """What the page is computed from: the three files."""

    points: pd.DataFrame
    runs: pd.DataFrame
    trials: pd.DataFrame

    def rows(self) -> list[str]:
        """Rows that unlearn, by grade."""
        found = set(self.runs.loc[self.runs["role"] == "unlearn", "row"])
        return [r for grade in ORDER for r in GRADES if GRADES[r] == grade and r in found]


@dataclass(frozen=True, slots=True)
class Statement:
    """``says`` claims a negative ``effect``; ``price``: difference of the retained scores of the same models
    before the probe, where the statement compares two rows. ``p`` is Holm's, over all of the page."""

    split: str
    about: str
    says: str
    effect: Comparison
    price: Comparison | None = None
    p: float = float("nan")


def worst(points: pd.DataFrame, split: str, conditions: tuple[str, ...] | None) -> pd.DataFrame:
    """Per unlearned model the highest S over settings of these probes (of all, where ``None``): columns
    ``task, row, seed, value``."""
    part = points[(points["split"] == split) & (points["role"] == "unlearn") & points["s"].notna()]
    wanted = part["condition"] != "none" if conditions is None else part["condition"].isin(conditions)
    return _named(part[wanted].groupby(KEYS)["s"].max())


def before(points: pd.DataFrame, split: str, column: str, role: str = "unlearn") -> pd.DataFrame:
    """The same without a probe, of S or of the retained score."""
    part = points[(points["split"] == split) & (points["role"] == role) & (points["condition"] == "none")]
    return _named(part.groupby(KEYS)[column].mean())


def _named(values: pd.Series) -> pd.DataFrame:
    return values.dropna().rename("value").reset_index().rename(columns={"objective": "task"})


def statements(study: Study) -> list[Statement]:
    """Every statement that the runs can speak to, p-values corrected by Holm over all of them."""
    found = [*_of_grades(study), *_of_distance(study), *_of_noise(study)]
    adjusted = holm([s.effect.p for s in found])
    return [
        Statement(s.split, s.about, s.says, s.effect, s.price, float(p))
        for s, p in zip(found, adjusted, strict=True)
    ]


def pairs(rows: list[str]) -> list[tuple[str, str]]:
    """The row of the lower grade first; rows of one grade are not compared."""
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
                    says = f"after {about}, less of the forgotten is found in `{a}` than in `{b}`"
                    yield Statement(split, about, says, effect, compare(kept, a, b))


def _of_distance(study: Study) -> Iterator[Statement]:
    """Rank correlation over rows, one for each objective and seed, against none."""
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
            says = (
                f"the farther a row moved the weights, the less comes back after {about} (rank correlation)"
            )
            yield Statement(split, about, says, compare_groups(found, [0 * g for g in found]))


def _of_noise(study: Study) -> Iterator[Statement]:
    both = pd.concat([_selectivity(study, role) for role in ("unlearn", "noise")], ignore_index=True)
    for row in study.rows():
        effect = compare(both, row, f"noise as far as {row}")
        if effect is not None:
            says = f"`{row}` forgets more selectively than a random move as far as its own"
            yield Statement("test", "", says, effect)


def _selectivity(study: Study, role: str) -> pd.DataFrame:
    """S minus the retained score without a probe: what is left of the forgotten, against what is kept."""
    s, kept = (before(study.points, "test", column, role) for column in ("s", "retained"))
    both = s.merge(kept, on=["task", "row", "seed"], suffixes=("", "_kept"))
    return both.assign(value=both["value"] - both["value_kept"]).drop(columns="value_kept")


def verdict(said: Statement) -> str:
    """The rule of the page."""
    if said.p != said.p:
        return "cannot be tested"
    if said.p >= ALPHA:
        return "not supported"
    if said.effect.difference.value > 0:
        return "contradicted"
    price = None if said.price is None else said.price.difference
    return "supported, keeping less" if price is not None and price.high < -MARGIN else "supported"


def edges(study: Study) -> dict[str, list[str]]:
    """Rows whose chosen rate is an end of its grid, with the objectives."""
    found: dict[str, list[str]] = {}
    chosen = study.runs[study.runs["role"] == "unlearn"]
    for (objective, row), tried in study.trials.groupby(["objective", "row"]):
        rates = sorted({json.loads(p)["lr"] for p in tried["params"]})
        mine = chosen[(chosen["objective"] == objective) & (chosen["row"] == row)]
        if {json.loads(p)["lr"] for p in mine["params"]} & {rates[0], rates[-1]}:
            found.setdefault(str(row), []).append(str(objective))
    return found


def page(study: Study) -> str:
    """The whole page in Markdown."""
    told = statements(study)
    own = study.runs[study.runs["role"] == "unlearn"]
    head = HEAD.format(
        runs=len(own),
        objectives=", ".join(f"`{o}`" for o in sorted(own["objective"].unique())),
        rows=", ".join(f"`{r}` ({GRADES[r]})" for r in study.rows()),
        seeds=own["seed"].nunique(),
        budget=int(own["forwards"].max()),
        commits=", ".join(sorted({c[:7] for c in own["commit"]})),
        count=len(told),
    )
    lines = [head, "## In short", "", *_short(told), "", "## The rows", "", ROWS_HEAD, *_overview(study)]
    for split in MATCHED:
        mine = [s for s in told if s.split == split]
        lines += ["", f"## {TITLES[split]}", "", SPLIT_HEAD[split], *_means(study, split), ""]
        lines += [MATRIX_HEAD, *_matrix(mine), "", STATEMENTS_HEAD, *_table(mine)]
    lines += ["", f"## {TITLES['test']}", "", NOISE_HEAD, *_table([s for s in told if s.split == "test"])]
    return "\n".join(lines) + "\n"


def _short(told: list[Statement]) -> list[str]:
    """Counts by way of matching, then every statement that chance does not explain."""
    lines = []
    for split, title in TITLES.items():
        mine = [(s, verdict(s)) for s in told if s.split == split]
        said = [v for _, v in mine]
        counts = ", ".join(f"{said.count(v)} {v}" for v in sorted(set(said)))
        where = " (where rows differ without a probe too)" if split == "matched-retain" else ""
        lines += [f"**{title}**{where}: {counts or 'no statement'}.", ""]
        sure = [(s, v) for s, v in mine if v not in OPEN]
        lines += [f"- {s.says}: **{v}** ({_effect(s)}, corrected p = {s.p:.3g})" for s, v in sure]
        lines += [""] if sure else []
    return lines[:-1]


def _effect(s: Statement) -> str:
    d = s.effect.difference
    if "correlation" in s.says:
        return f"{d.value:+.2f} [{d.low:+.2f}, {d.high:+.2f}]"
    return f"{100 * d.value:+.1f} points [{100 * d.low:+.1f}, {100 * d.high:+.1f}]"


def _table(told: list[Statement]) -> list[str]:
    lines = ["| statement | difference of S | p | corrected | retained | pairs | verdict |"]
    lines.append("|---|---|---|---|---|---|---|")
    for s in told:
        price = "" if s.price is None else f"{100 * s.price.difference.value:+.1f}"
        raw, p = ("–" if x != x else f"{x:.3g}" for x in (s.effect.p, s.p))
        numbers = f"{_effect(s)} | {raw} | {p} | {price} | {s.effect.pairs}"
        lines.append(f"| {s.says} | {numbers} | **{verdict(s)}** |")
    return lines


def _matrix(told: list[Statement]) -> list[str]:
    """Differences at a glance: a line per pair of rows, a column per kind of probe."""
    columns = [*FAMILIES, ANY]
    lines = ["| S of a minus S of b, points | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    cells: dict[str, dict[str, str]] = {}
    for s in told:
        if s.price is not None:
            text = f"{100 * s.effect.difference.value:+.0f}"
            pair = s.says.split(" is found in ")[1].replace(" than in ", " − ")
            cells.setdefault(pair, {})[s.about] = text if verdict(s) in OPEN else f"**{text}**"
    return lines + [
        f"| {pair} | " + " | ".join(c.get(x, "–") for x in columns) + " |" for pair, c in cells.items()
    ]


def _overview(study: Study) -> list[str]:
    edge, own = edges(study), study.runs[study.runs["role"] == "unlearn"]
    s, kept = before(study.points, "test", "s"), before(study.points, "test", "retained")
    lines = [
        "| row | grade | forwards | backwards | seconds | peak MiB | ‖Δθ‖ | reached | S | retained | edge |",
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
    """Mean S of every row before and after each kind of probe."""
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


HEAD = """# Does the grade of the optimizer decide how robust forgetting is?

Written by `docs/unlearning_claims.py` from `docs/results/unlearning-full*.parquet`: the {runs} unlearned
models of `zobench run suites/unlearning-full.yaml`. Objectives: {objectives}. Rows and their grades:
{rows}. {seeds} seeds, {budget} forwards at most, code {commits}. A model of 0.45 M parameters, invented
facts: nothing here is about large models.

S is 0 as in the oracle that never saw the facts and 1 as in the full model, both after the same probe; a
statement is about the worst setting of its probe. The published thesis (arXiv 2510.00761, known here
second-hand) is that the lower the grade of the optimizer, the less comes back. The statements say so of
every pair of rows of different grades, every kind of probe and both ways of matching; none was left out
for its outcome.

*Rule.* Difference: mean over objectives of paired differences over seeds, 95 % t interval, paired t test;
p is corrected by Holm over all {count} statements of this page, intervals are not. With corrected p below
0.05 a statement is **supported** if the difference is negative, else **contradicted**; otherwise it is
**not supported** at this scale, which is no proof of equality. **Supported, keeping less**: the 95 %
interval of the difference in retained facts, before the probe, lies below -2 points, so that what looks
robust may be damage.
"""
ROWS_HEAD = """At equal forwards, mean over runs; S and retained facts in %; reached: runs that came down to
the oracle's level; edge: objectives whose tuned rate is an end of its grid, so that a wider one might have
given more. The two zeroth-order rows tune one matrix, the others all weights.
"""
SPLIT_HEAD = {
    "matched-forget": """Every model moved back towards the original until S without a probe is 50 %; runs
that never forgot as much are not here. Mean S in %, worst setting:
""",
    "matched-retain": """Every model moved back towards the original until it keeps the same share of the
retained facts. Rows then differ in how much they have forgotten, without a probe too. Mean S in %, worst
setting:
""",
}
MATRIX_HEAD = """Differences at a glance, the row of lower grade first; bold: corrected p below 0.05.
"""
STATEMENTS_HEAD = """Statement by statement; retained: difference in retained facts before the probe, points.
"""
NOISE_HEAD = """S minus the retained score (0 to 1) without a probe, against the full model moved at random as
far as the row moved it: a move that destroys the model forgets everything and is not selective.
"""


def from_results(folder: Path = RESULTS, name: str = "unlearning-full") -> str:
    tables = (pd.read_parquet(folder / f"{name}{ending}.parquet") for ending in ("", "-runs", "-trials"))
    return page(Study(*tables))


if __name__ == "__main__":
    PAGE.write_text(from_results(), encoding="utf-8")
