"""The tables of docs/rewards.md, from what is committed of suites/rewards.yaml.

    python -m zobench.studies.rewards RESULTS TRIALS   # first: docs/results/rewards.parquet
    python -m zobench.studies.rewards                  # the tables in docs/rewards.md

RESULTS is the folder of the suite, TRIALS that of the trials from which its learning rates were chosen. The
file has one line per run and evaluation: test accuracy of a result, validation accuracy of a trial.
"""

from __future__ import annotations

import re
import sys

import pandas as pd

from zobench.report.source import open_results
from zobench.studies import committed, markdown

NAME = "rewards"
EQUAL_TOKENS = 60_000
"""Generated tokens at which rows are compared in the second column."""
PLACE = re.compile(r"(?<=<!-- results -->\n).*?(?=<!-- /results -->)", re.DOTALL)
TRIALS = re.compile(r"(?<=<!-- trials -->\n).*?(?=<!-- /trials -->)", re.DOTALL)


def compact(results: str, trials: str) -> pd.DataFrame:
    """One line per run and evaluation of both folders."""
    found = [_evaluations(results, "result", "test"), _evaluations(trials, "tuning", "validation")]
    columns = ["purpose", "row", "lr", "seed", "at"]
    lines = pd.concat(found)
    # Trials belong to no plan of their own, which the names of their rows say.
    lines["row"] = lines["row"].str.replace(r" \(not in the plan: .*\)", "", regex=True)
    return lines.sort_values(columns, ignore_index=True)


def _evaluations(folder: str, purpose: str, split: str) -> pd.DataFrame:
    return open_results(folder, every=purpose == "tuning").sql(
        f"""
        select r.purpose, r."row", r."group", try_cast(json_extract(r.method_params, '$.lr') as double) as lr,
          r.seed, cast(json_extract(m.params, '$.at') as bigint) as at, m.forwards, m.tokens,
          m.generated_tokens, max_by(m.value, m.final) as accuracy, max(a.value) as answer_tokens,
          max(r.train_seconds) as seconds, max(r.git_commit) as commit
        from metrics m join runs r using (run_id)
        left join metrics a on a.run_id = m.run_id and a.metric = 'answer_tokens' and a.params = m.params
        where m.metric = 'accuracy' and m.split = '{split}' and m.condition_kind = 'clean'
          and r.purpose = '{purpose}' and r.status = 'done'
        group by all
        """
    )


def table(lines: pd.DataFrame) -> list[str]:
    """Lines of the results: trained rows, best first, then baselines."""
    runs = lines[lines["purpose"] == "result"]
    final = runs[runs["at"] == runs.groupby(["row", "seed"])["at"].transform("max")]
    order = final.groupby(["group", "row"])["accuracy"].mean().reset_index()
    order = order.sort_values(["group", "accuracy"], ascending=[False, False])
    head = ["row", "success, mean", "seeds", f"at {EQUAL_TOKENS // 1000}k tokens", "generated tokens"]
    shown = []
    for row in order["row"]:
        mine = final[final["row"] == row].sort_values("seed")
        spent = float(mine["generated_tokens"].astype(float).fillna(0).mean())
        shown.append(
            [
                row,
                markdown.percent(mine["accuracy"].mean()),
                ", ".join(f"{100 * value:.1f}" for value in mine["accuracy"]),
                markdown.percent(_at_tokens(runs[runs["row"] == row]) if spent else None),
                f"{spent:,.0f}" if spent else markdown.NOTHING,
                f"{mine['answer_tokens'].mean():.1f}",
            ]
        )
    return markdown.table([*head, "tokens per test answer"], shown)


def _at_tokens(runs: pd.DataFrame) -> float | None:
    """Mean accuracy of the runs at their last evaluation within the tokens; ``None`` without training."""
    within = runs[runs["generated_tokens"] <= EQUAL_TOKENS].sort_values("at").groupby("seed").last()
    return None if within.empty else float(within["accuracy"].mean())


def trials(lines: pd.DataFrame) -> list[str]:
    """Lines of the trials: validation accuracy by row and learning rate."""
    tried = lines[lines["purpose"] == "tuning"]
    rows = [
        [
            str(row),
            ", ".join(f"{lr:g}: {100 * value:.0f}" for lr, value in zip(g["lr"], g["accuracy"], strict=True)),
        ]
        for row, g in tried.sort_values("lr").groupby("row")
    ]
    return markdown.table(["row", "learning rate: validation accuracy"], rows)


def curves(lines: pd.DataFrame) -> list[str]:
    """Lines of mean accuracy by forward passes."""
    runs = lines[(lines["purpose"] == "result") & (lines["group"] == "method")]
    means = runs.groupby(["row", "at"])["accuracy"].mean().unstack()
    rows = [[str(row), *(markdown.percent(value) for value in values)] for row, values in means.iterrows()]
    return markdown.table(["row", *(f"{at}" for at in means.columns)], rows)


def parts(lines: pd.DataFrame) -> list[str]:
    """Lines of both tables of results."""
    return [*table(lines), "", "Mean success by forward passes:", "", *curves(lines)]


def main() -> None:
    if len(sys.argv) > 2:
        committed.keep(compact(sys.argv[1], sys.argv[2]), committed.results() / f"{NAME}.parquet")
    lines = committed.read(NAME)
    text = committed.page(NAME)
    text = PLACE.sub(lambda _: "\n".join(parts(lines)) + "\n", text)
    committed.write_page(NAME, TRIALS.sub(lambda _: "\n".join(trials(lines)) + "\n", text))


if __name__ == "__main__":
    main()
