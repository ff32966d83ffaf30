"""Results in S3 storage, against a server of moto that is really started."""

from __future__ import annotations

import logging
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from synthetic import Entry, Study, make_synthetic
from typer.testing import CliRunner, Result

from zobench.cli import app
from zobench.store import compact, read
from zobench.store.digests import digest_of, sealed
from zobench.store.fetching import fetch
from zobench.store.plan_file import Entry as Planned
from zobench.store.plan_file import PlanFile, write_plan
from zobench.store.pushing import push
from zobench.store.remote import Address, Storage

moto = pytest.importorskip(
    "moto.server", reason="moto, which plays the S3 server, is of the extra integrations"
)

STUDY = Study(
    [Entry("mezo", 0.1), Entry("fzoo", 0.2), Entry("zero-shot", 0.0, "control")],
    tasks={"t": 0.7},
    seeds=(0, 1),
    examples=8,
)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    started = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    started.start()
    host, port = started.get_host_and_port()
    yield f"http://{host}:{port}"
    started.stop()


@pytest.fixture
def place(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Address:
    """An empty prefix in a new server's bucket, with credentials and endpoint in the environment."""
    from pyarrow.fs import S3FileSystem

    _post(f"{server}/moto-api/reset")
    given = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}
    given |= {"AWS_ENDPOINT_URL": server, "AWS_EC2_METADATA_DISABLED": "true"}
    for name, value in {**given, "ZOBENCH_CACHE": str(tmp_path / "cache")}.items():
        monkeypatch.setenv(name, value)
    S3FileSystem(endpoint_override=server, allow_bucket_creation=True).create_dir("bucket")
    return Address("bucket", "own/results")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return make_synthetic(tmp_path / "results", STUDY)


def call(*line: str | Path) -> Result:
    return CliRunner().invoke(app, list(map(str, line)), env={"COLUMNS": "200"})


def told(found: Result) -> str:
    """The one line of an error."""
    assert found.exit_code == 2, found.output
    assert found.output.count("\n") == 1
    return found.output


def copies(tmp_path: Path) -> list[str]:
    folder = tmp_path / "cache" / "results"
    return sorted(p.name for p in folder.iterdir() if p.is_dir()) if folder.exists() else []


@pytest.mark.parametrize("compacted", [False, True])
def test_pushed_results_are_read_by_the_commands(
    compacted: bool, results: Path, place: Address, tmp_path: Path
) -> None:
    sql = "select row, seed, value from finals order by all"
    here = call("query", sql, results, "--csv").output
    if compacted:
        compact(results)
    assert call("push", results, place).exit_code == 0
    assert call("query", sql, place, "--csv").output == here
    same = call("diff", results, place)
    assert same.exit_code == 0
    assert same.output.count("identical") == 3
    page = call("report", place, "--output", tmp_path / "page.html")
    assert page.exit_code == 0, page.output
    assert "fzoo" in (tmp_path / "page.html").read_text()
    assert len(copies(tmp_path)) == 1


def test_a_page_is_not_written_to_the_storage(results: Path, place: Address) -> None:
    push(results, place)
    assert "--output" in told(call("report", place))


@pytest.mark.parametrize("command", ["status", "prune", "merge"])
def test_other_commands_refuse_an_address_by_name(command: str, place: Address, tmp_path: Path) -> None:
    more = ("--output", tmp_path / "new") if command == "merge" else ()
    assert "only a copy can be read" in told(call(command, place, *more))


def test_the_same_results_are_uploaded_once_and_others_only_on_request(
    results: Path, place: Address, tmp_path: Path
) -> None:
    assert push(results, place).files > 0
    assert "nothing was uploaded" in call("push", results, place).output
    other = make_synthetic(tmp_path / "other", Study([Entry("mezo", 0.3)], tasks={"t": 0.7}))
    assert "other results are there" in told(call("push", other, place))
    assert sorted(set(read(fetch(place, tmp_path), ["runs"]).runs["row"])) == ["fzoo", "mezo", "zero-shot"]
    assert call("push", other, place, "--replace").exit_code == 0
    assert set(read(fetch(place, tmp_path), ["runs"]).runs["row"]) == {"mezo"}
    written = {p.relative_to(other / "runs").as_posix() for p in (other / "runs").glob("*/*.*")}
    assert set(Storage(place).names()) - {"pushed.json", "plan.json"} <= written, "stale files are removed"


