"""AGZO: noise in the span of each layer's inputs, found by a power iteration (arXiv 2601.17261).

linear layer W (o x n) with inputs H (n x tokens) of the step's forward pass at theta:
Y = H Omega, Omega ~ N(0, 1)^(tokens x r), A = qr(Y); K times: Y = H (H^T A), A = qr(Y)        (A: n x r)
Delta = R A^T, R ~ N(0, 1)^(o x r), on linear layers; N(0, I) on all other tensors
theta <- theta - eta [(L(theta + eps Delta) - L(theta)) / eps] Delta

The gradient of W lies in the span of H, so that noise outside it is wasted. A depends on the data: it is
stored for every step, r sum of n numbers, as an artifact that replay reads. 2 forward passes per step; about
2 K + 1 products of H with r columns per layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from zobench.zo import noise
from zobench.zo.base import Cost, MethodCard
from zobench.zo.directions import Direction
from zobench.zo.estimators import Estimate
from zobench.zo.layers import linear_layers
from zobench.zo.method import ZerothOrder
from zobench.zo.objective import Objective
from zobench.zo.parameters import Count, CountOrZero, Parameters, Positive, Rate
from zobench.zo.sparse import counter_only


@dataclass(frozen=True)
class AgzoConfig(Parameters):
    """Parameters of AGZO; rank and iterations of the paper, epsilon of its bfloat16 runs (1e-7 in float32),
    lr a
    choice: the paper's is not known, and a step is about sqrt(r / n) as long as MeZO's.

    Attributes:
        lr: step size eta.
        epsilon: smoothing radius eps.
        rank: columns r of a basis.
        iterations: power iterations K after the first product.
    """

    lr: Rate = 1e-5
    epsilon: Positive = 1e-4
    rank: Count = 1
    iterations: CountOrZero = 3


class InputSpan(Direction):
    """R A^T on linear layers, with the bases A of the current step; N(0, I) elsewhere.

    Attributes:
        bases: A of each linear weight (n x r), float32 (float64 for float64 weights).
    """

    def __init__(self, inner: Direction, rank: int) -> None:
        super().__init__(inner.source)
        self.inner, self.rank = inner, rank
        self.layers = linear_layers(self.space)
        self.bases: dict[str, torch.Tensor] = {}

    def add_(self, tensor: torch.Tensor, name: str, seed: int, scale: float) -> None:
        if name not in self.layers:
            self.inner.add_(tensor, name, seed, scale)
            return
        self.source.drawn += tensor.numel()
        a = self.bases[name]
        shape = (self.space.shape(name)[0], self.rank)
        left = self.source.draw(f"{name}/left", shape, seed, "gaussian", a.device).to(a.dtype)
        moved = torch.zeros(self.space.shape(name), dtype=a.dtype, device=a.device)
        # Column by column: a matrix product would sum in an order of its own.
        for column in range(self.rank):
            moved.add_(left[:, column, None] * a[None, :, column])
        tensor.copy_(moved.mul_(scale).add_(tensor.to(a.dtype)))

    def flat(self) -> torch.Tensor:
        """All bases in one vector, in the order of the layers."""
        return torch.cat([torch.zeros(0), *(self.bases[n].reshape(-1).cpu() for n in self.layers)])

    def set_flat(self, flat: torch.Tensor) -> None:
        """Inverse of ``flat``."""
        start = 0
        for name in self.layers:
            weight = self.space.tensors[name]
            n, wide = weight.shape[1], torch.float64 if weight.dtype == torch.float64 else torch.float32
            part = flat[start : start + n * self.rank].view(n, self.rank)
            self.bases[name] = part.to(device=weight.device, dtype=wide)
            start += n * self.rank

    @contextmanager
    def learning(self, seed: int, iterations: int) -> Iterator[None]:
        """Inside the block, every layer's first call computes its basis. Padding is left out if the module is
        called with an ``attention_mask`` of rows and positions."""
        self.bases = {}
        masks: list[torch.Tensor] = []

        def entered(module: nn.Module, args: Any, kwargs: Any) -> None:
            mask = kwargs.get("attention_mask")
            masks[:] = [mask] if isinstance(mask, torch.Tensor) and mask.dim() == 2 else []

        def seen(name: str) -> Any:
            def hook(layer: nn.Module, args: Any) -> None:
                if name not in self.bases:
                    x = args[0].detach()
                    known = masks and tuple(masks[0].shape) == tuple(x.shape[:-1])
                    rows = x[masks[0].bool()] if known else x.reshape(-1, x.shape[-1])
                    self.bases[name] = self._basis(name, rows, seed, iterations)

            return hook

        handles = [self.space.module.register_forward_pre_hook(entered, with_kwargs=True)]
        handles += [layer.register_forward_pre_hook(seen(name)) for name, layer in self.layers.items()]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _basis(self, name: str, rows: torch.Tensor, seed: int, iterations: int) -> torch.Tensor:
        """A of one layer from its inputs (tokens x n); columns beyond what n and the tokens allow are 0."""
        tokens, n = rows.shape
        wide = torch.float64 if self.space.dtype(name) == torch.float64 else torch.float32
        h, r = rows.double(), min(self.rank, n, tokens)
        basis = torch.zeros(n, self.rank, dtype=wide, device=rows.device)
        if not r or not bool(h.isfinite().all()):
            return basis
        omega = self.source.draw(f"{name}/probe", (tokens, r), seed, "gaussian", rows.device).double()
        a = torch.linalg.qr(h.T @ omega).Q
        for _ in range(iterations):
            a = torch.linalg.qr(h.T @ (h @ a)).Q
        basis[:, :r] = a.to(wide)
        return basis


class Agzo(ZerothOrder):
    """One-sided differences along noise in the span of the activations."""

    Config = AgzoConfig
    direction: InputSpan
    card = MethodCard(
        name="agzo",
        title="AGZO",
        source="arXiv 2601.17261",
        formula="Delta = R A^T, A a basis of the layer's inputs; theta <- theta - eta (f+ - f0) / eps Delta",
        order="zeroth",
        replay="scalars+step-artifacts",
        in_span=True,
        notes="By a formula note and a reading note (2026-11-29); there is no public code. Bases are "
        "computed in float64 from the first call of a layer in the forward pass at theta (with "
        "micro-batches: the first part). Weights that another module uses too (a tied head) get N(0, "
        "I). A basis does not depend on its sign for the law of Delta, but replay does: bases are "
        "stored, never recomputed, 4 r sum(n) bytes per step, also in checkpoints. A small epsilon "
        "needs float32 weights and losses. A submission holds scalars only, so that runs of this "
        "method cannot be verified by others. The paper (abstract) claims better results than "
        "zeroth-order baselines at nearly the same memory; on our boards (docs/recent-claims.md, against "
        "mezo): accuracy undecided, -3.3 points [-40.1, +33.4]; forward passes undecided, 0.74 times its "
        "forward passes [0.31, 1.77].",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.stored: list[torch.Tensor] = []

    @classmethod
    def cost(cls, config: AgzoConfig) -> Cost:
        return Cost(2, 2, 2, 4)

    def make_direction(self) -> InputSpan:
        counter_only(self.engine, "agzo")
        return InputSpan(self.engine.gaussian(), self.config.rank)

    def measure(self, objective: Objective) -> Estimate:
        (seed,) = self.seeds(1)
        eps = self.smoothing()
        base = self._at_home(objective, seed)
        plus = self.engine.loss(objective, *self.engine.along(self.direction, seed, eps))
        return Estimate((seed,), ((plus - base) / eps,), (base, plus), base)

    def _at_home(self, objective: Objective, seed: int) -> float:
        """L(theta), and the bases of this step: computed in its forward pass, or those that were stored."""
        if objective.recorded:
            if self.t >= len(self.stored):
                raise ValueError(f"agzo: no stored bases of step {self.t}; replay needs the run's artifacts")
            self.direction.set_flat(self.stored[self.t])
            return objective.loss()
        del self.stored[self.t :]
        # Not through the engine: with several ranks, every rank needs the activations.
        with self.direction.learning(noise.derive_seed("probe", seed), self.config.iterations):
            loss = objective.loss()
        for name in self.direction.layers:
            if name not in self.direction.bases:
                layer = self.direction.layers[name]
                self.direction.bases[name] = torch.zeros(
                    layer.in_features, self.config.rank, device=layer.weight.device
                )
        self.stored.append(self.direction.flat())
        return loss

    def artifacts(self) -> dict[str, torch.Tensor]:
        """The bases of all steps, one row per step."""
        return {"bases": torch.stack(self.stored)} if self.stored else {}

    def load_artifacts(self, artifacts: Mapping[str, torch.Tensor]) -> None:
        self.stored = [row.clone() for row in artifacts["bases"]] if "bases" in artifacts else []

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), **self.artifacts()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict({k: v for k, v in state.items() if k != "bases"})
        self.load_artifacts({k: v for k, v in state.items() if k == "bases"})
