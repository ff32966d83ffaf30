"""Randomized smoothing on images: certificates, training under noise, and a black box behind a denoiser."""

from __future__ import annotations

from pathlib import Path
from statistics import NormalDist
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from zobench.defences.certificates import ABSTAIN
from zobench.defences.smoothed_images import SmoothedImages, SmoothedImagesConfig
from zobench.models.denoised.network import MODEL_TYPE
from zobench.models.loading import load
from zobench.plugins import lookup
from zobench.runner.execute import Control, run_one
from zobench.runner.factory import CATALOGUE
from zobench.runner.jobs import Job
from zobench.runner.process_cache import ProcessCache
from zobench.spec import ModelRef
from zobench.store.reader import read_run
from zobench.suite import SuiteError, expand
from zobench.suite import load as load_suite
from zobench.suite.check_images import BLACK_BOX

CLASSES = (0, 1, 2, 3, 4)


@pytest.fixture(scope="module")
def defended() -> Any:
    return load(ModelRef(name="builtin:nano-ae-ds"))


def built(**params: Any) -> SmoothedImages:
    made = lookup("tasks", "smoothed-images")
    assert made is SmoothedImages
    return made(SmoothedImagesConfig(params={"classes": CLASSES, "k": 20}, **{"n0": 10, "n": 50, **params}))


class Constant(nn.Module):
    """A classifier that always says class 2, or what the mean of the pixels tells it."""

    def __init__(self, constant: bool) -> None:
        super().__init__()
        self.constant, self.weight = constant, nn.Parameter(torch.zeros(1))

    def forward(self, pixel_values: torch.Tensor) -> Any:
        scores = torch.zeros(len(pixel_values), len(CLASSES))
        scores[:, 2] = 1.0 if self.constant else pixel_values[:, 0, 0, 0]
        return SimpleNamespace(logits=scores)


def test_a_unanimous_vote_has_the_radius_of_the_bound(defended: Any) -> None:
    """n of n votes: p >= alpha^(1/n), R = sigma Phi^-1(p); a right answer is certified at radii up to R."""
    lm = SimpleNamespace(module=Constant(True), pixels=defended.pixels, device="cpu", identity=None)
    task = built(n0=100, n=1000, sigma=0.5, alpha=0.001, radii=(0.25, 1.2, 1.3))
    rows = list(task.splits(0).test[:10])
    found = task.predict(lm, rows)  # type: ignore[arg-type]
    radius = 0.5 * NormalDist().inv_cdf(0.001 ** (1 / 1000))
    assert 1.2 < radius < 1.3
    assert {(p.label, p.output) for p in found} == {(2, "2")}
    assert [task.certificate_of(p).radius for p in found] == pytest.approx([radius] * 10, rel=1e-12)
    shown = {name: value.value for name, value in task.metrics(rows, found).items()}
    share = sum(e.label == 2 for e in rows) / 10
    assert share == 0.2
    expected = {"0.25": share, "1.2": share, "1.3": 0.0}
    assert {r: shown[f"certified_accuracy_at_{r}"] for r in expected} == expected
    assert (shown["accuracy"], shown["abstained"]) == (share, 0.0)
    assert set(shown) - {"ties"} == set(task.measures_with({"radii": task.config.radii}))


def test_a_vote_without_a_majority_abstains(defended: Any) -> None:
    """Black pixels under noise: class 2 gets half of the votes, the four others an eighth each."""
    lm = SimpleNamespace(module=Constant(False), pixels=defended.pixels, device="cpu", identity=None)
    lm.pixels = type(defended.pixels)(None, (0.0,), (1.0,))
    task = built(n0=200, n=2000)
    rows = list(task.splits(0).test[:5])
    found = task.predict(lm, rows)  # type: ignore[arg-type]
    assert {(p.output, p.label, p.correct) for p in found} == {("abstain", None, False)}
    assert {task.certificate_of(p).label for p in found} == {ABSTAIN}
    assert task.metrics(rows, found)["abstained"].value == 1.0


def test_answers_depend_on_the_image_and_the_seed_alone(defended: Any) -> None:
    task, state = built(), torch.get_rng_state()
    rows = list(task.splits(0).test[:6])
    together = task.predict(defended, rows)
    assert torch.equal(state, torch.get_rng_state())
    assert [task.predict(defended, [e])[0] for e in reversed(rows)] == together[::-1]
    assert [p.log_probs for p in built(noise_seed=1).predict(defended, rows)] != [
        p.log_probs for p in together
    ]


def test_minibatches_have_noise_of_their_own(defended: Any) -> None:
    task = built(sigma=0.2)
    rows = list(task.splits(0).train[:40])
    clean = task.inner.batch(defended, rows).inputs["pixels"]
    noise = (task.batch(defended, rows).inputs["pixels"] - clean) * defended.pixels.std[0]
    assert noise.std().item() == pytest.approx(0.2, rel=0.02)
    assert torch.equal(noise, (task.batch(defended, rows).inputs["pixels"] - clean) * defended.pixels.std[0])
    other = task.batch(defended, rows[::-1]).inputs["pixels"].flip(0)
    assert not torch.allclose(other - clean, noise / defended.pixels.std[0], atol=1e-3)


def test_the_target_is_the_label_or_what_the_black_box_says(defended: Any) -> None:
    rows = list(built().splits(0).train[:60])
    labels = built().batch(defended, rows).inputs["gold"]
    assert labels.tolist() == [e.label for e in rows]
    said = built(target="prediction").batch(defended, rows).inputs["gold"]
    cnn = load(ModelRef(name="builtin:nano-cnn"))
    expected = [p.label for p in built().inner.predict(cnn, rows)]
    assert said.tolist() == expected


