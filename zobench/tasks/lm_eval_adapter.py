"""Any task of the lm-evaluation harness, by name or from a local folder of YAML files, on a loaded model.

Calls ``lm_eval.evaluate`` (not ``simple_evaluate``, which reseeds the global generators) in eval mode, with
the random state restored, without the response cache (its keys ignore the weights) and without bootstrap.
Relative ``data_files`` are resolved against the folder of their YAML file. A malformed file in the folder is
an error; the harness would silently omit its task.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from zobench import strict_yaml
from zobench.models.base import LanguageModel
from zobench.models.random_state import preserved_random_state
from zobench.names import nearest
from zobench.tasks.base import MetricValue
from zobench.tasks.harness_json import keep_text
from zobench.tasks.harness_model import harness_model

FEWSHOT_SEED = 1234
"""The harness's own default for drawing demonstrations."""


@dataclass(frozen=True, slots=True)
class HarnessResult:
    """``metrics`` by name; ``samples`` by leaf task as logged by the harness (targets, responses, per-item
    metrics)."""

    metrics: Mapping[str, MetricValue]
    samples: Mapping[str, Sequence[Mapping[str, Any]]]


def evaluate(
    lm: LanguageModel,
    name: str,
    *,
    include: str | Path | None = None,
    limit: int | None = None,
    shots: int | None = None,
) -> dict[str, MetricValue]:
    """Metrics of one task or group; see :func:`run`."""
    return dict(run(lm, name, include=include, limit=limit, shots=shots).metrics)


def run(
    lm: LanguageModel,
    name: str,
    *,
    include: str | Path | None = None,
    limit: int | None = None,
    shots: int | None = None,
    batch_size: int = 16,
) -> HarnessResult:
    """Evaluate one task, group or tag of the harness.

    Args:
        include: folder of task YAML files; its names take precedence over the built-in ones.
        limit: maximum number of documents per task.
        shots: number of demonstrations, unless the task fixes it at 0.

    Returns:
        Metrics named as the harness names them, ``metric`` or ``metric[filter]``; for a group
        ``task/metric``. The standard error is that of a mean over documents, s / sqrt(n).

    Raises:
        ValueError: harness not installed, unknown task, malformed YAML, data that cannot be loaded.
    """
    with preserved_random_state(), torch.inference_mode():
        loaded = load_task(lm, name, include)
        for task in loaded["tasks"].values():
            if shots is not None and task.config.num_fewshot != 0:
                task.set_config("num_fewshot", shots)
        return score(lm, name, loaded, limit, batch_size)


def load_task(lm: LanguageModel, name: str, include: str | Path | None = None) -> Any:
    """The harness's own task objects under ``["tasks"]``, for this model; errors as in :func:`run`."""
    if importlib.util.find_spec("lm_eval") is None:
        raise ValueError(f"lm-eval task {name!r} needs the harness: pip install 'zobench[lm-eval]'")
    if lm.architecture != "causal":
        raise ValueError(
            f"{lm.identity.name}: lm-eval tasks need a causal model, this one is {lm.architecture}"
        )
    with preserved_random_state():
        loaded = _load(name, None if include is None else str(Path(include).resolve()))
        for task in loaded["tasks"].values():
            keep_text(task, name)
            task.set_fewshot_seed(FEWSHOT_SEED)
    return loaded


def score(
    lm: LanguageModel, name: str, loaded: Any, limit: int | None = None, batch_size: int = 16
) -> HarnessResult:
    """Evaluate loaded tasks on their present documents."""
    import lm_eval

    lm.module.eval()
    with _quiet():
        raw = lm_eval.evaluate(
            harness_model(lm, batch_size),
            task_dict=loaded,
            limit=limit,
            bootstrap_iters=0,
            log_samples=True,
            verbosity="ERROR",
            apply_chat_template=lm.chat is not None,
            fewshot_as_multiturn=lm.chat is not None,
            system_instruction=None if lm.chat is None else lm.chat.system,
        )
    assert raw is not None
    samples: dict[str, Any] = raw["samples"]
    metrics: dict[str, MetricValue] = {}
    for leaf, rows in samples.items():
        prefix = "" if leaf == name else f"{leaf}/"
        metrics.update({prefix + key: value for key, value in _metrics(raw["results"][leaf], rows).items()})
    return HarnessResult(metrics, samples)


def _metrics(results: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, MetricValue]:
    found: dict[str, MetricValue] = {}
    for key, value in results.items():
        metric, comma, chosen = key.partition(",")
        if not comma or metric.endswith("_stderr") or not isinstance(value, int | float):
            continue
        items = [row[metric] for row in rows if row["filter"] == chosen and metric in row]
        name = metric if chosen == "none" else f"{metric}[{chosen}]"
        found[name] = MetricValue(float(value), len(items), _stderr(float(value), items))
    return found


def _stderr(value: float, items: Sequence[Any]) -> float | None:
    """Standard error of the mean of per-document numbers; ``None`` if the metric is not such a mean."""
    if len(items) < 2 or not all(isinstance(i, int | float) for i in items):
        return None
    mean = math.fsum(items) / len(items)
    if not math.isclose(mean, value, rel_tol=1e-9, abs_tol=1e-12):
        return None
    return math.sqrt(math.fsum((i - mean) ** 2 for i in items) / (len(items) - 1) / len(items))


