"""The table of federated runs in docs/scale.md, from what is committed of suites/federated.yaml.

    python -m zobench.studies.federated RESULTS   # first: docs/results/federated.parquet
    python -m zobench.studies.federated           # the table in docs/scale.md

The file has one line per run and evaluation. The table says how many of the planned seeds it has.
"""

from __future__ import annotations

import re
import sys

import pandas as pd

from zobench.report.source import open_results
from zobench.studies import committed, markdown

NAME, PAGE = "federated", "scale"
SEEDS = 3
"""Seeds of the suite."""
PLACE = re.compile(r"(?<=<!-- federated -->\n).*?(?=<!-- /federated -->)", re.DOTALL)


def compact(results: str) -> pd.DataFrame:
    """One line per run and evaluation; ``rounds`` and ``bytes`` are those of the whole run."""
    found = open_results(results).sql(
        """
        with sent as (
          select run_id, count(*) as rounds, sum(value) as bytes from metrics
          where metric = 'bytes' group by all)
        select r."row", r."group", r.task, r.seed, r.status,
          cast(json_extract(m.params, '$.at') as bigint) as budget, max_by(m.value, m.final) as accuracy,
          max(r.forwards) as forwards, max(r.train_seconds) as seconds, max(s.rounds) as rounds,
          max(s.bytes) as bytes, max(r.git_commit) as commit
        from metrics m join runs r using (run_id) left join sent s using (run_id)
        where m.metric = 'accuracy' and m.split = 'test' and m.condition_kind = 'clean'
        group by all
        """
    )
    return found.sort_values(["task", "row", "seed", "budget"], ignore_index=True)


def table(lines: pd.DataFrame) -> list[str]:
    """Lines of the table, by task and row; accuracy in percent at the end of each run."""
    final = lines[lines["budget"] == lines.groupby(["task", "row", "seed"])["budget"].transform("max")]
    rows = []
    for (task, row), runs in final.groupby(["task", "row"]):
        runs = runs.sort_values("seed")
        diverged = int((runs["status"] == "diverged").sum())
        rows.append(
            [
                str(task),
                str(row),
                ", ".join(f"{100 * value:.1f}" for value in runs["accuracy"]),
                f"{len(runs)} of {SEEDS}" + (f", {diverged} diverged" if diverged else ""),
                _mean(runs["rounds"], ".1f"),
                _mean(runs["bytes"], ",.0f"),
            ]
        )
    head = ["task", "row", "accuracy, by seed", "runs", "rounds, mean", "bytes of all clients, mean"]
    return markdown.table(head, rows)


def _mean(values: pd.Series, form: str) -> str:
    known = values.dropna().astype(float)
    return markdown.NOTHING if known.empty else format(known.mean(), form)


def main() -> None:
    if len(sys.argv) > 1:
        committed.keep(compact(sys.argv[1]), committed.results() / f"{NAME}.parquet")
    lines = table(committed.read(NAME))
    committed.write_page(PAGE, PLACE.sub(lambda _: "\n".join(lines) + "\n", committed.page(PAGE)))


if __name__ == "__main__":
    main()
