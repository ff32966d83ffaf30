"""Metrics of an attack, and of an attack compared with its baseline. Pure functions of the records.

- accuracy before: share of all examples answered correctly when clean; after: before minus successes over
  all examples.
- drop: before - after. PDR = 1 - after / before (PromptBench, arXiv 2306.04528); ``None`` if before is 0.
- ASR = successes / (successes + failures), without skipped examples; ``None`` if all were skipped.
- net ASR = ASR of the attack - ASR of its budget-matched random baseline (null).
- length ratio: mean tokens of the final answers over mean tokens of the clean ones, over attacked examples.
- micro, macro, normalized (GSM-IC, arXiv 2302.00093): mean over items; share of base problems answered
  correctly in all their variants; each divided by the accuracy on the clean base problems.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from zobench.attacks.base import AttackRecord


@dataclass(frozen=True, slots=True)
class AttackSummary:
    """All metrics of one attack; ``None`` if one is not defined.

    Attributes:
        n: number of examples.
        attacked: examples that were answered correctly before and contain something to edit.
        queries: mean queries per attacked example, the clean one and the confirmations included.
        changed_words, similarity: means over successes.
        unconfirmed: winning texts that were answered correctly when queried again.
    """

    n: int
    attacked: int
    successes: int
    accuracy_before: float | None
    accuracy_after: float | None
    drop: float | None
    pdr: float | None
    asr: float | None
    queries: float | None
    changed_words: float | None
    similarity: float | None
    length_ratio: float | None
    unconfirmed: int


def summarize(records: Sequence[AttackRecord]) -> AttackSummary:
    """All metrics of one attack."""
    won = [r for r in records if r.outcome == "success"]
    attacked = [r for r in records if r.outcome != "skipped"]
    before = _mean(float(r.clean.correct) for r in records)
    after = None if before is None else before - len(won) / len(records)
    return AttackSummary(
        n=len(records),
        attacked=len(attacked),
        successes=len(won),
        accuracy_before=before,
        accuracy_after=after,
        drop=None if before is None or after is None else before - after,
        pdr=None if not before or after is None else 1 - after / before,
        asr=len(won) / len(attacked) if attacked else None,
        queries=_mean(r.queries for r in attacked),
        changed_words=_mean(r.changed_words for r in won),
        similarity=_mean(r.similarity for r in won if r.similarity is not None),
        length_ratio=_ratio([r.final.tokens for r in attacked], [r.clean.tokens for r in attacked]),
        unconfirmed=sum(r.reason == "not confirmed" for r in records),
    )


def net_success_rate(attack: Sequence[AttackRecord], null: Sequence[AttackRecord]) -> float | None:
    """ASR of the attack minus ASR of its baseline; ``None`` if either is not defined."""
    a, b = summarize(attack).asr, summarize(null).asr
    return None if a is None or b is None else a - b


def case_counts(records: Sequence[AttackRecord]) -> dict[str, int]:
    """Number of examples per ``source``, for all outcomes: the cases of ``missing-question``."""
    groups: dict[str, int] = defaultdict(int)
    for record in records:
        groups[record.source or record.reason] += 1
    return dict(sorted(groups.items()))


@dataclass(frozen=True, slots=True)
class VariantAccuracy:
    """Accuracy over variants of base problems.

    The normalized ones are ``None`` if no base problem is answered correctly.
    """

    micro: float
    macro: float
    normalized_micro: float | None
    normalized_macro: float | None


def variant_accuracy(correct: Mapping[str, Sequence[bool]], clean: Mapping[str, bool]) -> VariantAccuracy:
    """Micro, macro and normalized accuracy (formulas above).

    Args:
        correct: base problem -> whether each of its variants was answered correctly.
        clean: base problem -> whether it was answered correctly itself.

    Raises:
        ValueError: no variants, a base problem without any, or one without its clean answer.
    """
    if not correct or any(not v for v in correct.values()):
        raise ValueError("variant_accuracy needs at least one variant of every base problem")
    missing = sorted(set(correct) - set(clean))
    if missing:
        raise ValueError(f"variant_accuracy: no clean answer for {missing[:3]}")
    items = [c for variants in correct.values() for c in variants]
    micro = sum(items) / len(items)
    macro = sum(all(v) for v in correct.values()) / len(correct)
    base = sum(clean[k] for k in correct) / len(correct)
    return VariantAccuracy(micro, macro, micro / base if base else None, macro / base if base else None)


def _mean(values: Iterable[float]) -> float | None:
    found = list(values)
    return sum(found) / len(found) if found else None


def _ratio(a: Sequence[int], b: Sequence[int]) -> float | None:
    return sum(a) / sum(b) if sum(b) else None
