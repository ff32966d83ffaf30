"""Denoised smoothing of a black box trained by zeroth-order estimates, ZO-AE-DS (arXiv 2203.14195).

The input of the black box f is d(e(D(x + noise))), with a denoiser D, an encoder e to a small latent z and a
decoder d. The autoencoder and the denoiser are first trained to reconstruct clean inputs, without f. Then D
is trained on

    l(x) = CE(f(d(z)), y),   z = e(D(x + noise)),   noise ~ N(0, sigma^2 I),

whose gradient with respect to z is estimated by queries of f, then backpropagated through e and D. Estimators
at z of size m:

    rge:  (m / (mu q)) sum_i [l(z + mu u_i) - l(z)] u_i,   u_i uniform on the unit sphere;  q + 1 queries
    cge:  sum_j [l(z + mu e_j) - l(z)] e_j / mu;                                            m + 1 queries

A smaller latent reduces the variance of rge and the cost of cge. For certification :func:`votes` draws noise
as in training; ``certificates`` evaluates its counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from torch import nn

from zobench.models.random_state import preserved_random_state
from zobench.parameters import Count, OneOf, Parameters, Positive

BlackBox = Callable[[torch.Tensor], torch.Tensor]
ESTIMATORS = ("rge", "cge")


@dataclass(frozen=True, kw_only=True)
class DenoiserConfig(Parameters):
    estimator: Annotated[str, OneOf(ESTIMATORS)] = "cge"
    """``rge`` or ``cge``."""
    sigma: Positive = 0.25
    """Standard deviation of the noise, in units of the inputs."""
    latent: Count = 16
    """Size of the latent z."""
    hidden: int = 128
    """Width of the denoiser's and the autoencoder's hidden layer."""
    queries: Count = 16
    """Directions per estimate (``rge``)."""
    mu: Positive = 5e-3
    """Step of the finite difference."""
    steps: int = 300
    """Training steps of the denoiser by queries, and before of autoencoder and denoiser by reconstruction."""
    batch: Count = 64
    """Inputs per training step."""
    lr: float = 1e-3
    """Learning rate of Adam, for all networks."""
    seed: int = 0
    """Seed of the noise, the networks and the training."""


def latent_gradient(
    loss: Callable[[torch.Tensor], torch.Tensor],
    z: torch.Tensor,
    config: DenoiserConfig,
    draws: torch.Generator,
) -> torch.Tensor:
    """Estimated gradient of each example's loss at ``z``, shape (examples, m); ``loss`` maps (n, m) to (n,).

    Cost: per example ``queries + 1`` evaluations of the loss (``rge``) or m + 1 (``cge``).
    """
    rows, m = z.shape
    if config.estimator == "cge":
        units = torch.eye(m, dtype=z.dtype).expand(rows, m, m)
        scale = 1 / config.mu
    else:
        units = torch.randn(rows, config.queries, m, dtype=z.dtype, generator=draws)
        units = units / units.norm(dim=-1, keepdim=True)
        scale = m / (config.mu * config.queries)
    count = units.shape[1]
    around = (z[:, None] + config.mu * units).reshape(-1, m)
    values = loss(torch.cat([z, around]))
    differences = values[rows:].reshape(rows, count) - values[:rows, None]
    return scale * (differences[..., None] * units).sum(1)


class DenoisedSmoothing(nn.Module):
    """Denoiser, encoder and decoder in front of a black box.

    Attributes:
        queries: number of inputs on which the black box was evaluated in training.
    """

    def __init__(self, black_box: BlackBox, width: int, config: DenoiserConfig) -> None:
        super().__init__()
        self.config, self._black_box, self.queries = config, black_box, 0
        with preserved_random_state():
            torch.manual_seed(config.seed)
            self.denoiser = _layers(width, config.hidden, width)
            self.encoder = _layers(width, config.hidden, config.latent)
            self.decoder = _layers(config.latent, config.hidden, width)

    def denoised(self, noisy: torch.Tensor) -> torch.Tensor:
        """D(x): the input minus the noise predicted by the network."""
        return noisy - self.denoiser(noisy)

    @torch.no_grad()
    def forward(self, noisy: torch.Tensor) -> torch.Tensor:
        """Scores of the black box for noisy inputs."""
        return self._black_box(self.decoder(self.encoder(self.denoised(noisy))))

    def fit(self, x: torch.Tensor, y: torch.Tensor) -> DenoisedSmoothing:
        """:meth:`rebuild`, then :meth:`tune`; deterministic in the seed."""
        return self.rebuild(x).tune(x, y)

    def rebuild(self, x: torch.Tensor) -> DenoisedSmoothing:
        """Train autoencoder and denoiser to reconstruct ``x`` (mean squared error), without queries."""
        c = self.config
        draws = torch.Generator().manual_seed(c.seed)
        both = [*self.encoder.parameters(), *self.decoder.parameters()]
        optimizer = torch.optim.Adam([*both, *self.denoiser.parameters()], lr=c.lr)
        for _ in range(c.steps):
            clean = x[torch.randint(len(x), (c.batch,), generator=draws)]
            noisy = clean + c.sigma * torch.randn(clean.shape, generator=draws)
            rebuilt = self.decoder(self.encoder(clean))
            loss = ((rebuilt - clean) ** 2).mean() + ((self.denoised(noisy) - clean) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return self

    def tune(self, x: torch.Tensor, y: torch.Tensor) -> DenoisedSmoothing:
        """Train the denoiser by queries of the black box."""
        c = self.config
        draws = torch.Generator().manual_seed(c.seed + 1)
        tuned = torch.optim.Adam(self.denoiser.parameters(), lr=c.lr)
        for _ in range(c.steps):
            at = torch.randint(len(x), (c.batch,), generator=draws)
            noisy = x[at] + c.sigma * torch.randn(x[at].shape, generator=draws)
            z = self.encoder(self.denoised(noisy))
            gradient = latent_gradient(self._loss_of(y[at]), z.detach(), c, draws)
            tuned.zero_grad()
            # The derivative of this product by z is the estimate, which is then backpropagated.
            (z * gradient).sum(1).mean().backward()
            tuned.step()
        return self

    def _loss_of(self, labels: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
        """Losses of latents: first one per label, then an equal number of neighbours of each."""

        @torch.no_grad()
        def loss(z: torch.Tensor) -> torch.Tensor:
            self.queries += len(z)
            around = labels.repeat_interleave(len(z) // len(labels) - 1)
            scores = self._black_box(self.decoder(z))
            return nn.functional.cross_entropy(scores, torch.cat([labels, around]), reduction="none")

        return loss


def votes(
    scores: BlackBox,
    row: torch.Tensor,
    *,
    sigma: float,
    classes: int,
    n0: int,
    n: int,
    draws: torch.Generator,
) -> tuple[list[int], list[int]]:
    """Counts per class on ``n0`` noisy copies of a row, and on ``n`` others. Classes that tie on a copy take
    turns: copy i votes for the (i modulo k)-th of k."""
    noise = torch.randn(n0 + n, len(row), generator=draws, dtype=row.dtype)
    with torch.no_grad():
        found = scores(row + sigma * noise)
    best = (found == found.amax(-1, keepdim=True)).numpy()
    turn = np.arange(len(best)) % best.sum(axis=1).clip(1)
    labels = (best.cumsum(axis=1) > turn[:, None]).argmax(axis=1)
    first, rest = (np.bincount(part, minlength=classes).tolist() for part in (labels[:n0], labels[n0:]))
    return first, rest


def _layers(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))
