"""Records for the metrics and predictions tables: the results of evaluating one state of the weights."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from zobench.data.example import Example
from zobench.data.image import PICTURE_SIDE
from zobench.runner.divergence import NotFinite
from zobench.runner.results import Measured, Row, Spent, TaskData, gold_of, number
from zobench.runner.rewarded import best_of
from zobench.spec import RunSpec

if TYPE_CHECKING:
    from zobench.runner.process_cache import ProcessCache
    from zobench.tasks.base import Task
    from zobench.zo.base import StepRecord

MOST_PICTURES = 16
"""Wrongly classified images whose pictures a run stores."""
LONGEST_PROMPT = 2000
"""Characters of a prompt that a run stores."""


def evaluation_rows_of(spec: RunSpec, data: TaskData) -> tuple[str, Sequence[Example]]:
    """Split and examples on which a run is evaluated: test for a result, validation for a tuning trial."""
    if spec.purpose == "tuning":
        return "validation", data.splits.validation[: spec.evaluation.validation_items]
    return "test", data.splits.test[: spec.evaluation.test_items]


def demonstrations_of(spec: RunSpec, data: TaskData) -> Sequence[Example]:
    """In-context demonstrations: the first ``shots`` of the task's; ``ValueError`` if it has fewer."""
    if spec.shots > len(data.splits.demonstrations):
        raise ValueError(
            f"task {data.key}: {spec.shots} shots requested, but it has only "
            f"{len(data.splits.demonstrations)} demonstrations"
        )
    return data.splits.demonstrations[: spec.shots]


def measure(spec: RunSpec, bench: ProcessCache) -> Measured:
    """Evaluate the current model on the run's evaluation examples; ``NotFinite`` if its scores are NaN."""
    lm, data = bench.model(spec.model), bench.data(spec)
    split, examples = evaluation_rows_of(spec, data)
    if spec.best_of is None:
        predictions = data.task.predict(lm, examples, demonstrations_of(spec, data))
    else:
        predictions = best_of(spec, lm, data.task, bench.reward(spec), examples)
    lost = [
        p.example_id for p in predictions if p.log_probs is not None and any(map(math.isnan, p.log_probs))
    ]
    if lost:
        raise NotFinite(
            f"scores of {len(lost)} of {len(predictions)} {split} rows are NaN, first {lost[0]!r}"
        )
    return Measured(split, examples, predictions, data.task.metrics(examples, predictions))


def metric_rows(spec: RunSpec, spent: Spent, measured: Measured, *, at: int, final: bool) -> list[Row]:
    """One record per metric. ``params`` contains the budget point ``at`` of the state."""
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


def prediction_rows(spec: RunSpec, spent: Spent, measured: Measured, task: Task) -> list[Row]:
    """One record per example of the final state."""
    shown = _pictures(measured)
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
            "picture": shown.get(p.example_id),
            "prompt": cut(task.prompt_text(e)) or None,
            "gold_text": cut(task.gold_text(e)) or None,
        }
        for e, p in zip(measured.examples, measured.predictions, strict=True)
    ]


def cut(text: str) -> str:
    """At most ``LONGEST_PROMPT`` characters of a text, with a mark where it was cut."""
    return text if len(text) <= LONGEST_PROMPT else text[: LONGEST_PROMPT - 2] + " …"


def _pictures(measured: Measured) -> dict[str, str]:
    """Small pictures by example: those of the predictions, else the first wrongly classified images."""
    own = [(p.example_id, p.picture) for p in measured.predictions if p.picture is not None]
    if own:
        return dict(own[:MOST_PICTURES])
    pairs = zip(measured.examples, measured.predictions, strict=True)
    wrong = [(e.id, e.image) for e, p in pairs if not p.correct and e.image is not None]
    return {name: image.thumbnail(PICTURE_SIDE).data_uri() for name, image in wrong[:MOST_PICTURES]}


def step_row(spent: Spent, record: StepRecord) -> Row:
    """A line of the step log."""
    return {
        "step": record.step,
        "forwards": spent.forwards,
        "tokens": spent.tokens,
        "seconds": spent.seconds,
        "loss": record.loss,
        "lr": record.lr,
        "seeds": list(record.seeds),
        "coefficients": list(record.coefficients),
        "losses": list(record.losses),
        "moved": record.moved,
        "reason": record.reason,
        "extras": dict(record.extras),
        **({} if spent.generation is None else spent.generation.as_row()),
    }
