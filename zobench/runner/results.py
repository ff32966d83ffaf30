"""The records that the files of a run pass to each other: where a state lies, what it gave, rows of tables.

Evaluation passes are counted apart from training: one prediction of ``batch_size`` examples counts as one
forward (generated answers run the model once per token, which this count does not show; seconds do).
"""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from zobench.data.example import Example, Splits
from zobench.spec import ModelRef

if TYPE_CHECKING:
    from zobench.tasks.base import Batch, MetricValue, Prediction, Task


Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Spent:
    """Where in training a state lies."""

    step: int
    forwards: int
    tokens: int
    seconds: float

    def as_row(self) -> Row:
        return {
            "step": self.step,
            "forwards": self.forwards,
            "tokens": self.tokens,
            "seconds": self.seconds,
        }


@dataclass(slots=True)
class Measured:
    """What one evaluation gave."""

    split: str
    examples: Sequence[Example]
    predictions: list[Prediction]
    values: dict[str, MetricValue] = field(default_factory=dict)


def gold_of(example: Example) -> str:
    """The gold answer as text: the answer where there is one, else the class index."""
    return example.answer if example.answer is not None else str(example.label)


def number(metric: str, value: float, n: int, stderr: float | None) -> Row:
    return {"metric": metric, "value": float(value), "n": int(n), "stderr": stderr}


def proportion(metric: str, hits: int, n: int) -> Row:
    """A share with its binomial standard error; NaN if n = 0."""
    share = hits / n if n else math.nan
    return number(metric, share, n, math.sqrt(share * (1 - share) / n) if n else None)


def forwards_for(examples: int, batch_size: int) -> int:
    """Evaluation forwards: examples over the suite's minibatch size, rounded up."""
    return -(-examples // batch_size)


def sample_mean(metric: str, values: Sequence[float]) -> Row:
    """A mean with the standard error of the mean; NaN if n = 0."""
    n = len(values)
    if not n:
        return number(metric, math.nan, 0, None)
    mean = math.fsum(values) / n
    spread = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1)) if n > 1 else None
    return number(metric, mean, n, None if spread is None else spread / math.sqrt(n))


def params_json(params: Mapping[str, Any]) -> str:
    return json.dumps(dict(params), sort_keys=True)


@dataclass(slots=True)
class TaskData:
    """A task drawn with one seed: its rows, their digest, and minibatches tokenized so far by model."""

    task: Task
    key: str
    splits: Splits
    digest: str
    batches: OrderedDict[tuple[object, ...], Batch] = field(default_factory=OrderedDict)
    shuffled: list[Example] | None = None
    row_tokens: dict[ModelRef, tuple[float, ...]] = field(default_factory=dict)
    measured: dict[tuple[object, ...], Measured] = field(default_factory=dict)
    """Evaluations of models as loaded, by model and rows."""
    attacked: dict[tuple[object, ...], AttackResult] = field(default_factory=dict)
    """Attacks on models as loaded, likewise."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where in training an attacked state lies; ``at`` is the point it stands for, ``None`` for the end."""

    spent: Spent
    at: int | None = None

    def of(self, row: Row) -> Row:
        """A metric row at this place."""
        found = {**self.spent.as_row(), **row, "final": self.at is None}
        if self.at is not None:
            found["params"] = params_json({**json.loads(row["params"]), "at": self.at})
        return found


@dataclass(slots=True)
class AttackResult:
    """Rows for the attacks and metrics tables without their place in training, and the predictions computed.

    The rows of one attack depend on the weights, not on where in training they were met: see :meth:`placed`.
    """

    rows: list[Row] = field(default_factory=list)
    metrics: list[Row] = field(default_factory=list)
    predictions: int = 0

    def placed(self, place: Place) -> tuple[list[Row], list[Row]]:
        """Details and metrics of this state; metrics carry where it lies and, before the end, its point."""
        details = [{**row, "forwards": place.spent.forwards} for row in self.rows]
        return details, [place.of(row) for row in self.metrics]
