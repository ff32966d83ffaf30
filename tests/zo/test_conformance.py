"""Every built-in method passes the conformance kit, and the kit detects deliberate bugs."""

from __future__ import annotations

import inspect
import random
import sys
from dataclasses import replace

import pytest
import torch

from zobench.plugins import entries, lookup
from zobench.zo import Cost
from zobench.zo.base import MethodCard
from zobench.zo.conformance import CHECKS, CheckResult, check, failures
from zobench.zo.conformance.hints import HINTS
from zobench.zo.estimators import Estimate
from zobench.zo.methods.mezo import Mezo, MezoConfig

FAST = (
    "moves",
    "learning-rate-zero",
    "forwards",
    "state-size",
    "refusals",
    "resume",
    "replay",
    "measured-is-applied",
)
OTHERS = [name for name in CHECKS if name not in FAST]
BUILTIN = sorted(name for name, entry in entries("methods").items() if entry.origin == "builtin")


@pytest.mark.parametrize("name", BUILTIN)
def test_builtin_passes_the_fast_checks(name: str) -> None:
    method = lookup("methods", name)
    assert method.card.name == name
    assert failures(check(method, only=FAST)) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", BUILTIN)
def test_builtin_passes_the_other_checks(name: str) -> None:
    assert failures(check(lookup("methods", name), only=OTHERS)) == []


def test_mezo_passes_every_check_and_skips_none() -> None:
    results = check(Mezo)
    assert [r.name for r in results] == list(CHECKS)
    assert all(r.passed for r in results), results


def test_skips_carry_reasons() -> None:
    for result in check(lookup("methods", "none")):
        assert result.passed or (result.skipped and result.reason)


class Planted(Mezo):
    """MeZO with one bug each; the card still promises everything."""

    card = replace(Mezo.card, name="planted")


class MissingTwo(Planted):
    def measure(self, objective):
        estimate = super().measure(objective)
        return replace(estimate, coefficients=tuple(2 * c for c in estimate.coefficients))


class SumsOverQueries(Planted):
    """Does not divide by n: the accumulator bug of one published code base."""

    def measure(self, objective):
        estimate = super().measure(objective)
        n = len(estimate.coefficients)
        return replace(estimate, coefficients=tuple(n * c for c in estimate.coefficients))


class AppliesAnotherDirection(Planted):
    """Every tenth step the applied direction is redrawn: the lazy-resampling bug."""

    def update(self, estimate, lr):
        if self.t % 10 == 0:
            estimate = replace(estimate, seeds=tuple(s ^ 1 for s in estimate.seeds))
        return super().update(estimate, lr)


class UndeclaredForward(Planted):
    def step(self, objective):
        objective.loss()
        return super().step(objective)


class SeedsGlobally(Planted):
    def measure(self, objective):
        torch.manual_seed(3)
        return super().measure(objective)


class DrawsFromPython(Planted):
    def measure(self, objective):
        return replace(super().measure(objective), coefficients=(random.random(),))


class MovesOnNan(Planted):
    def measure(self, objective):
        estimate = super().measure(objective)
        return Estimate(estimate.seeds, (1.0,), (1.0, 1.0), 1.0)


class LeaksPerturbation(Planted):
    def measure(self, objective):
        estimate = super().measure(objective)
        for name in self.space:
            self.direction.add_(self.space.entries(name), name, estimate.seeds[0], 1e-4)
        return estimate


class ForgetsState(Planted):
    def state_dict(self):
        return {**super().state_dict(), "t": 0}


class HidesState(Planted):
    def state_dict(self):
        return {**super().state_dict(), "hidden": torch.zeros(self.space.numel)}


class Ascends(Planted):
    def learning_rate(self):
        return -super().learning_rate()


