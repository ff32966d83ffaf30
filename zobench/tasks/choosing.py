"""Tasks that choose the best-scored of several options: classes of a text or of an image, answers of a
question.

Predictions, metrics and ties are the same for all of them; a subclass computes the scores.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch

from zobench.data.example import Example
from zobench.metrics.calibration import accuracy_with_stderr, brier, expected_calibration_error, nll
from zobench.tasks.base import MetricValue, Prediction, Task
from zobench.tasks.ties import TIES, chosen_option, count_ties


class ChoiceTask(Task):
    """Base of tasks whose prediction is the option with the highest score."""

    measures: ClassVar[tuple[str, ...]] = ("accuracy", "nll", "brier", "ece_15_equal_width")
    scores: ClassVar[tuple[str, ...]] = ("accuracy", "f1")

    @abstractmethod
    def options(self, example: Example) -> tuple[str, ...]:
        """Answers to choose from, in class order."""

    def metrics(
        self, examples: Sequence[Example], predictions: Sequence[Prediction]
    ) -> dict[str, MetricValue]:
        """``accuracy``, ``nll``, ``brier`` and ``ece_15_equal_width`` (expected calibration error, 15 equal
        bins); ``ties`` (:mod:`zobench.tasks.ties`) if there are any."""
        n = len(predictions)
        if n == 0:
            raise ValueError(self.no_rows_message())
        accuracy, stderr = accuracy_with_stderr([p.correct for p in predictions])
        log_probs = [p.log_probs for p in predictions]
        gold = [gold_label(e) for e in examples]
        ties = count_ties(log_probs)
        counted = {TIES: MetricValue(float(ties), n)} if ties else {}
        return counted | {
            "accuracy": MetricValue(accuracy, n, stderr),
            "nll": MetricValue(nll(log_probs, gold), n),
            "brier": MetricValue(brier(log_probs, gold), n),
            "ece_15_equal_width": MetricValue(expected_calibration_error(log_probs, gold, bins=15), n),
        }

    def no_rows_message(self) -> str:
        """Error message for metrics of an empty split."""
        return "this split has no labelled examples to measure"

    def is_correct(self, example: Example, label: int) -> bool:
        """Whether choosing option ``label`` is right."""
        return label == example.label

    def prediction(self, example: Example, scores: torch.Tensor) -> Prediction:
        """The best-scored option (ties: :mod:`zobench.tasks.ties`); probabilities are the softmax of the
        scores."""
        options = self.options(example)
        label = chosen_option(scores, example.id, options)
        return Prediction(
            example_id=example.id,
            output=options[label],
            correct=self.is_correct(example, label),
            label=label,
            log_probs=tuple(torch.log_softmax(scores.double(), 0).tolist()),
        )


def gold_label(example: Example) -> int:
    """The gold class; ``ValueError`` if the example has none."""
    if example.label is None:
        raise ValueError(f"example {example.id!r} has no gold label")
    return example.label
