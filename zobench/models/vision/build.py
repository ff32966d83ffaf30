"""Train a built-in image classifier from scratch and save it with its provenance."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers.modeling_utils import PreTrainedModel

from zobench.data.example import Example
from zobench.data.image_sets import image_pools
from zobench.data.synthetic.draw import stream
from zobench.models.nano.build import WEIGHTS, file_digest, machine, write_provenance
from zobench.models.nano.train import LossOfStep, Schedule, TrainedModel, train
from zobench.models.pixels import PREPROCESSOR, PixelInput
from zobench.models.progress_bars import hidden_progress_bars
from zobench.models.vision.recipe import (
    MEAN,
    PRETRAINED,
    SIDE,
    STD,
    VISION_RECIPE_VERSION,
    VISION_RECIPES,
    VisionRecipe,
    initialise_vision,
)

PIXELS = PixelInput((SIDE, SIDE), (MEAN,), (STD,))


def build_vision(
    name: str,
    out_dir: Path | str,
    *,
    seed: int = 0,
    steps: int | None = None,
    progress: Callable[[dict[str, float]], None] = lambda row: None,
) -> dict[str, Any]:
    """Train ``name`` and write it to ``out_dir`` in the Hugging Face format; returns the content of
    ``PROVENANCE.json``.

    The same seed, steps, machine, thread count and library versions give a bit-identical file. ``steps``:
    optimizer steps; the recipe's number by default. Needs the extra ``images``.
    """
    recipe = VISION_RECIPES[name]
    recipe = dataclasses.replace(recipe, schedule=with_steps(recipe.schedule, steps))
    model = initialise_vision(recipe.kind, seed)
    model.train()
    trained = train(model, _loss(batches(recipe)), recipe.schedule, progress)
    out = Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    with hidden_progress_bars():
        model.eval().save_pretrained(out)
    settings = {
        "image_mean": [MEAN],
        "image_std": [STD],
        "rescale_factor": 1 / 255,
        "size": {"height": SIDE, "width": SIDE},
    }
    (out / PREPROCESSOR).write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
    digits = list(PRETRAINED) if recipe.schedule.steps else []
    record = {
        "name": name,
        "digest": file_digest(out / WEIGHTS),
        "parameters": sum(p.numel() for p in model.parameters()),
        "recipe_version": VISION_RECIPE_VERSION,
        "data": {"set": "mnist-5k", "digits": digits, "shift": recipe.shift, "seed": recipe.data_seed},
        **training_record(recipe.schedule, recipe.batch, seed, trained),
    }
    write_provenance(out, record)
    return record


def with_steps(schedule: Schedule, steps: int | None) -> Schedule:
    """The schedule with another number of optimizer steps; ``None``: as it is."""
    if steps is None:
        return schedule
    if steps < 1:
        raise ValueError(f"steps must be at least 1, not {steps}")
    return dataclasses.replace(schedule, steps=steps)


def training_record(schedule: Schedule, batch: int, seed: int, trained: TrainedModel) -> dict[str, Any]:
    """What the provenance of a model of images says of its training."""
    return {
        "seed": seed,
        "images": trained.tokens,
        "steps": schedule.steps,
        "batch": batch,
        "muon_lr": schedule.matrices,
        "adamw_lr": schedule.rest,
        "seconds": round(trained.seconds, 1),
        "machine": machine(),
        "log": trained.log,
        "gates": [],
    }


def batches(recipe: VisionRecipe) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless epochs of shuffled training images of the digits ``PRETRAINED``, moved at random, with their
    labels. The test images of the set are never among them."""
    rng = stream(recipe.data_seed, "vision")
    rows = [
        (position, e) for position, digit in enumerate(PRETRAINED) for e in image_pools("mnist-5k", digit)[0]
    ]
    while True:
        rng.shuffle(rows)
        for i in range(0, len(rows) - recipe.batch + 1, recipe.batch):
            part = rows[i : i + recipe.batch]
            images = moved(tensor_of([e for _, e in part]), recipe.shift, rng, float((0 - MEAN) / STD))
            yield images, torch.tensor([label for label, _ in part])


def tensor_of(examples: list[Example]) -> Tensor:
    """Normalized pixels, shape (images, 1, 28, 28)."""
    return PIXELS.tensor([e.image for e in examples if e.image is not None], torch.empty(0))


def moved(pixels: Tensor, most: int, rng: random.Random, blank: float) -> Tensor:
    """Every image moved by up to ``most`` pixels in both directions."""
    moves = [(rng.randint(-most, most), rng.randint(-most, most)) for _ in pixels]
    shown = [shifted(x, down, right, blank) for x, (down, right) in zip(pixels, moves, strict=True)]
    return torch.stack(shown)


def shifted(pixels: Tensor, down: int, right: int, blank: float) -> Tensor:
    """The image moved by whole pixels; uncovered pixels are ``blank``."""
    margin = max(abs(down), abs(right))
    if margin == 0:
        return pixels
    wide = torch.nn.functional.pad(pixels, (margin,) * 4, value=blank)
    top, left = margin - down, margin - right
    return wide[..., top : top + pixels.shape[-2], left : left + pixels.shape[-1]]


def _loss(drawn: Iterator[tuple[Tensor, Tensor]]) -> LossOfStep:
    def step_loss(model: PreTrainedModel, step: int) -> tuple[Tensor, int]:
        pixels, labels = next(drawn)
        return cross_entropy(model(pixel_values=pixels).logits, labels), len(labels)

    return step_loss
