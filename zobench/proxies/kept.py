"""Trained accuracies, kept in the cache: every network is trained once for all proxies, runs and workers.

A file ``proxies/DIGEST.json`` in the cache is named after all that the accuracy depends on: kind of data,
design, seed, number of steps, version of the recipe (:mod:`zobench.proxies.training`) and of torch. It is
written in one piece after a network was trained, so that a killed run goes on with the next network. Workers
divide the networks: one that another worker trains at the moment is left for later.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from zobench.models.packages import cache_folder
from zobench.proxies.nets import Design
from zobench.proxies.training import RECIPE, DataKind, trained_accuracy


def accuracies(kind: DataKind, designs: Sequence[Design], seed: int, steps: int) -> list[float]:
    """Test accuracies of these networks, in order; those that are not in the cache are trained."""
    keys = [_key(kind, design, seed, steps) for design in designs]
    found = [_read(key) for key in keys]
    for patience in (0, -1):  # first those that no other worker trains; then those that one did
        for i, design in enumerate(designs):
            if found[i] is None:
                found[i] = _trained(keys[i], kind, design, seed, steps, patience)
    return [value for value in found if value is not None]


def _trained(
    key: dict[str, Any], kind: DataKind, design: Design, seed: int, steps: int, patience: int
) -> float | None:
    """The accuracy; ``None`` if another worker trains the network and ``patience`` is 0."""
    file = _file(key)
    file.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(Timeout), FileLock(file.with_suffix(".lock"), timeout=patience):
        found = _read(key)
        if found is None:
            found = trained_accuracy(kind, design, seed, steps)
            draft = file.with_suffix(f".{os.getpid()}")
            draft.write_text(json.dumps({**key, "accuracy": found}), encoding="utf-8")
            draft.replace(file)
        return found
    return None


def _key(kind: DataKind, design: Design, seed: int, steps: int) -> dict[str, Any]:
    made = {"recipe": RECIPE, "torch": torch.__version__}
    return {"kind": kind, "design": dataclasses.asdict(design), "seed": seed, "steps": steps, **made}


def _file(key: dict[str, Any]) -> Path:
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    return cache_folder() / "proxies" / f"{digest[:24]}.json"


def _read(key: dict[str, Any]) -> float | None:
    """The kept accuracy; ``None`` if there is none, or if the file is damaged or of another network."""
    try:
        body = json.loads(_file(key).read_text(encoding="utf-8"))
        value = body.pop("accuracy")
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return None
    return float(value) if body == key and isinstance(value, float) and 0 <= value <= 1 else None
