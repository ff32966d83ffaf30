"""All acceptance criteria (gates), measured again on the shipped files (takes minutes), and the form of their
results."""

import pytest

from zobench.models.nano import TEXT, path
from zobench.models.nano.gates import GateResult, gates


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("name", TEXT)
def test_all_gates_pass(name):
    results = gates(name, path(name))
    assert results
    assert not [r for r in results if not r.passed]


def test_a_gate_passes_between_its_bounds_only():
    assert GateResult("a", 0.6, 0.6, 0.9).passed
    assert not GateResult("a", 0.59, 0.6, 0.9).passed
    assert not GateResult("a", 0.91, 0.6, 0.9).passed
    assert not GateResult("a", float("nan"), 0.6, 0.9).passed


def test_unknown_models_have_no_gates():
    with pytest.raises(ValueError, match="did you mean"):
        gates("nano-x", path("nano"))
