"""Smoothing against patches: copies, vote and abstention, the hypergeometric bound, attacks on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zobench.data.example import Example
from zobench.data.image import Image
from zobench.defences.certificates import defence_success, patch_broken
from zobench.defences.smooth_vlm import SmoothedPatches, SmoothVLMConfig
from zobench.models.loading import load
from zobench.plugins import lookup
from zobench.runner import run_plan
from zobench.spec import ModelRef
from zobench.store.reader import read
from zobench.suite import expand
from zobench.suite import load as load_suite
from zobench.tasks.base import Prediction

CLASSES = (0, 1, 2, 3, 4)


@pytest.fixture(scope="module")
def vit() -> Any:
    return load(ModelRef(name="builtin:nano-vit"))


def built(**params: Any) -> SmoothedPatches:
    made = lookup("tasks", "smoothvlm")
    assert made is SmoothedPatches
    return made(SmoothVLMConfig(params={"classes": CLASSES}, **params))


def picture(side: int = 10, level: int = 200) -> Example:
    levels = np.full((side, side), level, np.uint8)
    levels[0, 0] = 7
    return Example("x", {}, label=0, image=Image.of(levels))


def levels_of(example: Example) -> np.ndarray[Any, Any]:
    assert example.image is not None
    return example.image.array()[..., 0].astype(int)


def test_by_hand() -> None:
    """Two of four pixels are drawn; the patch has two: none with 1/6, one with 4/6, both with 1/6."""
    assert patch_broken(4, 2, 2, 1) == pytest.approx(5 / 6)
    assert patch_broken(4, 2, 2, 2) == pytest.approx(1 / 6)
    assert patch_broken(4, 2, 2, 0) == 1.0
    assert patch_broken(4, 2, 2, 3) == 0.0
    # Three copies, more than half: a^3 + 3 a^2 (1 - a).
    assert defence_success(5 / 6, 3, ties=False) == pytest.approx((5 / 6) ** 3 + 3 * (5 / 6) ** 2 / 6)
    task = built(copies=3, rate=0.5, side=2)
    at = patch_broken(100, 4, 50, 1)
    assert task.patch_success(10, 10, 1) == pytest.approx(at**3 + 3 * at**2 * (1 - at))
    with pytest.raises(ValueError, match="0 < patch <= pixels"):
        patch_broken(4, 5, 1, 1)


def test_the_bound_is_the_share_of_copies_that_hit_the_patch() -> None:
    task = built(copies=4000, rate=0.1, change="mask")
    hits = [int((levels_of(c)[2:5, 3:6] == 0).sum()) for c in task.copies(picture())]
    for k in (1, 2):
        share = np.mean([h >= k for h in hits])
        assert share == pytest.approx(patch_broken(100, 9, 10, k), abs=0.03)


def test_each_kind_changes_as_many_pixels_as_it_says() -> None:
    masked = built(rate=0.25, copies=5, change="mask").copies(picture())
    assert all((levels_of(c) == 0).sum() == 25 for c in masked)
    swapped = np.concatenate(
        [levels_of(c) for c in built(rate=0.25, copies=40, change="swap").copies(picture())]
    )
    assert 20 < (swapped != 200).reshape(40, -1).sum(1).mean() < 26.1
    assert len(np.unique(swapped)) > 100
    replaced = built(rate=0.25, copies=40, change="replace").copies(picture())
    assert set(np.unique([levels_of(c) for c in replaced])) == {7, 200}
    one = built(rate=0.001, change="mask").copies(picture())
    assert all((levels_of(c) == 0).sum() == 1 for c in one)
    same = built(rate=0.0).copies(picture())
    assert all((levels_of(c) == levels_of(picture())).all() for c in same)
    assert built().copies(picture()) == built().copies(picture())
    assert built(noise_seed=1).copies(picture()) != built().copies(picture())


class Told:
    """An inner task that says what it is told."""

    def __init__(self, labels: list[int]) -> None:
        self.labels = labels

    def predict(self, lm: Any, rows: list[Example], demonstrations: Any = ()) -> list[Prediction]:
        logs = {k: tuple(float(np.log(0.8 if i == k else 0.05)) for i in range(5)) for k in range(5)}
        return [
            Prediction(r.id, str(k), k == r.label, k, logs[k]) for r, k in zip(rows, self.labels, strict=True)
        ]


@pytest.mark.parametrize(
    ("labels", "output"),
    [([0, 0, 0, 1], "0"), ([0, 0, 1, 1], "abstain"), ([0, 0, 1, 2], "abstain"), ([3] * 4, "3")],
)
def test_more_than_half_of_the_copies_decide(labels: list[int], output: str, vit: Any) -> None:
    task = built(copies=4)
    task_classes = task.classes
    task.inner = Told(labels)  # type: ignore[assignment]
    task.inner.classes = task_classes  # type: ignore[misc]
    (found,) = task.predict(vit, [picture()])
    assert found.output == output
    assert (found.label is None) == (output == "abstain")
    assert found.correct == (output == "0")
    assert found.log_probs is not None
    shares = [0.05 + 0.75 * labels.count(k) / 4 for k in range(5)]
    assert np.exp(found.log_probs) == pytest.approx(shares)


def test_answers_depend_on_the_image_and_the_seed_alone(vit: Any) -> None:
    task = built(copies=5)
    rows = list(task.splits(0).test[:6])
    together = task.predict(vit, rows)
    assert [task.predict(vit, [e])[0].output for e in rows] == [p.output for p in together]
    shown = task.metrics(rows, together)
    assert set(shown) - {"ties"} == set(task.measures_with({}))
    assert shown["abstained"].value == sum(p.label is None for p in together) / 6
    replaced = set(built(change="replace").metrics(rows, together)) - {"ties"}
    assert replaced == set(task.measures_with({"change": "replace"}))


SUITE = """
suite: patches
models: {vit: {name: "builtin:nano-vit"}}
tasks:
  smoothvlm: {params: {params: {classes: [0, 1, 2, 3, 4]}, copies: 3}}
attacks: {patch: {params: {budget: 4}}}
methods:
  none: {}
seeds: [1]
budget: {forwards: 0, batch_size: 4}
evaluation: {at: [], test_items: 6, attack_items: 3}
"""


def test_attacks_query_the_defended_model(tmp_path: Path) -> None:
    (tmp_path / "patches.yaml").write_text(SUITE)
    outcome = run_plan(expand(load_suite(tmp_path / "patches.yaml")), tmp_path / "out", workers=0)
    assert not outcome.failed
    found = read([tmp_path / "out"], ("metrics", "attacks"))
    clean = set(found.metrics.loc[found.metrics["condition_kind"] == "clean", "metric"])
    assert {"accuracy", "abstained", "patch_success_at_1"} <= clean
    assert set(found.attacks["condition"]) == {"patch"}
