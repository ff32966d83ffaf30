"""All scores of one model on the splits, and scores relative to the oracle.

:func:`measure` runs the model and keeps per-item values; :func:`scores` and :func:`against_oracle` are pure
functions of these, so a comparison never runs a model twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import nn

from zobench.metrics.two_samples import auc
from zobench.unlearning.metrics.membership import (
    loss_score,
    min_k,
    min_k_plus_plus,
    privleak,
    reference_score,
    zlib_score,
)
from zobench.unlearning.metrics.memorization import exact_memorization, extraction_strength, last_tokens
from zobench.unlearning.metrics.overlap import halved, rouge_l, states
from zobench.unlearning.metrics.probability import among_options
from zobench.unlearning.metrics.summary import Utility, model_utility
from zobench.unlearning.metrics.truth_ratio import forget_quality, log_truth_ratio, truth_ratio
from zobench.unlearning.rows import FactRow, tail_tokens
from zobench.unlearning.scoring import ItemScore, TruthLosses, score_rows, truth_losses

GenerateAnswers = Callable[[Sequence[str]], list[str]]
LAST_WORDS = 2
"""k of the last-k-words memorization of ghost sentences (arXiv 2403.15740)."""


@dataclass(frozen=True, slots=True)
class PartScores:
    """Per-item values of one set of facts.

    Attributes:
        truth: losses of the facts that have perturbed answers.
        texts, continued: generated answers, and generated second halves of the answers; empty without
            generation.
        tails: number of tokens of the last words of each answer.
    """

    rows: tuple[FactRow, ...]
    items: tuple[ItemScore, ...]
    truth: TruthLosses | None = None
    texts: tuple[str, ...] = ()
    continued: tuple[str, ...] = ()
    tails: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class MeasuredFacts:
    """Per-item values by part: ``forget``, ``retain``, ``holdout`` and the further domains."""

    parts: Mapping[str, PartScores] = field(default_factory=dict)


def measure(
    module: nn.Module,
    tokenizer: Any,
    parts: Mapping[str, Sequence[FactRow]],
    generate: GenerateAnswers | None = None,
    *,
    truth: bool = True,
) -> MeasuredFacts:
    """Score every part that is not empty.

    Holdout facts are non-members: only their answers are scored. Cost: one forward pass per 64 answers. With
    ``truth`` about six more answers per fact (paraphrased and perturbed ones); with ``generate`` two greedy
    answers per fact, one to the question and one to the question and the answer's first half."""

    def one(name: str, rows: Sequence[FactRow]) -> PartScores:
        if name == "holdout":
            return PartScores(rows=tuple(rows), items=tuple(score_rows(module, tokenizer, rows)))
        perturbed = [r for r in rows if r.perturbed_answers] if truth else []
        starts = [f"{r.prompt()} {halved(r.answer)[0]}" for r in rows]
        return PartScores(
            rows=tuple(rows),
            items=tuple(score_rows(module, tokenizer, rows)),
            truth=truth_losses(module, tokenizer, perturbed) if perturbed else None,
            texts=tuple(generate([r.prompt() for r in rows])) if generate is not None else (),
            continued=tuple(generate(starts)) if generate is not None else (),
            tails=tail_tokens(tokenizer, tuple(r.answer for r in rows), LAST_WORDS),
        )

    return MeasuredFacts({name: one(name, rows) for name, rows in parts.items() if rows})


def scores(measured: MeasuredFacts) -> dict[str, float]:
    """``PART_METRIC`` for every part but the holdout; ``utility`` over all parts but forget and holdout."""
    found: dict[str, float] = {}
    for name, part in measured.parts.items():
        if name != "holdout":
            found |= {
                f"{name}_{k}": v for k, v in _of_part(part, options=name not in ("forget", "retain")).items()
            }
    utility = utility_of(measured)
    return found if utility is None else {**found, "utility": utility.value}


def _of_part(part: PartScores, *, options: bool) -> dict[str, float]:
    found = {"probability": _mean(np.exp([-i.loss for i in part.items]))}
    found["exact_memorization"] = _mean([exact_memorization(i.hits_of()) for i in part.items])
    found["extraction_strength"] = _mean([extraction_strength(i.hits_of()) for i in part.items])
    valued = [i for i in part.items if any(i.value)]
    if valued:
        found["value_probability"] = _mean([i.value_probability() for i in valued])
        hits = [i.hits_of("value") for i in valued]
        found["value_accuracy"] = _mean([float(all(h)) for h in hits])
        found["value_exact_memorization"] = _mean([exact_memorization(h) for h in hits])
        found["value_extraction_strength"] = _mean([extraction_strength(h) for h in hits])
    if part.tails:
        last = [last_tokens(i.hits_of(), k) for i, k in zip(part.items, part.tails, strict=True)]
        found[f"last_{LAST_WORDS}_words"] = _mean([float(x) for x in last])
    if part.truth is not None:
        for kind in ("forget", "utility", "knowledge"):
            found[f"truth_ratio_{kind}"] = truth_ratio(part.truth.correct, part.truth.wrong, kind)
        right = zip(part.truth.correct, part.truth.wrong, strict=True)
        found["choice_accuracy"] = _mean([chosen_share(c, w) for c, w in right])
        if options:
            wrong = [np.exp(-np.array(w)) for w in part.truth.wrong]
            found["probability_among_options"] = _mean(
                among_options(np.exp(-np.array(part.truth.correct)), wrong)
            )
    return found | (_generated(part) if part.texts else {})


