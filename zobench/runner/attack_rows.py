"""Table rows of attacks: one per attacked example, and the metrics of each attack and each null.

Every number comes from :mod:`zobench.attacks.metrics`. A metric over nothing is left out, not written as 0.
``strength`` is the value of the parameter that says how strong an attack is, and ``params`` names it under
``intensity``; ``count:CASE`` are examples per case of an attack that has cases (missing question).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

from zobench.attacks.base import Attack, AttackRecord
from zobench.attacks.metrics import case_counts, net_success_rate, summarize, variant_accuracy
from zobench.attacks.repeats import Queries
from zobench.data.example import Example
from zobench.runner.results import Row, gold_of, number, params_json, proportion, sample_mean
from zobench.spec import Component

CASES = "missing-question"
"""The attack whose records tell a case in ``source``."""
VARIANTS = "irrelevant-sentence"
"""The attack of which several in one suite are variants of the same problems."""


def condition_of(task: str, component: Component, kind: str) -> Row:
    """The columns that say which attack this is: ``kind`` is ``attack`` or ``null``."""
    return {"task": task, "condition_kind": kind, "condition": component.label}


def metric_rows_of(
    about: Row, component: Component, attack: Attack, records: Sequence[AttackRecord], queries: Queries
) -> list[Row]:
    """Every metric of one attack, or of one null."""
    place = _metric_place(about, component, attack)
    return [{**place, **row} for row in [*_metrics(records), *_counts(component, records, queries)]]


def net_row(
    about: Row,
    component: Component,
    attack: Attack,
    records: Sequence[AttackRecord],
    null: Sequence[AttackRecord],
) -> list[Row]:
    """``net_success_rate``, where both rates are defined."""
    net = net_success_rate(records, null)
    if net is None:
        return []
    n = sum(r.outcome != "skipped" for r in records)
    return [{**_metric_place(about, component, attack), **number("net_success_rate", net, n, None)}]


def membership_rows(about: Row, component: Component, attack: Attack, found: Sequence[Row]) -> list[Row]:
    """Membership metrics at their attack's place."""
    place = _metric_place(about, component, attack)
    return [{**place, **row} for row in found]


def variant_rows(task: str, found: Mapping[str, tuple[Component, Sequence[AttackRecord]]]) -> list[Row]:
    """Micro, macro and normalized accuracy (GSM-IC) over irrelevant sentences that stand in the suite with
    one try each: their texts are variants of the same problems. None where there are fewer than two.
    """
    single = {k: r for k, (c, r) in found.items() if c.name == VARIANTS and c.params.get("tries") == 1}
    if len(single) < 2 or not all(single.values()):
        return []
    correct: dict[str, list[bool]] = {}
    clean: dict[str, bool] = {}
    for records in single.values():
        for r in records:
            correct.setdefault(r.example_id, []).append(r.final.correct)
            clean[r.example_id] = r.clean.correct
    values = dataclasses.asdict(variant_accuracy(correct, clean))
    place = {
        "task": task,
        "condition_kind": "attack",
        "condition": VARIANTS,
        "split": "test",
        "strength": None,
        "params": params_json({"variants": sorted(single)}),
    }
    return [{**place, **number(k, v, len(correct), None)} for k, v in values.items() if v is not None]


def _metric_place(about: Row, component: Component, attack: Attack) -> Row:
    intensity = attack.intensity()
    params = dict(component.params)
    if component.alias:
        params["attack"] = component.name
    if intensity is not None:
        params["intensity"] = intensity[0]
    return {
        **about,
        "split": "test",
        "strength": None if intensity is None else float(intensity[1]),
        "params": params_json(params),
    }


def _metrics(records: Sequence[AttackRecord]) -> list[Row]:
    s = summarize(records)
    attacked = [r for r in records if r.outcome != "skipped"]
    won = [r for r in attacked if r.outcome == "success"]
    rows = [
        proportion("accuracy_before", sum(r.clean.correct for r in records), s.n),
        proportion("accuracy", round((s.accuracy_after or 0.0) * s.n), s.n),
        proportion("success_rate", s.successes, s.attacked),
        *_strict(records),
        sample_mean("queries", [float(r.queries) for r in attacked]),
        sample_mean("changed_words", [float(r.changed_words) for r in won]),
        sample_mean("similarity", [r.similarity for r in won if r.similarity is not None]),
        sample_mean("tokens_before", [float(r.clean.tokens) for r in attacked]),
        sample_mean("tokens_after", [float(r.final.tokens) for r in attacked]),
    ]
    plain = {"drop": s.drop, "pdr": s.pdr}
    rows += [number(name, value, s.n, None) for name, value in plain.items() if value is not None]
    if s.length_ratio is not None:
        rows.append(number("length_ratio", s.length_ratio, s.attacked, None))
    return [row for row in rows if row["n"]]


def _strict(records: Sequence[AttackRecord]) -> list[Row]:
    """Accuracy by the strict extractor, where the task has one: the attack's goal is the robust verdict."""
    known = [r for r in records if r.clean.strict_correct is not None]
    return [
        proportion("strict_accuracy_before", sum(bool(r.clean.strict_correct) for r in known), len(known)),
        proportion("strict_accuracy", sum(bool(r.final.strict_correct) for r in known), len(known)),
    ]


def _counts(component: Component, records: Sequence[AttackRecord], queries: Queries) -> list[Row]:
    n = len(records)
    counts = {
        "attacked": sum(r.outcome != "skipped" for r in records),
        "unconfirmed": sum(r.reason == "not confirmed" for r in records),
        "queries_total": queries.total,
        "queries_unique": queries.unique,
        "cache_hits": queries.total - queries.unique,
    }
    if component.name == CASES:
        counts.update({f"count:{case}": count for case, count in case_counts(records).items()})
    return [number(name, value, n, None) for name, value in counts.items() if n]


def record_row(about: Row, component: Component, example: Example, r: AttackRecord) -> Row:
    """One attacked example of the attacks table."""
    return {
        **about,
        "attack": component.name,
        "example_id": r.example_id,
        "outcome": r.outcome,
        "field": r.field,
        "original": r.original,
        "edited": r.edited,
        "gold": gold_of(example),
        "clean_output": r.clean.output,
        "final_output": r.final.output,
        "clean_correct": r.clean.correct,
        "final_correct": r.final.correct,
        "clean_strict": r.clean.strict_correct,
        "final_strict": r.final.strict_correct,
        "queries": r.queries,
        "changed_words": r.changed_words,
        "similarity": None if r.similarity is None or math.isnan(r.similarity) else r.similarity,
        "source": r.source,
        "position": r.position,
        "part_of_speech": r.part_of_speech,
        "size": r.size,
        "edits": [dataclasses.asdict(e) for e in r.edits],
        "clean_tokens": r.clean.tokens,
        "final_tokens": r.final.tokens,
        "reason": r.reason,
    }
