"""A folder that can be uploaded to the Hugging Face hub as a data set: one parquet file per table and a card.

Nothing is uploaded. Names from results stand in the card as JSON texts, so that they can neither end its
metadata nor add to it.
"""

from __future__ import annotations

import json
from pathlib import Path

from zobench.store.gathering import write_parts
from zobench.store.reader import Folders, locate, parts, read, results_paths
from zobench.store.schema import TABLES

_MEANING = {
    "runs": "one record per run: specification, status, cost, environment",
    "steps": "one record per optimizer step: losses, seeds, coefficients",
    "metrics": "one record per measured number",
    "predictions": "one record per test example of the final state",
    "attacks": "one record per attacked example, with its texts",
    "failures": "measurements that failed",
}


def write_hub_folder(folders: Folders, output: str | Path) -> list[Path]:
    """Write ``README.md`` and ``data/TABLE.parquet`` of every table that has records; returns the paths.

    Raises:
        ValueError: ``output`` exists, or there is no finished run.
        DamagedFile: a file differs from its recorded digest.
    """
    target = Path(output)
    if target.exists():
        raise ValueError(f"{target} exists already; choose a new folder")
    runs = read(folders, ["runs"]).runs
    if runs.empty:
        raise ValueError("no finished run in these results")
    source = locate(results_paths(folders), tuple(TABLES))
    (target / "data").mkdir(parents=True)
    written = {}
    for name in TABLES:
        path = target / "data" / f"{name}.parquet"
        count = write_parts(path, name, parts(source, name))
        if count:
            written[name] = count
        else:
            path.unlink()
    suites, rows = (sorted(set(runs[c].dropna().map(str))) for c in ("suite", "row"))
    card = target / "README.md"
    card.write_text(_card(suites, rows, written), encoding="utf-8")
    return [card, *(target / "data" / f"{name}.parquet" for name in written)]


def _card(suites: list[str], rows: list[str], written: dict[str, int]) -> str:
    title = json.dumps(f"zobench results: {', '.join(suites)}"[:200])
    configs = [f"- config_name: {name}\n  data_files: data/{name}.parquet" for name in written]
    tables = [f"| `{name}` | {count:,} | {_MEANING[name]} |" for name, count in written.items()]
    listed = "\n".join(f"    {json.dumps(row)}" for row in rows)
    return "\n".join(
        [
            "---",
            f"pretty_name: {title}",
            "tags: [zobench, zeroth-order-optimization, benchmark]",
            "configs:",
            *configs,
            "---",
            "",
            "# Results of zobench",
            "",
            "| table | records | contents |",
            "|---|---|---|",
            *tables,
            "",
            f"{len(rows)} leaderboard rows:",
            "",
            listed,
            "",
            "Every run is identified by its specification and the digests of model and data (column",
            "`run_id`). The column `environment` describes the machine; the tables `predictions` and",
            "`attacks` contain texts of the data, whose licence applies: state it here before publishing.",
            "",
        ]
    )
