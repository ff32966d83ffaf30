"""GRZO: a direction per example by Flipout, two forward passes, group-scaled coefficients (arXiv 2606.02857).

linear layers: U ~ N(0, 1)^(o x n) from a seed; signs r_i in {-1, 1}^o, s_i in {-1, 1}^n per example i = 1 ..
B
Delta_i = U * (r_i s_i^T)
forward: example i's output of a layer gets +-sigma r_i * (U (s_i * x_i)) added; no copy of the weights
delta_i = (l_i+ - l_i-) / 2
scaled: g = sum_i [delta_i / std(delta)] Delta_i / (2 sigma B) = U * (R^T diag(a) S);  plain: g = sum_i
delta_i
Delta_i / (sigma B);  theta <- theta - eta g

Biases of these layers have signs per example too (r_i), with one vector of N(0, 1). All other tuned tensors
share one direction of random signs, with which the sum of the coefficients is multiplied. 2 forward passes
per step, no state.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import nn

from zobench.zo import noise
from zobench.zo.base import Cost, MethodCard
from zobench.zo.directions import Direction, Rademacher
from zobench.zo.estimators import Estimate, losses_of_items
from zobench.zo.layers import linear_layers
from zobench.zo.method import ZerothOrder
from zobench.zo.methods.fzoo import spread
from zobench.zo.objective import Objective
from zobench.zo.parameters import Parameters, Positive, Rate
from zobench.zo.perturb import Along
from zobench.zo.source import NoiseSource
from zobench.zo.sparse import counter_only


@dataclass(frozen=True)
class GrzoConfig(Parameters):
    """Parameters of GRZO; sigma of the authors' README, lr that of its examples for variants (GRZO's own is
    not known).

    Attributes:
        lr: step size eta; with ``scaled`` the length of a step does not depend on the scale of the losses.
        sigma: smoothing radius.
        coefficients: ``scaled`` by the standard deviation over the examples, or ``plain``.
    """

    lr: Rate = 1e-7
    sigma: Positive = 1e-3
    coefficients: Literal["scaled", "plain"] = "scaled"


class Flipout(Direction):
    """Delta(seed of example i): U * (r_i s_i^T) on linear weights, u * r_i on their biases, one direction of
    signs on all other tensors.

    Attributes:
        step: the seed of the step, from which U is drawn.
    """

    def __init__(self, source: NoiseSource) -> None:
        super().__init__(source)
        self.step = 0
        self.common = Rademacher(source)
        self.layers = linear_layers(self.space)
        known = {id(p): n for n, p in self.space.tensors.items() if self.space.indices(n) is None}
        self.biases = {
            known[id(layer.bias)]: name
            for name, layer in self.layers.items()
            if layer.bias is not None and id(layer.bias) in known
        }

    def base(self, name: str) -> torch.Tensor:
        """U of a linear weight, or u of its bias."""
        out = torch.zeros_like(self.space.tensors[name].data, dtype=self.wide(name))
        self.source.add_(out, name, self.step, 1.0, "gaussian")
        return out

    def wide(self, name: str) -> torch.dtype:
        return torch.float64 if self.space.dtype(name) == torch.float64 else torch.float32

    def signs(self, name: str, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        """r (o) and s (n) of an example for a linear weight."""
        o, n = self.space.shape(name)
        device = self.space.tensors[name].device
        drawn = [
            self.source.draw(f"{name}/{side}", (size,), seed, "rademacher", device)
            for side, size in (("rows", o), ("columns", n))
        ]
        return drawn[0].to(self.wide(name)), drawn[1].to(self.wide(name))

    def add_(self, tensor: torch.Tensor, name: str, seed: int, scale: float) -> None:
        if name in self.layers:
            r, s = self.signs(name, seed)
            moved = self.base(name).mul_(r[:, None]).mul_(s[None, :])
        elif name in self.biases:
            moved = self.base(name).mul_(self.signs(self.biases[name], seed)[0])
        else:
            self.common.add_(tensor, name, self.step, scale)
            return
        tensor.copy_(moved.mul_(scale).add_(tensor.to(moved.dtype)))

    def kind_on(self, name: str) -> Any:
        return None

    def combined(self, name: str, seeds: tuple[int, ...], coefficients: tuple[float, ...]) -> torch.Tensor:
        """sum_i a_i Delta_i of one tensor from one draw of U."""
        if name not in self.layers and name not in self.biases:
            out = torch.zeros(
                self.space.shape(name), dtype=self.wide(name), device=self.space.tensors[name].device
            )
            self.common.add_(out, name, self.step, math.fsum(coefficients))
            return out
        u = self.base(name)
        weights = torch.zeros_like(u)
        for seed, a in zip(seeds, coefficients, strict=True):
            r, s = self.signs(self.biases.get(name, name), seed)
            # One example after the other: a matrix product would sum in an order of its own.
            weights.add_(r.mul_(a)[:, None] * s[None, :] if name in self.layers else r.mul_(a))
        return u.mul_(weights)

    @contextmanager
    def flipped(self, seeds: list[int], scale: float) -> Iterator[None]:
        """Inside the block, the output of every layer has its example's term added. The number of rows must
        be the number of seeds once it is known (``seeds`` is filled by the first layer that runs)."""
        handles = [
            layer.register_forward_hook(
                lambda m, args, out, name=name: self._added(name, seeds, scale, args, out)
            )
            for name, layer in self.layers.items()
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _added(self, name: str, seeds: list[int], scale: float, args: Any, out: torch.Tensor) -> torch.Tensor:
        x = args[0]
        while len(seeds) < x.shape[0]:
            seeds.append(example_seed(self.step, len(seeds)))
        pairs = [self.signs(name, seed) for seed in seeds[: x.shape[0]]]
        wide = self.wide(name)
        r, s = (torch.stack(side) for side in zip(*pairs, strict=True))
        shape = (x.shape[0], *[1] * (x.dim() - 2), -1)
        term = nn.functional.linear(x.to(wide) * s.view(shape), self.base(name)) * r.view(shape)
        bias = next((b for b, weight in self.biases.items() if weight == name), None)
        if bias is not None:
            term = term + self.base(bias) * r.view(shape)
        return (out.to(wide) + scale * term).to(out.dtype)


def example_seed(step: int, number: int) -> int:
    """The seed of the signs of the example with this number."""
    return noise.derive_seed("example", step, number)


class Grzo(ZerothOrder):
    """A direction per example from two forward passes."""

    Config = GrzoConfig
    small_problem: ClassVar[Mapping[str, Any]] = {"coefficients": "plain"}
    direction: Flipout
    card = MethodCard(
        name="grzo",
        title="GRZO",
        source="arXiv 2606.02857",
        formula="g = U * (R^T diag(a) S) / (sigma B), a_i = (l_i+ - l_i-) / (2 std); theta <- theta - eta g",
        order="zeroth",
        replay="scalars",
        needs=("item-losses",),
        notes="By the authors' README (LiyanTan111/GRZO-public) and a formula note (2026-11-29); their code "
        "could not be obtained. There, norms have signs per example and embeddings sparse rows; here "
        "all tensors but those of linear layers share one direction of signs. Weights that another "
        "module uses too (a tied head) count among these. plain divides delta by sigma and is the "
        "usual difference quotient. The spread is the population's, without a floor; a step without "
        "spread is refused. A minibatch of one example has none. The minibatch must be the first "
        "dimension of every layer's input, in one forward pass (no micro-batches). Every loss of an "
        "example is in the record. The paper (abstract) claims 3 points more accuracy than MeZO on "
        "Llama3-8B at 23 % less peak memory; on our boards (docs/recent-claims.md, against mezo): accuracy "
        "undecided, +0.7 points [-18.0, +19.4]; forward passes undecided, 1.04 times its forward passes "
        "[0.31, 3.47].",
    )

    @classmethod
    def cost(cls, config: GrzoConfig) -> Cost:
        return Cost(2, 2, 3, 0)

    def smoothing(self) -> float:
        return float(self.config.sigma)

    def make_direction(self) -> Flipout:
        counter_only(self.engine, "grzo")
        return Flipout(self.engine.source)

    def measure(self, objective: Objective) -> Estimate:
        (self.direction.step,) = self.seeds(1)
        sigma = self.smoothing()
        sides = []
        for sign in (1.0, -1.0):
            seen: list[int] = []
            with self.direction.flipped(seen, sign * sigma):
                shift = Along(Others(self.direction), self.direction.step, sign * sigma)
                losses = losses_of_items(self.engine, objective, shift)
            if seen and len(seen) != len(losses):
                raise ValueError(
                    f"grzo: a layer sees {len(seen)} rows for {len(losses)} losses of examples; it needs "
                    "one row per example, the whole minibatch in one forward pass, and an objective with "
                    "losses of examples (Objective(items=...))"
                )
            sides.append(losses)
        return self._estimate(*sides)

    def _estimate(self, plus: list[float], minus: list[float]) -> Estimate:
        count, losses = len(plus), (*plus, *minus)
        deltas = [(a - b) / 2 for a, b in zip(plus, minus, strict=True)]
        finite = all(map(math.isfinite, losses))
        std = spread(deltas, population=True) if count > 1 else 0.0
        divisor = self.smoothing() * count * (2 * std if self.config.coefficients == "scaled" else 1.0)
        return Estimate(
            seeds=tuple(example_seed(self.direction.step, i) for i in range(count)),
            coefficients=tuple(d / divisor if divisor else 0.0 for d in deltas),
            losses=losses,
            loss=math.fsum(losses) / len(losses) if finite else math.nan,
            extras={"items": float(count), "std": std},
            reason="" if divisor or not finite else "zero spread of the losses",
        )

    def update(self, estimate: Estimate, lr: float) -> dict[str, float]:
        self.engine.home()
        self.updater.apply_dense(
            self.engine,
            lambda name: self.direction.combined(name, estimate.seeds, estimate.coefficients),
            lr,
        )
        return {}


class Others(Direction):
    """The common direction on tensors outside the linear layers, which the hooks displace."""

    def __init__(self, flipout: Flipout) -> None:
        super().__init__(flipout.source)
        self.flipout = flipout

    def touches(self, name: str, seed: int) -> bool:
        return name not in self.flipout.layers and name not in self.flipout.biases

    def add_(self, tensor: torch.Tensor, name: str, seed: int, scale: float) -> None:
        if self.touches(name, seed):
            self.flipout.common.add_(tensor, name, seed, scale)
