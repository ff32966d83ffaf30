"""Writing, reading, querying and compacting: no record is lost, duplicated or read with the wrong schema
version."""

from __future__ import annotations

import multiprocessing
import os
import threading

import pyarrow.parquet as pq
import pytest
from store.forging import forge, forge_table, unseal

from zobench.store import compact, compaction, files, query, read, reader
from zobench.store.damage import mend
from zobench.store.digests import DamagedFile
from zobench.store.lock import FolderLock
from zobench.store.reader import SchemaVersionError, finished, loose_runs, manifest, read_run
from zobench.store.schema import SCHEMA_VERSION, TABLES
from zobench.store.step_log import read_steps_log
from zobench.store.writer import VERSION_KEY, RunFolder, to_table


def write(results, run_id, status="done", value=0.5, steps=3):
    """One finished run with its rows."""
    folder = RunFolder(results / "runs" / run_id)
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.write_json("spec.json", {"run": run_id})
    folder.open_log(keep_steps=0)
    for step in range(steps):
        folder.append_step({"step": step})
    tables = {
        "runs": [{"run_id": run_id, "row": "r", "status": status, "seed": 1}],
        "steps": [
            {"run_id": run_id, "step": s, "seeds": [2**64 - 1 - s], "loss": value} for s in range(steps)
        ],
        "metrics": [{"run_id": run_id, "metric": "accuracy", "value": value, "final": True}],
        "attacks": [],
    }
    folder.finish(status, tables)
    return folder


@pytest.fixture
def three(tmp_path):
    for i, run_id in enumerate(("a", "b", "c")):
        write(tmp_path, run_id, value=i / 4)
    return tmp_path


def ids(results):
    return sorted(read(results).runs.run_id)


def test_tables_have_the_schema_and_its_version(three):
    for path in three.rglob("*.parquet"):
        schema = pq.read_schema(path)
        assert schema.metadata[VERSION_KEY] == str(SCHEMA_VERSION).encode()
        assert schema.equals(TABLES[path.stem], check_metadata=False)
    results = read(three)
    for name, schema in TABLES.items():
        assert results.tables[name].schema.equals(schema, check_metadata=False)
    assert len(results.attacks) == 0
    assert results.steps.seeds.iloc[0][0] == 2**64 - 1


def test_result_leaves_no_log_and_failure_keeps_it(tmp_path):
    done, failed = write(tmp_path, "a"), write(tmp_path, "b", "failed")
    assert not (done.path / "steps.jsonl").exists()
    assert len(read_steps_log(failed.path)) == 3
    assert finished(tmp_path, "a") == "done"
    assert finished(tmp_path, "b") is None


def test_unknown_columns_statuses_and_tables_are_refused(tmp_path, three):
    with pytest.raises(ValueError, match="no column 'acuracy'"):
        to_table("runs", [{"acuracy": 1}])
    with pytest.raises(ValueError, match="unknown status 'finished'"):
        write(tmp_path, "x", "finished")
    with pytest.raises(ValueError, match="no table 'run'"):
        read(three, ["run"])
    with pytest.raises(ValueError, match="no results folder"):
        read(three / "nowhere")


def test_torn_last_line_is_dropped_and_a_broken_one_named(tmp_path):
    folder = RunFolder(tmp_path)
    folder.open_log(keep_steps=0)
    folder.append_step({"step": 0})
    (tmp_path / "steps.jsonl").open("ab").write(b'{"step": 1')
    assert read_steps_log(tmp_path) == [{"step": 0}]
    assert folder.open_log(keep_steps=1)
    folder.append_step({"step": 1})
    assert read_steps_log(tmp_path) == [{"step": 0}, {"step": 1}]
    (tmp_path / "steps.jsonl").write_bytes(b'{"step": 0}\n{"st\n{"step": 2}\n')
    with pytest.raises(DamagedFile, match=r"steps.jsonl is damaged: line 2"):
        read_steps_log(tmp_path)


