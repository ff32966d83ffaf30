"""The global state of the process, which is saved before a run and restored after it.

Changes would affect later runs and the reproducibility of the run. The state comprises torch's number of
threads, default dtype, default device, gradient mode and flags of deterministic and reduced-precision
products; the global random states of Python, NumPy and torch; environment variables; and the working
directory. Changes made by a run are listed in its warning ``process-state``. Values of environment variables
are not recorded. Variables that libraries set when they are first used are ignored.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

WARNING = "process-state"
LIBRARIES = ("TORCHINDUCTOR_", "TRITON_", "KMP_", "WANDB_", "MLFLOW_", "ZOBENCH_IMPORTED_PLUGINS")
"""Prefixes of environment variables that libraries set themselves: torch and OpenMP on import, trackers for
their services, and the one in which imported plugins are kept (:mod:`zobench.plugins`)."""
_NAMED = 4

Flag = tuple[Callable[[], Any], Callable[[Any], Any]]


def _attribute(owner: Any, name: str) -> Flag:
    return lambda: getattr(owner, name), lambda value: setattr(owner, name, value)


def _set_deterministic(value: tuple[bool, bool]) -> None:
    torch.use_deterministic_algorithms(value[0], warn_only=value[1])


def _deterministic() -> tuple[bool, bool]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )


def _set_device(value: str) -> None:
    # None removes torch's default-device mode; "cpu" would add one, which slows down every operation.
    torch.set_default_device(None if value == "cpu" else value)


FLAGS: dict[str, Flag] = {
    "threads": (torch.get_num_threads, torch.set_num_threads),
    "default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "default device": (lambda: str(torch.get_default_device()), _set_device),
    "gradient mode": (torch.is_grad_enabled, torch.set_grad_enabled),
    "deterministic algorithms": (_deterministic, _set_deterministic),
    "float32 matmul precision": (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    "cudnn.deterministic": _attribute(torch.backends.cudnn, "deterministic"),
    "cudnn.benchmark": _attribute(torch.backends.cudnn, "benchmark"),
}
"""Settings with one function or attribute each: how they are read and written."""


@dataclass(frozen=True, slots=True)
class ProcessState:
    """The saved state (see the module's docstring), with random states of the CPU and of CUDA devices in
    use."""

    flags: Mapping[str, Any]
    random: Mapping[str, Any]
    environment: Mapping[str, str]
    directory: Path | None

    @classmethod
    def now(cls) -> ProcessState:
        flags = {name: read() for name, (read, _) in FLAGS.items()}
        own = {name: value for name, value in os.environ.items() if not name.startswith(LIBRARIES)}
        return cls(flags, _random_states(), own, _directory())

    def changes(self) -> list[str]:
        """Descriptions of the differences from the current state; empty if there are none."""
        now = ProcessState.now()
        found = [
            f"{name} {value} became {now.flags[name]}"
            for name, value in self.flags.items()
            if now.flags[name] != value
        ]
        found += [
            f"the global random state of {name} was used"
            for name, value in self.random.items()
            if not _same(value, now.random[name])
        ]
        names = sorted(
            n
            for n in self.environment.keys() | now.environment.keys()
            if self.environment.get(n) != now.environment.get(n)
        )
        if names:
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            found.append(f"environment variables {', '.join(names[:_NAMED])}{more} changed")
        if now.directory != self.directory:
            found.append("the working directory changed")
        return found

    def restore(self) -> None:
        """Restore everything that has changed."""
        now = ProcessState.now()
        for name, (_, write) in FLAGS.items():
            if now.flags[name] != self.flags[name]:
                write(self.flags[name])
        if now.environment != self.environment:
            for name in now.environment.keys() - self.environment.keys():
                del os.environ[name]
            os.environ.update(self.environment)
        if now.directory != self.directory and self.directory is not None:
            os.chdir(self.directory)
        _restore_random(self.random, now.random)


def _directory() -> Path | None:
    """The working directory; ``None`` if it no longer exists."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return None


def _random_states() -> dict[str, Any]:
    states = {
        "random": random.getstate(),
        "numpy": np.random.get_state(),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        states["torch.cuda"] = torch.cuda.get_rng_state_all()
    return states


def _restore_random(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    write: dict[str, Callable[[Any], Any]] = {
        "random": random.setstate,
        "numpy": np.random.set_state,
        "torch": torch.set_rng_state,
        "torch.cuda": torch.cuda.set_rng_state_all,
    }
    for name, value in before.items():
        if not _same(value, now[name]):
            write[name](value)


def _same(one: Any, other: Any) -> bool:
    """Equality of nested tuples and lists of arrays, tensors and plain values."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)
