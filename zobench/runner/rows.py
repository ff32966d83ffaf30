"""Rows for the metrics, predictions and attacks tables: what is measured at one state of the weights.

Evaluation passes are counted apart from training: one prediction of ``batch_size`` examples counts as one
forward (generated answers run the model once per token, which this count does not show; seconds do).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from zobench.data.example import Example
from zobench.spec import RunSpec

if TYPE_CHECKING:
    from zobench.models.base import LanguageModel
    from zobench.runner.process_cache import TaskData
    from zobench.tasks.base import MetricValue, Prediction

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


def evaluation_rows_of(spec: RunSpec, data: TaskData) -> tuple[str, Sequence[Example]]:
    """Split and rows that a run is measured on: test for a result, validation for a tuning trial."""
    if spec.purpose == "tuning":
        return "validation", data.splits.validation[: spec.evaluation.validation_items]
    return "test", data.splits.test[: spec.evaluation.test_items]


def demonstrations_of(spec: RunSpec, data: TaskData) -> Sequence[Example]:
    """In-context demonstrations: the first ``shots`` of the task's own, or ``ValueError`` where it has
    fewer."""
    if spec.shots > len(data.splits.demonstrations):
        raise ValueError(
            f"task {data.key}: {spec.shots} shots asked, it has {len(data.splits.demonstrations)} "
            "demonstrations"
        )
    return data.splits.demonstrations[: spec.shots]


def measure(spec: RunSpec, lm: LanguageModel, data: TaskData) -> Measured:
    """Predict the run's evaluation rows with the model as it is."""
    split, examples = evaluation_rows_of(spec, data)
    predictions = data.task.predict(lm, examples, demonstrations_of(spec, data))
    return Measured(split, examples, predictions, data.task.metrics(examples, predictions))


def metric_rows(spec: RunSpec, spent: Spent, measured: Measured, *, at: int, final: bool) -> list[Row]:
    """One row per metric. ``params`` holds the budget point ``at`` that the state stands for."""
    return [
        {
            **spent.as_row(),
            **number(name, value.value, value.n, value.stderr),
            "task": spec.task.name,
            "split": measured.split,
            "condition_kind": "clean",
            "condition": "",
            "params": json.dumps({"at": at}),
            "final": final,
        }
        for name, value in measured.values.items()
    ]


def prediction_rows(spec: RunSpec, spent: Spent, measured: Measured) -> list[Row]:
    """One row per example of the final state."""
    return [
        {
            "step": spent.step,
            "forwards": spent.forwards,
            "task": spec.task.name,
            "split": measured.split,
            "condition_kind": "clean",
            "condition": "",
            "example_id": p.example_id,
            "gold": gold_of(e),
            "output": p.output,
            "label": p.label,
            "log_probs": None if p.log_probs is None else list(p.log_probs),
            "correct": p.correct,
            "strict_correct": p.strict_correct,
            "raw": p.raw,
            "tokens": p.tokens,
        }
        for e, p in zip(measured.examples, measured.predictions, strict=True)
    ]


def gold_of(example: Example) -> str:
    """The gold answer as text: the answer where there is one, else the class index."""
    return example.answer if example.answer is not None else str(example.label)


def number(metric: str, value: float, n: int, stderr: float | None) -> Row:
    return {"metric": metric, "value": float(value), "n": int(n), "stderr": stderr}


def proportion(metric: str, hits: int, n: int) -> Row:
    """A share with its binomial standard error; not a number over nothing."""
    share = hits / n if n else math.nan
    return number(metric, share, n, math.sqrt(share * (1 - share) / n) if n else None)


def forwards_for(examples: int, batch_size: int) -> int:
    """Evaluation forwards: examples over the suite's minibatch size, rounded up."""
    return -(-examples // batch_size)


def sample_mean(metric: str, values: Sequence[float]) -> Row:
    """A mean with the standard error of the mean; not a number over nothing."""
    n = len(values)
    if not n:
        return number(metric, math.nan, 0, None)
    mean = math.fsum(values) / n
    spread = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1)) if n > 1 else None
    return number(metric, mean, n, None if spread is None else spread / math.sqrt(n))


def params_json(params: Mapping[str, Any]) -> str:
    return json.dumps(dict(params), sort_keys=True)