@pytest.mark.parametrize("name", ["metrics.parquet", "status.json"])
def test_file_cut_short_by_a_power_cut_is_named_and_its_run_set_aside(three, name):
    path = three / "runs" / "b" / name
    path.write_bytes(path.read_bytes()[:-20])
    for ask in (lambda: finished(three, "b"), lambda: ids(three), lambda: query("select 1", three)):
        with pytest.raises(DamagedFile, match=f"b/{name} is damaged"):
            ask()
    assert [d.name for d in mend(three / "runs")] == ["b"]
    assert finished(three, "b") is None
    assert ids(three) == ["a", "c"]


def test_query_joins_tables_and_several_folders(three, tmp_path):
    other = tmp_path / "other"
    write(other, "d", value=0.75)
    write(other, "a", value=99.0)
    sql = "select run_id, value from runs join metrics using (run_id) order by run_id"
    found = query(sql, [three, other])
    assert list(found.run_id) == ["a", "b", "c", "d"]
    assert list(found.value) == [0.0, 0.25, 0.5, 0.75]
    assert query("select count(*) as n from predictions", three).n[0] == 0


def test_query_of_compacted_and_loose_runs(three):
    compact(three)
    write(three, "d")
    assert query("select count(distinct run_id) as n, count(*) as m from steps", three).values.tolist() == [
        [4, 12]
    ]


@pytest.mark.parametrize("where", ["parquet", "status", "manifest"])
def test_another_schema_version_is_a_clear_error(three, where):
    if where == "parquet":
        path = three / "runs" / "a" / "runs.parquet"
        table = pq.read_table(path)
        pq.write_table(table.replace_schema_metadata({VERSION_KEY: b"999"}), path)
        forge_table(path.parent, "runs")
    else:
        compact(three)
        write(three, "d")
        path = three / "runs" / ("compact/manifest.json" if where == "manifest" else "d/status.json")
        forge(path, schema_version=999)
    for ask in (lambda: read(three), lambda: query("select 1", three)):
        with pytest.raises(
            SchemaVersionError, match="schema version 999; this version of zobench reads up to"
        ):
            ask()


def as_written_earlier(target, run_id, name, column):
    """The run as an earlier zobench wrote it: schema version 0, and a table without one column."""
    path = target / "runs" / run_id / f"{name}.parquet"
    table = pq.read_table(path).drop_columns([column])
    pq.write_table(table.replace_schema_metadata({VERSION_KEY: b"0"}), path)
    forge_table(path.parent, name)
    forge(path.parent / "status.json", schema_version=0)
    unseal(target)


@pytest.mark.parametrize(("name", "column"), [("runs", "note"), ("metrics", "stderr"), ("steps", "reason")])
def test_what_an_older_file_lacks_reads_as_missing(three, name, column):
    as_written_earlier(three, "a", name, column)
    for compacted in (False, True):
        if compacted:
            assert compact(three) == 3
        frame = read(three).frame(name)
        assert frame[frame.run_id == "a"][column].isna().all()
        assert ids(three) == ["a", "b", "c"]
        sql = f"select count(*) as n from {name} where run_id = 'a' and {column} is null"
        assert query(sql, three).n[0] > 0
        assert set(read_run(three, "a")[name].column_names) == set(TABLES[name].names)


def test_compaction_keeps_every_row_and_is_idempotent(three):
    write(three, "bad", "failed")
    before = read(three)
    assert compact(three) == 3
    assert compact(three) == 0
    after = read(three)
    for name in TABLES:
        one, two = before.tables[name].sort_by("run_id"), after.tables[name].sort_by("run_id")
        assert one.to_pylist() == two.to_pylist()
    assert [p.name for p in (three / "runs").iterdir() if p.name != "compact"] == ["bad"]
    assert finished(three, "b") == "done"
    assert finished(three, "bad") is None
    assert read_run(three, "b")["metrics"].num_rows == 1
    write(three, "d")
    assert compact(three) == 1
    assert manifest(three / "runs")["generation"] == 2
    assert len(list((three / "runs" / "compact").glob("runs-*.parquet"))) == 1
    assert ids(three) == ["a", "b", "bad", "c", "d"]


