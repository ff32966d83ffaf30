"""Acceptance gates of ``nano-flow``: values on test images, which are not used in training, and of samples.

A sample counts as its class if the nearest of the training images (1 neighbour, Euclidean distance) shows it.
The gate is about samples under guidance; its detail also has the share without guidance, and the accuracy of
the same classifier on test images, an upper limit of what to expect.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zobench.data.example import Example
from zobench.data.image_sets import image_pools
from zobench.metrics.image_quality import psnr
from zobench.models.flow.build import flow_loss, in_range
from zobench.models.flow.network import inverted
from zobench.models.flow.recipe import CLASSES
from zobench.models.loading import load
from zobench.models.nano.gates import GateResult, Report
from zobench.spec import ModelRef

SAMPLES = 20
"""Per class."""
STEPS, GUIDANCE = 10, 2.0
TEST = 20
"""Test images per class."""
ROUND_TRIP_STEPS = 50


def flow_gates(path: Path | str, *, report: Report | None = None) -> list[GateResult]:
    """Run all gates on the files at ``path``. Takes a minute on one core."""
    results = []
    for result in _measured(load(ModelRef(name=str(path))).module):
        results.append(result)
        if report is not None:
            report(result)
    return results


@torch.no_grad()
def _measured(model: Any) -> Iterator[GateResult]:
    held = [(d, e) for d in range(CLASSES) for e in image_pools("mnist-5k", d)[1][:TEST]]
    images = in_range([e for _, e in held])
    labels = torch.tensor([d for d, _ in held])
    yield GateResult(
        "velocity_loss", round(_loss(model, images, labels), 4), 0.0, 0.25, {"images": len(held)}
    )
    classes = torch.arange(CLASSES).repeat_interleave(SAMPLES)
    judge, right = _neighbours(), {}
    for guidance in (1.0, GUIDANCE):
        samples = model(noise(len(classes)), classes, steps=STEPS, guidance=guidance)
        right[guidance] = float(np.mean(judge.predict(_flat(samples)) == classes.numpy()))
    limit = float(np.mean(judge.predict(_flat(images)) == labels.numpy()))
    detail = {"steps": STEPS, "guidance": GUIDANCE, "without_guidance": right[1.0], "test_images": limit}
    yield GateResult("samples_of_their_class", right[GUIDANCE], 0.9, 1.0, detail)
    start, _ = inverted(model, images, labels, steps=ROUND_TRIP_STEPS)
    again = model(start, labels, steps=ROUND_TRIP_STEPS)
    found = [psnr(a, b) for a, b in zip(_unit(images), _unit(again), strict=True)]
    yield GateResult(
        "round_trip_psnr", round(statistics.mean(found), 2), 20.0, 80.0, {"steps": ROUND_TRIP_STEPS}
    )


def noise(count: int) -> Tensor:
    """Fixed starts."""
    return torch.randn(count, 1, 28, 28, generator=torch.Generator().manual_seed(0))


def _loss(model: Any, images: Tensor, labels: Tensor) -> float:
    times = (torch.arange(len(images)) * 37 % len(images) + 0.5) / len(images)
    loss, _ = flow_loss(iter([(images, labels, noise(len(images)), times)]))(model, 0)
    return float(loss)


def _neighbours() -> Any:
    from sklearn.neighbors import KNeighborsClassifier

    rows: list[tuple[int, Example]] = [(d, e) for d in range(CLASSES) for e in image_pools("mnist-5k", d)[0]]
    pixels = _flat(in_range([e for _, e in rows]))
    return KNeighborsClassifier(1).fit(pixels, [d for d, _ in rows])


def _flat(images: Tensor) -> np.ndarray[Any, Any]:
    return images.flatten(1).clamp(-1, 1).numpy()


def _unit(images: Tensor) -> np.ndarray[Any, Any]:
    """Values in [0, 1], shape (images, height, width)."""
    return ((images[:, 0] + 1) / 2).clamp(0, 1).double().numpy()
