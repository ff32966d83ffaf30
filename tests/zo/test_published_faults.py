"""The seven kinds of fault of published zeroth-order code: each is planted in a method that is otherwise
right, and the kit detects it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from zobench.zo.conformance import check
from zobench.zo.directions import Gaussian
from zobench.zo.estimators import Estimate, two_sided
from zobench.zo.methods.adamezo import Adamezo
from zobench.zo.methods.mezo import Mezo, MezoConfig
from zobench.zo.updates import Momentum


class Planted(Mezo):
    card = replace(Mezo.card, name="planted")


class ReseedsForEveryTensor(Planted):
    """One seed starts the generator anew for every tensor: equal shapes get equal noise."""

    def make_direction(self):
        self.engine.source.keys = dict.fromkeys(self.space, 1)
        return super().make_direction()


class AnotherStreamFromTheSecondTensorOn(Gaussian):
    def add_(self, tensor, name, seed, scale):
        super().add_(tensor, name, seed ^ (name != next(iter(self.space))), scale)

    def add_many_(self, tensors, seed, scale):
        for name, tensor in tensors.items():
            self.add_(tensor, name, seed, scale)

    def displace_many_(self, out, base, seed, scale):
        for name, tensor in out.items():
            tensor.copy_(base[name])
        self.add_many_(out, seed, scale)


class UpdatesWithAnotherStream(Planted):
    """Loss along one noise definition, estimate along another; a momentum hides it from the span of steps."""

    card = replace(Planted.card, in_span=False, unbiased=False)

    def make_update(self):
        return Momentum(0.9)

    def measure(self, objective):
        other = AnotherStreamFromTheSecondTensorOn(self.engine.source)
        return two_sided(self.engine, objective, other, self.seeds(1), self.smoothing())


class WindowOutsideTheCheckpoint(Adamezo):
    def state_dict(self):
        return {**super().state_dict(), "window:seeds": [], "window:slopes": []}


class NeverClears(Planted):
    """A gradient buffer that only grows."""

    def make_update(self):
        return Momentum(1.0)


class RestoresByArithmetic(Planted):
    def measure(self, objective):
        (seed,) = self.seeds(1)
        losses = []
        for scale in (1e-3, -2e-3, 1e-3):
            for name in self.space:
                self.direction.add_(self.space.tensors[name].data, name, seed, scale)
            losses.append(objective.loss())
        slope = (losses[0] - losses[1]) / 2e-3
        return Estimate((seed,), (slope,), tuple(losses), losses[2])


@dataclass(frozen=True)
class SilentConfig(MezoConfig):
    """Parameters.

    Attributes:
        lr: step size eta.
        epsilon: smoothing radius eps.
        n: directions per step.
        weight_decay: coupled decay rate.
        decay_rule: tensors that decay.
    """


class DefaultsFromNowhere(Planted):
    Config = SilentConfig


@dataclass(frozen=True)
class UndescribedConfig(MezoConfig):
    """Parameters; defaults of the paper."""

    extra: float = 1.0


class UndescribedParameter(Planted):
    Config = UndescribedConfig


class QueriesBesidesTheMeter(Planted):
    """Runs the module itself, so that two forward passes of the step are not counted."""

    def measure(self, objective):
        estimate = super().measure(objective)
        for _ in range(2):
            objective._loss(objective.module, objective.batch)
        return estimate


FAULTS: list[tuple[Any, str]] = [
    (ReseedsForEveryTensor, "independent-noise"),
    (UpdatesWithAnotherStream, "estimate-is-measured"),
    (WindowOutsideTheCheckpoint, "resume"),
    (NeverClears, "stops"),
    (RestoresByArithmetic, "learning-rate-zero"),
    (DefaultsFromNowhere, "defaults-cited"),
    (UndescribedParameter, "defaults-cited"),
    (QueriesBesidesTheMeter, "hidden-queries"),
]


@pytest.mark.parametrize(("fault", "caught_by"), FAULTS)
def test_the_kit_catches_the_fault_and_not_the_sound_method(fault: type[Mezo], caught_by: str) -> None:
    (result,) = check(fault, only=[caught_by])
    assert not result.passed, result
    assert not result.skipped, result
    sound = Adamezo if issubclass(fault, Adamezo) else Mezo
    (passed,) = check(sound, only=[caught_by])
    assert passed.passed, passed
