"""SQL over results, and results folders whose tables a stranger wrote."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from reliability.fuzzing import Surface, refusals
from reliability.strange_files import BYTES, SEEDS, flipped, other_table
from store.forging import forge_table

SECRET = "the secret of another folder"
SQL_PIECES = st.sampled_from(
    [
        *("select ", "* ", "from ", "runs ", "steps ", "metrics ", "finals ", "where ", "row ", "= 'r' "),
        *("count(*) ", "group by ", "order by ", "all ", "limit 3 ", "with x as (select 1) ", "union "),
        *(", ", "( ", ") ", "; ", "copy runs to '{target}' ", "attach '{target}' ", "install httpfs "),
        *("load httpfs ", "pragma version ", "set ", "threads = 1 ", "read_csv('{secret}') "),
        *("read_text('{secret}') ", "'{secret}' ", "glob('{folder}/*') ", "explain ", "analyze "),
        *("describe ", "export database '{target}' ", "import database '{folder}' ", "checkpoint "),
        *("create table t as ", "insert into runs ", "update runs set row = 'x' ", "drop view runs "),
        *("delete from runs ", "read_parquet('{folder}/**') ", "parquet_metadata('{secret}') "),
        *("duckdb_secrets() ", "getenv('HOME') ", "\x00", "--", "/*", "'", '"', "$$", "\ud800"),
        *("isnan(loss) ", "1/0 ", "'x'::int ", "9" * 60, "call ", "values (1) "),
    ]
)
SQLS = st.one_of(
    st.lists(SQL_PIECES, min_size=1, max_size=12).map("".join),
    st.builds("select {} from {} {}".format, SQL_PIECES, SQL_PIECES, SQL_PIECES),
    st.builds("{} {}".format, SQL_PIECES, SQL_PIECES),
    st.text(max_size=30),
)


def _results(folder: Path) -> Path:
    """Two finished runs with every table, and an unfinished one."""
    from zobench.store.writer import RunFolder

    for i, run_id in enumerate(("a1", "b2")):
        run = RunFolder(folder / "runs" / run_id)
        run.path.mkdir(parents=True)
        place = {"run_id": run_id, "task": "t", "split": "test", "n": 4}
        about = {"condition_kind": "clean", "condition": "", "metric": "accuracy"}
        rows = {
            "runs": [
                {
                    "run_id": run_id, "suite": "s", "row": f"r{i}", "group": "method", "purpose": "result",
                    "status": "done", "model": "m", "task": "t", "task_params": "{}", "method": "mezo",
                    "method_params": "{}", "primary_metric": "accuracy", "seed": 1, "forwards": 8,
                    "budget_forwards": 8, "spec": "{}", "environment": "{}", "warnings": "[]",
                }
            ],
            "steps": [
                {"run_id": run_id, "step": k, "forwards": 2 * k, "loss": 1 / (k + 1)} for k in range(4)
            ],
            "metrics": [
                {**place, **about, "forwards": f, "step": f // 2, "value": 0.5 + f / 100, "final": f == 8}
                for f in (0, 8)
            ],
            "predictions": [{"run_id": run_id, "example_id": f"e{k}", "correct": True} for k in range(3)],
            "attacks": [{"run_id": run_id, "example_id": f"e{k}"} for k in range(2)],
        }  # fmt: skip
        run.finish("done", rows)
    return folder


def _query(folder: Path) -> tuple[st.SearchStrategy[Any], Any]:
    import duckdb

    from zobench.store import query

    results = _results(folder / "results")
    secret, target = folder / "secret.csv", folder / "target.csv"
    secret.write_text(f"a\n{SECRET}\n")
    names = {"{secret}": secret, "{target}": target, "{folder}": folder}

    def check(sql: str) -> str:
        for name, path in names.items():
            sql = sql.replace(name, str(path))
        before = sorted(folder.rglob("*"))
        outcome = "refused"
        try:
            with refusals():
                found = query(sql, results)
                assert SECRET not in found.to_csv()
                outcome = "accepted"
        except duckdb.Error as error:
            told(error)
            outcome = "refused by DuckDB"
        assert sorted(folder.rglob("*")) == before, "a file was written or removed"
        return outcome

    return SQLS, check


def told(error: Exception) -> None:
    """DuckDB's own errors say something, and nothing of other files."""
    message = str(error)
    assert message.strip()
    assert SECRET not in message


def _other(data: bytes, how: bytes | int | list[tuple[int, int]]) -> bytes:
    if isinstance(how, bytes):
        return how
    return flipped(data, how) if isinstance(how, list) else other_table(data, how)


TABLE_NAMES = ("runs", "steps", "metrics", "predictions", "attacks")
COMMANDS = (
    *(["status", "{}"], ["show", "{}/runs/a1"], ["prune", "{}"], ["diff", "{}", "{}"], ["compact", "{}"]),
)


def _parquet(folder: Path) -> tuple[st.SearchStrategy[Any], Any]:
    import duckdb
    from typer.testing import CliRunner

    from zobench.cli import app
    from zobench.report.analysis import analyse
    from zobench.report.build import html
    from zobench.store import query, read

    base = _results(folder / "base")
    changes = st.tuples(
        st.sampled_from(TABLE_NAMES), st.one_of(BYTES, SEEDS, st.binary(max_size=30)), st.integers(0, 10**6)
    )

    def check(case: tuple[str, Any, int]) -> str:
        name, how, turn = case
        target = folder / "sent"
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(base, target)
        path = target / "runs" / "a1" / f"{name}.parquet"
        data = path.read_bytes()
        path.write_bytes(_other(data, how))
        forge_table(path.parent, name)
        outcome = "refused"
        with refusals("sent"):
            read(target)
            outcome = "accepted"
        with refusals("sent"):
            try:
                query(f"select * from {name}", target)
                query("select row, count(*) from finals group by row", target)
            except duckdb.Error as error:
                told(error)
        if turn % 3 == 0:
            with refusals():
                html(analyse([target]))
        line = [a.replace("{}", str(target)) for a in COMMANDS[turn % len(COMMANDS)]]
        found = CliRunner().invoke(app, line, env={"COLUMNS": "300"}, color=True)
        if found.exception is not None and not isinstance(found.exception, SystemExit):
            raise found.exception
        assert found.output.replace("\n", "").isprintable(), repr(found.output)
        return outcome

    return changes, check


QUERY = Surface("query", 1_000, 50, 20, _query)
PARQUET = Surface("parquet", 1_000, 20, 5, _parquet)
