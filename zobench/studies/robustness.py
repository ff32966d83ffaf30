"""Writes the results of the full robustness suite as one page, ``docs/robustness-full.md``.

python -m zobench.studies.robustness_results RESULTS   # first: docs/results/robustness-full*.parquet
python -m zobench.studies.robustness
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import pandas as pd
from scipy import special

from zobench.metrics.arrays import ABSOLUTE
from zobench.metrics.intervals import Interval, stratified_groups
from zobench.metrics.measures import SHARE
from zobench.metrics.verdicts import Verdict, Word, judge
from zobench.studies import committed, markdown
from zobench.studies.robustness_results import ENDINGS, NAME, SHARES

MARGIN = 0.02
"""Largest difference of accuracies that does not matter."""
BASE = "zero-shot"
SHOWN = ("zero-shot", "mezo", "fzoo", "zo-adam", "zosa", "sam", "csam")
ALONG = ("mscr-controlled", "no-number", "typos 2", "deepwordbug-like", "option-order")
DEFENDED = ("nano-topic", "smoothllm", "denoised-smoothing", "denoised-smoothing-rge")


@dataclass(frozen=True, slots=True)
class RobustnessStudy:
    """The data of the page: three files."""

    attacks: pd.DataFrame
    numbers: pd.DataFrame
    finals: pd.DataFrame


def study() -> RobustnessStudy:
    """The committed files."""
    return RobustnessStudy(*(committed.read(f"{NAME}{ending}") for ending in ENDINGS))


def page(s: RobustnessStudy) -> str:
    """The whole page as Markdown."""
    parts = [_head(s), _numbers(s), *_attacks(s), _after_tuning(s), _membership(s), _defences(s)]
    return "\n\n".join(parts) + "\n"


def _head(s: RobustnessStudy) -> str:
    runs = s.finals.drop_duplicates(["row", "task", "seed"])
    commits = ", ".join(sorted(c[:7] for c in runs["commit"].dropna().unique()))
    seeds = runs["seed"].nunique()
    said = markdown.rule(
        "the comparisons of a table (numbers against no numbers; all attacks on the base model)",
        f"{100 * MARGIN:g} points of accuracy",
    )
    return f"""# The full robustness suite

{committed.BEFORE_REVISION_2}
*Words changed on 2026-11-29*: a verdict is one of better, worse, equivalent, undecided, as on every page.
Before, "shown" stood for better or worse, and "not shown" for the others. The sentences were made plainer. No
number changed.

Written by `python -m zobench.studies.robustness` from `docs/results/robustness-full*.parquet`:
{len(runs)} runs of `zobench run suites/robustness-full.yaml`, {seeds} seeds, code {commits}. The model has a
million parameters and was trained on generated text, so nothing here applies to large models.

*Rule.* Differences are means over examples and seeds with their two-stage 95 % interval (seeds, then
examples); p is from the t test over seeds that corresponds to the interval. Higher accuracy is better.
"Net loss": accuracy under the budget-matched random baseline (equally many texts with equally large
meaning-preserving edits, see [attacks.md](attacks.md)) minus accuracy under the attack, in points: the effect
of the attack's strategy. The published preset `mscr` samples its answers; its random baseline queries the
same text again, without any edit.

{said}"""


def judged(table: pd.DataFrame, name: str, seeds: pd.Series[int]) -> list[Verdict]:
    """Verdicts on the decrease of accuracy in columns ``name``, ``_low``, ``_high``, ``_p``. The table is one
    family of comparisons."""
    columns = (name, f"{name}_low", f"{name}_high")
    ends = zip(*(table[c] for c in columns), seeds, strict=True)
    differences = [stored_interval(*numbers) for numbers in ends]
    return judge(differences, table[f"{name}_p"].tolist(), margin=MARGIN, higher=False)


def stored_interval(value: float, low: float, high: float, seeds: int) -> Interval:
    """The two-stage interval with its standard error, which the file does not contain: half the width is t
    times the standard error, with seeds - 1 degrees of freedom (normal with one seed). One end may have been
    cut at -1 or 1."""
    df = seeds - 1 if seeds > 1 else np.inf
    half = max(high - value, value - low)
    stderr = 0.0 if half <= ABSOLUTE else half / float(special.stdtrit(df, 0.975))
    return Interval(value, low, high, stderr, df, seeds, 0.95, "two-stage bootstrap, from its ends")


def _numbers(s: RobustnessStudy) -> str:
    verdicts = judged(s.numbers, "gap", s.numbers["seeds"])
    words = [v.word for v in verdicts]
    lines = [
        [
            r["row"],
            r["task"],
            r["arm"].removeprefix("paired-number ").replace("out of range", "1, out of range"),
            *(f"{100 * r[c]:.1f}" for c in ("without", "with")),
            _points(r, "gap"),
            f"{r['only_without']} : {r['only_with']}",
            markdown.p_value(said.p),
            f"**{said.word}**",
        ]
        for r, said in zip(_records(s.numbers), verdicts, strict=True)
    ]
    counts = ", ".join(f"{word} in {words.count(word)}" for word in get_args(Word))
    head = ["row", "task", "sentences", "without", "with", "difference", "discordant", "p", "with numbers"]
    return f"""## Numbers against no numbers

