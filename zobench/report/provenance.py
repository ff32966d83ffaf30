"""Runs made by arithmetic or code that is not today's: an earlier revision, or a plugin that nobody recorded.

A method's revision is raised when the same losses would give other weights (``MethodCard.revision``), a
task's when the same answers would be scored otherwise. Both, and the digest of a plugin's code, are in a
run's environment record (``digests``) where they are above 1, or there is a plugin.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import ValidationError

from zobench import plugins
from zobench.names import json_value
from zobench.plugin_code import plugin_parts
from zobench.spec import RunSpec
from zobench.store.reader import read, runs_folder

CHOICES = ("classification", "multiple-choice")
HALF = ("bfloat16", "float16")
_SEED = re.compile(r'"seed":\s*\d+')
COLUMNS = ["method", "task", "task_kind", "dtype", "spec", "environment"]


def made_by(runs: pd.DataFrame) -> list[str]:
    """What is to be known of each run's making, in words; empty for runs that would be made alike today."""
    told: dict[tuple[Any, ...], str] = {}
    keys = list(
        runs[COLUMNS].astype(object).where(runs[COLUMNS].notna(), None).itertuples(index=False, name=None)
    )
    for key in keys:
        if key not in told:
            told[key] = "; ".join(_told(*key))
    return [told[key] for key in keys]


def _told(
    method: str, task: str, kind: str | None, dtype: str | None, spec: str | None, environment: str | None
) -> list[str]:
    digests = _digests(environment)
    found = []
    now, then = plugins.revision(method), str(digests.get("method", "1"))
    if now is not None and then != str(now):
        found.append(f"made by revision {then} of {method}, now {now}")
    choice = kind in CHOICES and task in plugins.builtin_names("tasks")
    if choice and dtype in HALF and "scoring" not in digests:
        found.append("scored by revision 1, where ties went to the first option")
    if "plugins" not in digests and (names := _plugins(_SEED.sub('"seed":0', spec or ""))):
        found.append(f"plugin code unknown ({', '.join(names)})")
    return found


def _digests(environment: str | None) -> dict[str, Any]:
    try:
        found = json_value(environment or "{}").get("digests", {})
    except (json.JSONDecodeError, AttributeError):
        return {}
    return found if isinstance(found, dict) else {}


@functools.lru_cache(maxsize=4096)
def _plugins(spec: str) -> list[str]:
    """Names of a run's parts that no built-in catalogue has; a specification is read once for all seeds."""
    try:
        parts = plugin_parts(RunSpec.model_validate_json(spec))
    except ValidationError:
        return []
    return sorted({name for _, name in parts})


def sentences(runs: pd.DataFrame) -> tuple[str, ...]:
    """What the page warns of, among runs that it shows."""
    return tuple(f"{text}." for text in _counted(runs))


def notes(folder: Path, rows: Sequence[str]) -> tuple[str, ...]:
    """What ``zobench plan`` says of results that lie in the suite's folder, of rows that it wants: they are
    not taken for the runs of today."""
    if not runs_folder(folder).is_dir() or (runs := read([folder], ["runs"]).runs).empty:
        return ()
    return tuple(
        f"{folder}: {text}; such runs are made again" for text in _counted(runs[runs["row"].isin(rows)])
    )


def _counted(runs: pd.DataFrame) -> list[str]:
    """``3 runs (zo-adam): made by revision 1 of zo-adam, now 2``, one for each making."""
    told = pd.Series(made_by(runs), index=runs.index, dtype=object)
    out = []
    for text in sorted(set(told) - {""}):
        mine = runs[told == text]
        rows = list(dict.fromkeys(map(str, mine["row"])))
        listed = ", ".join(rows[:5]) + (f" and {len(rows) - 5} more rows" if len(rows) > 5 else "")
        out.append(f"{len(mine)} run{'' if len(mine) == 1 else 's'} ({listed}): {text}")
    return out