def test_losses_at_the_code_are_those_of_the_model(defended: Any) -> None:
    task = built()
    batch = task.batch(defended, list(task.splits(0).train[:8]))
    with torch.no_grad():
        z = task.code(defended, defended.module, batch)
        assert z.shape == (8, 24)
        found = task.code_losses(defended, defended.module, batch, torch.stack([z, -z]))
        whole = task.item_losses(defended, defended.module, batch)
    assert found.shape == (2, 8)
    assert torch.allclose(found[0], whole, atol=1e-5)
    assert not torch.allclose(found[1], whole, atol=1e-2)


def test_without_training_the_denoiser_changes_nothing() -> None:
    direct, cnn = (load(ModelRef(name=f"builtin:{n}")) for n in ("nano-ds", "nano-cnn"))
    x = torch.randn(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(direct.module(pixel_values=x).logits, cnn.module(pixel_values=x).logits)


def test_what_it_cannot_defend_is_refused() -> None:
    with pytest.raises(ValueError, match="needs one of kind image-classification"):
        SmoothedImagesConfig(of="nano-sentiment")
    with pytest.raises(ValueError, match="no parameter 'class'; did you mean 'classes'"):
        SmoothedImagesConfig(params={"class": [1]})
    cnn, task = load(ModelRef(name="builtin:nano-cnn")), built(target="prediction")
    with pytest.raises(ValueError, match="builtin:nano-ae-ds"):
        task.batch(cnn, list(task.splits(0).train[:2]))


SUITE = """
suite: defended
models: {{ae: {{name: "builtin:nano-ae-ds"}}}}
tasks:
  mnist-5k: {{params: {{classes: [0, 1, 2, 3, 4]}}}}
  smoothed-images: {{params: {{params: {{classes: [0, 1, 2, 3, 4]}}, n0: 5, n: 20, target: prediction}}}}
methods:
  zo-ae-ds:
    tasks: [{task}]
    params: {{estimator: {estimator}, n: 24, lr: 0.01}}
    space: {{kind: names, params: {{include: ["denoiser.*", "encoder.*"]}}}}
seeds: [1]
budget: {{forwards: 220, batch_size: 4}}
evaluation: {{at: [0], test_items: 4}}
checkpoint: {{every_steps: 1}}
"""


def planned(
    folder: Path, estimator: str = "cge", task: str = "smoothed-images", model: str = "nano-ae-ds"
) -> Any:
    path = folder / "defended.yaml"
    text = SUITE.format(estimator=estimator, task=task)
    path.write_text(text.replace("builtin:nano-ae-ds", f"builtin:{model}"))
    (found,) = expand(load_suite(path)).runs
    return found


@pytest.mark.parametrize("estimator", ["rge", "cge"])
def test_a_stopped_run_ends_with_the_same_bits(estimator: str, tmp_path: Path) -> None:
    shelf, job = ProcessCache(CATALOGUE), Job(planned(tmp_path, estimator), "defended", checkpoint_every=1)
    outcome = run_one(job, tmp_path / "whole", shelf)
    assert outcome.status == "done"
    seen: list[Any] = []
    control = Control(seen.append, lambda: sum("loss" in e for e in seen) >= 2)
    assert run_one(job, tmp_path / "parts", shelf, control).status == "interrupted"
    shelf.put_back(job.planned.spec.model)
    assert run_one(job, tmp_path / "parts", shelf).status == "done"
    whole, parts = (read_run(tmp_path / f, outcome.run_id) for f in ("whole", "parts"))
    assert whole["runs"]["weights_digest"] == parts["runs"]["weights_digest"]
    assert whole["steps"]["loss"] == parts["steps"]["loss"]
    assert whole["steps"]["forwards"][0].as_py() == (51 if estimator == "cge" else 27)
    named = {m["metric"] for m in whole["metrics"].to_pylist()}
    assert {"accuracy", "abstained", "certified_accuracy_at_0.25", "certified_accuracy_at_0.75"} <= named


def test_a_task_without_a_black_box_is_refused_at_planning(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="queries a black box behind a denoiser"):
        planned(tmp_path, task="mnist-5k")


def test_a_model_without_a_denoiser_is_refused_at_planning(tmp_path: Path) -> None:
    assert BLACK_BOX == MODEL_TYPE
    with pytest.raises(SuiteError, match="behind a denoiser; model 'ae' is resnet; use a model such as"):
        planned(tmp_path, model="nano-cnn")
    assert planned(tmp_path, model="nano-ds").spec.method.name == "zo-ae-ds"


def test_a_target_that_the_model_cannot_tell_is_refused_at_planning(tmp_path: Path) -> None:
    text = SUITE.format(estimator="cge", task="smoothed-images").replace("nano-ae-ds", "nano-cnn")
    method = text[text.index("  zo-ae-ds:") : text.index("seeds:")]
    path = tmp_path / "told.yaml"
    path.write_text(text.replace(method, "  mezo: {tasks: [smoothed-images]}\n"))
    said = (
        r"told\.yaml:\d+: tasks\.smoothed-images\.params\.target: target: prediction asks .*'ae' is resnet; "
    )
    with pytest.raises(SuiteError, match=f"{said}.*builtin:nano-ae-ds"):
        load_suite(path)
    path.write_text(text.replace(method, "  untrained: {method: none, tasks: [smoothed-images]}\n"))
    assert load_suite(path).tasks["smoothed-images"].params["target"] == "prediction"
