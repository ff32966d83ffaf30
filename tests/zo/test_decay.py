"""Weight decay alone: with a constant loss every update consists of the decay, so that each tensor either
shrinks by the documented factor or is unchanged."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from zobench.parameters import fields
from zobench.plugins import entries, lookup
from zobench.zo import Objective, build_space
from zobench.zo.updates import DECAY_RULES

LR, RATE, STEPS, SHARE = 0.1, 0.5, 5, 0.2
NAMES = ("embed.weight", "proj.weight", "proj.bias", "layer_norm.weight", "LayerNorm.weight", "norm.weight")
MATRICES = {"embed.weight", "proj.weight"}
SPARED = {
    "mezo": {"proj.bias", "layer_norm.weight"},
    "mezo-roberta": {"proj.bias", "LayerNorm.weight"},
    "all": set(),
    "matrices": set(NAMES) - MATRICES,
}
DEFAULTS = {
    "mezo": "mezo",
    "mezo-one-sided": "mezo",
    "zo-adam": "mezo",
    "zo-muon": "mezo",
    "subspace-mezo": "mezo",
    "hizoo": "all",
    "hizoo-l": "all",
    "adamw": "matrices",
    "sgd": "matrices",
    "adamezo": "mezo",
    "loren": "all",
    "helene": "mezo",
}
"""The rule that a method decays by unless told otherwise, by its authors' code."""
DRAWN = "adalezo"
"""Decays the tensors drawn in a step alone, so that its factors depend on the draw."""
TIMES = {"loren": lookup("methods", "loren").Config().population}
"""How often a step decays, where it is not once."""
OF_VECTORS = {"zo-muon": SHARE, "subspace-mezo": SHARE}
"""Step size of vectors as a multiple of the learning rate."""


class Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(4, 3)
        self.proj = nn.Linear(3, 2)
        self.layer_norm = nn.LayerNorm(3, bias=False)
        self.LayerNorm = nn.LayerNorm(3, bias=False)
        self.norm = nn.LayerNorm(3, bias=False)


def decayed(name: str, **params: Any) -> dict[str, float]:
    """The factor that each tensor has shrunk by after ``STEPS`` steps."""
    module = Named().double()
    for p in module.parameters():
        p.data.copy_(torch.arange(1.0, p.numel() + 1).view_as(p))
    method = lookup("methods", name)
    given = {"vector_scale": SHARE} if "vector_scale" in fields(method.Config) else {}
    config = method.Config(lr=LR, weight_decay=RATE, **given, **params)
    optimizer = method(config, build_space("full", {}, module), seed=0)
    before = {key: p.detach().clone() for key, p in module.named_parameters()}
    objective = Objective(module, lambda m, b: 1.0 + 0.0 * sum(p.sum() for p in m.parameters()))
    objective.set_batch(None, sequences=1, tokens=1)
    for _ in range(STEPS):
        assert optimizer.step(objective).moved
    factors = {}
    for key, p in module.named_parameters():
        ratio = (p.detach() / before[key]).flatten()
        assert torch.allclose(ratio, ratio[0].expand_as(ratio), rtol=0, atol=1e-12), key
        factors[key] = float(ratio[0])
    assert tuple(factors) == NAMES
    return factors


def expected(name: str, rule: str) -> dict[str, float]:
    shares = {key: 1.0 if key in MATRICES else OF_VECTORS.get(name, 1.0) for key in NAMES}
    spared, times = SPARED[rule], STEPS * TIMES.get(name, 1)
    return {key: 1.0 if key in spared else (1 - LR * RATE * shares[key]) ** times for key in NAMES}


def test_every_method_with_decay_is_here_and_its_card_says_how() -> None:
    found = {n: lookup("methods", n) for n, entry in entries("methods").items() if entry.origin == "builtin"}
    with_rate = {n for n, m in found.items() if "weight_decay" in fields(m.Config)}
    assert with_rate == {*DEFAULTS, DRAWN}
    assert {n for n, m in found.items() if m.card.decay} == with_rate


@pytest.mark.parametrize(("name", "rule"), DEFAULTS.items())
def test_default_rule(name: str, rule: str) -> None:
    assert decayed(name) == pytest.approx(expected(name, rule), rel=0, abs=1e-12)


@pytest.mark.parametrize("rule", DECAY_RULES)
@pytest.mark.parametrize("name", [n for n in DEFAULTS if "decay_rule" in fields(lookup("methods", n).Config)])
def test_named_rule(name: str, rule: str) -> None:
    assert decayed(name, decay_rule=rule) == pytest.approx(expected(name, rule), rel=0, abs=1e-12)


@pytest.mark.parametrize("rule", DECAY_RULES)
def test_only_drawn_tensors_decay(rule: str) -> None:
    powers = [(1 - LR * RATE) ** times for times in range(1, STEPS + 1)]
    for key, factor in decayed(DRAWN, decay_rule=rule).items():
        assert (
            factor == 1
            if key in SPARED[rule]
            else any(factor == pytest.approx(p, rel=0, abs=1e-12) for p in powers)
        )
