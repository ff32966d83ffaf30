"""The declared cost of every method is the counted one at two settings of whatever multiplies it: forward
passes exactly, noise sweeps at most."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from zobench.plugins import entries, lookup
from zobench.zo.conformance.checks import forwards, passes
from zobench.zo.conformance.subject import Skip, Subject

BUILT_IN = [name for name, entry in entries("methods").items() if entry.origin == "builtin"]
VARIED: dict[str, dict[str, tuple[int, int]]] = {
    "alternating": {"n_zeroth": (1, 3)},
    "adamezo": {"window": (2, 4)},
    "bszo": {"k": (2, 3)},
    "dizo": {"rounds": (1, 3)},
    "eggroll": {"population": (4, 6)},
    "es": {"population": (4, 6)},
    "fzoo-r": {"n": (4, 6)},
    "mezo-greedy": {"candidates": (2, 3)},
    "mezo-gv": {"n_candidates": (2, 3)},
    "mezo-layer-scaled": {"refresh": (2, 4)},
    "mezo-svrg": {"q": (2, 4)},
    "cma-es": {"n": (4, 6)},
    "essa": {"n": (4, 6)},
    "sharpzo": {"n": (4, 6)},
    "qes": {"population": (4, 6)},
    "sophia": {"every": (2, 4)},
    "pgpe": {"n": (4, 6)},
    "snes": {"n": (4, 6)},
    "xnes": {"n": (4, 6)},
    "zo-sgd-block": {"blocks": (2, 3)},
}
"""Where it is not ``n`` = 2 and 3. pgpe, snes and xnes are here only with the package evotorch."""


def settings(name: str) -> list[dict[str, Any]]:
    """Two settings of what multiplies the cost; only the default where nothing does."""
    known = {f.name for f in fields(lookup("methods", name).Config)}
    varied = VARIED.get(name, {"n": (2, 3)} if "n" in known else {})
    return [{key: value} for key, values in varied.items() for value in values] or [{}]


CASES = [(name, given) for name in BUILT_IN for given in settings(name)]


@pytest.mark.parametrize(("name", "given"), CASES, ids=str)
def test_declared_is_counted(name: str, given: dict[str, Any]) -> None:
    method = lookup("methods", name)
    subject = Subject(method, replace(method.Config(**method.small_problem), **given))
    forwards(subject)
    try:
        passes(subject)
    except Skip:
        assert method.card.order != "zeroth" or name == "none"