The same irrelevant sentences at the same positions, without and with their numbers; accuracy in %; a positive
difference means that numbers lower the accuracy.
**With numbers, accuracy is {counts}, of {len(words)} comparisons**, mean
difference {100 * s.numbers["gap"].mean():+.1f} points.

{_lines(head, lines)}"""


def _attacks(s: RobustnessStudy) -> Iterator[str]:
    base = s.attacks[(s.attacks["row"] == BASE) & ~s.attacks["task"].isin(DEFENDED[1:])]
    seeds = s.finals[s.finals["row"] == BASE].groupby("task")["seed"].nunique()
    verdicts = judged(base, "beyond_null", base["task"].map(seeds))
    base = base.assign(p=[v.p for v in verdicts], word=[v.word for v in verdicts])
    yield "## Attacks on the base model"
    head = ["attack", "before", "after", "success", "random", "net loss", "p", "against random"]
    head += ["queries", "similarity"]
    for task, part in base.groupby("task", sort=True):
        lines = [
            [
                r["attack"],
                *(markdown.percent(r[c]) for c in SHARES),
                _points(r, "beyond_null"),
                markdown.p_value(r["p"]),
                f"**{r['word']}**",
                "–" if pd.isna(r["queries"]) else f"{r['queries']:.1f}",
                "–" if pd.isna(r["similarity"]) else f"{r['similarity']:.2f}",
            ]
            for r in _records(part)
        ]
        harmful = [f"`{r['attack']}`" for r in _records(part) if r["word"] == "worse"]
        named = ", ".join(harmful) or "no attack"
        yield f"### {task}\n\nWorse than the random baseline: {named}.\n\n{_lines(head, lines)}"


def _after_tuning(s: RobustnessStudy) -> str:
    lines = []
    for task, part in s.attacks[s.attacks["attack"].isin(ALONG)].groupby("task", sort=True):
        for row in (r for r in SHOWN if (part["row"] == r).any()):
            mine = part[part["row"] == row].set_index("attack")
            cells = [markdown.percent(mine["accuracy"].get(a)) for a in ALONG]
            lines.append([str(task), row, markdown.percent(mine["accuracy_before"].max()), *cells])
    return f"""## After tuning

Accuracy on the attacked examples before and after attacks that several tasks have, in %.

{_lines(["task", "row", "before", *ALONG], lines)}"""


def _membership(s: RobustnessStudy) -> str:
    found = s.finals[s.finals["metric"].str.startswith("auc:")]
    names = sorted(found["metric"].unique())
    lines = [
        [row, *(_mean(found[(found["row"] == row) & (found["metric"] == n)]["value"]) for n in names)]
        for row in SHOWN
        if (found["row"] == row).any()
    ]
    return f"""## Membership inference

Area under the ROC curve in %, mean over seeds with its 95 % interval, which is omitted if all seeds agree; 50
is chance. `{BASE}` was not trained on any of the examples.

{_lines(["row", *(f"`{n.removeprefix('auc:')}`" for n in names)], lines)}"""


def _defences(s: RobustnessStudy) -> str:
    clean = s.finals[s.finals["task"].isin(DEFENDED)]
    certified = sorted(m for m in clean["metric"].unique() if m.startswith("certified_accuracy_at_"))
    votes = sorted(m for m in clean["metric"].unique() if m.startswith("defence_success_at_"))
    attacked = s.attacks.set_index(["row", "task", "attack"])["accuracy"]
    lines = []
    for task in DEFENDED:
        for row in (r for r in SHOWN if ((clean["row"] == r) & (clean["task"] == task)).any()):
            mine = clean[(clean["row"] == row) & (clean["task"] == task)]
            values = (mine[mine["metric"] == m]["value"] for m in ("accuracy", *certified, *votes))
            after = (markdown.percent(attacked.get((row, task, a))) for a in ("typos 2", "deepwordbug-like"))
            lines.append([task, row, *map(_mean, values), *after])
    head = ["task", "row", "accuracy", *(f"certified at {m.rsplit('_', 1)[1]}" for m in certified)]
    head += [f"vote against {m.rsplit('_', 1)[1]}" for m in votes] + ["typos 2", "deepwordbug-like"]
    return f"""## Defences of the topic task

Accuracy on all test examples, certified accuracy by radius, success of SmoothLLM's vote against a suffix that
breaks if that many characters are changed, mean with its 95 % interval over seeds; accuracy on the attacked
examples under two attacks. In %.

{_lines(head, lines)}"""


def _lines(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join(markdown.table(head, rows))


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(k): v for k, v in r.items()} for r in table.to_dict("records")]


def _points(r: dict[str, Any], name: str) -> str:
    if r[name] != r[name]:
        return "–"
    return f"{100 * r[name]:+.1f} [{100 * r[f'{name}_low']:+.1f}, {100 * r[f'{name}_high']:+.1f}]"


def _mean(values: pd.Series[float]) -> str:
    n = len(values)
    if n < 2:
        return "–" if not n else f"{100 * values.iloc[0]:.1f}"
    found = stratified_groups([np.asarray(values, dtype=float)]).within(SHARE)
    mean = f"{100 * found.value:.1f}"
    return mean if not found.half else f"{mean} [{100 * found.low:.1f}, {100 * found.high:.1f}]"


def main() -> None:
    committed.write_page("robustness-full", page(study()))


if __name__ == "__main__":
    main()
