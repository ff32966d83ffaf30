"""Token scores of a task's gold answers under a model, for attacks that infer what it was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from zobench.data.example import Example
from zobench.models.shared_prefix import option_logits, prediction_tokens, takes_packs
from zobench.tasks import encoding
from zobench.tasks.classification import PromptedClassification
from zobench.tasks.generation import GenerationTask
from zobench.tasks.written import Written
from zobench.unlearning.metrics.membership import loss_score, min_k, min_k_plus_plus, zlib_score

if TYPE_CHECKING:
    from zobench.models.base import LanguageModel
    from zobench.tasks.base import Task


def token_scores(task: Task, lm: LanguageModel, rows: Sequence[Example]) -> dict[str, list[float]]:
    """Loss, zlib, min-k and min-k++ scores of each gold answer; empty if they cannot be computed."""
    written = [_written(task, lm, e) for e in rows]
    usual = lm.architecture == "causal" and lm.way.first_position == 0
    gold = [w for w in written if w is not None]
    if not usual or len(gold) < len(written) or not takes_packs(lm.module):
        return {}
    texts = [answer for _, answer in gold]
    contexts, completed = [w.context for w, _ in gold], [w.completed[0] for w, _ in gold]
    encoded = encoding.option_rows(lm, contexts, completed)
    found: dict[str, list[float]] = {"loss": [], "zlib": [], "min_k": [], "min_k_plus_plus": []}
    options, room = [r.option for r in encoded], prediction_tokens(lm.device)
    with torch.inference_mode():
        logits = option_logits(lm.module, [r.ids for r in encoded], options, tokens=room)
    for row, text, scores in zip(encoded, texts, logits, strict=True):
        chosen, means, variances = _token_log_probs(scores, row.ids[-row.option :])
        found["loss"].append(loss_score(chosen))
        found["zlib"].append(zlib_score(chosen, text))
        found["min_k"].append(min_k(chosen))
        found["min_k_plus_plus"].append(min_k_plus_plus(chosen, means, variances))
    return found


def _token_log_probs(logits: torch.Tensor, ids: Sequence[int]) -> tuple[Any, Any, Any]:
    """Log-probability of each true token; mean and variance of log p under the model's prediction."""
    log_p = logits.double().log_softmax(-1)
    p = log_p.exp()
    means = (p * log_p).sum(-1)
    variances = (p * (log_p - means[:, None]) ** 2).sum(-1)
    chosen = log_p[torch.arange(len(ids)), torch.tensor(list(ids))]
    return chosen.tolist(), means.tolist(), variances.tolist()


def _written(task: Task, lm: LanguageModel, example: Example) -> tuple[Written, str] | None:
    """The texts with the gold answer, and that answer."""
    if isinstance(task, GenerationTask):
        return task.written(lm.chat, example), task.target(example)
    if isinstance(task, PromptedClassification) and example.label is not None:
        answer = task.options(example)[example.label]
        return task.written(lm.chat, example, (answer,)), answer
    return None
