"""Training with an information bottleneck (IB-FT, arXiv 2510.16022): the task's loss plus a penalty.

    L(theta; B) = task loss(theta; B) + weight * penalty(theta; B)

The paper adds an information-bottleneck penalty on hidden states to the next-token loss; which layer, which
estimator of mutual information and which weight were not found. Both forms below, their layer (the middle
block) and their parameters are choices of zobench, under its own names. H is the output of block ``layer`` on
the minibatch with its gold answers.

``variational`` (after the deep variational bottleneck, arXiv 1612.00410): the block's output becomes
H + p s E, E a standard normal number for each entry, p = ``prior`` and s = ``noise``, and the task's loss is
computed from it. With M real tokens (padding left out) of width d,

    penalty = 1 / (M d) sum 1/2 (h^2 / p^2 + s^2 - 1 - ln s^2),

the mean over entries of KL(N(h, p^2 s^2) || N(0, p^2)). E is a function of the run's seed and the minibatch
alone: all queries of a step, and both signs of a two-sided estimate, see the same noise. Answers are
generated without it.

``hsic`` (after the HSIC bottleneck, arXiv 1908.01580): nothing is added to the states. With x the numbers of
each token in a prompt divided by their Euclidean norm, y the same for its gold answer, z the mean of H over
the prompt's tokens, which cannot see the answer, and n examples,

    penalty = HSIC(x, z) - keep HSIC(y, z),   HSIC(a, b) = tr(K_a C K_b C) / (n - 1)^2,  C = I - 1/n,
    K_a[i, j] = exp(-|a_i - a_j|^2 / m_a),    m_a the mean of |a_i - a_j|^2 over i != j.

The width m is part of the function and is differentiated, so that gradients and queries see the same loss.
Cost of one evaluation: one forward pass, as for the plain loss.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from zobench.data.example import Example
from zobench.models.batching import Groups
from zobench.models.blocks import block_number, blocks_of
from zobench.models.scoring import in_dtype_of_logits
from zobench.spec import RunSpec, bottleneck_of
from zobench.tasks.base import Batch, Task
from zobench.zo import noise

if TYPE_CHECKING:
    from zobench.models.base import LanguageModel

KEY = noise.tensor_key("information bottleneck")
"""Key of the stream of noise on states."""


def bottleneck_batch(
    lm: LanguageModel, task: Task, examples: Sequence[Example], place: tuple[int, str, int]
) -> Batch:
    """The task's minibatch, with the seed of its noise and the centred kernels of prompts and answers.

    Args:
        place: seed of the run, name of the stream of minibatches, index of the minibatch.

    Raises:
        ValueError: fewer than 2 examples, no rows with gold answers, or rows that must not be padded.
    """
    if len(examples) < 2:
        raise ValueError("a bottleneck compares examples: a minibatch needs at least 2")
    made = task.batch(lm, examples)
    padded, targets = made.inputs.get("padded"), made.inputs.get("targets")
    if padded is None or targets is None or isinstance(padded, Groups):
        raise ValueError(f"{lm.identity.name}: a bottleneck needs one batch of padded prompts with answers")
    answers, real = made.inputs["target_mask"] > 0, real_tokens(padded)
    prompts = real.clone()
    prompts[:, -answers.shape[1] :] &= ~answers
    more = {
        "bottleneck_seed": noise.derive_seed("bottleneck", *place),
        "real": real,
        "prompts": prompts,
        "of_prompts": centred(kernel(token_shares(padded["input_ids"], prompts))),
        "of_answers": centred(kernel(token_shares(targets, answers))),
    }
    return Batch({**made.inputs, **more}, made.sequences, made.tokens)


def real_tokens(padded: Any) -> torch.Tensor:
    """Which columns of left-padded rows hold tokens, as booleans of shape (rows, columns)."""
    mask = padded.get("attention_mask")
    return torch.ones_like(padded["input_ids"], dtype=torch.bool) if mask is None else mask > 0


def token_shares(ids: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Numbers of each token among the chosen ones, divided by their norm: shape (rows, tokens that occur)."""
    kinds, where = torch.unique(ids, return_inverse=True)
    counts = torch.zeros(len(ids), len(kinds), device=ids.device)
    return nn.functional.normalize(counts.scatter_add_(1, where, chosen.to(counts)), dim=1)


