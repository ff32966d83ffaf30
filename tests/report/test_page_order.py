"""The page does not depend on the order in which a table's lines are stored or read.

DuckDB gives the lines of a query without ``order by`` in any order; the random damages found pages that
differed by it.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from synthetic import Entry, Study, make_synthetic

from zobench.report import examples, runpages
from zobench.report.analysis import Analysis, analyse


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The same results with their lines as written, reversed and shuffled."""
    study = Study(
        [Entry("mezo", 0.05), Entry("fzoo", 0.09), Entry("zero", -0.1, "control")],
        tasks={"sentiment": 0.72, "topic": 0.78},
        examples=12,
        steps=8,
        points=3,
    )
    first = make_synthetic(tmp_path_factory.mktemp("order") / "written", study, compact=True)
    found = [first]
    for name in ("reversed", "shuffled"):
        other = shutil.copytree(first, first.with_name(name))
        for path in sorted((other / "runs" / "compact").glob("*.parquet")):
            table = pq.read_table(path)
            order = np.arange(table.num_rows)[::-1]
            if name == "shuffled":
                np.random.default_rng(1).shuffle(order)
            pq.write_table(table.take(pa.array(order)), path)
        found.append(other)
    return found


def outcomes(found: Analysis) -> object:
    rows = ["mezo", "fzoo", "zero"]
    return examples.collect(found.source, found.runs, rows, list(found.ranking.blocks))


def pages(found: Analysis) -> object:
    return runpages._attacks(found.source, sorted(found.runs["run_id"]))


@pytest.mark.parametrize("part", [outcomes, pages])
def test_parts_of_the_page_are_equal(stored: list[Path], part: object) -> None:
    texts = [json.dumps(part(analyse([folder])), default=str) for folder in stored]  # type: ignore[operator]
    assert texts[0] == texts[1] == texts[2]
