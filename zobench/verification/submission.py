"""The submission file: a versioned zip of JSON and parquet; nothing in it is ever executed.

Members::

    submission.json        format, version, schema version; the run's row, specification and environment
    steps.parquet          the scalar log, in the store's schema
    metrics.parquet        the claimed metrics
    predictions.parquet    the claimed answers to the test examples, if the run stored them

A file is refused for an unknown member, another version, or a size beyond :data:`MOST_BYTES`. The command
line of the run is left out, because it describes the submitter's machine."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from zobench.runner.results import Row
from zobench.spec import RunSpec
from zobench.store import files
from zobench.store.reader import read_run, to_schema
from zobench.store.schema import SCHEMA_VERSION, TABLES, readable
from zobench.store.writer import FINAL_STATUSES, VERSION_KEY, parquet_bytes

FORMAT, VERSION = "zobench-submission", 1
HEAD = "submission.json"
CARRIED = ("steps", "metrics", "predictions")
MOST_BYTES = 2**28
"""Limit for the file, for all members together when unpacked, and for each decompressed table."""
MOST_HEAD_BYTES = 2**24
MOST_VALUES = 20_000_000
"""Limit for the lines of a table and for its values in total, entries of lists included."""
_CHUNK = 2**20
_SAME_TIME = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Submission:
    """The content of a file; only its form has been checked."""

    run: Row
    spec: RunSpec
    environment: Row
    steps: list[Row]
    metrics: list[Row]
    predictions: list[Row]


def write_submission(folder: str | Path, run_id: str, target: str | Path) -> Path:
    """Write the finished run ``run_id`` of a results folder (or its ``runs``) as a submission.

    Raises:
        ValueError: no such run, a run without result, a tuning trial, or a method that more than a
            submission rebuilds (a checkpoint, artifacts of every step).
    """
    tables = read_run(Path(folder), run_id)
    row: Row = tables["runs"].to_pylist()[0]
    if row["status"] not in FINAL_STATUSES or row["weights_digest"] is None:
        raise ValueError(f"run {run_id} is {row['status']}: it has no result to submit")
    if row["purpose"] != "result":
        raise ValueError(f"run {run_id} is a {row['purpose']} trial: submit the row that it chose for")
    if row["replay"] not in ("scalars", "scalars+artifacts"):
        raise ValueError(
            f"run {run_id}: {row['method']} does not replay from scalars, so nobody could verify it"
        )
    if problem := unverifiable(json.loads(row["spec"])):
        raise ValueError(f"run {run_id} {problem}")
    environment = {k: v for k, v in json.loads(row["environment"]).items() if k != "command"}
    head = {
        "format": FORMAT,
        "version": VERSION,
        "schema_version": SCHEMA_VERSION,
        "run": {k: v for k, v in row.items() if k not in ("spec", "environment")},
        "spec": json.loads(row["spec"]),
        "environment": environment,
    }
    parts = {HEAD: json.dumps(head, indent=1, sort_keys=True, ensure_ascii=False).encode()}
    for name in CARRIED:
        if name in tables and tables[name].num_rows:
            parts[f"{name}.parquet"] = parquet_bytes(tables[name])
    path = Path(target)
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_atomic(path, _zipped(parts))
    return path


def unverifiable(spec: Mapping[str, Any]) -> str:
    """Why nobody can verify a run of this specification; empty if it can be verified. The reader asks too:
    a trajectory without clients could be declared as one of clients, whose examples are not looked at."""
    if spec.get("clients"):
        return "has clients: their minibatches are not those that verify recomputes"
    if spec.get("unlearning"):
        return "is an unlearning run: verify recomputes the losses and metrics of tasks only"
    return ""


def _zipped(parts: dict[str, bytes]) -> bytes:
    """A zip of these parts; the same parts give the same bytes."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for name, data in parts.items():
            entry = zipfile.ZipInfo(name, _SAME_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
    return sink.getvalue()


def read_submission(path: str | Path) -> Submission:
    """Read an untrusted file; ``ValueError`` if its form is wrong."""
    if Path(path).stat().st_size > MOST_BYTES:
        raise ValueError(f"{path}: larger than {MOST_BYTES} bytes")
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(archive, path)
            head = json.loads(_unpacked(archive, HEAD, MOST_HEAD_BYTES, path))
            _check_head(head, path)
            rows = {name: _rows(archive, name, path) for name in CARRIED}
    except RecursionError as error:
        raise ValueError(f"{path}: not a submission: {HEAD} is nested too deeply") from error
    except _UNREADABLE as error:
        raise ValueError(f"{path}: not a submission: {str(error)[:300]}") from error
    spec = _spec(head["spec"], path)
    if problem := unverifiable(head["spec"]):
        raise ValueError(f"{path}: the run {problem}")
    return Submission(
        head["run"], spec, head["environment"], rows["steps"], rows["metrics"], rows["predictions"]
    )


def _spec(body: dict[str, Any], path: str | Path) -> RunSpec:
    try:
        return RunSpec.model_validate_json(json.dumps(body))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(str(part) for part in first["loc"])[:80]
        told = f"{path}: not a submission: its specification: {key}: {first['msg'][:300]}"
        raise ValueError(told) from error


_UNREADABLE = (
    *(zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError),
    *(json.JSONDecodeError, UnicodeDecodeError, pa.ArrowException, OSError),
)
"""Exceptions raised for bytes that are not a valid archive, JSON or parquet."""


def _unpacked(archive: zipfile.ZipFile, member: str, most: int, path: str | Path) -> bytes:
    """The member's bytes, counted while they are unpacked, because the size in its header may be wrong."""
    parts, left = [], most
    with archive.open(member) as stream:
        while part := stream.read(_CHUNK):
            left -= len(part)
            if left < 0:
                raise ValueError(f"{path}: {member} is larger than {most} bytes when unpacked")
            parts.append(part)
    return b"".join(parts)


def _check_sizes(found: pq.FileMetaData, member: str, path: str | Path) -> None:
    """Refuse tables that are too large, by their footer alone before decompressing: lines, values of all
    columns (entries of lists included) and bytes."""
    chunks = [
        group.column(i)
        for group in (found.row_group(g) for g in range(found.num_row_groups))
        for i in range(found.num_columns)
    ]
    values = sum(chunk.num_values for chunk in chunks)
    unpacked = sum(chunk.total_uncompressed_size for chunk in chunks)
    if found.num_rows > MOST_VALUES or values > MOST_VALUES or unpacked > MOST_BYTES:
        raise ValueError(
            f"{path}: {member} has {found.num_rows} rows, {values} values and {unpacked} bytes; at most "
            f"{MOST_VALUES} values and {MOST_BYTES} bytes are read"
        )


def _check_members(archive: zipfile.ZipFile, path: str | Path) -> None:
    known = {HEAD, *(f"{name}.parquet" for name in CARRIED)}
    found = [info.filename for info in archive.infolist()]
    if odd := sorted(set(found) - known):
        raise ValueError(f"{path}: not a submission: unknown member {odd[0]!r}")
    if HEAD not in found or len(set(found)) != len(found):
        raise ValueError(f"{path}: not a submission: it needs one {HEAD}, and every member once")
    if sum(info.file_size for info in archive.infolist()) > MOST_BYTES:
        raise ValueError(f"{path}: larger than {MOST_BYTES} bytes when unpacked")


def _check_head(head: Any, path: str | Path) -> None:
    sections = ("run", "spec", "environment")
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise ValueError(f"{path}: not a submission: its format is not {FORMAT!r}")
    version, schema = head.get("version"), head.get("schema_version")
    if version != VERSION:
        raise ValueError(f"{path}: version {version!r}, this zobench reads {VERSION}")
    if not readable(schema):
        raise ValueError(f"{path}: schema_version {schema!r}, this zobench reads up to {SCHEMA_VERSION}")
    if not all(isinstance(head.get(name), dict) for name in sections):
        raise ValueError(f"{path}: not a submission: {HEAD} needs the sections {', '.join(sections)}")
    if not isinstance(head["environment"].get("digests", {}), dict):
        raise ValueError(f"{path}: not a submission: 'digests' of the environment is not a table")
    missing = [n for n in TABLES["runs"].names if n not in (*sections, *head["run"])]
    if missing and str(schema) == str(SCHEMA_VERSION):
        raise ValueError(f"{path}: not a submission: the run has no {missing[0]!r}")
    head["run"].update(dict.fromkeys(missing))
    _check_run(head["run"], path)


def _check_run(run: Row, path: str | Path) -> None:
    """Refuse values of the run that its column of the table ``runs`` cannot hold."""
    for field in TABLES["runs"]:
        value = run.get(field.name)
        try:
            # pyarrow cuts the fraction off; the run's cost is needed, what else is empty is compared.
            whole = not pa.types.is_integer(field.type) or isinstance(value, int | None)
            fits = whole and not (value is None and field.name == "forwards")
            pa.array([value], type=field.type)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            fits = False
        if not fits:
            told = f"{field.name!r} of the run is {str(value)[:80]!r}, not {field.type}"
            raise ValueError(f"{path}: not a submission: {told}")


def _rows(archive: zipfile.ZipFile, name: str, path: str | Path) -> list[Row]:
    member = f"{name}.parquet"
    if member not in archive.namelist():
        return []
    stream = pq.ParquetFile(io.BytesIO(_unpacked(archive, member, MOST_BYTES, path)))
    _check_sizes(stream.metadata, member, path)
    version = (stream.schema_arrow.metadata or {}).get(VERSION_KEY, b"none").decode(errors="replace")[:40]
    if not readable(version):
        raise ValueError(f"{path}: {member} has schema version {version}")
    missing = [n for n in TABLES[name].names if n not in stream.schema_arrow.names]
    if missing and version == str(SCHEMA_VERSION):
        raise ValueError(f"{path}: {member} has no column {missing[0]!r}")
    names = stream.schema_arrow.names
    if twice := sorted({n for n in names if names.count(n) > 1}):
        raise ValueError(f"{path}: {member} has column {twice[0][:80]!r} twice")
    columns = [n for n in TABLES[name].names if n in stream.schema_arrow.names]
    for column in columns:
        if stream.schema_arrow.field(column).type != TABLES[name].field(column).type:
            raise ValueError(f"{path}: {member}: column {column!r} is not of the schema's kind")
    rows: list[Row] = to_schema(stream.read(columns), name).to_pylist()
    return rows
