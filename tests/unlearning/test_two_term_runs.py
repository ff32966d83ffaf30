"""SIFT: its direction in closed form, both gradients in a run, and refusals, among them needs of methods that
an unlearning run does not supply."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from zobench.plugins import lookup
from zobench.suite import SuiteError, expand, load
from zobench.suite.cost import steps_and_forwards
from zobench.zo import Objective
from zobench.zo.methods.sift import SiftConfig, without_interference
from zobench.zo.methods.zo_muon import polar
from zobench.zo.separate import TwoTerms
from zobench.zo.space import build_space


def frame(rows, count, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(rows, count, generator=generator, dtype=torch.float64))[0]


def test_orthogonal_subspaces_add_up_to_two_steps_of_muon():
    u, v = frame(8, 4, 0), frame(6, 4, 1)
    forget = u[:, :2] @ torch.diag(torch.tensor([5.0, 2.0]).double()) @ v[:, :2].T
    retain = u[:, 2:] @ torch.diag(torch.tensor([3.0, 1.0]).double()) @ v[:, 2:].T
    found = without_interference(forget, retain, 2)
    assert torch.allclose(found, u[:, :2] @ v[:, :2].T + u[:, 2:] @ v[:, 2:].T)
    assert torch.allclose(found, without_interference(7 * forget, 0.1 * retain, 2)), "weights do not matter"


def test_a_shared_direction_is_taken_once_and_an_opposed_one_cancels():
    u, v = frame(8, 2, 2), frame(6, 2, 3)
    both = u @ torch.diag(torch.tensor([4.0, 1.0]).double()) @ v.T
    assert torch.allclose(without_interference(both, both, 2), u @ v.T), "once, not twice"
    assert torch.allclose(without_interference(both, -both, 2), torch.zeros(8, 6).double(), atol=1e-12)


def test_no_more_than_half_of_the_smaller_side_and_nothing_of_zero():
    u, v = frame(8, 3, 4), frame(4, 3, 5)
    forget, retain = u[:, :1] @ v[:, :1].T, torch.zeros(8, 4, dtype=torch.float64)
    assert torch.allclose(without_interference(forget, retain, 256), forget)
    assert not bool(without_interference(retain, retain, 4).any())


class Bilinear(nn.Module):
    """Two linear terms of a matrix: their gradients are given."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(6, 4, dtype=torch.float64))
        self.bias = nn.Parameter(torch.zeros(4, dtype=torch.float64))


F, R = (torch.randn(6, 4, generator=torch.Generator().manual_seed(s), dtype=torch.float64) for s in (6, 7))


class Both(TwoTerms):
    def gradients(self, parameters):
        self._charge(6)
        zero = torch.zeros(4, dtype=torch.float64)
        return 0.0, {"weight": F, "bias": zero}, {"weight": R, "bias": zero}


def moved(objective, module, **params):
    method = lookup("methods", "sift")
    optimizer = method(SiftConfig(lr=0.1, **params), build_space("full", {}, module), seed=0)
    objective.set_batch(None, sequences=1, tokens=1)
    record = optimizer.step(objective)
    return module.weight.detach(), record, optimizer


def test_a_step_is_the_joined_direction_scaled_by_the_shape():
    module = Bilinear()
    weight, record, optimizer = moved(Both(module, lambda m, b: m.weight.sum()), module, k=1)
    expected = -0.1 * math.sqrt(6 / 4) * without_interference(1.95 * F, 1.95 * R, 1)
    assert torch.allclose(weight, expected)
    assert record.forwards == 6
    assert set(optimizer.updater.state["retain"]) == {"weight"}, "what is no matrix has no momentum"


def test_one_term_is_muon():
    module = Bilinear()
    weight, record, _ = moved(Objective(module, lambda m, b: (m.weight * F).sum()), module)
    assert torch.allclose(weight, -0.1 * math.sqrt(6 / 4) * polar(F))
    assert record.forwards == 3


SUITE = """\
suite: forget
models: {facts: {name: "builtin:nano-facts"}}
unlearning:
  oracle: {name: "builtin:nano-facts-oracle"}
  objectives:
    sift: {params: {layer: 0}}
    npo: {}
methods:
  sift: {params: {lr: 1e-3}, space: {kind: names, params: {include: ["*layers.1.mlp.down_proj*"]}}}
seeds: [0]
budget: {forwards: 140, batch_size: 8}
"""


@pytest.fixture
def write(tmp_path: Path):
    def make(text: str) -> Path:
        path = tmp_path / "forget.yaml"
        path.write_text(text)
        return path

    return make


def problems(path: Path) -> str:
    with pytest.raises(SuiteError) as caught:
        load(path)
    return str(caught.value)


def test_sift_is_planned_with_two_gradients_a_step(write):
    plan = expand(load(write(SUITE)))
    by = {(r.row, r.spec.task.name): steps_and_forwards(r) for r in plan.runs}
    assert by["sift", "sift"] == by["sift", "npo"] == (20, 140), (
        "two gradients and the reference are 7 forwards"
    )


def test_forward_passes_are_refused_for_sift_with_the_reason(write):
    said = problems(write(SUITE.replace("methods:\n", "methods:\n  mezo: {params: {lr: 1e-4}}\n")))
    assert "methods.mezo: mezo uses forward passes only; 'sift' (sift) cannot be run with it" in said
    assert "singular vectors of the forget gradient and of the retain gradient" in said


def test_other_optimizers_cannot_run_sift_and_sift_needs_two_terms(write):
    said = problems(write(SUITE.replace("methods:\n", "methods:\n  adamw: {params: {lr: 1e-4}}\n")))
    assert "methods.adamw: adamw cannot run 'sift' (sift)" in said
    assert "its optimizer is 'sift'" in said
    said = problems(write(SUITE.replace("npo: {}", "ce-u: {}")))
    assert "methods.sift: sift needs a forget and a retain term, and 'ce-u' has no retain term" in said


@pytest.mark.parametrize(
    ("method", "where"),
    [
        ("mezo-svrg: {params: {lr: 1e-4, anchor_batches: 4}}", "methods.mezo-svrg.params.anchor_batches"),
        ("mezo-svrg: {sweep: {anchor_batches: [1, 2]}}", "methods.mezo-svrg.sweep.anchor_batches"),
        (
            "mezo-svrg: {task_params: {npo: {anchor_batches: 2}}}",
            "methods.mezo-svrg.task_params.npo.anchor_batches",
        ),
        (
            "mezo-svrg: {tune: {space: {anchor_batches: [1, 8]}, seeds: [9]}}",
            "methods.mezo-svrg.tune.space.anchor_batches",
        ),
        ("addax: {params: {lr: 1e-4, length_threshold: 40}}", "methods.addax.params.length_threshold"),
    ],
)
def test_what_an_unlearning_run_does_not_supply_is_refused_where_it_is_written(write, method, where):
    text = SUITE.replace("    sift: {params: {layer: 0}}\n", "").replace(
        "methods:\n", f"methods:\n  {method}\n"
    )
    said = problems(write(text))
    assert where in said
    assert "would need further minibatches, which an unlearning run does not supply" in said
    assert "forget.yaml:8: " in said, "file and line"


def test_their_defaults_need_nothing(write):
    text = SUITE.replace("    sift: {params: {layer: 0}}\n", "")
    more = "methods:\n  mezo-svrg: {params: {lr: 1e-4}}\n  addax: {params: {lr: 1e-4}}\n"
    assert {"mezo-svrg", "addax"} < set(expand(load(write(text.replace("methods:\n", more)))).rows())
