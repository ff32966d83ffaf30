"""Finds the planned runs that are already finished, without loading a model or data.

A run's id needs the digests of its model and its data. Digests that workers computed are cached in
``runs/digests.json``, each with a stamp of the files that it depends on: names, sizes and modification times
of the code that creates models or examples, of the model's folder and of the data folder. If the stamp has
changed, or if there is none (hub models, hub data, plugins), the cache is not used and a worker computes the
digests, as for a new run.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import os
import sys
from dataclasses import replace
from pathlib import Path

import zobench
from zobench.data.locate import data_folder
from zobench.plugin_code import plugin_parts
from zobench.runner.factory import DEFAULT, component_key
from zobench.runner.jobs import Job, Outcome
from zobench.runner.measurements import some_to_retry, told
from zobench.runner.results import Row
from zobench.spec import Component, ModelRef, RunSpec, identifying
from zobench.store import files
from zobench.store.digests import DamagedFile, read_sealed, sealed
from zobench.store.reader import load, locate, results_paths, steadily
from zobench.store.scanning import records
from zobench.store.writer import FINAL_STATUSES
from zobench.tasks.catalogue import TASKS

FILE = "digests.json"
Remembered = dict[str, list[str]]
"""Key of a model, data set or set of revisions -> its stamp and its digest."""


class FinishedRuns:
    """The finished runs under ``runs``, which a plan need not execute again."""

    def __init__(self, runs: Path, parts: str = DEFAULT, retry_failed: bool = False) -> None:
        tree_stamp.cache_clear()  # files may have changed since an earlier plan of this process
        self._path = runs / FILE
        self._trusted = parts == DEFAULT
        self._digests = _load(self._path) if self._trusted else {}
        self._outcomes = results(runs, retry_failed) if self._digests else {}
        self._new: Remembered = {}

    def outcome(self, job: Job) -> Outcome | None:
        """The outcome of a run that is finished; ``None`` if it is not, or if this cannot be determined."""
        spec = job.planned.spec
        # Computed before anything runs: a file that changes during the plan must not keep its old digest.
        stamps = [model_stamp(spec.model), data_stamp(spec.task)]
        model, data = self._digests.get(model_key(spec.model)), self._digests.get(data_key(spec))
        more = self._digests.get(revisions_key(spec))
        if model is None or data is None or more is None or stamps != [model[0], data[0]]:
            return None
        if more[0] != revisions_stamp(spec):
            return None
        return self._outcomes.get(spec.run_id({**identifying(model[1], data[1]), **json.loads(more[1])}))

    def learn(self, spec: RunSpec, digests: dict[str, str]) -> None:
        """Record the digests that a worker computed for a run of ``spec``."""
        if not (self._trusted and digests):
            return
        more = {k: v for k, v in digests.items() if k not in ("model", "data", "schema")}
        for key, stamp, digest in (
            (model_key(spec.model), model_stamp(spec.model), digests["model"]),
            (data_key(spec), data_stamp(spec.task), digests["data"]),
            (revisions_key(spec), revisions_stamp(spec), json.dumps(more, sort_keys=True)),
        ):
            if stamp is not None:
                self._new[key] = [stamp, digest]

    def save(self) -> None:
        """Add the new digests to the file, which another process may have written meanwhile."""
        if self._new:
            body = {**_load(self._path), **self._new}
            files.write_atomic(self._path, sealed(body))
            self._new = {}


def results(runs: Path, retry_failed: bool = False) -> dict[str, Outcome]:
    """All finished runs under ``runs``, compacted or not, as outcomes by run id, except those with a
    measurement that is to be repeated."""
    return steadily(lambda: _results(runs, retry_failed))


def _results(runs: Path, retry_failed: bool) -> dict[str, Outcome]:
    source = locate(results_paths(runs), ("runs", "metrics", "failures"))
    failures: dict[str, list[Row]] = {}
    for row in load(source, "failures").to_pylist():
        failures.setdefault(row["run_id"], []).append(row)
    values: dict[str, dict[str, float]] = {}
    for run_id, metric, value, kind, final in records(
        source, "metrics", ("metric", "value", "condition_kind", "final")
    ):
        if final and kind == "clean" and metric is not None:
            values.setdefault(run_id, {})[sys.intern(metric)] = math.nan if value is None else value
    outcomes = {}
    for run_id, status, primary, forwards in records(
        source, "runs", ("status", "primary_metric", "forwards")
    ):
        mine, lost = values.get(run_id, {}), failures.get(run_id, [])
        if status in FINAL_STATUSES and not some_to_retry(status, lost, retry_failed):
            kept = Outcome(run_id, status, False, "", mine.get(primary), mine, forwards or 0)
            outcomes[run_id] = replace(kept, unmeasured=told(lost))
    return outcomes


def model_key(ref: ModelRef) -> str:
    return "model " + json.dumps(ref.model_dump(mode="json"), sort_keys=True)


def data_key(spec: RunSpec) -> str:
    return f"data {component_key(spec.task)} seed {spec.seed}"


def revisions_key(spec: RunSpec) -> str:
    return f"revisions {model_key(spec.model)} {component_key(spec.task)} {spec.method.name}"


def revisions_stamp(spec: RunSpec) -> str | None:
    """Stamp of the code that determines the revisions in a run's identity; ``None`` for runs that use a
    plugin, whose code is itself part of the identity."""
    if plugin_parts(spec) or (model := model_stamp(spec.model)) is None:
        return None
    return f"{model} {code_stamp('zo', 'tasks')}"


def model_stamp(ref: ModelRef) -> str | None:
    """Stamp of the files that a model's digest depends on; ``None`` for hub models, installed packages and
    GGUF files."""
    if ref.name.startswith("builtin:"):
        return code_stamp("models")
    return f"{code_stamp('models')} {tree_stamp(Path(ref.name))}" if Path(ref.name).is_dir() else None


def data_stamp(task: Component) -> str | None:
    """Stamp of the files that a task's examples depend on; ``None`` for hub data and tasks of plugins."""
    if task.name not in TASKS:
        return None
    if task.files:
        return _files_stamp(task)
    source = task.params.get("source")
    if source is None:
        return code_stamp("data", "tasks")
    folder = data_folder()
    if source != "local" or folder is None:
        return None
    return f"{code_stamp('data', 'tasks')} {tree_stamp(folder)}"


