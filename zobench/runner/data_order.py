"""Which rows a minibatch holds, and what a shuffled-label control learns from.

Minibatch i is a function of (seed, task, number of rows, batch size, i) and of nothing else: no method, no
earlier minibatch, no global random state. All methods of a comparison therefore see the same data in the same
order, and a resumed run needs to remember only i. Epoch e is a fresh permutation of the rows; an epoch's last
rows and the next one's first may share a minibatch, so every row is seen equally often.
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
    """A random generator that is a function of its arguments: Philox keyed by their SHA-256."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))


@functools.lru_cache(maxsize=64)
def _epoch(seed: int, task: str, rows: int, epoch: int) -> tuple[int, ...]:
    return tuple(stream("minibatches", seed, task, epoch).permutation(rows).tolist())


def minibatch_rows(seed: int, task: str, rows: int, batch_size: int, index: int) -> tuple[int, ...]:
    """Row numbers of minibatch ``index``. ``task`` is the task's canonical name with its parameters.

    A batch larger than the data holds rows more than once. ``ValueError`` where there are no rows.
    """
    if rows < 1:
        raise ValueError(f"task {task}: no training rows")
    positions = range(index * batch_size, (index + 1) * batch_size)
    return tuple(_epoch(seed, task, rows, p // rows)[p % rows] for p in positions)


def shuffle_labels(examples: Sequence[Example], seed: int) -> list[Example]:
    """The same rows with their gold labels (or answers) permuted among them: how often each occurs is
    unchanged.

    Rows that have candidates of their own exchange labels only with rows of as many candidates.
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
