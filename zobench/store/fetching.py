"""Copies pushed results from S3 storage into a cache folder, where they are read as any results folder.

A copy is named by the digest of the list of its files (``pushed.json``), so that results which were pushed
again are copied again. It is made under a temporary name, every file is compared with its digest, and only a
complete copy gets its name.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from pathlib import Path

from zobench.store import files
from zobench.store.digests import digest_of, sealed
from zobench.store.lock import FolderLock
from zobench.store.paths import ARTIFACTS, pushed_file
from zobench.store.pushing import OF_RUNS, OF_STORE, PUSHED, PushedFile, at_once, read_pushed
from zobench.store.remote import Address, Storage

_WAIT_SECONDS = 0.2


def fetch(place: Address, cache: Path) -> Path:
    """The results at ``place`` as a results folder below ``cache``, copied unless they are there already.
    Artifacts, which only replay needs, are not copied.

    Raises:
        ValueError: there are no pushed results, a name or file is not what was pushed, the storage fails.
    """
    storage = Storage(place)
    pushed = read_pushed(storage)
    if pushed is None:
        raise ValueError(
            f"{place}: there are no results (no {PUSHED}); 'zobench push RESULTS {place}' writes them"
        )
    wanted = {n: f for n, f in pushed.files.items() if not n.startswith(f"{ARTIFACTS}/")}
    target = cache / digest_of(sealed(pushed.model_dump(mode="json")))[:20]
    if _complete(target, wanted):
        return target
    with _lock(cache):
        for abandoned in cache.glob(f"{files.TEMPORARY}*"):
            files.remove_tree(abandoned)
        if not _complete(target, wanted):  # another process may have made it meanwhile
            files.remove_tree(target)
            _copy_all(storage, wanted, target)
    return target


def _lock(cache: Path) -> FolderLock:
    """The lock of the cache, which is held while a copy is made."""
    while (lock := FolderLock.acquire(cache)) is None:
        time.sleep(_WAIT_SECONDS)
    return lock


def _complete(target: Path, wanted: Mapping[str, PushedFile]) -> bool:
    """Whether all files of a copy have their sizes, which a power cut may have changed."""
    runs = target / "runs"
    try:
        sizes = [_place(runs, name).stat().st_size for name in wanted]
    except (FileNotFoundError, NotADirectoryError):
        return False
    return runs.is_dir() and sizes == [f.size for f in wanted.values()]


def _copy_all(storage: Storage, wanted: Mapping[str, PushedFile], target: Path) -> None:
    temporary = files.temporary_name(target)
    runs = temporary / "runs"
    runs.mkdir(parents=True)
    try:
        at_once(lambda name: _copy(storage, name, wanted[name], _place(runs, name)), wanted)
        files.move(temporary, target)
    except BaseException:
        files.remove_tree(temporary)
        raise


def _copy(storage: Storage, name: str, expected: PushedFile, path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    digest = hashlib.sha256()
    with path.open("xb") as out:

        def write(data: bytes) -> None:
            out.write(data)
            digest.update(data)

        storage.copy_from(name, write, expected.size)
    if digest.hexdigest() != expected.sha256:
        raise ValueError(
            f"{storage.place}: {name} is not the file that was pushed; if a push is in progress, try again "
            "when it is done"
        )


def _place(runs: Path, name: str) -> Path:
    return pushed_file(runs, name, OF_RUNS, OF_STORE)
