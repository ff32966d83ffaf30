"""What a model is called on a page, and where it comes from.

Both are read from ``model_origin`` of a run's environment record, which converted models and models with an
adapter have. Other models are called as in the suite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from zobench.names import json_value


def model_titles(runs: pd.DataFrame) -> list[str]:
    """Titles of the models of these runs, each once, in alphabetical order."""
    told = runs[["model", "environment", "spec"]].drop_duplicates().itertuples(index=False)
    return sorted({_origin(env).get("title") or _name(str(model), spec) for model, env, spec in told})


def _name(model: str, spec: Any) -> str:
    """The model's name; for one that the suite taught, from which model it was taught."""
    if not model.startswith("pair:"):
        return model
    base = _recorded(_recorded(_recorded(spec).get("unlearning")).get("pair")).get("base")
    return f"{base or 'a small transformer'}, taught the facts by the suite"


def model_sources(runs: pd.DataFrame) -> tuple[str, ...]:
    """One sentence for each model whose origin is recorded: its files with their digests, and its licence."""
    origins = (_origin(environment) for environment in runs["environment"])
    return tuple(sorted({f"{found['title']}: {_told(found)}." for found in origins if found.get("title")}))


def _told(origin: Mapping[str, Any]) -> str:
    if "adapter" in origin:
        adapter, base = origin["adapter"], origin["base"]
        return f"adapter {_file(adapter)}; base {_told(base)}"
    parts = [_file(origin)] if "file" in origin else []
    if "weights_digest" in origin:
        parts.append(f"weights {str(origin['weights_digest'])[:16]}")
    if origin.get("licence"):
        parts.append(f"licence {origin['licence']}")
    return ", ".join(parts)


def _file(found: Mapping[str, Any]) -> str:
    return f"file {found['file']}, SHA-256 {found['sha256']}"


def _origin(environment: Any) -> Mapping[str, Any]:
    return _recorded(_recorded(environment).get("model_origin"))


def _recorded(text: Any) -> Mapping[str, Any]:
    """A mapping, or the text of one; empty for anything else."""
    try:
        found = json_value(text) if isinstance(text, str) and text else text
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
