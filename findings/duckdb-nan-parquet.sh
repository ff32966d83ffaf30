#!/usr/bin/env bash
# DuckDB leaves NaN rows out when it reads a parquet file that pyarrow wrote
#
# Surprising: a float column of a parquet file holds NaN. `select count(*) ... where isnan(x)` over the file gives 0, and
# so do `x = 'nan'` and `x > 5`, although DuckDB orders NaN above every number. The same query over the same table in
# memory gives the right count. The parquet specification keeps NaN out of a column's minimum and maximum, pyarrow writes
# them so, and DuckDB prunes row groups by these statistics.
# Who meets it: whoever looks for diverged runs, failed sensors or missing scores in parquet files with SQL.
# Way out: `load parquet; set parquet_can_have_nan = true`, or files without statistics on float columns.
# Versions: duckdb 2.0.1, pyarrow 26.0.1 (Linux, Python 3.11). Seen 2026-11-29:
#   in memory: 2 2 2
#   from the file: 0 0 0
#   with parquet_can_have_nan: 2 2 2
# Fails (exit 1) when that is no longer what happens.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "duckdb==2.0.1" "pyarrow==26.0.1"
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import math
import duckdb, pyarrow as pa, pyarrow.parquet as pq

memory = pa.table({"x": [0.25, math.nan, 0.5, math.nan, 4.0]})
pq.write_table(memory, "x.parquet")
asked = ("isnan(x)", "x = 'nan'::double", "x > 5")

def counts(connection, source):
    return [connection.execute(f"select count(*) from {source} where {w}").fetchone()[0] for w in asked]

plain, told = duckdb.connect(), duckdb.connect()
told.execute("load parquet; set parquet_can_have_nan = true")
seen = [counts(plain, "memory"), counts(plain, "'x.parquet'"), counts(told, "'x.parquet'")]
for name, found in zip(("in memory", "from the file", "with parquet_can_have_nan"), seen):
    print(f"{name}:", *found)
assert seen == [[2, 2, 2], [0, 0, 0], [2, 2, 2]], "the behaviour has changed"
PY
