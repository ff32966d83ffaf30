"""Perturbed weights written before they are asked for: same bits, fewer passes, never stale."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from zobench.plugins import lookup
from zobench.zo import Engine, Objective, build_space
from zobench.zo.conformance.problems import transformer
from zobench.zo.perturb import Snapshot

AHEAD = Engine(ahead=True)


def start(engine: Engine, name: str = "mezo", dtype: torch.dtype = torch.float32, **params: Any):
    problem, cls = transformer(), lookup("methods", name)
    module = problem.make(dtype).eval()
    config = cls.Config(**{"lr": 1e-3, **params})
    method = cls(config, build_space("full", {}, module), seed=3, engine=engine)
    objective = Objective(module, problem.loss, inference=True)
    objective.set_batch(problem.batch, sequences=4, tokens=24)
    return method, objective


def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every point is written when it is asked for, in a sweep of its own."""
    monkeypatch.setattr("zobench.zo.prepared.Prepared.possible", lambda self: False)


def trace(engine: Engine, steps: int = 4, **given: Any) -> tuple[list[Any], str, dict[str, Any]]:
    method, objective = start(engine, **given)
    records = [method.step(objective) for _ in range(steps)]
    return records, method.space.digest(), method.state_dict()


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("precision", ["nearest", "compensated", "master", "stochastic"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_records_weights_and_state_have_the_same_bits(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, precision: str, large: bool
) -> None:
    if large:  # no draw is cached, or that of one seed
        monkeypatch.setattr("zobench.zo.draw_cache.KEEP_BYTES", 0)
    given = {"dtype": dtype, "n": 2, "weight_decay": 0.1}
    ahead = trace(Engine(precision=precision, ahead=True), **given)
    pairs = trace(Engine(precision=precision), **given)
    alone(monkeypatch)
    expected = trace(Engine(precision=precision, ahead=True), **given)
    for found in (ahead, pairs):
        assert found[:2] == expected[:2]
        assert found[2].keys() == expected[2].keys()
        for key, value in expected[2].items():
            same = (
                torch.equal(found[2][key], value)
                if isinstance(value, torch.Tensor)
                else found[2][key] == value
            )
            assert same, key


@pytest.mark.parametrize("name", ["fzoo", "hizoo", "lozo", "mezo-svrg", "zo-adam", "conmezo", "lezo"])
def test_other_methods_keep_their_bits(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    found = trace(AHEAD, steps=3, name=name)[:2]
    alone(monkeypatch)
    assert found == trace(AHEAD, steps=3, name=name)[:2]


def write_through_torch(method: Any) -> None:
    with torch.no_grad():
        next(iter(method.space.tensors.values())).add_(0.5)


def exchange_the_storage(method: Any) -> None:
    parameter = next(iter(method.space.tensors.values()))
    parameter.data = parameter.data + 0.5


def restore_a_copy(method: Any) -> None:
    method.space.restore({name: value + 0.5 for name, value in method.space.snapshot().items()})


def edit_through_the_engine(method: Any) -> None:
    with method.engine.editing(next(iter(method.space))) as theta:
        theta.add_(0.5)


@pytest.mark.parametrize(
    "write", [write_through_torch, exchange_the_storage, restore_a_copy, edit_through_the_engine]
)
def test_what_was_written_from_other_weights_is_not_used(monkeypatch: pytest.MonkeyPatch, write: Any) -> None:
    def losses() -> list[float]:
        method, objective = start(AHEAD)
        found = [*method.step(objective).losses]
        write(method)
        return [*found, *method.step(objective).losses]

    found = losses()
    alone(monkeypatch)
    expected = losses()
    assert found == expected
    assert abs(expected[2] - expected[0]) > 1e-6


def test_a_changed_batch_or_rate_needs_no_new_draw_and_another_point_is_computed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    method, objective = start(AHEAD)
    method.step(objective)
    perturbation = method.engine.perturbation
    assert isinstance(perturbation, Snapshot)
    drawn = method.engine.source.generated
    other = method.engine.along(method.direction, 12345, 0.25)
    before = method.engine.loss(objective, *other)
    assert method.engine.source.generated > drawn
    method.step(objective)
    alone(monkeypatch)
    again, objective = start(AHEAD)
    again.step(objective)
    assert again.engine.loss(objective, *again.engine.along(again.direction, 12345, 0.25)) == before
    again.step(objective)
    assert again.space.digest() == method.space.digest()


def test_a_refused_step_and_an_error_leave_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    method, objective = start(AHEAD)
    method.step(objective)
    honest, objective._loss = objective._loss, lambda module, batch: honest(module, batch) * torch.nan
    assert not method.step(objective).moved
    objective._loss = honest
    digest = method.space.digest()

    def broken(module: Any, batch: Any) -> Any:
        raise RuntimeError("out of memory")

    objective._loss = broken
    with pytest.raises(RuntimeError, match="out of memory"):
        method.step(objective)
    assert method.space.digest() == digest
    objective._loss = honest
    record = method.step(objective)
    alone(monkeypatch)
    again, other = start(AHEAD)
    again.step(other)
    again.t = 2
    assert again.step(other).losses == record.losses
