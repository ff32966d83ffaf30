"""Order of the training examples, and the training set of the shuffled-labels baseline.

Minibatch i depends only on (seed, task, number of examples, batch size, i): not on the method, on earlier
minibatches or on a global random state. All methods of a comparison therefore see the same data in the same
order, and a resumed run needs to know only i. Each epoch is a new permutation of the examples. The last
examples of an epoch and the first of the next may share a minibatch, so that all examples are seen equally
often.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from zobench.data.example import Example


def stream(*parts: object) -> np.random.Generator:
    """A random generator that depends only on its arguments: Philox keyed by their SHA-256."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))


@functools.lru_cache(maxsize=64)
def _epoch(seed: int, task: str, rows: int, epoch: int) -> tuple[int, ...]:
    return tuple(stream("minibatches", seed, task, epoch).permutation(rows).tolist())


def minibatch_rows(seed: int, task: str, rows: int, batch_size: int, index: int) -> tuple[int, ...]:
    """Indices of the examples in minibatch ``index``. ``task``: the task's canonical name and parameters.

    A minibatch larger than the data contains examples more than once. ``ValueError`` if there is no example.
    """
    if rows < 1:
        raise ValueError(f"task {task}: no training examples")
    positions = range(index * batch_size, (index + 1) * batch_size)
    return tuple(_epoch(seed, task, rows, p // rows)[p % rows] for p in positions)


def shuffle_labels(examples: Sequence[Example], seed: int) -> list[Example]:
    """The same examples with their gold labels (or answers) permuted; label frequencies do not change.

    Examples with their own candidates exchange labels only with examples of the same number of candidates.
    """
    groups: dict[int, list[int]] = defaultdict(list)
    for position, example in enumerate(examples):
        groups[len(example.candidates)].append(position)
    shuffled = list(examples)
    for size, members in groups.items():
        order = stream("shuffled labels", seed, size).permutation(len(members)).tolist()
        for position, source in zip(members, (members[i] for i in order), strict=True):
            donor = examples[source]
            shuffled[position] = dataclasses.replace(
                examples[position], label=donor.label, answer=donor.answer
            )
    return shuffled
