"""Update rules. They process one tensor at a time; only their state may be as large as the whole model.

An update uses ``engine.editing(name)`` (tuned values in float32 or float64), the estimate, and the step size.
With learning rate 0 the weights are not written, but state (momentum, moments) still advances.

Weight decay is coupled as in MeZO: theta <- theta - eta (g_hat + rate * theta), or decoupled in ``Adam`` as
in AdamW. ``DECAY_RULES`` defines which tensors it applies to.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Annotated, Any

import torch

from zobench.zo.arithmetic import add_scaled_, add_square_
from zobench.zo.directions import Direction
from zobench.zo.engine import BoundEngine
from zobench.zo.estimators import Estimate, dense
from zobench.zo.parameters import OneOf, Parameters, Rate
from zobench.zo.source import LegacySource

DECAY_RULES: dict[str, Callable[[str, int], bool]] = {
    "mezo": lambda name, ndim: not any(word in name for word in ("bias", "layer_norm", "layernorm")),
    "mezo-roberta": lambda name, ndim: not any(word in name for word in ("bias", "LayerNorm.weight")),
    "all": lambda name, ndim: True,
    "matrices": lambda name, ndim: ndim >= 2,
}
"""Tensors that weight decay applies to. ``mezo``: names without bias, layer_norm or layernorm (as in MeZO's
large_models code); ``all``: every tensor (as in the direct update of its medium_models code);
``mezo-roberta``: names without bias or LayerNorm.weight (as in the torch optimizers of medium_models, which
MeZO-Adam uses); ``matrices``: tensors of two or more dimensions. Case counts: ``mezo`` does not match
RoBERTa's ``LayerNorm``."""


DecayRule = Annotated[str, OneOf(tuple(DECAY_RULES))]
"""A name in ``DECAY_RULES``."""


@dataclass(frozen=True)
class Decay(Parameters):
    """Weight decay with coefficient ``rate`` on the tensors selected by ``rule``."""

    rate: Rate = 0.0
    rule: DecayRule = "mezo"

    def of(self, name: str, ndim: int) -> float:
        """The rate that applies to this tensor."""
        return self.rate if self.rate and DECAY_RULES[self.rule](name, ndim) else 0.0


class Update(ABC):
    """theta <- update(theta, g_hat).

    Attributes:
        decay: the weight decay.
        count: number of steps applied.
        state: ``state[slot][name]`` are the state tensors, created as zeros on first use.
    """

    slots: tuple[str, ...] = ()

    def __init__(self, decay: Decay = Decay()) -> None:
        self.decay = decay
        self.count = 0
        self.state: dict[str, dict[str, torch.Tensor]] = {slot: {} for slot in self.slots}

    def apply(self, engine: BoundEngine, direction: Direction, estimate: Estimate, lr: float) -> None:
        """One step from a weighted list of seeds. The dense estimate exists for one tensor at a time."""
        engine.home()
        self.apply_dense(engine, lambda name: dense(direction, estimate, name), lr)

    def apply_dense(self, engine: BoundEngine, gradient: Callable[[str], torch.Tensor], lr: float) -> None:
        """One step from a dense estimate: ``gradient(name)`` has the shape of the tuned entries."""
        self.count += 1
        for name in engine.space:
            step = self.step_for(name, gradient(name))
            # Not even ``editing`` is entered: it would round half-precision weights and advance its state.
            if lr == 0.0:
                continue
            rate = self.rate_of(name, engine.space.tensors[name].dim())
            with engine.editing(name) as theta:
                # Decay first: it must multiply the old weights, without the step.
                if rate:
                    theta.mul_(1.0 - lr * rate)
                add_scaled_(theta, step, -lr)

    def rate_of(self, name: str, ndim: int) -> float:
        """Decay rate of this tensor, relative to the learning rate."""
        return self.decay.of(name, ndim)

    @abstractmethod
    def step_for(self, name: str, gradient: torch.Tensor) -> torch.Tensor:
        """The step of one tensor before multiplication by the learning rate. It may use and advance state and
        may overwrite ``gradient``."""

    def slot(self, slot: str, name: str, like: torch.Tensor) -> torch.Tensor:
        """The state tensor; created as zeros like ``like`` on first use."""
        tensors = self.state[slot]
        if name not in tensors:
            tensors[name] = torch.zeros_like(like)
        return tensors[name]

    def state_dict(self) -> dict[str, Any]:
        """``count`` and every state tensor under ``slot/name``."""
        flat: dict[str, Any] = {"count": self.count}
        for slot, tensors in self.state.items():
            flat.update({f"{slot}/{name}": tensor.clone() for name, tensor in tensors.items()})
        return flat

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.count = int(state["count"])
        self.state = {slot: {} for slot in self.slots}
        for key, value in state.items():
            if key != "count":
                slot, _, name = key.partition("/")
                self.state[slot][name] = value.clone()


