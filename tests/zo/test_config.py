"""Configs refuse bad values naming the field; cards and costs follow the config."""

from __future__ import annotations

import dataclasses
import re

import pytest
import torch

from zobench.plugins import entries, lookup
from zobench.zo import MethodCard, build_space
from zobench.zo.base import Cost
from zobench.zo.conformance.problems import transformer
from zobench.zo.methods.mezo import Mezo

BUILTIN = sorted(name for name, entry in entries("methods").items() if entry.origin == "builtin")


RECENT = {
    "adalezo", "adamezo", "agzo", "anchored", "bszo", "dp-zo", "eggroll", "es", "essa", "grzo",
    "helene", "loren", "mezo-greedy", "mezo-gv", "qes", "quzo", "sharpzo", "zo-finetuner", "zo-mopi",
    "zo-muon", "zoqo",
}  # fmt: skip
"""Methods of 2026 papers, and those of 2025 that these compare with."""


@pytest.mark.parametrize(
    ("method", "params", "field"),
    [
        ("mezo", {"lr": -1.0}, "lr"),
        ("mezo", {"lr": float("nan")}, "lr"),
        ("mezo", {"epsilon": 0.0}, "epsilon"),
        ("mezo", {"n": 0}, "n must"),
        ("mezo", {"n": 1.5}, "n must"),
        ("mezo", {"weight_decay": -0.1}, "weight_decay"),
        ("mezo", {"decay_rule": "no-bias"}, "decay_rule"),
        ("fzoo", {"n": 1}, "n must"),
        ("fzoo", {"step_size": "theory"}, "step_size"),
        ("zo-adam", {"beta1": 1.0}, "beta1"),
        ("zo-adam", {"delta": 0.0}, "delta"),
        ("zo-sgd-momentum", {"momentum": -0.1}, "momentum"),
        ("zo-sgd-sign", {"reading": "both"}, "reading"),
        ("random-direction", {"draw": "uniform"}, "draw"),
        ("adamw", {"beta2": 2.0}, "beta2"),
        ("sgd", {"momentum": 1.0}, "momentum"),
    ],
)
def test_bad_values_are_named(method: str, params: dict, field: str) -> None:
    with pytest.raises(ValueError, match=field):
        lookup("methods", method).Config(**params)


@pytest.mark.parametrize("name", BUILTIN)
def test_configs_are_frozen_with_a_default_and_a_line_for_every_field(name: str) -> None:
    config = lookup("methods", name).Config
    assert config.__dataclass_params__.frozen
    for field in dataclasses.fields(config):
        assert field.default is not dataclasses.MISSING, field.name
        assert f"{field.name}:" in (config.__doc__ or ""), field.name


@pytest.mark.parametrize(("n", "forwards"), [(1, 2), (4, 8)])
def test_cost_follows_the_config(n: int, forwards: int) -> None:
    assert Mezo.cost(Mezo.Config(n=n)) == Cost(forwards, forwards, 3 * n, 0)


def test_an_unsupported_space_is_refused() -> None:
    class OnlyLora(Mezo):
        card = MethodCard("x", "x", "x", "x", "zeroth", "scalars", spaces=("lora",))

    space = build_space("full", {}, transformer().make(torch.float32))
    with pytest.raises(ValueError, match="supports the spaces lora, not 'full'"):
        OnlyLora(Mezo.Config(), space, seed=0)


@pytest.mark.parametrize("name", BUILTIN)
def test_a_card_says_what_is_known(name: str) -> None:
    """Sources with their dates, or that a value is a choice: not what was searched for and missed."""
    method = lookup("methods", name)
    words = f"{method.card.notes} {method.Config.__doc__}".lower()
    if name in RECENT:
        said = " ".join(words.split())
        assert re.search(r"the paper(?: \(abstract\))? claims", said), "what the paper claims"
        assert re.search(r"on our boards|suites/\S+\.yaml|docs/\S+\.md", said), "whether that appears here"
    assert not [w for w in ("not found", "from memory", "our choice", "guess", "our own") if w in words]
