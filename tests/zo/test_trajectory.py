"""The scalar log: conversion to rows and back, bit-identical replay, and detection of a modified log."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from zobench.plugins import lookup
from zobench.zo import Engine, Objective, build_space
from zobench.zo.conformance.problems import transformer
from zobench.zo.trajectory import from_row, replay, to_row


def run(name: str = "zo-adam", engine: Engine | None = None, steps: int = 5, kind: str = "full", **params):
    problem = transformer()
    module = problem.make(torch.float32).eval()
    space = build_space(kind, {}, module)
    cls = lookup("methods", name)
    config = cls.Config(**params)
    method = cls(config, space, seed=2, engine=engine)
    objective = Objective(module, problem.loss)
    objective.set_batch(problem.batch, sequences=4, tokens=24)
    return cls, config, [method.step(objective) for _ in range(steps)], space


def fresh(kind: str = "full"):
    return build_space(kind, {}, transformer().make(torch.float32).eval())


def test_rows_survive_json() -> None:
    records = run()[2]
    rows = json.loads(json.dumps([{**to_row(r), "run_id": "x", "seconds": 1.0} for r in records]))
    assert [from_row(row) for row in rows] == records


@pytest.mark.parametrize(
    "name", ["mezo", "fzoo", "zo-adam", "zo-sgd-momentum", "zo-sgd-conservative", "forward-gradient"]
)
@pytest.mark.parametrize("kind", ["full", "lora", "masked"])
def test_replay_gives_the_digest_without_a_forward(name: str, kind: str) -> None:
    cls, config, records, space = run(name, kind=kind, lr=1e-3)
    again = fresh(kind)
    again.module.forward = None
    assert replay(records, again, cls, config, seed=2) == space.digest()


@pytest.mark.parametrize("engine", [Engine(mode="in-place"), Engine(mode="in-place", fused=True)])
def test_replay_repeats_the_drift_of_arithmetic_restore(engine: Engine) -> None:
    cls, config, records, space = run("mezo", engine, lr=1e-3)
    assert replay(records, fresh(), cls, config, seed=2, engine=engine) == space.digest()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"losses": (1.0, 2.0)}, "coefficients"),
        ({"seeds": (1,)}, "seeds"),
        ({"lr": 0.5}, "lr"),
        ({"moved": False}, "moved"),
        ({"coefficients": (3.0,)}, "coefficients"),
        ({"step": 9}, "step"),
    ],
)
def test_a_changed_record_is_found_out(change: dict, field: str) -> None:
    cls, config, records, _ = run("mezo", lr=1e-3)
    records[2] = replace(records[2], **change)
    with pytest.raises(ValueError, match=rf"does not replay: {field}"):
        replay(records, fresh(), cls, config, seed=2)


def test_another_seed_or_rate_is_found_out() -> None:
    cls, config, records, _ = run("mezo", lr=1e-3)
    with pytest.raises(ValueError, match="seeds"):
        replay(records, fresh(), cls, config, seed=3)
    with pytest.raises(ValueError, match="lr"):
        replay(records, fresh(), cls, replace(config, lr=2e-3), seed=2)


def test_refused_steps_replay_too() -> None:
    problem = transformer()
    module = problem.make(torch.float32).eval()
    space = build_space("full", {}, module)
    cls = lookup("methods", "zo-adam")
    method = cls(cls.Config(lr=1e-3), space, seed=2)
    calls = []

    def loss(m, batch):
        calls.append(1)
        return problem.loss(m, batch) * (float("nan") if len(calls) == 4 else 1.0)

    objective = Objective(module, loss)
    objective.set_batch(problem.batch, sequences=4, tokens=24)
    records = [method.step(objective) for _ in range(4)]
    assert [r.moved for r in records] == [True, False, True, True]
    assert replay(records, fresh(), cls, method.config, seed=2) == space.digest()


def test_checkpoint_methods_say_so() -> None:
    cls, config, records, _ = run("adamw")
    with pytest.raises(ValueError, match="checkpoint"):
        replay(records, fresh(), cls, config, seed=2)
