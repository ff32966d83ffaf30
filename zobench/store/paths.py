"""Converts names from data (run ids, digests, table and file names, suites, leaderboards) to paths, or
rejects them.

A results folder may come from somebody else, and a run id such as ``../../x`` must not determine what is
read, written or removed. Every name that was read from a file is converted to a path by a function of this
module and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from zobench.store.schema import TABLES

COMPACT = "compact"
ARTIFACTS = "artifacts"
DAMAGED = "damaged"
STORE_FOLDERS = (COMPACT, ARTIFACTS, DAMAGED)
"""Folders beside those of the runs."""

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_COMPACTED = re.compile(r"([a-z]+)-[0-9]{6,12}\.parquet")
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")  # a Path has one slash of two left
_PLAIN = re.compile(r"[^\W_][\w .+()=,@-]{0,119}")


def run_folder(runs: Path, run_id: str) -> Path:
    """Folder of a run. The id must consist of up to 64 letters, digits, ``-`` and ``_`` and must not be a
    reserved name of the store; the folder must not be a symbolic link.

    Raises:
        ValueError: the id or the folder is invalid.
    """
    _check("run id", run_id, _RUN_ID, runs)
    if run_id in STORE_FOLDERS:
        raise ValueError(f"{runs}: {run_id!r} is not a run id but a folder of the store itself")
    folder = runs / run_id
    if folder.is_symlink():
        raise ValueError(f"{folder} is a link: a run's folder must be inside its results folder")
    return folder


def run_file(folder: Path, name: str) -> Path:
    """A table's file inside a run's folder, by the table's name."""
    return folder / f"{_table(name, folder)}.parquet"


def artifact_file(runs: Path, digest: str) -> Path:
    """File of a stored artifact; the digest must be 64 hexadecimal digits."""
    return runs / ARTIFACTS / f"{_check('artifact digest', digest, _DIGEST, runs)}.safetensors"


def compacted_file(runs: Path, name: str) -> Path:
    """File of a compacted table, by its name in the manifest: ``TABLE-NUMBER.parquet``."""
    match = _COMPACTED.fullmatch(name) if isinstance(name, str) else None
    if match is None:
        raise ValueError(f"{runs / COMPACT}: the manifest names {_shown(name)}, which is not a table's file")
    _table(match[1], runs / COMPACT)
    return runs / COMPACT / name


def pushed_file(runs: Path, name: str, of_runs: Collection[str], of_store: Collection[str]) -> Path:
    """File of pushed results (:mod:`.pushing`), by its name relative to ``runs``: a run's table or one of the
    names ``of_runs``, a compacted table, an artifact, or one of the names ``of_store``."""
    first, _, file = name.partition("/") if isinstance(name, str) else ("", "", "")
    stem, _, ending = file.rpartition(".")
    if name in of_store:
        return runs.joinpath(*name.split("/"))
    if first == COMPACT:
        return compacted_file(runs, file)
    if first == ARTIFACTS and ending == "safetensors":
        return artifact_file(runs, stem)
    if file in of_runs:
        return run_folder(runs, first) / file
    if ending == "parquet":
        return run_file(run_folder(runs, first), stem)
    raise ValueError(f"{runs}: {_shown(name)} is not a file of results; it was not used as a path")


def run_page_file(folder: Path, run_id: str) -> Path:
    """File of a run's page in a site."""
    return folder / f"{_check('run id', run_id, _RUN_ID, folder)}.html"


def board_page_file(folder: Path, board: str) -> Path:
    """File of the page of a leaderboard, by the leaderboard's name."""
    return folder / f"{_check('leaderboard name', board, _PLAIN, folder)}.html"


def results_folder(parent: Path, suite: str) -> Path:
    """Folder of a suite's results in ``parent``, by the suite's name."""
    return parent / _check("suite name", suite, _PLAIN, parent)


def local_folder(name: str | Path) -> Path:
    """The folder in which runs are executed; ``ValueError`` for the address of a storage service, which as a
    path would name a local folder ``s3:``."""
    scheme = storage_scheme(name)
    if scheme is not None:
        raise ValueError(
            f"{_shown(_address(name))}: runs are executed and resumed in a folder, not in {scheme}:// "
            "storage, which has neither locks nor atomic renames; use a local or shared folder, and "
            "'zobench push' when the runs are finished"
        )
    return Path(name)


def refuse_storage(name: str | Path) -> Path:
    """The folder of this name, whose files are read; ``ValueError`` for the address of a storage service."""
    if (scheme := storage_scheme(name)) is not None:
        raise ValueError(
            f"{_shown(_address(name))}: of results in {scheme}:// storage only a copy can be read, which "
            "'zobench report', 'query' and 'diff' make of what 'zobench push' wrote"
        )
    return Path(name)


def storage_scheme(name: str | Path) -> str | None:
    """``s3`` of ``s3://bucket/x``: the scheme of the address of a storage service; ``None`` for a folder."""
    found = _ADDRESS.match(str(name))
    return None if found is None else found[1]


def _address(name: str | Path) -> str:
    """The address as it was written: a ``Path`` leaves one of its two slashes."""
    return _ADDRESS.sub(r"\1://", str(name).replace("://", ":/", 1), count=1)


def is_run_id(name: str) -> bool:
    """Whether the name has the form of a run id."""
    return _RUN_ID.fullmatch(name) is not None and name not in STORE_FOLDERS


def is_plain(name: str) -> bool:
    """Whether a suite may have this name: at most 120 letters, digits, spaces and ``. _ - + ( ) = , @``,
    beginning with a letter or digit and not ending with a dot or space."""
    return _PLAIN.fullmatch(name) is not None and not name.endswith((".", " "))


def _check(kind: str, name: object, pattern: re.Pattern[str], where: Path) -> str:
    if not isinstance(name, str) or pattern.fullmatch(name) is None or name.endswith((".", " ")):
        raise ValueError(f"{where}: {_shown(name)} is not a valid {kind}; it was not used as a path")
    return name


def _table(name: object, where: Path) -> str:
    if name not in TABLES:
        raise ValueError(f"{where}: there is no table {_shown(name)}; there are {', '.join(TABLES)}")
    return str(name)


def _shown(name: object) -> str:
    text = repr(name)
    return text if len(text) <= 80 else text[:77] + "..."
