"""The training loop of the built-in models: Muon for matrices, AdamW for the rest, linear warm-up and decay,
a fixed number of steps.

Muon (K. Jordan 2024) is ``torch.optim.Muon``. On one machine and with one thread count the result depends on
the arguments alone; the global random state is never touched.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers.modeling_utils import PreTrainedModel

LossOfStep = Callable[[PreTrainedModel, int], tuple[Tensor, int]]
"""``(model, step) -> (loss, tokens)``."""


@dataclass(frozen=True, slots=True)
class Schedule:
    steps: int
    warmup: int = 100
    matrices: float = 0.03
    """Muon's learning rate."""
    rest: float = 6e-3
    """AdamW's learning rate: embeddings, norms, biases."""

    def factor(self, step: int) -> float:
        warmup = min(self.warmup, max(1, self.steps // 10))
        return min((step + 1) / warmup, max(0.02, (self.steps - step) / max(1, self.steps - warmup)), 1.0)


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """Results of a training run besides the weights."""

    tokens: int
    seconds: float
    log: list[dict[str, float]]


def optimizers(model: PreTrainedModel, schedule: Schedule) -> list[torch.optim.Optimizer]:
    """Muon for two-dimensional weights inside the layers, AdamW for everything else."""
    inside = {
        n: p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n and "lm_head" not in n
    }
    rest = [p for n, p in model.named_parameters() if n not in inside]
    return [
        torch.optim.Muon(list(inside.values()), lr=schedule.matrices, weight_decay=0.0, momentum=0.95),
        torch.optim.AdamW(rest, lr=schedule.rest, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def train(
    model: PreTrainedModel,
    loss_of_step: LossOfStep,
    schedule: Schedule,
    progress: Callable[[dict[str, float]], None],
) -> TrainedModel:
    """Train in place. ``progress`` is called about every 2 % of the steps."""
    parts = optimizers(model, schedule)
    bases = [[group["lr"] for group in part.param_groups] for part in parts]
    log: list[dict[str, float]] = []
    tokens, mean, start = 0, 0.0, time.perf_counter()
    every = max(1, schedule.steps // 50)
    for step in range(schedule.steps):
        loss, count = loss_of_step(model, step)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for part, rates in zip(parts, bases, strict=True):
            for group, rate in zip(part.param_groups, rates, strict=True):
                group["lr"] = rate * schedule.factor(step)
            part.step()
            part.zero_grad(set_to_none=True)
        tokens += count
        mean += float(loss.detach())
        if (step + 1) % every == 0 or step + 1 == schedule.steps:
            row = {
                "step": step + 1,
                "loss": round(mean / ((step % every) + 1), 4),
                "tokens": tokens,
                "seconds": round(time.perf_counter() - start, 1),
            }
            log.append(row)
            progress(row)
            mean = 0.0
    return TrainedModel(tokens, time.perf_counter() - start, log)


def causal_loss(batches: Iterator[tuple[Tensor, Tensor]]) -> LossOfStep:
    """Next-token cross-entropy, weighted by the weight of the target token."""

    def step_loss(model: PreTrainedModel, step: int) -> tuple[Tensor, int]:
        ids, weights = next(batches)
        logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
        losses = cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
        w = weights[:, 1:].flatten()
        return (losses * w).sum() / w.sum(), int((weights > 0).sum())

    return step_loss


def masked_loss(batches: Iterator[tuple[Tensor, Tensor, Tensor]]) -> LossOfStep:
    """Cross-entropy at the masked positions of ``(ids, attention mask, targets)``."""

    def step_loss(model: PreTrainedModel, step: int) -> tuple[Tensor, int]:
        ids, attention, targets = next(batches)
        logits = model(input_ids=ids, attention_mask=attention).logits
        loss = cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100)
        return loss, int(attention.sum())

    return step_loss
