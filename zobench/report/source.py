"""Reads results for the page, as aggregates; the other modules of the report read no results.

Large tables (steps, metrics, predictions, attacks) are reduced in DuckDB; only the runs table, the final
metrics and the details of single runs are loaded as records."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa

from zobench.report.blocks import label_blocks
from zobench.report.planned import Belonging, belonging, one_run_each
from zobench.report.superseded import superseded
from zobench.store import sql
from zobench.store.plan_file import Entry
from zobench.store.reader import Folders, locate, read, results_paths, steadily
from zobench.store.schema import TABLES

if TYPE_CHECKING:
    import duckdb

CURVE_BINS = 60
"""Training-loss curves are averaged in this many bins of forward passes."""

GENERATION, SCORING = "image-generation", "image-scoring"
"""Kinds of tasks whose predictions are images; each has a leaderboard of its name."""
PROXY = "proxy"
"""Kind of tasks that rank networks; it has a leaderboard of its name."""


@dataclass(frozen=True, slots=True)
class Source:
    """Results folders with their runs and final metrics in memory.

    Attributes:
        scratch: files that the connection reads; removed with this object.
        found: cached results of :meth:`once`.
        runs: the runs table with the columns ``block`` (task with its parameters and the model; rows are
            compared on each block) and ``label`` (its display name).
        finals: final metrics of all runs, with ``row``, ``block`` and ``seed``.
        superseded: number of runs whose id follows the rule of an earlier version of zobench, and number of
            such runs that are left out because the run with the current id exists.
        others: number of further runs that are left out because they are not in the folder's plan.
    """

    folders: tuple[str, ...]
    runs: pd.DataFrame
    finals: pd.DataFrame
    connection: duckdb.DuckDBPyConnection
    scratch: tempfile.TemporaryDirectory[str]
    found: dict[str, pd.DataFrame] = field(default_factory=dict)
    superseded: tuple[int, int] = (0, 0)
    others: int = 0

    def once(self, text: str) -> pd.DataFrame:
        """``sql`` with a cache, for queries that several sections share; do not modify the result."""
        if text not in self.found:
            self.found[text] = self.sql(text)
        return self.found[text]

    def sql(self, text: str) -> pd.DataFrame:
        """DuckDB SQL over the tables of the store."""
        return _asked(self.connection, text, self.folders)

    @property
    def results(self) -> pd.DataFrame:
        """Runs that are results, not tuning trials."""
        return self.runs[self.runs["purpose"] != "tuning"]


def open_results(folders: Folders, *, every: bool = False, suite: Sequence[Entry] | None = None) -> Source:
    """Read runs and final metrics: those in each folder's plan, or all if it has no plan.

    Args:
        folders: results folders.
        every: also read runs that are not in the plan, under row names that say so.
        suite: entries to use instead of the folders' plans.

    Raises:
        ValueError: there is no such run, or several for one row, task, model and seed.
    """
    given = [folders] if isinstance(folders, str | Path) else list(folders)
    paths = tuple(str(f) for f in given)
    table = read(paths, ["runs"]).tables["runs"]
    runs = table.to_pandas()
    if runs.empty:
        raise ValueError(f"no finished run in {', '.join(paths)}")
    _check_cells(runs, paths)
    found = belonging(given, runs, suite)
    old = superseded(runs)
    present = runs["run_id"].isin([run_id for run_id, now in old.items() if now in set(runs["run_id"])])
    wanted = (runs["run_id"].isin(found.wanted) | every) & ~present
    runs["row"] = found.rows(runs)
    if not wanted.any():
        raise ValueError(f"{', '.join(paths)}: {_none_wanted(found)}")
    runs["block"], runs["label"] = label_blocks(runs, found.names)
    scratch = tempfile.TemporaryDirectory(prefix="zobench-")
    connection = connect(paths, scratch.name)
    kept = table.set_column(table.column_names.index("row"), "row", pa.array(runs["row"], pa.string()))
    kept = kept.append_column("block", pa.array(runs["block"], pa.string()))
    connection.register("runs", kept.filter(pa.array(wanted)))
    others = int((~wanted & ~present).sum())
    left_out = int(present.sum())
    shown = int(runs.loc[wanted, "run_id"].isin(old).sum())
    runs = plain_text(runs[wanted].reset_index(drop=True))
    one_run_each(runs)
    finals = _asked(
        connection,
        "select run_id, task as measured, split, condition_kind, condition, strength, params, metric, value, "
        "n, stderr, forwards, tokens, seconds from metrics where final",
        paths,
    )
    about = runs[["run_id", "row", "block", "seed", "group", "purpose", "tuning_of", "primary_metric"]]
    joined = finals.merge(about, on="run_id")
    return Source(paths, runs, joined, connection, scratch, superseded=(shown, left_out), others=others)


NEEDED = ("run_id", "row", "group", "purpose", "status", "task", "model", "method", "seed")
"""Columns of the runs table without which a run cannot be placed."""


def _check_cells(runs: pd.DataFrame, folders: Sequence[str]) -> None:
    """``ValueError`` naming run and column if a needed cell is null."""
    for column in NEEDED:
        empty = runs[runs[column].isna()]
        if not empty.empty:
            run = empty["run_id"].iloc[0]
            raise ValueError(f"{', '.join(folders)}: run {run!r} has no {column!r} in its runs table")


def _asked(connection: duckdb.DuckDBPyConnection, text: str, folders: Sequence[str]) -> pd.DataFrame:
    """The result of a query of ours; what DuckDB cannot read or compute is a fault of the files."""
    import duckdb

    try:
        return plain_text(connection.execute(text).df())
    except (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException):
        raise
    except duckdb.Error as error:
        told = " ".join(str(error).split())
        raise ValueError(f"{', '.join(folders)}: a table cannot be read: {told}") from error


def _none_wanted(found: Belonging) -> str:
    return f"none of the {found.total} runs is in the current suite; --all shows them"


def plain_text(frame: pd.DataFrame) -> pd.DataFrame:
    """Text columns as Python objects: the many small selections of a report are several times faster than
    with Arrow strings. Equal texts of a column are one object, which saves most of the memory."""
    text = [c for c in frame.columns if isinstance(frame[c].dtype, pd.StringDtype)]
    return frame.assign(**{c: _one_object_each(frame[c]) for c in text})


def _one_object_each(column: pd.Series) -> pd.Series:
    codes, texts = pd.factorize(column, use_na_sentinel=False)
    return pd.Series(np.asarray(texts.astype(object))[codes], index=column.index, dtype=object)


def connect(folders: Sequence[str], scratch: str) -> duckdb.DuckDBPyConnection:
    """A DuckDB connection with one view per table: on its files, on a copy in the folder ``scratch``, or on a
    table in memory."""
    paths = results_paths(folders)

    def views() -> duckdb.DuckDBPyConnection:
        connection, found = sql.connect(), locate(paths, tuple(TABLES))
        for name in TABLES:
            sql.view(connection, found, name, Path(scratch))
        return connection

    return steadily(views)


def metric_curves(source: Source) -> pd.DataFrame:
    """Test curves by row and block, reduced over seeds.

    Columns: row, block, metric, kind, condition, point (budget), mean, sd, n, forwards, tokens, seconds,
    generated_tokens.
    """
    return source.once(
        f"""
        with r as ({_blocks()} where purpose is distinct from 'tuning'),
        m as (
          select m.run_id, r."row", r.block, m.metric, m.condition_kind as kind, m.condition,
            coalesce(try_cast(json_extract_string(m.params, '$.at') as bigint), m.forwards) as point,
            max_by(struct_pack(value := m.value, forwards := m.forwards, tokens := m.tokens,
              seconds := m.seconds, generated_tokens := m.generated_tokens), m.final) as last
          from metrics m join r using (run_id)
          where (m.metric = r.primary_metric or m.metric in ('loss', 'nll')) and m.split = 'test'
            and isfinite(m.value) and m.condition_kind in ('clean', 'attack', 'null')
          group by all)
        select "row", block, metric, kind, condition, point, avg(last.value) as mean,
          stddev_samp(last.value) as sd, count(*) as n,
          avg(last.forwards) as forwards, avg(last.tokens) as tokens, avg(last.seconds) as seconds,
          avg(last.generated_tokens) as generated_tokens
        from m group by all order by "row", block, metric, kind, condition, point
        """
    )


def seed_curves(source: Source, kind: str = "clean") -> pd.DataFrame:
    """Primary-metric test curves of every run: run_id, row, block, seed, metric, forwards, tokens, seconds,
    generated_tokens, value.
    """
    return source.once(
        f"""
        with r as ({_blocks()} where purpose is distinct from 'tuning')
        select m.run_id, r."row", r.block, r.seed, m.metric, m.forwards, m.tokens, m.seconds,
          m.generated_tokens, max_by(m.value, m.final) as value
        from metrics m join r using (run_id)
        where m.metric = r.primary_metric and m.split = 'test' and m.condition_kind = '{kind}'
        group by all order by m.run_id, m.forwards
        """
    )


def loss_curves(source: Source) -> pd.DataFrame:
    """Training loss by row and block in bins of forward passes: row, block, bin, mean, sd (over seeds), n,
    forwards, tokens, seconds, generated_tokens.
    """
    return source.sql(
        f"""
        with r as ({_blocks()} where purpose is distinct from 'tuning'),
        s as (
          select steps.*, r."row", r.block, greatest(r.budget_forwards, 1) as budget
          from steps join r using (run_id) where isfinite(loss)),
        b as (
          select run_id, "row", block,
            least(floor(forwards * {CURVE_BINS} / budget), {CURVE_BINS} - 1) as bin,
            avg(loss) as loss, avg(forwards) as forwards, avg(tokens) as tokens, avg(seconds) as seconds,
            avg(generated_tokens) as generated_tokens
          from s group by all)
        select "row", block, bin, avg(loss) as mean, stddev_samp(loss) as sd, count(*) as n,
          avg(forwards) as forwards,
          avg(tokens) as tokens, avg(seconds) as seconds, avg(generated_tokens) as generated_tokens
        from b group by all order by "row", block, bin
        """
    )


def runs_in(ids: Sequence[str]) -> str:
    """A SQL list of run ids; ``ValueError`` for ids with characters other than letters, digits, - and _."""
    for run_id in ids:
        if not run_id.replace("-", "").replace("_", "").isalnum():
            raise ValueError(f"not a run id: {run_id!r}")
    return "(" + ", ".join(f"'{i}'" for i in ids) + ")" if ids else "('')"


def _blocks() -> str:
    return 'select run_id, "row", block, seed, primary_metric, budget_forwards from runs'
