"""Writes the folder of one run, from its first file to its status.

Readers rely on the order of writes. ``spec.json`` and ``environment.json`` are written first. Each step is
one appended line. The checkpoint is one file that is replaced atomically, so that weights, method state and
position always agree. The tables are written at the end, and ``status.json`` last: a folder without it is an
unfinished run. The status contains the SHA-256 of every other file and its own (:mod:`.digests`).
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from zobench.store import checkpoint_file, files
from zobench.store.checkpoint_file import CHECKPOINT, EARLIER, Checkpoint, read_checkpoint
from zobench.store.digests import DamagedFile, digest_of, read_sealed, sealed
from zobench.store.paths import run_file
from zobench.store.schema import SCHEMA_VERSION, STATUSES, TABLES
from zobench.store.space import give_up_reserve
from zobench.store.step_log import STEPS_LOG, StepLog

VERSION_KEY = b"zobench.schema_version"
FINAL_STATUSES = ("done", "diverged", "budget")
"""Statuses of runs that are results. Runs with another status are shown, but executed again when the suite is
run again."""

SPEC, ENVIRONMENT, STATUS = "spec.json", "environment.json", "status.json"
_FEW_RECORDS = 2
JOURNAL = "measured.jsonl"
"""Log of the measurements after training (:mod:`zobench.runner.measurements`)."""


def versioned(schema: pa.Schema) -> pa.Schema:
    """The schema with its version in the file's metadata."""
    return schema.with_metadata({VERSION_KEY: str(SCHEMA_VERSION).encode()})


def to_table(name: str, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Records as an Arrow table of the named schema; missing columns are null, an unknown column is a
    ``ValueError``."""
    schema = TABLES[name]
    known = set(schema.names)
    for row in rows:
        if unknown := sorted(set(row) - known):
            raise ValueError(f"table {name!r} has no column {unknown[0]!r}; it has {', '.join(schema.names)}")
    return pa.Table.from_pylist([dict(r) for r in rows], schema=versioned(schema))


def parquet_bytes(table: pa.Table) -> bytes:
    """The table as a parquet file. A table of few records is not compressed: that would take more space, and
    three times as long to read and write."""
    sink = io.BytesIO()
    few = table.num_rows <= _FEW_RECORDS
    pq.write_table(table, sink, compression="none" if few else "zstd", use_dictionary=not few)
    return sink.getvalue()


class RunFolder:
    """Writes one run. The caller holds the folder's lock (:mod:`.lock`)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damage: list[str] = []
        """Damaged files that were found during the run, and what was done about them."""
        self._digests: dict[str, str] = {}
        self._log = StepLog(path / STEPS_LOG)

    def write_json(self, name: str, body: Mapping[str, Any]) -> None:
        """Replace a JSON file of the folder."""
        data = sealed(body)
        files.write_atomic(self.path / name, data)
        self._digests[name] = digest_of(data)

    def open_log(self, *, keep_steps: int, digest: str | None = None) -> bool:
        """Open the step log after its first ``keep_steps`` lines (:meth:`.step_log.StepLog.open`)."""
        return self._log.open(keep_steps=keep_steps, digest=digest)

    def append_step(self, row: Mapping[str, Any]) -> None:
        """One step of the log (:meth:`.step_log.StepLog.append`)."""
        self._log.append(row)

    def close_log(self) -> None:
        self._log.close()

    @property
    def log_digest(self) -> str:
        """Digest of the step log so far."""
        return self._log.digest

    def write_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Write a new checkpoint. If a power cut shortens the step log later, ``open_log`` detects it."""
        checkpoint_file.write_checkpoint(self.path, checkpoint)

    def checkpoints(self) -> Iterator[Checkpoint]:
        """The checkpoints, the latest first. If the caller requests the next one, the previous one counts as
        rejected and is deleted. Damaged and rejected checkpoints are listed in ``damage``."""
        for name in (CHECKPOINT, EARLIER):
            path = self.path / name
            try:
                found = read_checkpoint(path)
            except DamagedFile as error:
                self.damage.append(f"{path} is damaged: {error.reason}")
            else:
                if found is None:
                    continue
                yield found
                self.damage.append(f"{self._log.path} does not hold the steps before {path.name}")
            files.remove_file(path)

    def write_table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> int:
        """Write one parquet table and return its size in bytes; an empty table is not written (0 bytes)."""
        path = run_file(self.path, name)
        if not rows:
            files.remove_file(path)
            return 0
        data = parquet_bytes(to_table(name, rows))
        files.write_atomic(path, data)
        self._digests[path.name] = digest_of(data)
        return len(data)

    def finish(self, status: str, tables: Mapping[str, Sequence[Mapping[str, Any]]], error: str = "") -> None:
        """Write the tables and then the status, which contains their sizes and digests. The logs and
        checkpoints of a result are then deleted, except if measurements failed: those need them when they are
        tried again.

        Args:
            status: one of ``STATUSES``; ``ValueError`` otherwise.
            tables: records by table name; ``runs`` must have exactly one.
            error: message or traceback if the run failed.
        """
        if status not in STATUSES:
            raise ValueError(f"unknown status {status!r}; valid: {', '.join(STATUSES)}")
        assert len(tables["runs"]) == 1, "a run has one record"
        self.close_log()
        written = {name: self.write_table(name, rows) for name, rows in tables.items()}
        sizes = {name: size for name, size in written.items() if size}
        body = {"schema_version": SCHEMA_VERSION, "status": status, "error": error, "tables": sizes}
        files.write_atomic(self.path / STATUS, sealed({**body, "digests": self._digests}))
        give_up_reserve(self.path)
        if status in FINAL_STATUSES and not any(row.get("final") for row in tables.get("failures", ())):
            self.discard_progress()

    def make_room(self) -> None:
        """Delete the reserve and the tables written so far, because the disk is full."""
        give_up_reserve(self.path)
        for name in TABLES:
            files.remove_file(run_file(self.path, name))
            self._digests.pop(f"{name}.parquet", None)
        files.remove_temporaries(self.path)

    def discard_progress(self) -> None:
        """Delete the logs and the checkpoints."""
        self.close_log()
        checkpoint_file.remove_checkpoints(self.path)
        files.remove_file(self.path / STEPS_LOG)
        files.remove_file(self.path / JOURNAL)

    def drop_earlier_checkpoint(self) -> None:
        """Delete the earlier of the two checkpoints."""
        files.remove_file(self.path / EARLIER)

    def go_on(self) -> None:
        """Continue a finished run: files that are not written again remain as recorded in its status."""
        self._digests.update(read_sealed(self.path / STATUS).get("digests", {}))

    def reopen(self) -> None:
        """Mark a run that failed or was interrupted as unfinished: delete its status and tables, and keep its
        log and checkpoint."""
        files.remove_file(self.path / STATUS)  # first: the status asserts that the tables are complete
        for name in TABLES:
            files.remove_file(run_file(self.path, name))
        files.remove_temporaries(self.path)
