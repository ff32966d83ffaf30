"""Every built-in method that replays from scalars can be submitted and verified, with bit-identical steps.

A second optimizer that loads the state of the first queries the same losses of the model.
"""

from __future__ import annotations

import pytest

from zobench.plugins import entries
from zobench.spec import Budget, Component

METHODS = [name for name, entry in entries("methods").items() if entry.origin == "builtin"]


@pytest.mark.parametrize("name", METHODS)
def test_a_run_with_the_defaults_is_verified(submitted, verify, name):
    method = entries("methods")[name].load()
    if method.card.replay not in ("scalars", "scalars+artifacts"):
        pytest.skip(f"{name} does not replay from scalars")
    if method.card.spaces != ("*",) and "full" not in method.card.spaces:
        pytest.skip(f"{name} works in the spaces {', '.join(method.card.spaces)} only")
    cost = method.cost(method.Config(**method.small_problem))
    forwards = max(12, cost.preparation_forwards + 2 * cost.max_forwards_in_step)
    component = Component(name=name, params=dict(method.small_problem))
    file = submitted(name, method=component, budget=Budget(forwards=forwards, batch_size=8))
    report = verify(file, steps=None)
    assert report.passed, str(report)
    assert report.exact == report.steps
    assert report.steps > 0 or cost.max_forwards_in_step == 0
