"""File operations that are safe against a kill at any moment. Every change of a results folder uses them.

A file is written under a temporary name and then renamed, so that a reader sees either the old or the new
content, never an incomplete file. Temporary names start with ``.tmp-``; readers ignore them, and the next
process that locks the folder deletes them.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Sequence
from pathlib import Path

TEMPORARY = ".tmp-"


def temporary_name(path: Path) -> Path:
    """A new name in the folder of ``path``: a rename is atomic only within one file system."""
    return path.parent / f"{TEMPORARY}{secrets.token_hex(6)}-{path.name}"


def write_atomic(
    path: Path, data: bytes | Iterable[bytes | memoryview], *, sync: bool = False, sync_entry: bool = False
) -> None:
    """Replace the content of ``path`` by ``data``, whole or in parts. After a kill the file has either the
    old or the new content.

    ``sync`` flushes the content to disk before the rename, so that a power cut leaves no empty file;
    ``sync_entry`` flushes the rename as well. Each costs one disk synchronization (milliseconds).
    """
    os.replace(_written(path, [data] if isinstance(data, bytes) else data, sync), path)
    if sync_entry:
        sync_folder(path.parent)


def write_keeping(path: Path, parts: Sequence[bytes | memoryview], earlier: Path) -> None:
    """Replace the content of ``path`` by ``parts`` and keep the previous content as ``earlier``.

    The new content is flushed to disk before the rename. The old ``earlier`` is deleted first, so that no
    more than two such files exist. After a kill at least one complete file exists under one of the two names.
    """
    if path.exists():
        remove_file(earlier)
    temporary = _written(path, parts, True)
    if path.exists():
        os.replace(path, earlier)
    os.replace(temporary, path)


def _written(path: Path, parts: Iterable[bytes | memoryview], sync: bool) -> Path:
    """Write a temporary file for ``path`` and return its path. If the disk is full, the file is deleted."""
    temporary = temporary_name(path)
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            for part in parts:
                write_all(fd, part)
            if sync:
                os.fsync(fd)
        finally:
            os.close(fd)
    except OSError:
        remove_file(temporary)
        raise
    return temporary


def commit(temporary: Path, path: Path) -> None:
    """Rename a finished temporary file to ``path`` and flush its content and the rename to disk."""
    sync_file(temporary)
    os.replace(temporary, path)
    sync_folder(path.parent)


def move(path: Path, target: Path) -> None:
    """Give a file or folder another name on the same file system."""
    os.replace(path, target)


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write all of ``data``, with as many write calls as are needed."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def sync_file(path: Path) -> None:
    """Flush a file's content to disk."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries (renames) to disk."""
    sync_file(folder)


def remove_file(path: Path) -> None:
    """Delete a file if it exists."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


def remove_tree(folder: Path) -> None:
    """Delete a folder and its contents; files that are already missing are no error. For a symbolic link,
    only the link is deleted."""
    if folder.is_symlink():
        remove_file(folder)
        return
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            remove_tree(Path(entry.path))
        else:
            remove_file(Path(entry.path))
    try:
        os.rmdir(folder)
    except FileNotFoundError:
        return


def remove_temporaries(folder: Path) -> None:
    """Delete the temporary files of a killed writer. Call only while holding the folder's lock."""
    for path in folder.glob(f"{TEMPORARY}*"):
        remove_file(path)
