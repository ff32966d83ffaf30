"""Acceptance gates of the built-in image classifiers: values on images that are not used in training.

With a new layer for five outputs (zeros, so that a model starts at chance), a model must learn the digits
that it has never seen by AdamW, and leave MeZO room to improve.
"""

from __future__ import annotations

import copy
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from zobench.data.example import Example, Splits
from zobench.data.image_sets import image_splits
from zobench.data.synthetic.draw import stream
from zobench.models.loading import load
from zobench.models.nano import pilot
from zobench.models.nano.gates import GateResult, Report
from zobench.models.vision.build import tensor_of
from zobench.models.vision.recipe import NEW, PRETRAINED, VISION_RECIPES
from zobench.spec import ModelRef

K = 100
BATCH = 32
SEEDS = (101, 102)
"""Data seeds of the gates; suites use others."""
ADAMW_STEPS = 200
ADAMW_RATES = (1e-3, 2e-3)
MEZO_FORWARDS = 300
MEZO_RATES = (3e-4, 1e-3, 2e-3)
"""Learning rates; of each optimizer the one with the least mean training loss over :data:`SEEDS` counts."""


def vision_gates(name: str, path: Path | str, *, report: Report | None = None) -> list[GateResult]:
    """Run all gates of the image classifier ``name`` on the files at ``path``; an untrained one has none.

    Takes a minute on one core."""
    if VISION_RECIPES[name].schedule.steps == 0:
        return []
    results = []
    for result in _measured(name, str(path)):
        results.append(result)
        if report is not None:
            report(result)
    return results


def _measured(name: str, path: str) -> Iterator[GateResult]:
    known = image_splits("mnist-5k", PRETRAINED, seed=0, k=None, validation_k=0, test_rows=None)
    own = _accuracy(load(ModelRef(name=path)).module, known)
    yield GateResult("pretraining_digits", own, 0.95, 1.0, {"images": len(known.test)})
    fresh = load(ModelRef(name=path, head=len(NEW))).module
    sets = {s: image_splits("mnist-5k", NEW, seed=s, k=K, validation_k=0, test_rows=None) for s in SEEDS}
    yield GateResult("new_digits_adamw", *_adamw(fresh, sets))
    yield GateResult("new_digits_mezo", *_mezo(fresh, sets))


def _adamw(fresh: Any, sets: dict[int, Splits]) -> tuple[float, float, float, dict[str, Any]]:
    """Accuracy, its bounds, and details."""

    def tuned(parts: Splits, rate: float, seed: int) -> tuple[Any, float]:
        model = pilot.adamw_steps(fresh, _batches(parts, seed), _loss, steps=ADAMW_STEPS, lr=rate)
        with torch.no_grad():
            return model, float(_loss(model, _tensors(list(parts.train))))

    found, detail = _best(sets, ADAMW_RATES, tuned)
    return found, 0.9, 1.0, {"steps": ADAMW_STEPS, "k": K, "batch": BATCH, **detail}


def _mezo(fresh: Any, sets: dict[int, Splits]) -> tuple[float, float, float, dict[str, Any]]:
    """Accuracy, its bounds, and details."""

    def tuned(parts: Splits, rate: float, seed: int) -> tuple[Any, float]:
        drawn = _batches(parts, seed)
        return pilot.mezo_steps(fresh, drawn, _loss, forwards=MEZO_FORWARDS, lr=rate, seed=seed)

    found, detail = _best(sets, MEZO_RATES, tuned)
    return found, 0.3, 0.95, {"forwards": MEZO_FORWARDS, **detail}


def _best(
    sets: dict[int, Splits],
    rates: tuple[float, ...],
    tuned: Callable[[Splits, float, int], tuple[Any, float]],
) -> tuple[float, dict[str, Any]]:
    """Mean test accuracy at the rate with the least training loss, and the results of all rates."""
    losses: dict[float, float] = {}
    accuracies: dict[float, list[float]] = {}
    for rate in rates:
        models = {seed: tuned(parts, rate, seed) for seed, parts in sets.items()}
        final = [loss for _, loss in models.values()]
        accuracies[rate] = [_accuracy(model, sets[seed]) for seed, (model, _) in models.items()]
        # A NaN loss (x != x) counts as infinite: min() below would not order it.
        losses[rate] = statistics.mean(final) if all(x == x for x in final) else float("inf")
    best = min(losses, key=lambda rate: losses[rate])
    told = {str(r): {"loss": round(losses[r], 4), "accuracies": accuracies[r]} for r in rates}
    return round(statistics.mean(accuracies[best]), 4), {"rates": told, "chosen": best}


def _batches(parts: Splits, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    pixels, labels = _tensors(list(parts.train))
    rng = stream(seed, "vision pilot")
    order: list[int] = []
    while True:
        while len(order) < BATCH:
            order += rng.sample(range(len(labels)), len(labels))
        chosen = torch.tensor(order[:BATCH])
        order = order[BATCH:]
        yield pixels[chosen], labels[chosen]


def _tensors(examples: list[Example]) -> tuple[Tensor, Tensor]:
    return tensor_of(examples), torch.tensor([e.label for e in examples])


def _loss(model: Any, part: tuple[Tensor, Tensor]) -> Tensor:
    return cross_entropy(model(pixel_values=part[0]).logits, part[1])


@torch.no_grad()
def _accuracy(model: Any, parts: Splits) -> float:
    pixels, labels = _tensors(list(parts.test))
    model = copy.deepcopy(model).eval()
    return round(float((model(pixel_values=pixels).logits.argmax(1) == labels).float().mean()), 4)
