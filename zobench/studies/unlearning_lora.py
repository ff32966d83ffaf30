"""The table of suites/unlearning-lora.yaml in docs/unlearning.md.

    python -m zobench.studies.unlearning_lora RESULTS   # first: docs/results/unlearning-lora.parquet
    python -m zobench.studies.unlearning_lora           # the table in docs/unlearning.md

The file has one line per run, probed model (``split``) and number of bits (0: not rounded): forget score,
retained score, recovery rate (``s``), and what rounding left of the change.
"""

from __future__ import annotations

import json
import re
import sys

import pandas as pd

from zobench.report import forgetting
from zobench.report.source import Source, open_results
from zobench.studies import committed, markdown

NAME, PAGE = "unlearning-lora", "unlearning"
PLACE = re.compile(r"(?<=<!-- unlearning-lora -->\n).*?(?=<!-- /unlearning-lora -->)", re.DOTALL)
ROUNDING = ("codes_flipped", "change_kept")
KEYS = ["objective", "row", "seed", "split", "bits"]
BITS = (0, 8, 4, 3)
SHOWN = {"matched-retain": "equal retention", "test": "equal forward passes"}


def compact(results: str) -> pd.DataFrame:
    """One line per run, probed model and number of bits."""
    source = open_results(results)
    about = source.runs.set_index("run_id")
    points = forgetting.probed(source).assign(objective=lambda d: d["run_id"].map(about["task"]))
    found = points.assign(
        bits=points["params"].map(_bits),
        status=points["run_id"].map(about["status"]),
        commit=points["run_id"].map(about["git_commit"]),
    ).merge(_rounding(source), how="left", on=["run_id", "split", "bits"])
    numbers = ["value", "retained", "s", *ROUNDING]
    found[numbers] = found[numbers].astype(float).round(5)
    columns = [*KEYS, "role", *numbers, "status", "commit"]
    return found[columns].sort_values(KEYS, ignore_index=True)


def _bits(params: str) -> int:
    return int(json.loads(params).get("bits", 0))


def _rounding(source: Source) -> pd.DataFrame:
    """What rounding left of the change, by run, probed model and bits."""
    f = source.finals
    mine = f[(f["condition"] == "quantize") & f["metric"].isin(ROUNDING)]
    wide = mine.assign(bits=mine["params"].map(_bits)).pivot_table(
        index=["run_id", "split", "bits"], columns="metric", values="value"
    )
    return wide.reindex(columns=list(ROUNDING)).reset_index()


def table(lines: pd.DataFrame) -> list[str]:
    """Lines of the table: rows that unlearn, at equal retention and at equal forward passes."""
    rows = []
    for split, named in SHOWN.items():
        mine = lines[(lines["role"] == "unlearn") & (lines["split"] == split)]
        for (objective, row, seed), points in mine.groupby(["objective", "row", "seed"], sort=True):
            by = points.set_index("bits")
            rows.append(
                [
                    named,
                    str(objective),
                    str(row),
                    str(seed),
                    *(markdown.percent(by["s"].get(bits)) for bits in BITS),
                    *(markdown.percent(by["retained"].get(bits)) for bits in (0, 4)),
                    markdown.percent(by["codes_flipped"].get(4)),
                    f"{by['change_kept'][4]:.1f}" if by["change_kept"].notna().any() else markdown.NOTHING,
                ]
            )
    head = ["compared at", "objective", "row", "seed", "not rounded", "8 bits", "4 bits", "3 bits"]
    return markdown.table([*head, "retained", "at 4 bits", "codes flipped", "change kept"], rows)


def main() -> None:
    if len(sys.argv) > 1:
        committed.keep(compact(sys.argv[1]), committed.results() / f"{NAME}.parquet")
    lines = table(committed.read(NAME))
    committed.write_page(PAGE, PLACE.sub(lambda _: "\n".join(lines) + "\n", committed.page(PAGE)))


if __name__ == "__main__":
    main()