def kernel(points: torch.Tensor) -> torch.Tensor:
    """K of the module's docstring for points of shape (n, d); all 1 if the points are equal."""
    squared = (points[:, None] - points[None]).square().sum(-1)
    n = len(points)
    width = squared.sum() / (n * (n - 1))
    return torch.exp(-squared / width.clamp_min(torch.finfo(squared.dtype).tiny))


def centred(matrix: torch.Tensor) -> torch.Tensor:
    """C K C for a symmetric K."""
    rows = matrix.mean(0)
    return matrix - rows[None] - rows[:, None] + rows.mean()


def hsic(of_a: torch.Tensor, k_b: torch.Tensor) -> torch.Tensor:
    """HSIC from a centred kernel and a kernel, both of shape (n, n)."""
    return (of_a * k_b).sum() / (len(k_b) - 1) ** 2


def gaussian_penalty(
    states: torch.Tensor, real: torch.Tensor, prior: float, deviation: float
) -> torch.Tensor:
    """The variational penalty of states (rows, columns, width), in nats per entry."""
    squares = ((states.float() / prior).square() * real[..., None]).sum() / (real.sum() * states.shape[-1])
    return 0.5 * (squares + deviation**2 - 1 - 2 * math.log(deviation))


def hsic_penalty(states: torch.Tensor, batch: Batch, keep: float) -> torch.Tensor:
    """The HSIC penalty of states (rows, columns, width)."""
    prompts = batch.inputs["prompts"][..., None]
    z = (states.float() * prompts).sum(1) / prompts.sum(1)
    of_z = kernel(z)
    return hsic(batch.inputs["of_prompts"], of_z) - keep * hsic(batch.inputs["of_answers"], of_z)


class BottleneckLoss:
    """``loss(module, batch)`` for minibatches of :func:`bottleneck_batch`.

    Raises:
        ValueError: the model has no such block.
    """

    def __init__(self, spec: RunSpec, lm: LanguageModel, task: Task) -> None:
        ref = bottleneck_of(spec)
        assert ref is not None, "the caller knows that there is a penalty"
        blocks = blocks_of(lm.module)
        self._ref, self._lm, self._task = ref, lm, task
        self._block = blocks[block_number(ref.layer, len(blocks)) - 1]
        self._logits = spec.loss_dtype == "logits"

    def __call__(self, module: nn.Module, batch: Batch) -> torch.Tensor:
        """Task loss + weight * penalty, a scalar. Cost: 1 forward pass."""
        with self._reading(batch) as states, in_dtype_of_logits(self._logits):
            loss = self._task.loss(self._lm, module, batch)
        if len(states) != 1:
            raise ValueError(f"the block of the bottleneck ran {len(states)} times in one loss, not once")
        return loss + self._ref.weight * self.penalty(states[0], batch)

    def penalty(self, states: torch.Tensor, batch: Batch) -> torch.Tensor:
        """The penalty of the block's output, without its weight."""
        own = states[:, -batch.inputs["real"].shape[1] :]  # virtual tokens of a tuned prompt come before
        if self._ref.bottleneck == "variational":
            return gaussian_penalty(own, batch.inputs["real"], self._ref.prior, self._ref.noise)
        return hsic_penalty(own, batch, self._ref.keep)

    @contextmanager
    def _reading(self, batch: Batch) -> Iterator[list[torch.Tensor]]:
        """The outputs of the block inside the ``with``; what follows the block sees them with noise."""
        found: list[torch.Tensor] = []
        handle = self._block.register_forward_hook(self._hook(found, batch.inputs["bottleneck_seed"]))
        try:
            yield found
        finally:
            handle.remove()

    def _hook(self, found: list[torch.Tensor], seed: int) -> Callable[[nn.Module, Any, Any], Any]:
        def read(block: nn.Module, args: Any, out: Any) -> Any:
            states = out[0] if isinstance(out, tuple) else out
            found.append(states)
            if self._ref.bottleneck != "variational":
                return None
            drawn = noise.sample(
                states.shape, seed=seed, key=KEY, kind="gaussian", device=states.device, dtype=states.dtype
            )
            noisy = states + self._ref.prior * self._ref.noise * drawn
            return (noisy, *out[1:]) if isinstance(out, tuple) else noisy

        return read
