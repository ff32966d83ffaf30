"""Data of the two kinds, and the accuracy of a network that is trained on them.

``image``: digits of mnist-5k in 49 blocks of 4 by 4 pixels. ``text``: generated opinions with negations (two
classes), at most 32 words, one-hot over the vocabulary of the training texts. Training is AdamW with a
constant learning rate on minibatches of 32, the same ones for every network of a seed.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from zobench.data.image_sets import image_pools
from zobench.data.synthetic import sentiment
from zobench.data.synthetic.draw import stream
from zobench.models.pixels import SYMMETRIC
from zobench.proxies.nets import Classifier, Design, initialised

DataKind = Literal["image", "text"]
KINDS: tuple[DataKind, ...] = ("image", "text")
TRAIN, TEST, WORDS, BATCH, SIDE = 2000, 500, 32, 32, 4
LR = 3e-3
RECIPE = 1
"""Version of data and training: any change that changes an accuracy requires a higher number."""


@dataclass(frozen=True, slots=True)
class Data:
    """Inputs (examples, positions, features), padding (True: left out) and classes, for training and test."""

    train: tuple[Tensor, Tensor, Tensor]
    test: tuple[Tensor, Tensor, Tensor]
    classes: int

    def network(self, design: Design, seed: int) -> Classifier:
        """A network for this data at its initialization."""
        _, positions, features = self.train[0].shape
        return initialised(design, features, positions, self.classes, seed)

    def batch(self, seed: int, index: int) -> tuple[Tensor, Tensor, Tensor]:
        """Minibatch ``index`` of a seed, drawn with replacement."""
        draws = torch.Generator().manual_seed(stream(seed, "proxy batch", str(index)).getrandbits(62))
        rows = torch.randint(len(self.train[2]), (BATCH,), generator=draws)
        return self.train[0][rows], self.train[1][rows], self.train[2][rows]


@functools.lru_cache(maxsize=2)
@torch.inference_mode(False)  # kept for the process, and trained on: inference tensors take no part in that
def data(kind: DataKind) -> Data:
    """The data of a kind; the same for all seeds."""
    return _images() if kind == "image" else _texts()


def _images() -> Data:
    parts = []
    for place, per_class in ((0, TRAIN // 10), (1, TEST // 10)):
        pools = [(digit, image_pools("mnist-5k", digit)[place][:per_class]) for digit in range(10)]
        shown = [(digit, e.image) for digit, pool in pools for e in pool if e.image is not None]
        pixels = SYMMETRIC.tensor([image for _, image in shown], torch.empty(0))
        blocks = torch.nn.functional.unfold(pixels, SIDE, stride=SIDE).transpose(1, 2).contiguous()
        padding = torch.zeros(blocks.shape[:2], dtype=torch.bool)
        parts.append((blocks, padding, torch.tensor([digit for digit, _ in shown])))
    return Data(parts[0], parts[1], 10)


def _texts() -> Data:
    rng = stream(0, "proxy texts")
    rows = [sentiment.draw(rng, negation=0.4, contrast=0.4, joined=0.3) for _ in range(TRAIN + TEST)]
    words = [row.text.lower().split()[:WORDS] for row in rows]
    vocabulary = {w: i for i, w in enumerate(sorted({w for ws in words[:TRAIN] for w in ws}))}
    inputs = torch.zeros(len(rows), WORDS, len(vocabulary))
    padding = torch.ones(len(rows), WORDS, dtype=torch.bool)
    for i, ws in enumerate(words):
        padding[i, : len(ws)] = False
        for j, word in enumerate(ws):
            if word in vocabulary:
                inputs[i, j, vocabulary[word]] = 1.0
    labels = torch.tensor([row.label for row in rows])
    whole = (inputs, padding, labels)
    first, second = ([part[rows] for part in whole] for rows in (slice(0, TRAIN), slice(TRAIN, None)))
    return Data((first[0], first[1], first[2]), (second[0], second[1], second[2]), 2)


@torch.inference_mode(False)
@torch.enable_grad()  # accuracies are asked for while a model is evaluated, where gradients are off
def trained_accuracy(kind: DataKind, design: Design, seed: int, steps: int) -> float:
    """Test accuracy after ``steps`` steps of training."""
    found = data(kind)
    net = found.network(design, seed).train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=LR)
    for index in range(steps):
        inputs, padding, labels = found.batch(seed, index)
        loss = torch.nn.functional.cross_entropy(net(inputs, padding), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    net.eval()
    inputs, padding, labels = found.test
    with torch.no_grad():
        right = (net(inputs, padding).argmax(1) == labels).double().mean()
    return float(right)
