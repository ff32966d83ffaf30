"""Training, validation and test examples by the two published few-shot protocols, each determined by a data
seed.

* ``mezo-opt`` (arXiv 2305.17333): the first ``train + dev`` examples of one permutation of the training pool;
  the last ``dev`` of them are for validation. Test: the first ``test`` examples of a permutation of the
  held-out pool under the same seed.
* ``mezo-roberta`` (the same paper following LM-BFF, arXiv 2012.15723): ``k`` examples per class for training
  and ``k`` more for validation, under five data seeds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from zobench.data.example import Example, Splits

DATA_SEEDS = (13, 21, 42, 87, 100)
"""Data seeds of the ``mezo-roberta`` protocol."""


def permuted(rows: Sequence[Example], seed: int, count: int | None = None) -> list[Example]:
    """The first ``count`` examples of NumPy's legacy permutation under ``seed``, from an own generator."""
    order = np.random.RandomState(seed).permutation(len(rows))[:count]
    return [rows[i] for i in order]


def mezo_opt(
    pool: Sequence[Example], held_out: Sequence[Example], seed: int, *, train: int, dev: int, test: int
) -> Splits:
    """Splits of the ``mezo-opt`` protocol.

    Pools that are too small give fewer training examples first. ``ValueError`` if none is left."""
    drawn = permuted(pool, seed, train + dev)
    cut = max(len(drawn) - dev, 0)
    chosen, selecting = drawn[:cut], drawn[cut:]
    if not chosen:
        raise ValueError(f"{len(pool)} training examples leave none beside dev={dev}; lower dev")
    return Splits(chosen, selecting, permuted(held_out, seed, test), demonstrations=chosen)


def mezo_roberta(
    pool: Sequence[Example], held_out: Sequence[Example], seed: int, *, k: int, test: int
) -> Splits:
    """Splits of the ``mezo-roberta`` protocol.

    Run seeds 0 to 4 select the published data seeds 13, 21, 42, 87, 100; other seeds are used unchanged.

    Raises:
        ValueError: a class has fewer than ``2 k`` examples.
    """
    data_seed = DATA_SEEDS[seed] if seed < len(DATA_SEEDS) else seed
    by_class: dict[int, list[Example]] = defaultdict(list)
    for example in permuted(pool, data_seed):
        if example.label is None:
            raise ValueError(f"example {example.id!r} has no class: k examples per class cannot be drawn")
        by_class[example.label].append(example)
    scarce = {label: len(rows) for label, rows in sorted(by_class.items()) if len(rows) < 2 * k}
    if scarce:
        raise ValueError(f"k={k} needs {2 * k} examples per class; too few for (class: examples) {scarce}")
    labels = sorted(by_class)
    chosen = [e for label in labels for e in by_class[label][:k]]
    return Splits(
        train=chosen,
        validation=[e for label in labels for e in by_class[label][k : 2 * k]],
        test=permuted(held_out, data_seed, test),
        demonstrations=permuted(chosen, data_seed),
    )