def test_files_of_somebody_else_are_not_overwritten(results: Path, place: Address, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with (tmp_path / "notes.txt").open("rb") as stream:
        Storage(place).copy_to("notes.txt", stream)
    with pytest.raises(ValueError, match=r"1 files are there .* 'notes.txt'"):
        push(results, place)
    assert Storage(place).names() == ["notes.txt"]


def test_half_a_push_is_not_seen_and_the_next_one_completes_it(
    results: Path, place: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload, done = Storage.copy_to, []

    def broken(self: Storage, name: str, source: object) -> None:
        if len(done) == 5:
            raise ValueError("cable")
        done.append(name)
        upload(self, name, source)  # type: ignore[arg-type]

    monkeypatch.setattr(Storage, "copy_to", broken)
    with pytest.raises(ValueError, match="cable"):
        push(results, place)
    assert len(Storage(place).names()) == 5
    assert "there are no results (no pushed.json)" in told(call("query", "select 1", place))
    monkeypatch.setattr(Storage, "copy_to", upload)
    push(results, place)
    assert len(read(fetch(place, tmp_path), ["runs"]).runs) == len(read(results, ["runs"]).runs)


def test_unfinished_results_are_pushed_only_on_request(results: Path, place: Address, tmp_path: Path) -> None:
    ids = sorted(read(results, ["runs"]).runs["run_id"])
    planned = [(ids[0],), ()]
    rows = [
        Planned(row=f"r{i}", kind="run", model="m", task="t", seeds=(0,), key=str(i), run_ids=known)
        for i, known in enumerate(planned)
    ]
    write_plan(results / "runs", PlanFile(suite="s", entries=tuple(rows)))
    refused = told(call("push", results, place))
    assert "not finished: run of r1 on t (seeds 0) without result" in refused
    assert Storage(place).names() == []
    assert call("push", results, place, "--unfinished").exit_code == 0
    assert sorted(read(fetch(place, tmp_path), ["runs"]).runs["run_id"]) == ids


def test_a_changed_file_is_not_uploaded(results: Path, place: Address) -> None:
    path = next((results / "runs").glob("*/metrics.parquet"))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    assert "is damaged" in told(call("push", results, place))
    assert Storage(place).names() == []


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "/tmp/x",
        "a/../../x.parquet",
        "r1/../../spec.json",
        "compact/../x",
        "r1/lock",
        "artifacts/x",
        "",
        "damaged/spec.json",
    ],
)
def test_names_that_are_no_files_of_results_are_refused(name: str, place: Address, tmp_path: Path) -> None:
    data = b"x"
    file = {"size": 1, "sha256": digest_of(data)}
    _put(place, "pushed.json", sealed({"version": 1, "files": {name: file}}))
    _put(place, "x", data)
    assert "error: " in told(call("query", "select 1", place))
    assert copies(tmp_path) == []
    assert sorted(p.name for p in tmp_path.iterdir()) in ([], ["cache"])


@pytest.mark.parametrize("text", [b"", b"[]", b'{"files": 3}', b'{"version": 2, "files": {}}', b"[" * 10**5])
def test_a_list_of_files_that_is_none_is_refused(text: bytes, place: Address) -> None:
    _put(place, "pushed.json", text)
    assert "pushed.json is" in told(call("query", "select 1", place))


def _put(place: Address, name: str, data: bytes) -> None:
    from io import BytesIO

    Storage(place).copy_to(name, BytesIO(data))


@pytest.mark.parametrize("harm", ["missing", "shorter", "longer", "changed", "interrupted"])
def test_a_broken_download_leaves_no_copy(
    harm: str, results: Path, place: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(results, place)
    name = next(n for n in Storage(place).names() if n.endswith("metrics.parquet"))
    whole = (results / "runs" / name).read_bytes()
    if harm == "missing":
        Storage(place).remove(name)
    elif harm == "interrupted":
        monkeypatch.setattr(Storage, "copy_from", _interrupted)
    else:
        _put(place, name, {"shorter": whole[:-1], "longer": whole + b"1", "changed": whole[:-1] + b"?"}[harm])
    found = call("query", "select 1", place)
    assert found.exit_code == (130 if harm == "interrupted" else 2)
    assert copies(tmp_path) == []
    monkeypatch.undo()
    monkeypatch.setenv("AWS_ENDPOINT_URL", Storage(place).endpoint or "")


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_an_abandoned_or_incomplete_copy_is_made_again(results: Path, place: Address, tmp_path: Path) -> None:
    push(results, place)
    cache = tmp_path / "cache" / "results"
    copy = fetch(place, cache)
    (cache / ".tmp-of-a-killed-process").mkdir()
    next(copy.glob("runs/*/metrics.parquet")).write_bytes(b"")
    assert fetch(place, cache) == copy
    assert copies(tmp_path) == [copy.name]
    assert len(read(copy).runs) == len(read(results).runs)


def test_errors_of_the_storage_are_one_line(
    results: Path, place: Address, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for line in (("query", "select 1"), ("push", results)):
        assert f"there is no such bucket at {server}" in told(call(*line, "s3://no-bucket/x"))
        _only_known_keys(server, True)
        assert f"access denied at {server}; check AWS_ACCESS_KEY_ID" in told(call(*line, place))
        _only_known_keys(server, False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert "no connection at http://127.0.0.1:1" in told(call("query", "select 1", place))


def _only_known_keys(server: str, only: bool) -> None:
    """Let the server check credentials, of which it knows none."""
    body = b"0" if only else b"inf"
    _post(f"{server}/moto-api/reset-auth", body)


def _post(url: str, body: bytes = b"") -> None:
    asked = urllib.request.Request(url, data=body, headers={"Content-Type": "text/plain"})
    urllib.request.urlopen(asked).close()
