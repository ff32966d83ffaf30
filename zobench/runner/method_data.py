"""Additional minibatches for methods that need more than the minibatch of the step, from the run's training
examples.

Like those of training (:mod:`.data_order`), every minibatch depends only on (seed, task, examples, batch
size, stream, index). They have their own streams, so that a resumed run, a replay and a verifier draw the
same ones, and the training minibatches do not depend on whether a method uses them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zobench.runner.clients import shares
from zobench.runner.process_cache import ProcessCache
from zobench.spec import RunSpec
from zobench.zo.method_data import Part

if TYPE_CHECKING:
    from zobench.tasks.base import Batch


class RunMethodData:
    """``zobench.zo.method_data.MethodData`` of one run."""

    def __init__(self, spec: RunSpec, bench: ProcessCache) -> None:
        self.spec, self.bench = spec, bench
        if spec.unlearning is not None:
            raise ValueError("an unlearning run has no examples for anchors, length splits or calibration")
        self._clients: list[tuple[int, ...]] | None = None
        self._long: tuple[int, tuple[int, ...], tuple[int, ...]] | None = None

    def anchor(self, step: int, count: int) -> Sequence[Part]:
        """Minibatches ``step * count ...`` of the stream ``anchor``."""
        indices = range(step * count, (step + 1) * count)
        return [_part(self.bench.minibatch(self.spec, i, stream="anchor")) for i in indices]

    def calibration(self, count: int) -> Sequence[Part]:
        """The first ``count`` minibatches of the stream ``calibration``."""
        return [_part(self.bench.minibatch(self.spec, i, stream="calibration")) for i in range(count)]

    def by_length(self, step: int, limit: int) -> tuple[Part | None, Part | None]:
        """Minibatch ``step`` of the long examples and of the short ones, each of the run's batch size or of
        all such examples if they are fewer; ``None`` if there are none."""
        long, short = self._split(limit)
        return self._among(f"longer than {limit}", long, step), self._among(f"up to {limit}", short, step)

    def client(self, number: int, index: int) -> Part:
        """Minibatch ``index`` of a federated client, of the run's batch size or of all its examples if they
        are fewer."""
        clients = self.spec.clients
        assert clients is not None, "only a federated run has clients"
        if self._clients is None:
            data = self.bench.data(self.spec)
            labels = [row.label for row in data.splits.train]
            self._clients = shares(labels, clients, self.spec.seed, data.key)
        stream = f"client {number} of {clients.number}, skew {clients.skew}"
        return _part(self.bench.minibatch(self.spec, index, stream=stream, among=self._clients[number]))

    def _split(self, limit: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Indices of the examples with more than ``limit`` tokens and of the others; computed once."""
        if self._long is None or self._long[0] != limit:
            lengths = self.bench.row_tokens(self.spec)
            long = tuple(i for i, n in enumerate(lengths) if n > limit)
            short = tuple(i for i, n in enumerate(lengths) if n <= limit)
            self._long = (limit, long, short)
        return self._long[1], self._long[2]

    def _among(self, stream: str, rows: tuple[int, ...], step: int) -> Part | None:
        return _part(self.bench.minibatch(self.spec, step, stream=stream, among=rows)) if rows else None


def _part(batch: Batch) -> Part:
    return batch, batch.sequences, batch.tokens