class Sgd(Update):
    """theta <- theta - eta (sum_i c_i u_i + rate theta), directly from the seeds without a dense estimate.

    In fused in-place mode the restore is part of the same sweep.
    """

    def apply(self, engine: BoundEngine, direction: Direction, estimate: Estimate, lr: float) -> None:
        self.count += 1
        # Fused: theta_pert + (eps - eta c) u in one sweep, instead of restoring first. Not possible with
        # lr 0 (no update removes the displacement), legacy noise (its update repeats the MeZO code operation
        # by operation), several seeds (only the last is still displaced), or decay (it must multiply theta,
        # not the displaced weights).
        if lr == 0.0 or not (
            engine.options.fused
            and engine.legacy is None
            and len(estimate.seeds) == 1
            and not self.decay.rate
        ):
            engine.home()
        if lr == 0.0:
            return
        if engine.legacy is not None:
            self._legacy(engine, engine.legacy, estimate, lr)
            return
        # Empty unless fused: the remaining displacement is subtracted in the sweep that updates the weights.
        scales = {seed: -scale for seed, scale in engine.pending().items()}
        for seed, coefficient in zip(estimate.seeds, estimate.coefficients, strict=True):
            scales[seed] = scales.get(seed, 0.0) - lr * coefficient
        # A sweep with scale 0 changes no bit but costs a draw.
        moving = {seed: scale for seed, scale in scales.items() if scale != 0.0}
        # Tensors without a fused sweep are edited the general way, with the same bits.
        factors = {
            name: 1.0 - lr * self.decay.of(name, engine.space.tensors[name].dim()) for name in engine.space
        }
        rest = set(engine.descend(direction, list(engine.space), moving, factors))
        for names in engine.batches():
            self._move(engine, direction, [name for name in names if name in rest], moving, lr)

    def _move(
        self,
        engine: BoundEngine,
        direction: Direction,
        names: Sequence[str],
        moving: Mapping[int, float],
        lr: float,
    ) -> None:
        """theta <- (1 - lr rate) theta + sum of scale * u(seed) on these tensors, rounded to their dtype
        once."""
        rates = {name: self.decay.of(name, engine.space.tensors[name].dim()) for name in names}
        written = [n for n in names if rates[n] or any(direction.touches(n, seed) for seed in moving)]
        # All tensors of the group are open at once, so that each seed updates them by one call.
        with ExitStack() as stack:
            theta = {name: stack.enter_context(engine.editing(name)) for name in written}
            for name, tensor in theta.items():
                if rates[name]:
                    tensor.mul_(1.0 - lr * rates[name])
            for seed, scale in moving.items():
                direction.add_many_(theta, seed, scale)

    def _legacy(self, engine: BoundEngine, source: LegacySource, estimate: Estimate, lr: float) -> None:
        """The update of the MeZO code base, for each seed: theta <- theta - lr * (c * z + rate * theta) in
        the tensors' own dtype."""
        # Seeds in the outer loop: each legacy stream is then read once, in the order of the tensors.
        for seed, coefficient in zip(estimate.seeds, estimate.coefficients, strict=True):
            for name in engine.space:
                rate = self.decay.of(name, engine.space.tensors[name].dim())
                source.descend_(engine.space.entries(name), name, seed, lr, coefficient, rate)

    def step_for(self, name: str, gradient: torch.Tensor) -> torch.Tensor:
        return gradient


class Momentum(Update):
    """Heavy ball as in torch SGD: m <- beta m + (1 - dampening) g_hat (first step: m = g_hat); theta <- theta
    - eta m."""

    slots = ("momentum",)

    def __init__(self, beta: float, dampening: float = 0.0, decay: Decay = Decay()) -> None:
        super().__init__(decay)
        self.beta, self.dampening = beta, dampening

    def step_for(self, name: str, gradient: torch.Tensor) -> torch.Tensor:
        m = self.slot("momentum", name, gradient)
        # As in torch.optim.SGD, the first step is not damped.
        if self.count == 1:
            return m.copy_(gradient)
        return add_scaled_(m.mul_(self.beta), gradient, 1.0 - self.dampening)


class Adam(Update):
    """Adam with bias correction on g_hat; decay is decoupled (AdamW): theta <- (1 - eta rate) theta - eta
    m_hat / (sqrt(v_hat) + delta)."""

    slots = ("first", "second")

    def __init__(self, beta1: float, beta2: float, delta: float, decay: Decay = Decay()) -> None:
        super().__init__(decay)
        self.beta1, self.beta2, self.delta = beta1, beta2, delta

    def step_for(self, name: str, gradient: torch.Tensor) -> torch.Tensor:
        m, v = self.slot("first", name, gradient), self.slot("second", name, gradient)
        add_scaled_(m.mul_(self.beta1), gradient, 1.0 - self.beta1)
        add_square_(v.mul_(self.beta2), gradient, 1.0 - self.beta2)
        first = m / (1.0 - self.beta1**self.count)
        return first / ((v / (1.0 - self.beta2**self.count)).sqrt_() + self.delta)


class Sign(Update):
    """theta <- theta - eta sign(g_hat), entry by entry; sign(0) = 0."""

    def step_for(self, name: str, gradient: torch.Tensor) -> torch.Tensor:
        return gradient.sign_()
