"""Whether code leaves the global random state as it was, and the built-in model that the checks use."""

from __future__ import annotations

import pickle
import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import rich.style  # noqa: F401 - its import draws from ``random``; it must not happen within a check
import torch

from zobench.models.loading import load
from zobench.spec import ModelRef
from zobench.zo.conformance.subject import expect


@contextmanager
def unused_random_state() -> Iterator[None]:
    """``Failed`` if the code within changes the state of ``random``, NumPy or torch."""
    before = _states()
    yield
    changed = [name for name, state in _states().items() if state != before[name]]
    expect(not changed, f"it changes the global random state of {', '.join(changed)}: draw from its seed")


def _states() -> dict[str, bytes]:
    return {
        "random": pickle.dumps(random.getstate()),
        "numpy": pickle.dumps(np.random.get_state()),
        "torch": torch.get_rng_state().numpy().tobytes(),
    }


@cache
def builtin(name: str = "nano") -> Any:
    """The built-in model, loaded once."""
    return load(ModelRef(name=f"builtin:{name}"))


def equal_weights(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    """Whether both states have the same names and bits."""
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def weights(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """A copy of the module's parameters and buffers."""
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
