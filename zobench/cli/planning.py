"""The plan of a suite for the commands that execute it: what libraries print meanwhile is kept, and Ctrl-C is
answered at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zobench.cli.console import say
from zobench.cli.interrupting import answering

if TYPE_CHECKING:
    from zobench.suite.plan import Plan

_STOPPED = "stopped while planning: nothing was executed, and earlier results are kept."


def planned(suite: str, *, verbose: bool) -> tuple[Plan, str]:
    """The plan of a suite, and what libraries printed meanwhile; with ``verbose`` that stays on the
    terminal."""
    say(f"planning {suite}: reading data, model files and plugins", err=True)
    from zobench.runner.library_log import heard

    with answering(_STOPPED):
        if verbose:
            return expanded(suite), ""
        with heard() as texts:
            plan = expanded(suite)
        return plan, texts[0]


def expanded(suite: str) -> Plan:
    """The plan of a suite by name or file."""
    from zobench.suite import expand, load

    return expand(load(suite))
