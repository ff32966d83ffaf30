"""Train ``nano-flow`` from scratch and save it with its provenance."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zobench.data.example import Example
from zobench.data.image_sets import image_pools
from zobench.data.synthetic.draw import stream
from zobench.models.flow.recipe import (
    CLASSES,
    FLOW_RECIPE,
    FLOW_RECIPE_VERSION,
    WITHOUT_CLASS,
    FlowRecipe,
    initialise_flow,
)
from zobench.models.nano.build import WEIGHTS, file_digest, write_provenance
from zobench.models.nano.train import LossOfStep, train
from zobench.models.pixels import SYMMETRIC
from zobench.models.progress_bars import hidden_progress_bars
from zobench.models.vision.build import moved, training_record, with_steps

NAME = "nano-flow"


def build_flow(
    out_dir: Path | str,
    *,
    seed: int = 0,
    steps: int | None = None,
    progress: Callable[[dict[str, float]], None] = lambda row: None,
) -> dict[str, Any]:
    """Train the model and write it to ``out_dir`` in the Hugging Face format; returns the content of
    ``PROVENANCE.json``.

    The same seed, steps, machine, thread count and library versions give a bit-identical file. ``steps``:
    optimizer steps; the recipe's number by default. Needs the extra ``images``.
    """
    recipe = dataclasses.replace(FLOW_RECIPE, schedule=with_steps(FLOW_RECIPE.schedule, steps))
    model = initialise_flow(seed)
    model.train()
    trained = train(model, flow_loss(batches(recipe)), recipe.schedule, progress)
    out = Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    with hidden_progress_bars():
        model.eval().save_pretrained(out)
    record = {
        "name": NAME,
        "digest": file_digest(out / WEIGHTS),
        "parameters": sum(p.numel() for p in model.parameters()),
        "recipe_version": FLOW_RECIPE_VERSION,
        "data": {"set": "mnist-5k", "shift": recipe.shift, "seed": recipe.data_seed},
        **training_record(recipe.schedule, recipe.batch, seed, trained),
    }
    write_provenance(out, record)
    return record


def batches(recipe: FlowRecipe) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Endless epochs of shuffled training images, moved at random, as (images, labels, noise, times). The
    test images of the set are never among them. Times are uniform, one in each of ``batch`` equal parts."""
    rng = stream(recipe.data_seed, "flow")
    draws = torch.Generator().manual_seed(recipe.data_seed)
    rows = [(digit, e) for digit in range(CLASSES) for e in image_pools("mnist-5k", digit)[0]]
    while True:
        rng.shuffle(rows)
        for i in range(0, len(rows) - recipe.batch + 1, recipe.batch):
            part = rows[i : i + recipe.batch]
            images = moved(in_range([e for _, e in part]), recipe.shift, rng, -1.0)
            labels = torch.tensor([CLASSES if rng.random() < WITHOUT_CLASS else label for label, _ in part])
            noise = torch.randn(images.shape, generator=draws)
            times = (torch.arange(len(part)) + torch.rand(len(part), generator=draws)) / len(part)
            yield images, labels, noise, times


def in_range(examples: list[Example]) -> Tensor:
    """Pixels from -1 to 1, shape (images, 1, height, width)."""
    return SYMMETRIC.tensor([e.image for e in examples if e.image is not None], torch.empty(0))


def flow_loss(drawn: Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]) -> LossOfStep:
    """Mean square of v(x_t, t, c) - (x - z); "tokens" counts images."""

    def step_loss(model: Any, step: int) -> tuple[Tensor, int]:
        images, labels, noise, times = next(drawn)
        t = times[:, None, None, None]
        velocity = model.velocity((1 - t) * noise + t * images, times, labels)
        return (velocity - (images - noise)).square().mean(), len(labels)

    return step_loss
