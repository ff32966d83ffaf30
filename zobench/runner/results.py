"""Data types shared by the modules of the runner: cost at a state, results of evaluation, table records.

Forward passes of evaluation are counted separately from training: predictions of ``batch_size`` examples
count as one forward pass. For generated answers the model runs once per token; this count does not show that,
but the seconds do.
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
class Generation:
    """Cost of the generated answers that a run trains on: tokens generated, tokens that a judge read, and
    failed scores."""

    generated: int
    judged: int
    failed: int

    def as_row(self) -> Row:
        return {
            "generated_tokens": self.generated,
            "judge_tokens": self.judged,
            "failed_scores": self.failed,
        }


@dataclass(frozen=True, slots=True)
class Spent:
    """Cost of training up to a state. ``generation``: ``None`` unless it trains on generated answers."""

    step: int
    forwards: int
    tokens: int
    seconds: float
    generation: Generation | None = None

    def as_row(self) -> Row:
        generated = {} if self.generation is None else {"generated_tokens": self.generation.generated}
        return {
            "step": self.step,
            "forwards": self.forwards,
            "tokens": self.tokens,
            "seconds": self.seconds,
            **generated,
        }


@dataclass(slots=True)
class Measured:
    """Result of one evaluation."""

    split: str
    examples: Sequence[Example]
    predictions: list[Prediction]
    values: dict[str, MetricValue] = field(default_factory=dict)


def gold_of(example: Example) -> str:
    """The gold answer as text: the answer if there is one, else the class index."""
    return example.answer if example.answer is not None else str(example.label)


def number(metric: str, value: float, n: int, stderr: float | None) -> Row:
    return {"metric": metric, "value": float(value), "n": int(n), "stderr": stderr}


def proportion(metric: str, hits: int, n: int) -> Row:
    """A share with its binomial standard error; NaN if n = 0."""
    share = hits / n if n else math.nan
    return number(metric, share, n, math.sqrt(share * (1 - share) / n) if n else None)


def forwards_for(examples: int, batch_size: int) -> int:
    """Forward passes of evaluation: number of examples divided by the suite's batch size, rounded up."""
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
    """A task drawn with one seed: its examples, their digest, and the minibatches tokenized so far."""

    task: Task
    key: str
    splits: Splits
    digest: str
    batches: OrderedDict[tuple[object, ...], Batch] = field(default_factory=OrderedDict)
    shuffled: list[Example] | None = None
    row_tokens: dict[ModelRef, tuple[float, ...]] = field(default_factory=dict)
    measured: dict[tuple[object, ...], Measured] = field(default_factory=dict)
    """Evaluations of models before training, by model and examples."""
    attacked: dict[tuple[object, ...], AttackResult] = field(default_factory=dict)
    """Attacks on models before training, likewise."""


@dataclass(frozen=True, slots=True)
class Place:
    """Position of an attacked state in training; ``at``: its budget point, ``None`` for the final state."""

    spent: Spent
    at: int | None = None

    def of(self, row: Row) -> Row:
        """A metric record with this position."""
        found = {**self.spent.as_row(), **row, "final": self.at is None}
        if self.at is not None:
            found["params"] = params_json({**json.loads(row["params"]), "at": self.at})
        return found


@dataclass(slots=True)
class AttackResult:
    """Records for the attacks and metrics tables without position in training, and the number of predictions.

    The results of an attack depend only on the weights, so that runs that start from the same model share
    them; :meth:`placed` adds the position in training.
    """

    rows: list[Row] = field(default_factory=list)
    metrics: list[Row] = field(default_factory=list)
    predictions: int = 0

    def placed(self, place: Place) -> tuple[list[Row], list[Row]]:
        """Records of the attacks and the metrics tables at this position."""
        details = [{**row, "forwards": place.spent.forwards} for row in self.rows]
        return details, [place.of(row) for row in self.metrics]
