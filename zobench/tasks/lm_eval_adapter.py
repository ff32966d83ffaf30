"""Any task of the lm-evaluation harness, by name or from a local folder of YAML files, on the model in
memory.

Runs ``lm_eval.evaluate`` (not ``simple_evaluate``, which reseeds the global generators): eval mode, random
state restored, no response cache (its keys ignore the weights), no bootstrap. Relative ``data_files`` are
read from beside their YAML file, and a malformed file in the folder is an error rather than a task that
silently does not exist.
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

from zobench.models.base import LanguageModel
from zobench.models.random_state import preserved_random_state
from zobench.names import nearest
from zobench.tasks.base import MetricValue
from zobench.tasks.harness_json import keep_text

FEWSHOT_SEED = 1234
"""The harness's own default for drawing demonstrations."""


@dataclass(frozen=True, slots=True)
class HarnessResult:
    """``metrics`` by name; ``samples`` are the harness's rows per leaf task (targets, responses,
    per-item metrics)."""

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
        include: folder of task YAML files; its names win over the built-in ones.
        limit: most documents per task.
        shots: demonstrations, where the task does not fix their number at 0.

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
    """Evaluate loaded tasks on the rows that they hold now."""
    import lm_eval
    from lm_eval.models.huggingface import HFLM

    lm.module.eval()
    # The harness pads in its own way: a model whose logits change with padding gets one row at a time.
    size = batch_size if lm.way.rows == "padded" else 1
    with _quiet():
        wrapped = HFLM(
            pretrained=lm.module, tokenizer=lm.tokenizer, batch_size=size, max_length=lm.max_length
        )
        raw = lm_eval.evaluate(
            wrapped, task_dict=loaded, limit=limit, bootstrap_iters=0, log_samples=True, verbosity="ERROR"
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
    """Standard error of the mean of per-document numbers; ``None`` where the metric is not such a mean."""
    if len(items) < 2 or not all(isinstance(i, int | float) for i in items):
        return None
    mean = math.fsum(items) / len(items)
    if not math.isclose(mean, value, rel_tol=1e-9, abs_tol=1e-12):
        return None
    return math.sqrt(math.fsum((i - mean) ** 2 for i in items) / (len(items) - 1) / len(items))


def check_name(name: str, include: str | Path | None = None) -> None:
    """``ValueError`` with the nearest valid name where the harness knows no task, group or tag ``name``.

    The first look at the built-in tasks of a process takes many seconds. Where the harness is not installed
    nothing is checked.
    """
    if importlib.util.find_spec("lm_eval") is not None:
        with preserved_random_state():
            _index(name, None if include is None else str(Path(include).resolve()))


def _index(name: str, include: str | None) -> Any:
    """The harness's index that holds ``name``: of the include folder alone where it knows the name."""
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
    """The harness's index; building it over the built-in tasks takes many seconds, hence once per process."""
    from lm_eval.tasks import TaskManager

    if include is not None:
        _check_folder(Path(include))
    with _quiet():
        manager = TaskManager(include_path=include, include_defaults=defaults)
    if include is not None:
        _make_data_files_absolute(manager, Path(include))
    return manager


def _check_folder(folder: Path) -> None:
    """Parse every YAML file the way the harness does, and fail where it would silently skip one."""
    import yaml
    from lm_eval.tasks._yaml_loader import load_yaml

    files = sorted(folder.rglob("*.yaml"))
    if not files:
        raise ValueError(f"lm-eval include folder {folder} holds no .yaml file")
    for path in files:
        try:
            load_yaml(path, resolve_func=False)
        except (yaml.YAMLError, ValueError, OSError) as error:
            raise ValueError(f"{path}: malformed lm-eval task file: {error}") from error


def _make_data_files_absolute(manager: Any, folder: Path) -> None:
    """Point relative ``data_files`` of the folder's tasks beside their YAML file, not at the
    current directory."""
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
    """The harness reports progress by logging and progress bars; errors still come as exceptions."""

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
