"""SQL over results: NaN is counted, only files of the results are read, and folder names are not treated as
patterns."""

from __future__ import annotations

import math
from pathlib import Path

import duckdb
import pytest

from zobench.report import source as report_source
from zobench.store import compact, query, read
from zobench.store.writer import RunFolder

LOSSES = (0.25, math.nan, 0.5, math.nan, 4.0)


def write(results: Path, run_id: str) -> None:
    """A finished run whose losses hold NaN."""
    folder = RunFolder(results / "runs" / run_id)
    folder.path.mkdir(parents=True, exist_ok=True)
    steps = [{"run_id": run_id, "step": i, "loss": loss} for i, loss in enumerate(LOSSES)]
    folder.finish("done", {"runs": [{"run_id": run_id, "row": "r", "status": "done"}], "steps": steps})


@pytest.fixture(params=["loose", "compacted"])
def results(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    folder = tmp_path / "results"
    write(folder, "a")
    write(folder, "b")
    if request.param == "compacted":
        compact(folder)
    return folder


NAN = [
    ("select count(*) as n from steps where isnan(loss)", 4),
    ("select count(*) as n from steps where not isnan(loss)", 6),
    ("select count(*) as n from steps where loss > 3", 6),  # DuckDB, as PostgreSQL, orders NaN above all
    ("select count(*) as n from steps where loss = 'nan'::double", 4),
    ("select count(*) as n from steps where loss >= 'infinity'::double", 4),
    ("select count(*) as n from steps where loss not between 0 and 10", 4),
    ("select count(*) as n from (select * from steps order by loss desc limit 4) where isnan(loss)", 4),
    ("select count(*) as n from steps s join (select 'nan'::double as loss) k on s.loss = k.loss", 4),
    ("select count(isnan(m)) as n from (select max(loss) as m from steps) where isnan(m)", 1),
]


@pytest.mark.parametrize(("sql", "right"), NAN)
def test_nan_rows_are_found_in_files_whose_statistics_leave_them_out(
    results: Path, sql: str, right: int, tmp_path: Path
) -> None:
    assert query(sql, results)["n"].item() == right
    with report_source.connect([str(results)], str(tmp_path)) as connection:
        assert connection.execute(sql).fetchone() == (right,)


REFUSED = [
    "copy runs to '{target}'",
    "attach '{target}' as other",
    "install httpfs",
    "set threads = 1",
    "create table t as select 1",
    "select 1; select 2",
    "explain analyze copy runs to '{target}'",
    "/* ä */ explain /* ä */ (analyze, format json) copy runs to '{target}'",
    "explain analyze create table t as select 1",
    "explain install httpfs",
    "",
]
CLOSED = [
    "select * from read_csv('{secret}')",
    "select * from read_text('{secret}')",
    "select * from '{secret}'",
    "select * from glob('{folder}/*')",
]


@pytest.mark.parametrize("sql", [*REFUSED, *CLOSED])
def test_a_query_reads_the_results_and_nothing_else(results: Path, tmp_path: Path, sql: str) -> None:
    secret, target = tmp_path / "secret.csv", tmp_path / "written.csv"
    secret.write_text("a,b\n1,2\n")
    text = sql.format(secret=secret, target=target, folder=tmp_path)
    with pytest.raises(ValueError if sql in REFUSED else duckdb.Error):
        query(text, results)
    assert not target.exists()


@pytest.mark.parametrize(
    "how", ["explain analyze", "explain", "explain (analyze)", "EXPLAIN /* x */ ANALYZE"]
)
def test_no_query_writes_to_a_table_that_it_may_read(results: Path, how: str) -> None:
    """EXPLAIN ANALYZE executes a COPY, and the tables are the files that DuckDB may open."""
    tables = {path: path.read_bytes() for path in results.rglob("*.parquet")}
    for path in tables:
        with pytest.raises(ValueError, match="a query must be one SELECT"):
            query(f"{how} copy (select 1 as a) to '{path}' (format parquet, use_tmp_file false)", results)
    assert {path: path.read_bytes() for path in results.rglob("*.parquet")} == tables


def test_what_a_query_may_be(results: Path) -> None:
    for sql in (
        "explain analyze select * from runs where row = 'ä'",
        "explain (analyze, format json) with r as (from runs) from r",
        "explain /* copy */ values (1)",
        "show tables",
    ):
        assert len(query(sql, results)) > 0


def test_variables_of_the_process_are_no_tables(results: Path) -> None:
    import pandas as pd

    frame = pd.DataFrame({"x": [1]})
    with pytest.raises(duckdb.CatalogException, match="frame"):
        query("select * from frame", results)
    assert len(frame) == 1


def test_files_may_be_opened_when_asked(results: Path, tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    asked = f"select a from read_csv('{tmp_path / 'other.csv'}')"
    assert query(asked, results, allow_files=True)["a"].item() == 1
    query(f"copy runs to '{tmp_path / 'out.csv'}'", results, allow_files=True)
    assert (tmp_path / "out.csv").read_text().startswith("run_id")
    for sql in (
        "explain select 1",
        "with r as (select * from runs) select count(*) as n from r",
        "from runs",
        "describe steps",
    ):
        assert len(query(sql, results)) > 0


@pytest.mark.parametrize("name", ["a*", "a[1]", "a?", "it's", "**"])
def test_a_folder_is_never_a_pattern(tmp_path: Path, name: str) -> None:
    for other in ("ab", "a1", "axy/deep", name):
        write(tmp_path / other, "".join(c for c in other if c.isalnum()) or "x")
    own = read(tmp_path / name).runs["run_id"].tolist()
    assert len(own) == 1
    assert query("select run_id from runs", tmp_path / name)["run_id"].tolist() == own
    compact(tmp_path / name)
    assert query("select run_id from runs", tmp_path / name)["run_id"].tolist() == own
    with report_source.connect([str(tmp_path / name)], str(tmp_path)) as connection:
        assert connection.execute("select run_id from runs").fetchall() == [(own[0],)]


def test_query_and_read_give_every_column_the_same_type(tmp_path: Path) -> None:
    """Nullable whole numbers, truth values and texts had other types in a query than in a read table."""
    import pandas as pd

    from zobench.store.schema import TABLES

    folder = RunFolder(tmp_path / "runs" / "a")
    folder.path.mkdir(parents=True)
    values = {"run_id": "a", "seeds": [2**64 - 1], "position": 3, "strict_correct": True, "warnings": None}
    rows = {name: [{k: v for k, v in values.items() if k in TABLES[name].names}] for name in TABLES}
    rows["runs"][0] |= {"status": "done", "row": "r"}
    for name in ("predictions", "attacks"):
        rows[name].append({"run_id": "a"})
    folder.finish("done", rows)
    results = read(tmp_path)
    for name in TABLES:
        asked = query(f"select * from {name}", tmp_path)
        pd.testing.assert_frame_equal(asked[list(TABLES[name].names)], results.frame(name), obj=name)


def test_sums_of_whole_numbers_are_whole_numbers(results: Path) -> None:
    found = query("select sum(step) as steps, count(*) as n, avg(step) as mean from steps", results)
    assert found.dtypes.map(str).to_dict() == {"steps": "int64", "n": "int64", "mean": "float64"}
    assert found["steps"].item() == 20
