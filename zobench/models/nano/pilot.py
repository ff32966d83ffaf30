"""Difficulty of the few-shot sets for a model: zero-shot, first-order AdamW and a plain MeZO pilot.

The two optimizers are written in plain torch on purpose: the difficulty is fixed before any method of
:mod:`zobench.zo` runs and must not depend on one of them. The loss is the cross-entropy over the label words
at the position after the prompt.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from zobench.data.synthetic.draw import stream
from zobench.data.synthetic.fewshot import LabelledText, fewshot_set, pool, sample

LossOf = Callable[[Any, Any], Tensor]
"""``(model, minibatch) -> loss``."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """Right-padded prompts, the position of each last token, and the gold classes."""

    ids: Tensor
    attention: Tensor
    last: Tensor
    labels: Tensor

    def __getitem__(self, index: Tensor) -> Encoded:
        return Encoded(self.ids[index], self.attention[index], self.last[index], self.labels[index])


@dataclass(frozen=True, slots=True)
class Bench:
    """One few-shot set, tokenized once."""

    name: str
    options: Tensor
    train: Encoded
    test: Encoded


def encode(tokenizer: Any, name: str, rows: Sequence[LabelledText]) -> Encoded:
    prompts = [fewshot_set(name).prompt.format(**row.text) for row in rows]
    batch = tokenizer(prompts, padding=True, padding_side="right", return_tensors="pt")
    attention = batch["attention_mask"]
    return Encoded(batch["input_ids"], attention, attention.sum(1) - 1, torch.tensor([r.label for r in rows]))


def bench(tokenizer: Any, name: str, *, k: int, seed: int, test_rows: int = 400) -> Bench:
    """``k`` training examples per class drawn by ``seed``, and the fixed test examples."""
    words = [tokenizer(word)["input_ids"] for word in fewshot_set(name).label_words]
    assert all(len(ids) == 1 for ids in words), f"label words of {name} must be single tokens"
    return Bench(
        name,
        torch.tensor([ids[0] for ids in words]),
        encode(tokenizer, name, sample(name, "train", k, seed)),
        encode(tokenizer, name, pool(name, "test")[:test_rows]),
    )


def label_logits(model: Any, rows: Encoded, options: Tensor) -> Tensor:
    """Logits of the label words after each prompt, shape (examples, classes). Cost: one forward pass."""
    hidden = model.get_decoder()(input_ids=rows.ids, attention_mask=rows.attention, use_cache=False)[0]
    at_end = hidden[torch.arange(len(rows.last)), rows.last]
    return at_end @ model.get_output_embeddings().weight[options].T


@torch.no_grad()
def accuracy(model: Any, task: Bench) -> float:
    return float((label_logits(model, task.test, task.options).argmax(1) == task.test.labels).float().mean())


def minibatches(rows: Encoded, size: int, seed: int) -> Iterator[Encoded]:
    """Endless epochs of shuffled examples."""
    rng = stream(seed, "pilot minibatches")
    order: list[int] = []
    while True:
        while len(order) < size:
            epoch = list(range(len(rows.labels)))
            rng.shuffle(epoch)
            order += epoch
        yield rows[torch.tensor(order[:size])]
        order = order[size:]


def adamw(model: Any, task: Bench, *, steps: int, lr: float, seed: int, batch: int = 16) -> Any:
    """A copy of ``model`` after ``steps`` AdamW steps with linear decay (cost: 3 forward passes each)."""
    return adamw_steps(model, minibatches(task.train, batch, seed), _loss(task), steps=steps, lr=lr)


def mezo(
    model: Any, task: Bench, *, forwards: int, lr: float, seed: int, eps: float = 1e-3, batch: int = 16
) -> tuple[Any, float]:
    """:func:`mezo_steps` on minibatches of the set."""
    drawn = minibatches(task.train, batch, seed)
    return mezo_steps(model, drawn, _loss(task), forwards=forwards, lr=lr, seed=seed, eps=eps)


def _loss(task: Bench) -> LossOf:
    return lambda model, part: cross_entropy(label_logits(model, part, task.options), part.labels)


def adamw_steps(model: Any, batches: Iterator[Any], loss: LossOf, *, steps: int, lr: float) -> Any:
    """A copy of ``model`` after ``steps`` AdamW steps with linear decay."""
    model = copy.deepcopy(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.0)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = lr * (1 - step / steps)
        loss(model, next(batches)).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return model


@torch.no_grad()
def mezo_steps(
    model: Any,
    batches: Iterator[Any],
    loss: LossOf,
    *,
    forwards: int,
    lr: float,
    seed: int,
    eps: float = 1e-3,
) -> tuple[Any, float]:
    """MeZO (arXiv 2305.17333): theta -= lr * (L(theta + eps z) - L(theta - eps z)) / (2 eps) * z, z Gaussian,
    all weights.

    Returns a trained copy and the mean loss over its last 50 steps. Cost: ``forwards`` forward passes.
    """
    model = copy.deepcopy(model)
    parameters = list(model.parameters())
    flat = torch.cat([p.detach().flatten() for p in parameters])
    start = 0
    # The parameters become views of one vector, which is then perturbed and updated as a whole.
    for p in parameters:
        p.data = flat[start : start + p.numel()].view_as(p)
        start += p.numel()
    generator = torch.Generator().manual_seed(seed)
    losses: list[float] = []
    for _ in range(forwards // 2):
        part = next(batches)
        z = torch.randn(flat.shape, generator=generator)
        center = flat.clone()
        flat.add_(z, alpha=eps)
        up = float(loss(model, part))
        flat.copy_(center).sub_(z, alpha=eps)
        down = float(loss(model, part))
        flat.copy_(center).sub_(z, alpha=lr * (up - down) / (2 * eps))
        losses.append((up + down) / 2)
    return model, sum(losses[-50:]) / len(losses[-50:])
