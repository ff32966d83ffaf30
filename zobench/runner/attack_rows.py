"""Table records of attacks: one per attacked example, and the metrics of each attack and of its
budget-matched random baseline (``null``).

Every attack has the metrics of :mod:`zobench.attacks.metrics`. A metric without examples is omitted, not
written as 0. ``strength`` is the value of the parameter that sets how strong an attack is; the name of that
parameter is stored in ``params`` under ``intensity``. An attack's own metrics
(:class:`zobench.attacks.base.Measure`) have the same form."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence

from zobench.attack_card import to_json
from zobench.attacks.base import Attack, AttackRecord, Measure
from zobench.attacks.metrics import net_success_rate, summarize
from zobench.attacks.repeats import Queries
from zobench.data.example import Example
from zobench.runner.results import Row, gold_of, number, params_json, proportion, sample_mean
from zobench.spec import Component


def condition_of(task: str, component: Component, kind: str) -> Row:
    """The columns that identify an attack; ``kind`` is ``attack``, or ``null`` for its random baseline."""
    return {"task": task, "condition_kind": kind, "condition": component.label}


def metric_rows_of(
    about: Row, component: Component, attack: Attack, records: Sequence[AttackRecord], queries: Queries
) -> list[Row]:
    """All metrics of one attack, or of one random baseline."""
    place = _metric_place(about, component, attack)
    rows = [{**place, **row} for row in [*_metrics(records), *_counts(records, queries)]]
    return rows + rows_of(about, component, attack, attack.measures(records) if records else ())


def net_row(
    about: Row,
    component: Component,
    attack: Attack,
    records: Sequence[AttackRecord],
    null: Sequence[AttackRecord],
) -> list[Row]:
    """``net_success_rate`` if both rates are defined, else nothing."""
    net = net_success_rate(records, null)
    if net is None:
        return []
    n = sum(r.outcome != "skipped" for r in records)
    return [{**_metric_place(about, component, attack), **number("net_success_rate", net, n, None)}]


def rows_of(about: Row, component: Component, attack: Attack, found: Sequence[Measure]) -> list[Row]:
    """Records of an attack's own metrics."""
    return [_measured(_metric_place(about, component, attack), m) for m in found]


def rows_across(task: str, name: str, found: Sequence[Measure]) -> list[Row]:
    """Records of metrics over several attacks of one catalogue name, stored under that name."""
    place = {**condition_of(task, Component(name=name), "attack"), "split": "test", "strength": None}
    return [_measured({**place, "params": params_json({})}, m) for m in found]


def cards_json(components: Sequence[Component], attacks: Sequence[Attack]) -> str | None:
    """The cards of a run's attacks as JSON, by their names in the suite and (for metrics over several
    attacks) in the catalogue; ``None`` without attacks."""
    by_name = {c.name: type(a).card for c, a in zip(components, attacks, strict=True)}
    by_label = {c.label: type(a).card for c, a in zip(components, attacks, strict=True)}
    return to_json({**by_name, **by_label}) if by_label else None


def _measured(place: Row, m: Measure) -> Row:
    row = {**place, **number(m.metric, m.value, m.n, m.stderr)}
    return {**row, "params": params_json({**json.loads(row["params"]), **m.params})} if m.params else row


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
    """Accuracy by the strict answer extractor, if the task has one. Attacks target the robust extractor."""
    known = [r for r in records if r.clean.strict_correct is not None]
    return [
        proportion("strict_accuracy_before", sum(bool(r.clean.strict_correct) for r in known), len(known)),
        proportion("strict_accuracy", sum(bool(r.final.strict_correct) for r in known), len(known)),
    ]


def _counts(records: Sequence[AttackRecord], queries: Queries) -> list[Row]:
    n = len(records)
    counts = {
        "attacked": sum(r.outcome != "skipped" for r in records),
        "unconfirmed": sum(r.reason == "not confirmed" for r in records),
        "queries_total": queries.total,
        "queries_unique": queries.unique,
        "cache_hits": queries.total - queries.unique,
    }
    return [number(name, value, n, None) for name, value in counts.items() if n]


def record_row(about: Row, component: Component, example: Example, r: AttackRecord) -> Row:
    """The record of one attacked example for the attacks table."""
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