def test_ten_thousand_runs_are_a_handful_of_files(tmp_path):
    for i in range(300):
        write(tmp_path, f"{i:04d}", steps=1)
    assert compact(tmp_path) == 300
    assert len([p for p in tmp_path.rglob("*") if p.is_file()]) < 8
    assert len(read(tmp_path, ["runs"]).runs) == 300


class Crash(BaseException):
    pass


class CrashingOs:
    def __init__(self, after):
        self.left = after

    def __getattr__(self, name):
        found = getattr(os, name)
        if name not in ("open", "write", "fsync", "replace", "unlink", "rmdir", "close"):
            return found

        def counted(*args, **kwargs):
            result = None if name == "fsync" else found(*args, **kwargs)
            self.left -= 1
            if self.left == 0:
                raise Crash(name)
            return result

        return counted


def test_compaction_crashing_anywhere_loses_and_doubles_nothing(tmp_path, monkeypatch):
    n, completed = 0, False
    while not completed:
        n += 1
        results = tmp_path / str(n)
        for run_id in ("a", "b"):
            write(results, run_id)
        compact(results)
        for run_id in ("c", "d"):
            write(results, run_id)
        with monkeypatch.context() as m:
            m.setattr(files, "os", CrashingOs(n))
            try:
                compact(results)
                completed = True
            except Crash:
                pass
        assert ids(results) == ["a", "b", "c", "d"], f"after operation {n}"
        assert len(read(results).steps) == 12
        assert query("select count(*) as n from steps", results).n[0] == 12
        assert all(finished(results, i) == "done" for i in "abcd")
        compact(results)
        assert ids(results) == ["a", "b", "c", "d"]
        assert not loose_runs(results / "runs")
        assert not list(results.rglob(".tmp-*"))
        assert len(list((results / "runs" / "compact").glob("*.parquet"))) == 3
    assert n > 20


def test_reading_while_compacting(tmp_path):
    expected = [f"{i:03d}" for i in range(20)]
    for run_id in expected[:10]:
        write(tmp_path, run_id)
    over = threading.Event()

    def change():
        for run_id in expected[10:]:
            write(tmp_path, run_id)
            compact(tmp_path)
        over.set()

    thread = threading.Thread(target=change)
    thread.start()
    seen = 10
    while not over.is_set():
        runs = read(tmp_path, ["runs"]).runs.run_id
        assert runs.is_unique
        assert len(runs) >= seen
        seen = len(runs)
    thread.join()
    assert ids(tmp_path) == expected


@pytest.mark.parametrize("one", [False, True])
def test_a_compaction_between_two_looks_at_the_manifest_loses_no_run(three, monkeypatch, one):
    """Older files are there until the new manifest is written, and a little longer."""
    compact(three)
    write(three, "d")
    once = iter([True])

    def meanwhile(runs):
        found = manifest(runs)
        if next(once, False):
            monkeypatch.setattr(compaction, "_remove_leftovers", lambda *_: None)
            assert compact(three) == 1
        return found

    monkeypatch.setattr(reader, "manifest", meanwhile)
    if one:
        assert read_run(three, "d")["runs"].num_rows == 1
    else:
        assert ids(three) == ["a", "b", "c", "d"]
    assert not next(once, False)


def _hold(folder, connection):
    lock = FolderLock.acquire(folder)
    connection.send(lock is not None)
    connection.recv()


def test_lock_has_one_owner_and_dies_with_it(tmp_path):
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_hold, args=(tmp_path / "run", theirs))
    process.start()
    assert ours.recv()
    assert FolderLock.acquire(tmp_path / "run") is None
    process.kill()
    process.join()
    lock = FolderLock.acquire(tmp_path / "run")
    assert lock is not None
    assert (tmp_path / "run" / "lock").read_text() == f"{os.getpid()}\n"
    assert FolderLock.acquire(tmp_path / "run") is None
    lock.release()
    with FolderLock.acquire(tmp_path / "run"):
        pass


def test_lock_of_a_folder_that_was_deleted_under_it(tmp_path):
    first = FolderLock.acquire(tmp_path / "run")
    files.remove_tree(tmp_path / "run")
    second = FolderLock.acquire(tmp_path / "run")
    assert second is not None
    first.release()
    assert FolderLock.acquire(tmp_path / "run") is None
    second.release()
