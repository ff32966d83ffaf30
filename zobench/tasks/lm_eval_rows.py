"""Examples of an lm-eval task with one editable text column, scored by the harness itself.

A query is a document with an edited column. It replaces the original in the task's data set; prompt,
demonstrations, extraction and metric are those of the harness. If the task has several filters, the last one
decides ``correct`` and the first one ``strict_correct`` (GSM8K: ``flexible-extract`` and ``strict-match``).
The harness draws demonstrations when the task is loaded; they are not edited.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from zobench.data.example import Example
from zobench.models.base import LanguageModel
from zobench.models.random_state import preserved_random_state
from zobench.names import nearest
from zobench.tasks.base import Prediction
from zobench.tasks.lm_eval_adapter import load_task, score


class HarnessRows:
    """The evaluation documents of one task as examples with the text field ``field``.

    Args:
        field: text column of the data set that attacks edit.
        include, limit: as in :func:`zobench.tasks.lm_eval_adapter.run`.

    Raises:
        ValueError: a group instead of a task, an unknown or non-text column, or a task that drops documents.
    """

    def __init__(
        self,
        lm: LanguageModel,
        name: str,
        *,
        field: str,
        include: str | Path | None = None,
        limit: int | None = None,
    ) -> None:
        self._lm, self._name, self._field = lm, name, field
        self._loaded = load_task(lm, name, include)
        tasks = list(self._loaded["tasks"].values())
        if len(tasks) != 1:
            raise ValueError(
                f"lm-eval {name!r} is a group of {len(tasks)} tasks, which cannot be attacked together: name "
                "one of its tasks"
            )
        self._task = tasks[0]
        config = self._task.config
        self._split = config.test_split if self._task.has_test_docs() else config.validation_split
        self._rows = self._task.dataset[self._split]
        self._check()
        self.examples = [self._example(i) for i in range(min(len(self._rows), limit or len(self._rows)))]

    def _check(self) -> None:
        columns = self._rows.column_names
        if self._field not in columns:
            raise ValueError(
                f"lm-eval task {self._name!r} has no column {self._field!r}{nearest(self._field, columns)}"
            )
        if len(self._rows) and not isinstance(self._rows[0][self._field], str):
            raise ValueError(f"lm-eval task {self._name!r}: column {self._field!r} does not contain text")
        # Examples are matched to documents by index, which needs as many of one as of the other.
        if len(self._task.eval_docs) != len(self._rows):
            raise ValueError(
                f"lm-eval task {self._name!r} drops documents of its data set: it cannot be attacked"
            )

    def _example(self, index: int) -> Example:
        gold = self._task.doc_to_target(self._task.eval_docs[index])
        chosen = self._task.config.output_type == "multiple_choice" and isinstance(gold, int)
        return Example(
            id=f"{self._name}/{index}",
            text={self._field: self._rows[index][self._field]},
            label=gold if chosen else None,
            answer=str(gold),
            meta={"row": index},
        )

    def predict(self, examples: Sequence[Example]) -> list[Prediction]:
        """The harness's scores of the edited documents, in order, from one evaluation."""
        import datasets

        edited = [{**self._rows[int(str(e.meta["row"]))], self._field: e.text[self._field]} for e in examples]
        self._task.dataset[self._split] = datasets.Dataset.from_list(edited, features=self._rows.features)
        try:
            with preserved_random_state(), torch.inference_mode():
                samples = score(self._lm, self._name, self._loaded, len(edited)).samples[self._task.task_name]
        finally:
            self._task.dataset[self._split] = self._rows
        by_row: dict[int, list[Mapping[str, Any]]] = {i: [] for i in range(len(edited))}
        for sample in samples:
            by_row[sample["doc_id"]].append(sample)
        return [self._verdict(e, by_row[i]) for i, e in enumerate(examples)]

    def _verdict(self, example: Example, samples: Sequence[Mapping[str, Any]]) -> Prediction:
        order = [f.name for f in self._task._filters]
        last, first = (next(s for s in samples if s["filter"] == order[i]) for i in (-1, 0))
        scored = _scored(last["filtered_resps"])
        raw = "" if scored else str(last["resps"][0][0])
        answer = str(max(range(len(scored)), key=scored.__getitem__)) if scored else last["filtered_resps"][0]
        return Prediction(
            example_id=example.id,
            output=str(answer),
            correct=self._right(last),
            label=int(answer) if scored else None,
            log_probs=_normalized(scored) if scored else None,
            raw=raw,
            tokens=len(self._lm.tokenizer(raw, add_special_tokens=False)["input_ids"]) if raw else 0,
            strict_correct=self._right(first) if len(order) > 1 else None,
        )

    def _right(self, sample: Mapping[str, Any]) -> bool:
        metric = sample["metrics"][0]
        if not isinstance(sample[metric], int | float):
            raise ValueError(
                f"lm-eval task {self._name!r}: metric {metric!r} is not a number for each example; attack a "
                "task whose first metric is one, such as acc or exact_match"
            )
        return bool(sample[metric] >= 1)


def _scored(responses: Sequence[Any]) -> list[float]:
    """Log-likelihoods of the options; empty if the responses are generated texts."""
    pairs = all(isinstance(r, list | tuple) and len(r) == 2 for r in responses)
    return [float(r[0]) for r in responses] if pairs and len(responses) > 1 else []


def _normalized(scores: Sequence[float]) -> tuple[float, ...]:
    top = max(scores)
    total = top + math.log(math.fsum(math.exp(s - top) for s in scores))
    return tuple(s - total for s in scores)
