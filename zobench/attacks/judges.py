"""Judges: functions that decide whether a winning text is really answered wrongly.

The published MSCR uses a commercial model as judge. Here the judge is selected by name:

- ``task``: the task's own answer check, which the search has already applied;
- ``again``: the text is queried again and must be answered wrongly more often than not;
- ``module:function``: your own function, called as ``function(example, edited, prediction)`` with the
  unedited example, the edited text and the answer to it; it returns True if the answer is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from zobench.data.example import Example
from zobench.tasks.base import Prediction

TASK, AGAIN = "task", "again"

Judge = Callable[[Example, str, Prediction], bool]


def check_judge(name: str) -> None:
    """``ValueError`` for a name that is neither built in nor ``module:function``."""
    if name not in (TASK, AGAIN) and len([part for part in name.split(":") if part]) != 2:
        raise ValueError(f"judge: {name!r} is neither 'task', 'again' nor 'module:function'")


def load_judge(name: str) -> Judge:
    """The function of that name; ``ValueError`` if it cannot be imported."""
    module, _, function = name.partition(":")
    try:
        found: Judge = vars(import_module(module))[function]
    except (ImportError, KeyError) as error:
        raise ValueError(f"judge: cannot load {name!r}: {error!r}") from error
    return found
