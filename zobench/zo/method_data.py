"""Additional data for methods: anchor batches, minibatches by length of the examples, calibration batches.

A method lists its needs on its card (``MethodCard.needs``). The code that runs it calls
``optimizer.supply(supplies)`` and ``optimizer.prepare(objective)`` before the first step, and only ``supply``
after loading a checkpoint. Every result is a function of the arguments, the run's seed and its training
examples, so that a resumed run and a verifier receive the same minibatches::

    class Examples:                              # data of a plain training loop
        def anchor(self, step, count): return [minibatch(i) for i in range(count)]
        ...

    optimizer.supply(Examples())
    optimizer.prepare(objective)                 # may spend cost(config).preparation_forwards

These calls cost no forward pass; evaluating the objective on a minibatch does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

Need = Literal[
    "anchor-batches",
    "length-split",
    "calibration",
    "forward-derivatives",
    "separate-gradients",
    "item-losses",
    "residual",
    "code",
]
"""Needs that a card may list.

- ``anchor-batches``: minibatches besides the step's own (``MethodData.anchor``).
- ``length-split``: separate minibatches of long and short examples (``MethodData.by_length``).
- ``calibration``: minibatches before the first step (``MethodData.calibration``).
- ``forward-derivatives``: a model whose operations have a forward derivative (attention ``eager``).
- ``separate-gradients``: an objective of two terms (:mod:`zobench.zo.separate`). Any other objective is
  treated as one term.
- ``item-losses``: an objective with the losses of single examples (``Objective(items=...)``), whose rows pass
  through the model in one call.
- ``residual``: an objective 1/2 |f(theta) - y|^2 that gives f(theta) - y (``Objective(residual=...)``).
- ``code``: an objective l(z(theta)) whose last part l can only be queried (``Objective(code=...)``).
"""

Part = tuple[Any, int, int]
"""(minibatch, number of sequences, number of tokens), the arguments of ``Objective.on``."""


class MethodData(Protocol):
    """Source of minibatches other than the step's own."""

    def anchor(self, step: int, count: int) -> Sequence[Part]:
        """``count`` minibatches for the anchor computed at ``step``, drawn without replacement as long as
        examples are left. If count times the minibatch size equals the number of training examples, every
        example occurs once."""
        ...

    def by_length(self, step: int, limit: int) -> tuple[Part | None, Part | None]:
        """The minibatch of ``step`` from the examples longer than ``limit`` tokens, and the one from the
        other examples; ``None`` if there are no such examples."""
        ...

    def calibration(self, count: int) -> Sequence[Part]:
        """``count`` minibatches for computations before step 0."""
        ...
