"""The process that runs a user's reward function: reads questions as JSON lines, writes scores as JSON lines.

Started as ``python -m zobench.rewards.worker FILE FUNCTION``. What the file prints goes to the standard error
output, so that it cannot be taken for a score.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from typing import Any, TextIO


def main(file: str, function: str) -> None:
    """Answer questions until the standard input ends."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    try:
        score = _function(file, function)
    except BaseException as error:  # noqa: BLE001 - reported to the process that started this one
        _tell(out, {"error": f"{type(error).__name__}: {error}"})
        return
    _tell(out, {"value": 0.0})
    for line in sys.stdin:
        _tell(out, _answer(score, json.loads(line)))


def _function(file: str, function: str) -> Any:
    spec = importlib.util.spec_from_file_location("zobench_own_reward", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["zobench_own_reward"] = module
    spec.loader.exec_module(module)
    return getattr(module, function)


def _answer(score: Any, asked: dict[str, Any]) -> dict[str, Any]:
    try:
        value = score(asked["prompt"], asked["answer"], asked["example"], **asked["params"])
        return {"value": value if isinstance(value, bool) else float(value)}
    except (Exception, SystemExit) as error:  # noqa: BLE001 - counted as a failed score
        return {"error": f"{type(error).__name__}: {error}"}


def _tell(out: TextIO, told: dict[str, Any]) -> None:
    out.write(json.dumps(told) + "\n")
    out.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