def check_name(name: str, include: str | Path | None = None) -> None:
    """``ValueError`` with the nearest valid name if the harness has no task, group or tag ``name``.

    The first check against the built-in tasks takes many seconds per process. Nothing is checked if the
    harness is not installed.
    """
    if importlib.util.find_spec("lm_eval") is not None:
        with preserved_random_state():
            _index(name, None if include is None else str(Path(include).resolve()))


def _index(name: str, include: str | None) -> Any:
    """The harness's index with ``name``: that of the include folder alone if it has the name."""
    manager = _manager(include, defaults=False) if include is not None else None
    if manager is None or name not in manager.task_index:
        manager = _manager(include, defaults=True)
    if name not in manager.task_index:
        raise ValueError(f"unknown lm-eval task {name!r}{nearest(name, manager.task_index)}")
    return manager


def _load(name: str, include: str | None) -> Any:
    """Task objects of the harness."""
    manager = _index(name, include)
    try:
        with _quiet():
            return manager.load([name])
    except (TypeError, KeyError, OSError, ValueError, ImportError, AttributeError) as error:
        raise ValueError(f"lm-eval task {name!r} cannot be loaded: {error}") from error


@lru_cache(maxsize=8)
def _manager(include: str | None, *, defaults: bool) -> Any:
    """The harness's index. Building it over the built-in tasks takes many seconds: done once per process."""
    from lm_eval.tasks import TaskManager

    if include is not None:
        _check_folder(Path(include))
    with _quiet():
        manager = TaskManager(include_path=include, include_defaults=defaults)
    if include is not None:
        _make_data_files_absolute(manager, Path(include))
    return manager


def _check_folder(folder: Path) -> None:
    """Parse every YAML file as the harness does, and fail where the harness would silently skip one."""
    files = sorted(folder.rglob("*.yaml"))
    if not files:
        raise ValueError(f"lm-eval include folder {folder} contains no .yaml file")
    sized: set[Path] = set()
    for path in files:
        _parsed(path, sized)


_MALFORMED = (ValueError, OSError, KeyError, TypeError, AttributeError, IndexError, OverflowError)
"""Raised by PyYAML's constructors for wrong tags and keys, besides its own errors."""


def _parsed(path: Path, sized: set[Path]) -> None:
    """``ValueError`` if the harness cannot parse the file, or if it or a file that it includes is beyond the
    limits of :mod:`zobench.strict_yaml`."""
    import yaml
    from lm_eval.tasks._yaml_loader import load_yaml

    try:
        _check_sizes(path, sized)
        load_yaml(path, resolve_func=False)
    except (yaml.YAMLError, *_MALFORMED) as error:
        told = " ".join(str(error).split())
        raise ValueError(f"{path}: malformed lm-eval task file: {told}") from error


def _check_sizes(path: Path, sized: set[Path]) -> None:
    """Check the size of a file and of those that it includes, before anything is built."""
    import yaml
    from lm_eval.tasks._yaml_loader import load_yaml

    waiting = [path.resolve()]
    while waiting:
        one = waiting.pop()
        if one in sized:
            continue
        sized.add(one)
        text = strict_yaml.text_of(one)
        strict_yaml.check_size(one, yaml.parse(text, Loader=yaml.SafeLoader))
        includes = load_yaml(one, resolve_func=False, recursive=False).get("include") or []
        names = includes if isinstance(includes, list) else [includes]
        waiting += [(one.parent / str(name)).resolve() for name in names]


def _make_data_files_absolute(manager: Any, folder: Path) -> None:
    """Resolve relative ``data_files`` of the folder's tasks against their YAML file, not the current
    directory."""
    from lm_eval.tasks._yaml_loader import load_yaml

    for name, entry in list(manager.task_index.items()):
        path = entry.yaml_path
        if path is None or not Path(path).resolve().is_relative_to(folder):
            continue
        config = load_yaml(path, resolve_func=True)
        arguments = config.get("dataset_kwargs") or {}
        if not isinstance(config.get("task"), str) or "data_files" not in arguments:
            continue
        files = _absolute(arguments["data_files"], Path(path).resolve().parent)
        config["dataset_kwargs"] = {**arguments, "data_files": files}
        manager.task_index[name] = dataclasses.replace(entry, yaml_path=None, cfg=config)


def _absolute(files: Any, base: Path) -> Any:
    if isinstance(files, dict):
        return {split: _absolute(value, base) for split, value in files.items()}
    if isinstance(files, list):
        return [_absolute(value, base) for value in files]
    return files if "://" in files or Path(files).is_absolute() else str(base / files)


class _quiet:
    """Hides the harness's log messages and progress bars; errors are still raised as exceptions."""

    def __enter__(self) -> None:
        import datasets

        self._logger = logging.getLogger("lm_eval")
        self._level = self._logger.level
        self._bars = datasets.is_progress_bar_enabled()
        self._logger.setLevel(logging.ERROR)
        datasets.disable_progress_bars()

    def __exit__(self, *error: object) -> None:
        import datasets

        self._logger.setLevel(self._level)
        if self._bars:
            datasets.enable_progress_bars()
