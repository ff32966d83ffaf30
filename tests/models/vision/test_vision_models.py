"""The built-in image classifiers: shipped files, a new head, training from scratch, gates."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import transformers

from zobench.models import load
from zobench.models.building import build_model, gates_of
from zobench.models.inspection import classifier_here, problems
from zobench.models.loading import skeleton
from zobench.models.nano import UNTRAINED, VISION, path
from zobench.models.nano.build import WEIGHTS, file_digest
from zobench.models.pixels import new_head, pixel_input
from zobench.models.vision.build import batches, shifted
from zobench.models.vision.recipe import VISION_RECIPE_VERSION, VISION_RECIPES
from zobench.spec import ModelRef


@pytest.mark.parametrize("name", VISION)
def test_the_files_are_those_of_the_provenance(name: str) -> None:
    record = json.loads((path(name) / "PROVENANCE.json").read_text())
    assert record["digest"] == file_digest(path(name) / WEIGHTS)
    assert record["recipe_version"] == VISION_RECIPE_VERSION
    assert record["steps"] == VISION_RECIPES[name].schedule.steps == record["log"][-1]["step"]
    assert record["data"]["digits"] == [0, 1, 2, 3, 4]
    assert record["gates"]
    assert all(gate["passed"] for gate in record["gates"])
    assert (path(name) / WEIGHTS).stat().st_size < 1_000_000


@pytest.mark.parametrize("name", UNTRAINED)
def test_initial_weights_are_those_of_the_recipe(name: str, tmp_path: Path) -> None:
    record = json.loads((path(name) / "PROVENANCE.json").read_text())
    assert (record["steps"], record["gates"], record["data"]["digits"]) == (0, [], [])
    assert record["digest"] == file_digest(path(name) / WEIGHTS)
    build_model(name, tmp_path)
    assert file_digest(tmp_path / WEIGHTS) == record["digest"]
    assert load(ModelRef(name=f"builtin:{name}")).architecture == "image"


@pytest.mark.parametrize("name", VISION)
def test_transformers_alone_loads_it(name: str) -> None:
    module = transformers.AutoModelForImageClassification.from_pretrained(path(name), local_files_only=True)
    lm = load(ModelRef(name=f"builtin:{name}"))
    x = torch.randn(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    assert torch.equal(module.eval()(pixel_values=x).logits, lm.module(pixel_values=x).logits)
    assert lm.architecture == "image"
    assert lm.tokenizer is None
    assert lm.pixels is not None
    assert lm.pixels.size == (28, 28)
    assert classifier_here(ModelRef(name=f"builtin:{name}")) == ("image", 5)


@pytest.mark.parametrize("name", VISION)
def test_a_new_head_has_zeros_and_the_rest_is_kept(name: str) -> None:
    plain, new = load(ModelRef(name=f"builtin:{name}")), load(ModelRef(name=f"builtin:{name}", head=7))
    assert new.identity.digest != plain.identity.digest
    old, now = plain.module.state_dict(), new.module.state_dict()
    changed = [key for key in old if old[key].shape != now[key].shape or not torch.equal(old[key], now[key])]
    assert all(key.startswith("classifier") for key in changed)
    assert len(changed) == 2
    assert not any(now[key].any() for key in changed)
    assert new.module(pixel_values=torch.zeros(2, 1, 28, 28)).logits.shape == (2, 7)
    made = skeleton(ModelRef(name=f"builtin:{name}", head=7))
    assert made is not None
    assert {n: p.shape for n, p in made.named_parameters()} == {
        n: p.shape for n, p in new.module.named_parameters()
    }


def test_a_saved_model_with_a_new_head_loads_again(tmp_path: Path) -> None:
    lm = load(ModelRef(name="builtin:nano-vit", head=7))
    lm.module.save_pretrained(tmp_path)
    again = load(ModelRef(name=str(tmp_path)))
    assert again.identity.digest == lm.identity.digest
    assert again.pixels is not None
    assert again.pixels.mean == (0.5,)


def test_settings_of_the_other_kind_are_refused() -> None:
    for ref, told in (
        (ModelRef(name="builtin:nano", head=3), "head is for image classifiers"),
        (ModelRef(name="builtin:nano-vit", max_length=8), "takes images"),
    ):
        assert told in problems(ref)[0]
        with pytest.raises(ValueError, match=told):
            load(ref)
    with pytest.raises(ValueError, match="no linear classification layer"):
        new_head(torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1)), 3)


def test_normalization_that_does_not_fit_the_channels_is_refused(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(path("nano-cnn"), tmp_path / "cnn"))
    (folder / "preprocessor_config.json").write_text('{"image_mean": [0.5, 0.5, 0.5]}')
    with pytest.raises(ValueError, match="3 values for 1 channels"):
        load(ModelRef(name=str(folder)))
    assert "3 values for 1 channels" in problems(ModelRef(name=str(folder)))[0]
    (folder / "preprocessor_config.json").write_text(
        '{"image_mean": 0.25, "image_std": [0.5], "size": {"shortest_edge": 20}, "crop_size": [16, 18]}'
    )
    config = transformers.AutoConfig.from_pretrained(folder)
    found = pixel_input(folder, config)
    assert (found.size, found.mean, found.std) == ((16, 18), (0.25,), (0.5,))


def test_images_are_shifted_by_whole_pixels() -> None:
    image = torch.arange(12.0).reshape(1, 3, 4)
    moved = shifted(image, 1, -1, blank=-1.0)
    assert torch.equal(moved[0], torch.tensor([[-1.0] * 4, [1, 2, 3, -1], [5, 6, 7, -1]]))
    assert torch.equal(shifted(image, 0, 0, -1.0), image)


def test_the_training_images_show_no_new_digit_and_no_test_image() -> None:
    pixels, labels = next(batches(VISION_RECIPES["nano-cnn"]))
    assert pixels.shape == (64, 1, 28, 28)
    assert set(labels.tolist()) <= {0, 1, 2, 3, 4}


def test_training_is_bit_identical_and_leaves_the_random_state_alone(tmp_path: Path) -> None:
    state = torch.get_rng_state()
    records = [build_model("nano-cnn", tmp_path / name, steps=2) for name in ("a", "b")]
    assert records[0]["digest"] == records[1]["digest"]
    assert torch.equal(state, torch.get_rng_state())
    assert load(ModelRef(name=str(tmp_path / "a"))).identity.parameters == records[0]["parameters"]
    with pytest.raises(ValueError, match="steps must be"):
        build_model("nano-cnn", tmp_path / "c", steps=0)
    with pytest.raises(ValueError, match="did you mean 'nano-cnn'"):
        build_model("nano-cn", tmp_path / "c")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nano-cnn", "nano-vit"])
def test_all_gates_pass(name: str) -> None:
    results = gates_of(name, path(name))
    assert results
    assert not [r for r in results if not r.passed]
