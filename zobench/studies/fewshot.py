"""The table of the README: the default suite's results, from what is committed of them.

    python -m zobench.studies.fewshot RESULTS   # first: docs/results/fewshot.parquet, of suites/fewshot.yaml
    python -m zobench.studies.fewshot           # the table in README.md

The file has one line per row, task, seed and condition: final test accuracy, clean, under an attack and under
its budget-matched random baseline.
"""

from __future__ import annotations

import re
import sys
from typing import Any

import pandas as pd

from zobench.report.leaderboard import load
from zobench.report.ranking import Standing, rank
from zobench.report.source import open_results
from zobench.studies import committed, markdown

NAME = "fewshot"
TITLES = {
    "fzoo": "FZOO",
    "zo-adam": "ZO-Adam",
    "mezo": "MeZO",
    "zo-sgd-momentum": "ZO-SGD, momentum",
    "adamw": "AdamW, first order, 240 forwards",
    "mezo shuffled labels": "MeZO, shuffled labels",
    "in-context": "in-context, 8 shots",
}
ATTACKS = {"char-typos": "char typos", "irrelevant-sentence": "irrelevant sentence"}
PLACE = re.compile(r"(?<=<!-- fewshot -->\n).*?(?=<!-- /fewshot -->)", re.DOTALL)


def compact(results: str) -> pd.DataFrame:
    """The final accuracies of a results folder."""
    source = open_results(results)
    finals = source.finals[(source.finals["metric"] == "accuracy") & (source.finals["split"] == "test")]
    kept = finals[finals["condition_kind"].isin(["clean", "attack", "null"])]
    runs = source.runs.set_index("run_id")
    task, commit = (kept["run_id"].map(runs[c]) for c in ("task", "git_commit"))
    columns = ["row", "group", "task", "seed", "condition_kind", "condition", "value", "commit"]
    return kept.assign(task=task, commit=commit)[columns].sort_values(columns[:6], ignore_index=True)


def table(finals: pd.DataFrame) -> list[str]:
    """Lines of the table: ranked rows, then baselines, best first."""
    clean = finals[finals["condition_kind"] == "clean"]
    about: dict[str, Any] = {"usable": True, "flag": "", "status": "done", "primary_metric": "accuracy"}
    ranking = rank(clean.assign(block=clean["task"], label=clean["task"], **about), load(NAME), {})
    means = finals.groupby(["row", "condition", "condition_kind"])["value"].mean()
    board, lines = ranking.board, []
    for s in ranking.standings:
        cells = [*(s.blocks.get(b) for b in ranking.blocks), s.interval]
        shown = ["–" if i is None else f"{board.show(i.value)} {board.spread(i)}".rstrip() for i in cells]
        lines.append(
            [_place(s), TITLES.get(s.row, s.row), *shown, *(_attacked(means, s.row, a) for a in ATTACKS)]
        )
    head = ["rank", "row", *(b.removeprefix("nano-") for b in ranking.blocks), "mean"]
    return markdown.table([*head, *(f"{title} (net loss)" for title in ATTACKS.values())], lines)


def _place(s: Standing) -> str:
    return "baseline" if s.rank is None else f"{s.rank[0]} ({s.rank[1]}–{s.rank[2]})"


def _attacked(means: pd.Series, row: str, attack: str) -> str:
    if (row, attack, "attack") not in means.index:
        return markdown.NOTHING
    after, null = means[row, attack, "attack"], means[row, attack, "null"]
    return f"{100 * after:.1f} ({100 * (null - after):+.1f})".replace("-", "−")


def main() -> None:
    if len(sys.argv) > 1:
        committed.keep(compact(sys.argv[1]), committed.results() / f"{NAME}.parquet")
    lines = "\n".join(table(committed.read(NAME))) + "\n"
    readme = committed.docs().parent / "README.md"
    text = readme.read_text(encoding="utf-8")
    assert PLACE.search(text), "README.md lacks <!-- fewshot -->"
    readme.write_text(PLACE.sub(lambda _: lines, text), encoding="utf-8")


if __name__ == "__main__":
    main()
