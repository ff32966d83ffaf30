"""The only writer: one run's folder from its first file to its status.

Order of writes is the contract. ``spec.json`` and ``environment.json`` come first, each step is one appended
line, the checkpoint is one file replaced atomically (so weights, method state and position can never
disagree), the tables follow at the end, and ``status.json`` is last: a folder without it is an unfinished
run.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from zobench.store import files
from zobench.store.paths import run_file
from zobench.store.schema import SCHEMA_VERSION, STATUSES, TABLES

VERSION_KEY = b"zobench.schema_version"
FINAL_STATUSES = ("done", "diverged", "budget")
"""Statuses that are results. The others are visible, but the same suite run again tries them once more."""

SPEC, ENVIRONMENT, STEPS_LOG = "spec.json", "environment.json", "steps.jsonl"
CHECKPOINT, STATUS = "checkpoint.safetensors", "status.json"


def versioned(schema: pa.Schema) -> pa.Schema:
    """The schema with its version in the file's metadata."""
    return schema.with_metadata({VERSION_KEY: str(SCHEMA_VERSION).encode()})


def to_table(name: str, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows as an Arrow table of the named schema; missing columns are null, an unknown one is a
    ``ValueError``."""
    schema = TABLES[name]
    known = set(schema.names)
    for row in rows:
        if unknown := sorted(set(row) - known):
            raise ValueError(f"table {name!r} has no column {unknown[0]!r}; it has {', '.join(schema.names)}")
    return pa.Table.from_pylist([dict(r) for r in rows], schema=versioned(schema))


def parquet_bytes(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A resumable state: tensors by name, and a JSON position (step, meter, evaluations so far, method
    scalars)."""

    tensors: Mapping[str, Any]
    position: Mapping[str, Any]


class RunFolder:
    """Writes one run. The caller holds the folder's lock (:mod:`.lock`)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._log: int | None = None

    def write_json(self, name: str, body: Mapping[str, Any]) -> None:
        """Replace a JSON file of the folder."""
        text = json.dumps(body, indent=1, sort_keys=True, ensure_ascii=False)
        files.write_atomic(self.path / name, text.encode())

    def open_log(self, *, keep_steps: int) -> bool:
        """Open the step log for appending after its first ``keep_steps`` lines; the rest is cut off.

        Returns False, with the log cut to nothing, where it holds fewer whole lines than that (a lost disk
        cache).
        """
        path = self.path / STEPS_LOG
        self._log = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        end, found = 0, 0
        with path.open("rb") as stream:
            while found < keep_steps and (line := stream.readline()).endswith(b"\n"):
                end += len(line)
                found += 1
        complete = found == keep_steps
        os.ftruncate(self._log, end if complete else 0)
        return complete

    def append_step(self, row: Mapping[str, Any]) -> None:
        """One step, one line, one write call: it is in the operating system's hands when this returns."""
        assert self._log is not None, "open_log first"
        files.write_all(
            self._log, json.dumps(row, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
        )

    def close_log(self) -> None:
        if self._log is not None:
            fd, self._log = self._log, None
            os.close(fd)

    def write_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Replace the checkpoint. A step log that a power cut left shorter is noticed by ``open_log``."""
        from safetensors.torch import save

        tensors = {name: t.detach().cpu().contiguous() for name, t in checkpoint.tensors.items()}
        data = save(tensors, metadata={"position": json.dumps(dict(checkpoint.position))})
        files.write_atomic(self.path / CHECKPOINT, data, sync=True)

    def write_table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> int:
        """Write one parquet table and return its size in bytes; an empty one is not written (0 bytes)."""
        path = run_file(self.path, name)
        if not rows:
            files.remove_file(path)
            return 0
        data = parquet_bytes(to_table(name, rows))
        files.write_atomic(path, data)
        return len(data)

    def finish(self, status: str, tables: Mapping[str, Sequence[Mapping[str, Any]]], error: str = "") -> None:
        """Write the tables and then the status, which knows their sizes. A result's log and checkpoint are
        deleted, having done their work.

        Args:
            status: one of the closed list; ``ValueError`` otherwise.
            tables: rows by table name; ``runs`` must hold exactly one.
            error: message or traceback of a run that failed.
        """
        if status not in STATUSES:
            raise ValueError(f"unknown status {status!r}; valid: {', '.join(STATUSES)}")
        assert len(tables["runs"]) == 1, "a run has one row"
        self.close_log()
        written = {name: self.write_table(name, rows) for name, rows in tables.items()}
        sizes = {name: size for name, size in written.items() if size}
        body = {"schema_version": SCHEMA_VERSION, "status": status, "error": error, "tables": sizes}
        files.write_atomic(self.path / STATUS, json.dumps(body, indent=1, sort_keys=True).encode())
        if status in FINAL_STATUSES:
            self.discard_progress()

    def discard_progress(self) -> None:
        """Delete the log and the checkpoint."""
        self.close_log()
        files.remove_file(self.path / CHECKPOINT)
        files.remove_file(self.path / STEPS_LOG)

    def reopen(self) -> None:
        """Make a run that failed or was interrupted unfinished again: its status and tables go, its progress
        stays."""
        files.remove_file(self.path / STATUS)
        for name in TABLES:
            files.remove_file(run_file(self.path, name))
        files.remove_temporaries(self.path)
