"""Find a run by its folder or by the first digits of its id."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from zobench.names import nearest


@dataclass(frozen=True, slots=True)
class FoundRun:
    """A run in a ``runs`` folder; ``status`` is ``None`` if it is unfinished."""

    folder: Path
    run_id: str
    status: str | None

    @property
    def path(self) -> Path:
        """The run's own folder. It does not exist if the run was compacted."""
        from zobench.store.paths import run_folder

        return run_folder(self.folder, self.run_id)


def find_run(name: str, results: Path) -> FoundRun:
    """The run whose folder is ``name``, or the one run below ``results`` whose id begins with it."""
    path = Path(name)
    if (path / "spec.json").is_file():
        return _found(path.parent, path.name)
    if path.is_dir():
        raise ValueError(f"{name} is not a run folder: it has no spec.json")
    folders = [path.parent] if len(path.parts) > 1 else sorted(results.glob("**/runs"))
    known = [(folder, run_id) for folder in folders if folder.is_dir() for run_id in _run_ids(folder)]
    fitting = [(folder, run_id) for folder, run_id in known if run_id.startswith(path.name)]
    if len(fitting) == 1:
        return _found(*fitting[0])
    if fitting:
        raise ValueError(
            f"several runs begin with {name!r}: " + ", ".join(str(f / r) for f, r in fitting[:5])
        )
    where = results if len(path.parts) == 1 else path.parent
    raise ValueError(f"no run {name!r} below {where}{nearest(path.name, [r for _, r in known[:20]])}")


def _run_ids(folder: Path) -> list[str]:
    from zobench.store.reader import compacted_statuses

    loose = {p.parent.name for p in folder.glob("*/spec.json")}
    return sorted(loose | set(compacted_statuses(folder)))


def _found(folder: Path, run_id: str) -> FoundRun:
    from zobench.store.paths import run_folder
    from zobench.store.reader import compacted_statuses, read_status

    status = read_status(run_folder(folder, run_id))
    known = status["status"] if status is not None else compacted_statuses(folder).get(run_id)
    return FoundRun(folder, run_id, known)
