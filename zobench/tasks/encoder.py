"""Classification by a head, without prompt and label words: a linear head on mean-pooled features.

    s = W mean_t(h_t(x)) + b,   loss = cross-entropy over the first C components of s.

A model with a trained head (``…ForSequenceClassification``) is scored by the outputs of its own head that
belong to the task's classes (:mod:`zobench.tasks.heads`), with its own pooling.

Else the head belongs to the model (see :mod:`zobench.models.pooled`) and has a fixed number of outputs; those
beyond the task's C classes have no influence on loss or prediction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from zobench.data.example import Example
from zobench.models.base import LanguageModel
from zobench.models.batching import over_rows
from zobench.models.pooled import HEAD_CLASSES
from zobench.models.scoring import scores_of
from zobench.tasks.encoding import EncodedRow, padded
from zobench.tasks.heads import head_columns


def encoder_rows(lm: LanguageModel, examples: Sequence[Example], fields: Sequence[str]) -> list[EncodedRow]:
    """One sequence per example: one field as a text, two as a text pair with its token types, more joined
    with spaces into one text."""
    pair = len(fields) == 2
    shown = fields[:1] if pair else fields
    first = [" ".join(e.text[name] for name in shown) for e in examples]
    second = [e.text[fields[1]] for e in examples] if pair else None
    encoded = lm.tokenizer(first, second, truncation="longest_first", max_length=lm.max_length, verbose=False)
    if not (pair and lm.way.token_types and "token_type_ids" in encoded):
        return [EncodedRow(ids) for ids in encoded["input_ids"]]
    both = zip(encoded["input_ids"], encoded["token_type_ids"], strict=True)
    return [EncodedRow(ids, types=types) for ids, types in both]


def classifier_inputs(
    lm: LanguageModel, rows: Sequence[EncodedRow], classes: Sequence[Sequence[str]]
) -> dict[str, Any]:
    """Arguments of :func:`encoder_scores` for a trained head; ``classes``: names of the task's classes
    (:func:`zobench.tasks.heads.head_columns`)."""
    columns = head_columns(classes, lm.labels, lm.identity.name)
    return {"padded": padded(lm, rows), "classes": torch.tensor(columns, device=lm.device)}


def encoder_inputs(lm: LanguageModel, rows: Sequence[EncodedRow], classes: int) -> dict[str, Any]:
    """Arguments of :func:`encoder_scores`."""
    if classes > HEAD_CLASSES:
        raise ValueError(f"{lm.identity.name}: its head has {HEAD_CLASSES} classes, the task {classes}")
    return {"padded": padded(lm, rows), "classes": classes}


def encoder_scores(module: torch.nn.Module, inputs: Any) -> torch.Tensor:
    """Scores of the task's classes, shape (examples, classes), float32 except within
    ``scoring.in_dtype_of_logits``. Cost: one forward pass."""
    chosen = inputs["classes"]
    if isinstance(chosen, int):
        scores = over_rows(inputs["padded"], lambda given, _: module(**given))
        return scores_of(scores[:, :chosen])
    logits = over_rows(inputs["padded"], lambda given, _: module(**given).logits)
    return scores_of(logits.index_select(1, chosen))
