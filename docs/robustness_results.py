"""The full robustness suite in small files and on one page: ``docs/robustness-full.md``.

    python docs/robustness_results.py RESULTS   # compact the results folder, then the page
    python docs/robustness_results.py           # the page alone, from docs/results/robustness-full*.parquet

``robustness-full.parquet``: one line per row, task and attack, means over seeds, as on the leaderboard page.
``-numbers.parquet``: numbers against no numbers in the same sentence. ``-finals.parquet``: final measurements
of every run without an attack, and areas of membership inference.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from zobench.metrics.intervals import Interval
from zobench.metrics.paired import holm
from zobench.report import robustness
from zobench.report.analysis import analyse

HERE = Path(__file__).resolve().parent
RESULTS, PAGE, NAME = HERE / "results", HERE / "robustness-full.md", "robustness-full"
ALPHA = 0.05
BASE = "zero-shot"
SHOWN = ("zero-shot", "mezo", "fzoo", "zo-adam", "zosa", "sam", "csam")
ALONG = ("mscr-controlled", "no-number", "typos 2", "deepwordbug-like", "option-order")
NUMBERS = ("accuracy_before", "accuracy", "success_rate", "null_success_rate", "queries", "similarity")
NUMBERS += ("changed_words", "length_ratio")
DEFENDED = ("nano-topic", "smoothllm", "denoised-smoothing", "denoised-smoothing-rge")


@dataclass(frozen=True, slots=True)
class Study:
    """What the page is computed from: the three files."""

    attacks: pd.DataFrame
    numbers: pd.DataFrame
    finals: pd.DataFrame


def compact(folder: Path, to: Path = RESULTS) -> None:
    """The three files from a results folder."""
    found = analyse(folder)
    robust = robustness.collect(found.source, found.ranking)
    attacks = [
        {
            "row": c["row"],
            "task": c["label"],
            "attack": c["condition"],
            **{n: c[n] for n in NUMBERS},
            **_flat("beyond_null", c["null_gap"]),
        }
        for c in robust["measured"]
    ]
    numbers = [
        {
            "row": c["row"],
            "task": c["label"],
            "arm": c["number"],
            "without": c["accuracy_plain"],
            "with": c["accuracy_number"],
            "pairs": c["n"],
            "seeds": c["seeds"],
            "only_without": c["discordant"][0],
            "only_with": c["discordant"][1],
            **_flat("gap", c["gap"]),
        }
        for c in robust["numbers"]
    ]
    f = found.source.finals
    kept = (f["condition_kind"] == "clean") | f["metric"].str.startswith("auc:")
    runs = found.source.runs.set_index("run_id")
    finals = f[kept & (f["split"] == "test") & (f["purpose"] != "tuning")]
    finals = finals.assign(
        task=finals["run_id"].map(runs["task"]), commit=finals["run_id"].map(runs["git_commit"])
    )
    columns = ["row", "task", "seed", "condition", "metric", "value", "commit"]
    for ending, table in (
        ("", pd.DataFrame(attacks)),
        ("-numbers", pd.DataFrame(numbers)),
        ("-finals", finals[columns]),
    ):
        few = table.assign(**{c: table[c].round(5) for c in table.select_dtypes("float").columns})
        few.to_parquet(to / f"{NAME}{ending}.parquet", index=False, compression="zstd")


def _flat(name: str, interval: Interval | None) -> dict[str, float]:
    """Value, ends and the p-value of the t test that the interval belongs to."""
    if interval is None:
        return {f"{name}{e}": float("nan") for e in ("", "_low", "_high", "_p")}
    t = abs(interval.value) / interval.stderr if interval.stderr > 0 else float("nan")
    p = 2 * float(special.stdtr(interval.df, -t)) if t == t else float("nan")
    return {
        name: interval.value,
        f"{name}_low": interval.low,
        f"{name}_high": interval.high,
        f"{name}_p": p,
    }


def study(folder: Path = RESULTS) -> Study:
    return Study(*(pd.read_parquet(folder / f"{NAME}{e}.parquet") for e in ("", "-numbers", "-finals")))


def page(s: Study) -> str:
    """The whole page as Markdown."""
    parts = [_head(s), _numbers(s), *_attacks(s), _after_tuning(s), _membership(s), _defences(s)]
    return "\n\n".join(parts) + "\n"


def _head(s: Study) -> str:
    runs = s.finals.drop_duplicates(["row", "task", "seed"])
    commits = ", ".join(sorted(c[:7] for c in runs["commit"].dropna().unique()))
    seeds = runs["seed"].nunique()
    return f"""# The full robustness suite

Written by `docs/robustness_results.py` from `docs/results/robustness-full*.parquet`: {len(runs)} runs of
`zobench run suites/robustness-full.yaml`, {seeds} seeds, code {commits}. A model of a million parameters that
learned generated text: nothing here is about large models.

*Rule.* Differences are means over examples and seeds with their two-stage 95 % interval (seeds, then
examples); p is of the t test over seeds that the interval belongs to, corrected by Holm within its table.
A difference is **shown** where corrected p is below {ALPHA}; otherwise it is **not shown**, which is no proof
of equality. "Beyond the null": accuracy under the null (as many texts of as large meaning-preserving edits,
see [attacks.md](attacks.md)) minus accuracy under the attack, in points: what the attack's idea adds. The
published preset `mscr` samples its answers, and its null is the same text asked again, without any edit."""


def _numbers(s: Study) -> str:
    table = s.numbers.assign(p=holm(s.numbers["gap_p"].tolist()))
    lines = [
        [
            r["row"],
            r["task"],
            r["arm"].removeprefix("paired-number ").replace("out of range", "1, out of range"),
            *(f"{100 * r[c]:.1f}" for c in ("without", "with")),
            _points(r, "gap"),
            f"{r['only_without']} : {r['only_with']}",
            _p(r["p"]),
            "**shown**" if r["p"] < ALPHA else "not shown",
        ]
        for r in _records(table)
    ]
    shown = int((table["p"] < ALPHA).sum())
    head = ["row", "task", "sentences", "without", "with", "difference", "discordant", "p", ""]
    return f"""## Numbers against no numbers