@pytest.mark.parametrize(
    ("bug", "caught_by"),
    [
        (MissingTwo, "unbiased"),
        (SumsOverQueries, "unbiased"),
        (AppliesAnotherDirection, "measured-is-applied"),
        (UndeclaredForward, "forwards"),
        (SeedsGlobally, "global-random-state"),
        (DrawsFromPython, "replay"),
        (DrawsFromPython, "global-random-state"),
        (DrawsFromPython, "determinism"),
        (DrawsFromPython, "distributed"),
        (MovesOnNan, "refusals"),
        (LeaksPerturbation, "learning-rate-zero"),
        (ForgetsState, "resume"),
        (HidesState, "state-size"),
        (Ascends, "descent"),
    ],
)
def test_kit_catches(bug: type[Mezo], caught_by: str) -> None:
    (result,) = check(bug, only=[caught_by])
    assert not result.passed, result
    assert not result.skipped, result


class UnitSphere(Planted):
    """Directions of unit length without the factor d: the estimate is d times too small."""

    def make_direction(self):
        inner = super().make_direction()
        add = inner.add_
        size = self.space.numel**0.5
        inner.add_ = lambda tensor, name, seed, scale: add(tensor, name, seed, scale / size)
        return inner


def test_kit_catches_a_missing_factor_d() -> None:
    (result,) = check(UnitSphere, only=["unbiased"])
    assert not result.passed


class Crashes(Planted):
    def measure(self, objective):
        raise KeyError("lost")


def test_an_error_is_a_failure_with_its_reason() -> None:
    (result,) = check(Crashes, only=["moves"])
    line = inspect.getsource(sys.modules[__name__]).splitlines().index('        raise KeyError("lost")') + 1
    assert result.reason == f"KeyError: 'lost' (test_conformance.py:{line})"


def test_every_check_has_advice_and_an_error_of_many_checks_is_named_once() -> None:
    from zobench.conformance import advice

    assert list(HINTS) == list(CHECKS)
    failed = [CheckResult(name, False, False, "KeyError: 'lost'") for name in list(CHECKS)[:4]]
    other = CheckResult("stops", False, False, "steps are 1 of the largest one")
    first, second = advice("methods", [*failed, other])
    assert first == "4 checks fail by one error; mend it first: KeyError: 'lost'"
    assert second.startswith("stops: ")
    assert "fades=False" in second


def test_the_command_shows_every_outcome_and_fails_with_the_method(monkeypatch) -> None:
    import importlib

    from typer.testing import CliRunner

    from zobench.cli import app

    results = [
        CheckResult("moves", True, False, detail="weights changed by step 1"),
        CheckResult("replay", False, True, reason="reads more than losses"),
        CheckResult("budget", False, False, reason="overspent"),
    ]
    kit = importlib.import_module("zobench.zo.conformance")
    monkeypatch.setattr(kit, "check", lambda method, params: results)
    monkeypatch.setenv("COLUMNS", "200")
    shown = CliRunner().invoke(app, ["check", "mezo"])
    assert shown.exit_code == 1
    assert "1 of 3 checks failed" in shown.output
    for result, outcome in zip(results, ("passed", "skipped", "FAILED"), strict=True):
        (line,) = [line for line in shown.output.splitlines() if line.startswith(f"{result.name} ")]
        assert outcome in line
        assert (result.detail or result.reason) in line
    results.pop()
    assert CliRunner().invoke(app, ["check", "mezo"]).exit_code == 0


def test_declared_cost_is_compared() -> None:
    class Cheap(Planted):
        @classmethod
        def cost(cls, config: MezoConfig) -> Cost:
            return Cost(1, 2, 1, 0)

    assert [r.name for r in check(Cheap, only=["forwards", "passes"]) if not r.passed] == [
        "forwards",
        "passes",
    ]


def test_cards_are_complete() -> None:
    for name in BUILTIN:
        card: MethodCard = lookup("methods", name).card
        assert card.title
        assert card.source
        assert card.formula
        config = lookup("methods", name).Config
        assert config.__doc__
        assert all(f"{field}:" in config.__doc__ for field in config.__dataclass_fields__), name
