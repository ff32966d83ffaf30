"""Removes finished runs permanently, from run folders and from compacted files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from zobench.store import files
from zobench.store.compaction import drop_compacted
from zobench.store.lock import FolderLock
from zobench.store.paths import run_folder
from zobench.store.reader import runs_folder
from zobench.store.writer import STATUS


def remove_runs(folder: str | Path, run_ids: Sequence[str]) -> int:
    """Remove these runs from a results folder and return the number of runs removed. A run whose folder is
    locked by another process is not removed.

    Raises:
        ValueError: an id is not valid (raised before anything is removed), or another process is compacting.
    """
    runs = runs_folder(folder)
    places = [run_folder(runs, run_id) for run_id in run_ids]  # validates all ids before the first removal
    removed = 0
    for place in places:
        if not place.is_dir() or (lock := FolderLock.acquire(place)) is None:
            continue
        with lock:
            files.remove_file(place / STATUS)  # first, so that no reader sees a run without its tables
            files.remove_tree(place)
        removed += 1
    return removed + drop_compacted(runs, set(run_ids))