The same irrelevant sentences at the same places, without and with their numbers; accuracy in %; a positive
difference means that numbers harm. **Shown in {shown} of {len(table)} comparisons**, mean difference
{100 * table["gap"].mean():+.1f} points.

{_table(head, lines)}"""


def _attacks(s: Study) -> Iterator[str]:
    base = s.attacks[(s.attacks["row"] == BASE) & ~s.attacks["task"].isin(DEFENDED[1:])].copy()
    base["p"] = holm(base["beyond_null_p"].tolist())
    yield "## What each attack does to the base model"
    head = ["attack", "before", "after", "success", "null", "beyond the null", "p", "queries", "similarity"]
    for task, part in base.groupby("task", sort=True):
        lines = [
            [
                r["attack"],
                *(_percent(r[c]) for c in NUMBERS[:4]),
                _points(r, "beyond_null"),
                _p(r["p"]),
                "–" if pd.isna(r["queries"]) else f"{r['queries']:.1f}",
                "–" if pd.isna(r["similarity"]) else f"{r['similarity']:.2f}",
            ]
            for r in _records(part)
        ]
        shown = part[(part["p"] < ALPHA) & (part["beyond_null"] > 0)]["attack"].tolist()
        said = ", ".join(f"`{a}`" for a in shown) if shown else "no attack"
        yield f"### {task}\n\nBeyond its null, shown: {said}.\n\n{_table(head, lines)}"


def _after_tuning(s: Study) -> str:
    lines = []
    for task, part in s.attacks[s.attacks["attack"].isin(ALONG)].groupby("task", sort=True):
        for row in (r for r in SHOWN if (part["row"] == r).any()):
            mine = part[part["row"] == row].set_index("attack")
            cells = [f"{_percent(mine['accuracy'].get(a))}" for a in ALONG]
            lines.append([task, row, _percent(mine["accuracy_before"].max()), *cells])
    return f"""## After tuning

Accuracy of the attacked rows before and after attacks that several tasks have, in %.

{_table(["task", "row", "before", *ALONG], lines)}"""


def _membership(s: Study) -> str:
    found = s.finals[s.finals["metric"].str.startswith("auc:")]
    names = sorted(found["metric"].unique())
    lines = [
        [row, *(_mean(found[(found["row"] == row) & (found["metric"] == n)]["value"]) for n in names)]
        for row in SHOWN
        if (found["row"] == row).any()
    ]
    return f"""## Membership inference

Area under the curve in %, mean over seeds with its 95 % t interval; 50 is chance. `{BASE}` was trained on
none of the rows.

{_table(["row", *(f"`{n.removeprefix('auc:')}`" for n in names)], lines)}"""


def _defences(s: Study) -> str:
    clean = s.finals[s.finals["task"].isin(DEFENDED)]
    certified = sorted(m for m in clean["metric"].unique() if m.startswith("certified_accuracy_at_"))
    votes = sorted(m for m in clean["metric"].unique() if m.startswith("defence_success_at_"))
    attacked = s.attacks.set_index(["row", "task", "attack"])["accuracy"]
    lines = []
    for task in DEFENDED:
        for row in (r for r in SHOWN if ((clean["row"] == r) & (clean["task"] == task)).any()):
            mine = clean[(clean["row"] == row) & (clean["task"] == task)]
            values = (mine[mine["metric"] == m]["value"] for m in ("accuracy", *certified, *votes))
            after = (_percent(attacked.get((row, task, a))) for a in ("typos 2", "deepwordbug-like"))
            lines.append([task, row, *map(_mean, values), *after])
    head = ["task", "row", "accuracy", *(f"certified at {m.rsplit('_', 1)[1]}" for m in certified)]
    head += [f"vote against {m.rsplit('_', 1)[1]}" for m in votes] + ["typos 2", "deepwordbug-like"]
    return f"""## Defences of the topic task

Accuracy of all test rows, certified accuracy by radius, success of SmoothLLM's vote against a suffix that
breaks when so many characters are changed, mean ± 95 % t interval over seeds; accuracy of the attacked rows
under two attacks. In %.

{_table(head, lines)}"""


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(k): v for k, v in r.items()} for r in table.to_dict("records")]


def _points(r: dict[str, Any], name: str) -> str:
    if r[name] != r[name]:
        return "–"
    return f"{100 * r[name]:+.1f} [{100 * r[f'{name}_low']:+.1f}, {100 * r[f'{name}_high']:+.1f}]"


def _p(p: float) -> str:
    return "–" if p != p else f"{p:.3g}"


def _percent(value: Any) -> str:
    return "–" if pd.isna(value) else f"{100 * value:.1f}"


def _mean(values: pd.Series[float]) -> str:
    n = len(values)
    if n < 2:
        return "–" if not n else f"{100 * values.iloc[0]:.1f}"
    half = special.stdtrit(n - 1, 0.975) * values.std() / np.sqrt(n)
    return f"{100 * values.mean():.1f} ± {100 * half:.1f}"


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(r) + " |" for r in rows)


if __name__ == "__main__":
    if sys.argv[1:]:
        compact(Path(sys.argv[1]))
    PAGE.write_text(page(study()), encoding="utf-8")
