"""Membership inference of a run: attack iterations beside loss, zlib, min-k and min-k++, on the same rows.

Members are rows that the run was trained on, non-members are test rows, as many as the attack's ``members``
allows. Token scores are over the gold answer's tokens, which is what training saw; an answer of one token has
equal loss, min-k and (standardized) min-k++ orders at best. Metrics: ``auc:SCORE``, ``tpr_at_1_fpr:SCORE``
and ``tpr_at_0.1_fpr:SCORE`` where there are at least 100 and 1,000 non-members, else left out.
Non-members must come from the members' distribution: what separates the two sets otherwise counts as
membership too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from zobench.attacks.imia import Iterations, iterations
from zobench.data.example import Example
from zobench.models.shared_prefix import prediction_tokens, tail_logits, takes_packs
from zobench.runner.results import Row, number
from zobench.tasks import encoding
from zobench.tasks.classification import PromptedClassification
from zobench.tasks.generation import GenerationTask
from zobench.unlearning.metrics.membership import (
    auc,
    loss_score,
    min_k,
    min_k_plus_plus,
    tpr_at_fpr,
    zlib_score,
)

if TYPE_CHECKING:
    from zobench.attacks.base import AttackContext, Victim
    from zobench.models.base import LanguageModel
    from zobench.tasks.base import Task

RATES = (0.01, 0.001)


def membership_metrics(
    attack: Iterations,
    victim: Victim,
    context: AttackContext,
    members: Sequence[Example],
    others: Sequence[Example],
    tokens: tuple[Task, LanguageModel] | None,
) -> list[Row]:
    """AUC and true-positive rates of every score; iterations alone where no token scores can be had."""
    most = attack.config.members
    sets = (list(members[:most]), list(others[:most]))
    columns: dict[str, list[list[float]]] = {"iterations": []}
    for rows in sets:
        found = attack.run(victim, rows, context)
        columns["iterations"].append([-float(i) for i in iterations(found, attack.config.tries)])
        if tokens is not None:
            for name, values in token_scores(*tokens, rows).items():
                columns.setdefault(name, []).append(values)
    metrics: list[Row] = []
    for name, (inside, outside) in columns.items():
        metrics.append(number(f"auc:{name}", auc(inside, outside), len(inside) + len(outside), None))
        for rate in RATES:
            if len(outside) * rate >= 1:
                share = tpr_at_fpr(inside, outside, rate)
                metrics.append(number(f"tpr_at_{100 * rate:g}_fpr:{name}", share, len(inside), None))
    return metrics


def token_scores(task: Task, lm: LanguageModel, rows: Sequence[Example]) -> dict[str, list[float]]:
    """Loss, zlib, min-k and min-k++ of each row's gold answer; empty where they cannot be computed."""
    answers = [_answer(task, e) for e in rows]
    if lm.architecture != "causal" or None in answers or not takes_packs(lm.module):
        return {}
    prompt: Any = task.prompt  # type: ignore[attr-defined]
    texts = [a for a in answers if a is not None]
    contexts = [prompt.context(e) for e in rows]
    completed = [prompt.completed(e, a) for e, a in zip(rows, texts, strict=True)]
    encoded = encoding.option_rows(lm, contexts, completed)
    found: dict[str, list[float]] = {"loss": [], "zlib": [], "min_k": [], "min_k_plus_plus": []}
    tails = [r.option + 1 for r in encoded]
    with torch.inference_mode():
        ids, room = [r.ids for r in encoded], prediction_tokens(lm.device)
        logits = tail_logits(lm.module, ids, tails, tokens=room)
    for row, text, scores in zip(encoded, texts, logits, strict=True):
        chosen, means, variances = _token_log_probs(scores[:-1], row.ids[-row.option :])
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


def _answer(task: Task, example: Example) -> str | None:
    if isinstance(task, GenerationTask):
        return task.target(example)
    if isinstance(task, PromptedClassification) and example.label is not None:
        return task.options(example)[example.label]
    return None
