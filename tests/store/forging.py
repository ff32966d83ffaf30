"""Files of a results folder as a stranger or an earlier zobench would have written them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from zobench.store.digests import DIGEST, SEAL, file_digest, read_sealed, sealed


def forge(path: Path, **changes: Any) -> None:
    """Change keys of a sealed JSON file and seal it again."""
    path.write_bytes(sealed({**read_sealed(path), **changes}))


def forge_table(run: Path, name: str) -> None:
    """Let a run's status vouch for the table as it now is."""
    status, table = run / "status.json", run / f"{name}.parquet"
    body = read_sealed(status)
    tables = {**body["tables"], name: table.stat().st_size}
    forge(status, tables=tables, digests={**body["digests"], table.name: file_digest(table)})


def unseal(results: Path) -> None:
    """The folder as it was before digests were recorded."""
    for path in [*results.rglob("*.json")]:
        body = json.loads(path.read_text())
        for key in (DIGEST, SEAL, *(["digests"] if path.name in ("status.json", "manifest.json") else [])):
            body.pop(key, None)
        path.write_text(json.dumps(body, indent=1))