def chosen_share(correct: float, wrong: Sequence[float]) -> float:
    """1 if the right answer has the least loss, 1/k if k answers share the least loss with it, else 0."""
    return (correct <= min(wrong)) / (1 + sum(w == correct for w in wrong))


def _generated(part: PartScores) -> dict[str, float]:
    """ROUGE-L recall (TOFU), KnowMem and VerbMem (MUSE: F1 of the answer and of its continuation), and the
    share of generated answers that state the fact."""
    pairs = list(zip(part.rows, part.texts, strict=True))
    found = {
        "rouge_l_recall": _mean([rouge_l(r.answer, t).recall for r, t in pairs]),
        "knowmem": _mean([rouge_l(r.answer, t).fmeasure for r, t in pairs]),
        "open_accuracy": _mean([float(states(t, r.value or r.answer)) for r, t in pairs]),
    }
    ends = [(halved(r.answer)[1], t) for r, t in zip(part.rows, part.continued, strict=True)]
    continued = [rouge_l(end, t).fmeasure for end, t in ends if end]
    return {**found, "verbmem": _mean(continued)} if continued else found


def utility_of(measured: MeasuredFacts) -> Utility | None:
    """TOFU's model utility over all parts but forget and holdout: probability (among options outside retain),
    truth ratio (``utility``) and, with generated answers, ROUGE-L recall. ``None`` without such parts."""
    parts: dict[str, float] = {}
    for name, part in measured.parts.items():
        if name in ("forget", "holdout") or part.truth is None:
            continue
        found = _of_part(part, options=name != "retain")
        chosen = ("probability_among_options" if name != "retain" else "probability", "truth_ratio_utility")
        parts |= {f"{name}_{k}": found[k] for k in (*chosen, "rouge_l_recall") if k in found}
    return model_utility(parts) if parts else None


def against_oracle(measured: MeasuredFacts, oracle: MeasuredFacts) -> dict[str, float]:
    """Scores relative to the oracle: forget quality (D, log10 p), membership AUCs, PrivLeak by min-k."""
    found: dict[str, float] = {}
    ours, theirs = measured.parts["forget"].truth, oracle.parts["forget"].truth
    if ours is not None and theirs is not None:
        quality = forget_quality(
            log_truth_ratio(ours.correct, ours.wrong), log_truth_ratio(theirs.correct, theirs.wrong)
        )
        found |= {"forget_quality_d": quality.d, "forget_quality_log10_p": quality.log10_p}
    if "holdout" in measured.parts and "holdout" in oracle.parts:
        found |= {f"auc_{attack}": area for attack, area in membership_aucs(measured, oracle).items()}
        reference = membership_aucs(oracle, oracle)["min_k"]
        found["privleak"] = privleak(found["auc_min_k"], reference)
    return found


def membership_aucs(measured: MeasuredFacts, oracle: MeasuredFacts) -> dict[str, float]:
    """AUC of every membership attack, forget against holdout.

    The oracle is the reference model of the attack ``reference`` (its own AUC under that attack is .5)."""
    columns: dict[str, list[list[float]]] = {}
    for part in ("forget", "holdout"):
        ours, theirs = measured.parts[part], oracle.parts[part]
        by_attack = {
            "loss": [loss_score(i.log_probs) for i in ours.items],
            "zlib": [zlib_score(i.log_probs, r.answer) for i, r in zip(ours.items, ours.rows, strict=True)],
            "reference": [
                reference_score(i.log_probs, o.log_probs)
                for i, o in zip(ours.items, theirs.items, strict=True)
            ],
            "min_k": [min_k(i.log_probs) for i in ours.items],
            "min_k_plus_plus": [min_k_plus_plus(i.log_probs, i.means, i.variances) for i in ours.items],
        }
        for attack, values in by_attack.items():
            columns.setdefault(attack, []).append(values)
    return {attack: auc(*pair) for attack, pair in columns.items()}


def _mean(values: Any) -> float:
    return float(np.mean(values))