def _files_stamp(task: Component) -> str | None:
    """Sizes and modification times of the task's data files; ``None`` if one is on the hub or missing."""
    stamps = []
    for path in (Path(task.params[name]) for name in task.files if task.params[name] is not None):
        if not path.is_file():
            return None
        stamps.append(f"{path.stat().st_size} {path.stat().st_mtime_ns}")
    return f"{code_stamp('data', 'tasks')} {' '.join(stamps)}"


def code_stamp(*rooms: str) -> str:
    """Stamp of the code of these subpackages of zobench."""
    return " ".join(tree_stamp(Path(zobench.__file__).parent / room) for room in rooms)


@functools.lru_cache(maxsize=16)
def tree_stamp(folder: Path) -> str:
    """Digest of names, sizes and modification times of all files below a folder, computed once per plan."""
    found = hashlib.sha256()
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted(names):
            status = os.stat(os.path.join(place, name))
            where = os.path.relpath(os.path.join(place, name), folder)
            found.update(f"{where} {status.st_size} {status.st_mtime_ns}\n".encode())
    return found.hexdigest()[:32]


def _load(path: Path) -> Remembered:
    """Contents of the file; empty if it is missing or damaged."""
    try:
        body = read_sealed(path)
    except (FileNotFoundError, DamagedFile):
        return {}
    return {k: v for k, v in body.items() if isinstance(v, list) and len(v) == 2}
