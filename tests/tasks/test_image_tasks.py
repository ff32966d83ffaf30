"""Image tasks: loss, predictions and splits, data of the user, and refused models."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from zobench.data.image import Image
from zobench.models import load
from zobench.models.language_model import LoadedModel
from zobench.models.pixels import PixelInput
from zobench.parameters import configure
from zobench.spec import ModelRef
from zobench.suite import expand
from zobench.suite import load as load_suite
from zobench.suite.own_starter import starter_for
from zobench.suite.shown_prompts import prompts
from zobench.tasks.images import Digits, Mnist5k
from zobench.tasks.nano import NanoTopic
from zobench.tasks.own_images import OwnImages

NEW = (5, 6, 7, 8, 9)


def mnist(**params: object) -> Mnist5k:
    given = {"classes": NEW, "k": 8, "validation_k": 2, "test_rows": 30, **params}
    return Mnist5k(configure(Mnist5k.Config, given))


@pytest.fixture(scope="module")
def vit() -> LoadedModel:
    lm = load(ModelRef(name="builtin:nano-vit", head=5))
    with torch.no_grad():  # a head of zeros would hide the order of the classes
        lm.module.classifier.weight.normal_(generator=torch.Generator().manual_seed(0))
    return lm


def test_the_loss_is_the_mean_cross_entropy_of_the_normalized_pixels(vit: LoadedModel) -> None:
    task = mnist()
    rows = task.splits(0).train[:12]
    pixels = torch.stack([torch.from_numpy(e.image.array().astype(np.float32))[..., 0] for e in rows])
    logits = vit.module(pixel_values=((pixels / 255 - 0.1307) / 0.3081)[:, None]).logits
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor([e.label for e in rows]))
    batch = task.batch(vit, rows)
    torch.testing.assert_close(task.loss(vit, vit.module, batch), expected)
    torch.testing.assert_close(task.item_losses(vit, vit.module, batch).mean(), expected)
    assert (batch.sequences, batch.tokens) == (12, 0)
    halves = [task.item_losses(vit, vit.module, task.batch(vit, rows[i : i + 6])) for i in (0, 6)]
    torch.testing.assert_close(torch.cat(halves).mean(), expected)


def test_predictions_are_the_argmax_and_scores_agree_with_them(vit: LoadedModel) -> None:
    task = mnist()
    rows = list(task.splits(0).test)
    batch = task.batch(vit, rows)
    chosen = vit.module(pixel_values=batch.inputs["pixels"]).logits.argmax(1).tolist()
    found = task.predict(vit, rows)
    assert [p.label for p in found] == chosen
    assert [p.output for p in found] == [str(NEW[i]) for i in chosen]
    accuracy = sum(p.correct for p in found) / len(found)
    assert float(task.score(vit, vit.module, batch, "accuracy")) == pytest.approx(accuracy)
    assert task.metrics(rows, found)["accuracy"].value == pytest.approx(accuracy)
    assert task.chance == 0.2


def test_one_seed_one_set_of_images() -> None:
    assert mnist().splits(3).digest() == mnist().splits(3).digest() != mnist().splits(4).digest()
    found = Digits(configure(Digits.Config, {})).splits(0)
    assert len(found.train) + len(found.validation) + len(found.test) == 1797
    assert len(found.validation) == 200


def test_models_that_do_not_fit_are_refused(vit: LoadedModel) -> None:
    with pytest.raises(ValueError, match=r"has 5 outputs, the task has 10 classes; .* 'head: 10'"):
        mnist(classes=tuple(range(10))).refuse_model(vit)
    with pytest.raises(ValueError, match=r"builtin:nano is causal; .* needs an image classifier"):
        mnist().refuse_model(load(ModelRef(name="builtin:nano")))
    with pytest.raises(ValueError, match="classifies images; a task of kind classification needs text"):
        NanoTopic(configure(NanoTopic.Config, {})).refuse_model(vit)
    mnist().refuse_model(vit)


@pytest.mark.parametrize("classes", [(5,), (5, 5), (5, 10)])
def test_classes_that_are_none_are_refused(classes: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="classes"):
        mnist(classes=classes)


def folder_of(tmp_path: Path, count: int = 20) -> Path:
    lines = ["file,kind"]
    for i in range(count):
        value = np.full((6, 6), 200 if i % 2 else 20, np.uint8)
        value[0, 0] = i
        (tmp_path / "png").mkdir(exist_ok=True)
        PIL.Image.fromarray(value).save(tmp_path / "png" / f"{i}.png")
        lines.append(f"png/{i}.png,{'light' if i % 2 else 'dark'}")
    path = tmp_path / "labels.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def own(path: Path, **params: object) -> OwnImages:
    given = {"data": str(path), "image": "file", "label": "kind", **params}
    return OwnImages(configure(OwnImages.Config, given))


def test_a_folder_of_images_with_a_table(tmp_path: Path) -> None:
    task = own(folder_of(tmp_path))
    assert task.classes == ("dark", "light")
    splits = task.splits(0)
    every = [*splits.train, *splits.validation, *splits.test]
    assert sorted(int(e.id) for e in every) == list(range(1, 21))
    assert all(e.image.array()[0, 0, 0] == int(e.id) - 1 for e in every)
    assert all(e.answer == ("light" if int(e.id) % 2 == 0 else "dark") for e in every)


def test_the_identity_is_the_pixels_and_equal_images_stay_together(tmp_path: Path) -> None:
    path = folder_of(tmp_path)
    before = own(path).splits(0).digest()
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    (tmp_path / "png").rename(moved / "png")
    path = path.rename(moved / "labels.csv")
    assert own(path).splits(0).digest() == before
    (moved / "png" / "3.png").write_bytes((moved / "png" / "1.png").read_bytes())
    examined = own(path).examined()
    assert examined.splits.digest() != before
    homes = [
        part
        for part in ("train", "validation", "test")
        for e in getattr(examined.splits, part)
        if e.id in ("2", "4")
    ]
    assert len(set(homes)) == 1


def test_a_suite_is_written_for_a_table_of_images(tmp_path: Path) -> None:
    made = starter_for(
        tmp_path / "s.yaml", model="builtin:nano", data=folder_of(tmp_path), label="kind", text=None
    )
    (tmp_path / "s.yaml").write_text(made)
    plan = expand(load_suite(tmp_path / "s.yaml"))
    assert {run.spec.model.name for run in plan.runs} == {"builtin:nano-vit"}
    assert {run.spec.model.head for run in plan.runs} == {2}
    assert {run.spec.task.name for run in plan.runs} == {"image-classification"}
    shown = list(prompts(plan, 1))
    assert len(shown) == 2
    assert re.fullmatch(r"  image \d+: 6 x 6 pixels, grey, class '(light|dark)'", shown[1])


def test_errors_name_file_and_record(tmp_path: Path) -> None:
    path = folder_of(tmp_path)
    with pytest.raises(ValueError, match=r"image: .*no column 'fil'.*file"):
        own(path, image="fil").splits(0)
    with pytest.raises(ValueError, match="record 1: label 'dark' is not among names"):
        own(path, names={"light": "l", "other": "o"}).splits(0)
    (tmp_path / "png" / "4.png").unlink()
    with pytest.raises(ValueError, match=r"record 5: .*4\.png: no such file"):
        own(path).splits(0)


def test_channels_and_sizes_are_adapted_to_the_model() -> None:
    grey = Image.of(np.full((4, 4), 51, np.uint8))
    colour = Image.of(np.dstack([np.full((8, 8), v, np.uint8) for v in (255, 0, 0)]))
    rgb = PixelInput((4, 4), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)).tensor([grey, colour], torch.empty(0))
    assert rgb.shape == (2, 3, 4, 4)
    torch.testing.assert_close(rgb[0], torch.full((3, 4, 4), 0.2))
    torch.testing.assert_close(rgb[1, :, 1, 1], torch.tensor([1.0, 0.0, 0.0]))
    one = PixelInput((4, 4), (0.1,), (0.5,)).tensor([colour], torch.empty(0, dtype=torch.float64))
    torch.testing.assert_close(one, torch.full((1, 1, 4, 4), (0.299 - 0.1) / 0.5, dtype=torch.float64))
    with pytest.raises(ValueError, match="different sizes"):
        PixelInput(None, (0.0,), (1.0,)).tensor([grey, colour], torch.empty(0))
