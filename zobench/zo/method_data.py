"""What a run gives a method besides the minibatch of the step: anchor batches, rows by length, calibration.

A method names its needs on its card (``MethodCard.needs``). Whoever runs it calls, before the first step,
``optimizer.supply(supplies)`` and ``optimizer.prepare(objective)``; after loading a checkpoint only the
former. Every answer is a function of its arguments and of the run's seed and rows, so that a resumed run and
a verifier see the same minibatches::

    class Rows:                                  # a plain loop's own supplies
        def anchor(self, step, count): return [minibatch(i) for i in range(count)]
        ...

    optimizer.supply(Rows())
    optimizer.prepare(objective)                 # may spend cost(config).preparation_forwards

Nothing here costs a forward; asking the objective for a loss or a gradient on a part does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

Need = Literal["anchor-batches", "length-split", "calibration", "forward-derivatives", "separate-gradients"]
"""What a card may name.

- ``anchor-batches``: minibatches beside the step's own (``MethodData.anchor``).
- ``length-split``: minibatches of the long and of the short rows (``MethodData.by_length``).
- ``calibration``: minibatches before the first step (``MethodData.calibration``).
- ``forward-derivatives``: a model whose operations have them (attention ``eager``).
- ``separate-gradients``: an objective of two terms (:mod:`zobench.zo.separate`); without them it sees one.
"""

Part = tuple[Any, int, int]
"""A minibatch with its sequences and tokens, as ``Objective.on`` takes it."""


class MethodData(Protocol):
    """Where a method gets minibatches that are not the step's own."""

    def anchor(self, step: int, count: int) -> Sequence[Part]:
        """``count`` minibatches for the anchor made at ``step``, drawn without replacement while rows last:
        every row once where count times the minibatch size is the number of training rows."""
        ...

    def by_length(self, step: int, limit: int) -> tuple[Part | None, Part | None]:
        """The minibatch of ``step`` from the rows longer than ``limit`` tokens and the one from the others;
        ``None`` where there is no such row."""
        ...

    def calibration(self, count: int) -> Sequence[Part]:
        """``count`` minibatches for what is computed once before step 0."""
        ...
