"""A run's resumable state as flat tensors and JSON: tuned weights, method state, position.

Optimizer state may nest dictionaries with string keys, lists, tensors, numbers, strings, booleans and
``None``. Tensors go to safetensors under a path name, the rest to JSON (Python's float text is exact in both
directions).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from zobench.runner.results import Row
from zobench.store.writer import Checkpoint

_MARK = "__tensor__"


@dataclass(slots=True)
class Progress:
    """The position of a run besides weights and method state; stored as JSON in the checkpoint."""

    step: int = 0
    seconds: float = 0.0
    refused: int = 0
    tied: int = 0
    evaluation_forwards: int = 0
    evaluation_seconds: float = 0.0
    curve: list[Row] = field(default_factory=list)
    points: list[int] = field(default_factory=list)
    """Budget points that were already measured."""
    prepared: bool = False
    diagnostic_forwards: int = 0
    traps: list[dict[str, Any]] = field(default_factory=list)
    resumed: int = 0
    unmeasured: list[dict[str, Any]] = field(default_factory=list)
    """Records of the failures table about earlier states of the run."""
    started_from: str = ""
    """SHA-256 of the tuned weights before step 0."""
    untouched: str = ""
    """SHA-256 of the predictions before step 0, if these were measured."""

    def state(self) -> dict[str, Any]:
        """The position as plain values."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def take(self, state: Mapping[str, Any]) -> None:
        """Restore from ``state()`` in place, because other objects hold references to this one."""
        for name, value in state.items():
            setattr(self, name, value)


def pack(
    weights: Mapping[str, torch.Tensor], state: Mapping[str, Any], position: Mapping[str, Any]
) -> Checkpoint:
    """One checkpoint. The weights are not copied: write it before they change."""
    tensors = {f"weights/{name}": value.detach() for name, value in weights.items()}
    body = {**position, "state": _flatten(state, "state", tensors)}
    return Checkpoint(tensors, body)


def unpack(
    tensors: Mapping[str, torch.Tensor], position: Mapping[str, Any]
) -> tuple[dict[str, torch.Tensor], dict[str, Any], dict[str, Any]]:
    """Weights, method state and position of a stored checkpoint."""
    weights = {n.removeprefix("weights/"): t for n, t in tensors.items() if n.startswith("weights/")}
    rest = dict(position)
    state = _restore(rest.pop("state"), tensors)
    return weights, state, rest


def _flatten(value: Any, path: str, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, torch.Tensor):
        tensors[path] = value.detach().clone()
        return {_MARK: path}
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str) or key == _MARK:
                raise TypeError(f"optimizer state {path}: key {key!r} is not a plain string")
        return {key: _flatten(item, f"{path}/{key}", tensors) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_flatten(item, f"{path}/{i}", tensors) for i, item in enumerate(value)]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"optimizer state {path}: {type(value).__name__} is neither a tensor nor plain JSON")


def _restore(value: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    if isinstance(value, dict):
        if _MARK in value:
            return tensors[value[_MARK]]
        return {key: _restore(item, tensors) for key, item in value.items()}
    if isinstance(value, list):
        return [_restore(item, tensors) for item in value]
    return value
