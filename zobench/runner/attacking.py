"""Every attack of a run on its final model, each beside its null with the same query budget.

Metrics per attack: ``accuracy_before`` and ``accuracy`` (after) over all attacked rows, ``success_rate`` over
the rows that were right before, ``queries`` per row; and for the attack itself ``net_success_rate`` = its
success rate minus its null's, what the attack's idea adds to asking as often without it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from zobench.attacks.base import Attack, AttackContext, AttackRecord, Victim
from zobench.data.example import Example
from zobench.runner.measuring import (
    Measured,
    Row,
    Spent,
    demonstrations_of,
    gold_of,
    number,
    params_json,
    proportion,
    sample_mean,
)
from zobench.suite.spec import Component, RunSpec
from zobench.tasks.base import Prediction

if TYPE_CHECKING:
    from zobench.models.base import LanguageModel
    from zobench.runner.workbench import TaskData


Predict = Callable[[Sequence[Example]], list[Prediction]]


class CleanKnown:
    """The task's predictions, with those on the clean rows taken from the evaluation of the same state.

    Nothing else is remembered here: an attack that asks a winning text again gets a fresh answer. Queries are
    counted by each attack's victim all the same; ``computed`` are the predictions that cost anything.
    """

    def __init__(self, predict: Predict, known: Iterable[tuple[Example, Prediction]] = ()) -> None:
        self._predict = predict
        self._known = {_content(e): p for e, p in known}
        self.computed = 0

    def __call__(self, examples: Sequence[Example]) -> list[Prediction]:
        fresh = [e for e in examples if _content(e) not in self._known]
        answers = iter(self._predict(fresh) if fresh else [])
        self.computed += len(fresh)
        return [self._known[c] if (c := _content(e)) in self._known else next(answers) for e in examples]


def _content(example: Example) -> tuple[object, ...]:
    return (example.id, *sorted(example.text.items()), *example.candidates)


@dataclasses.dataclass(slots=True)
class AttackResult:
    """Rows for the attacks and metrics tables, and how many predictions were computed."""

    rows: list[Row] = dataclasses.field(default_factory=list)
    metrics: list[Row] = dataclasses.field(default_factory=list)
    predictions: int = 0


def attack_all(
    spec: RunSpec,
    attacks: Sequence[Attack],
    lm: LanguageModel,
    data: TaskData,
    spent: Spent,
    digest: str,
    measured: Measured,
) -> AttackResult:
    """Run every attack of ``spec`` and its null on the model as it is (weights digest ``digest``), whose
    clean predictions are ``measured``."""
    result = AttackResult()
    examples = list(data.splits.test[: spec.evaluation.test_items][: spec.attack_items])
    context = AttackContext(
        fields=data.task.attackable,
        protected=data.task.protected,
        seed=spec.seed,
        lm=lm,
        pool=data.splits.validation or data.splits.train,
    )
    shown = demonstrations_of(spec, data)
    predict = CleanKnown(
        lambda rows: data.task.predict(lm, rows, shown),
        zip(measured.examples, measured.predictions, strict=True),
    )
    for component, attack in zip(spec.attacks, attacks, strict=True):
        rates: list[float] = []
        for kind, one in (("attack", attack), ("null", attack.null())):
            victim = Victim(predict, weights_digest=digest, budget_per_example=query_budget(attack))
            records = one.run(victim, examples, context)
            about = _about(spec, spent, component, kind)
            result.rows += [_record_row(about, e, r) for e, r in zip(examples, records, strict=True)]
            metrics = _metrics(records)
            rates += [m["value"] for m in metrics if m["metric"] == "success_rate"]
            result.metrics += [{**_metric_place(spec, spent, component, kind), **m} for m in metrics]
        if len(rates) == 2:
            net = number("net_success_rate", rates[0] - rates[1], len(examples), None)
            result.metrics.append({**_metric_place(spec, spent, component, "attack"), **net})
    result.predictions = predict.computed
    return result


def query_budget(attack: Attack) -> int | None:
    """The attack's own ``budget`` parameter, where it has one: the queries that one example may cost."""
    names = {f.name for f in dataclasses.fields(attack.config)} if attack.config is not None else set()
    return attack.config.budget if "budget" in names else None


def _metrics(records: Sequence[AttackRecord]) -> list[Row]:
    """Metrics over these records; one that has nothing to be over is left out."""
    right = [r for r in records if r.clean.correct]
    fooled = sum(r.outcome == "success" for r in right)
    rows = [
        proportion("accuracy_before", len(right), len(records)),
        proportion("accuracy", sum(r.final.correct for r in records), len(records)),
        proportion("success_rate", fooled, len(right)),
        sample_mean("queries", [float(r.queries) for r in records]),
        sample_mean("changed_words", [float(r.changed_words) for r in records if r.outcome == "success"]),
    ]
    return [row for row in rows if row["n"]]


def _about(spec: RunSpec, spent: Spent, component: Component, kind: str) -> Row:
    return {
        "forwards": spent.forwards,
        "task": spec.task.name,
        "condition_kind": kind,
        "condition": component.name,
    }


def _metric_place(spec: RunSpec, spent: Spent, component: Component, kind: str) -> Row:
    return {
        **spent.as_row(),
        **_about(spec, spent, component, kind),
        "split": "test",
        "params": params_json(component.params),
        "final": True,
    }


def _record_row(about: Row, example: Example, r: AttackRecord) -> Row:
    return {
        **about,
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
        "queries": r.queries,
        "changed_words": r.changed_words,
        "similarity": None if r.similarity is None or math.isnan(r.similarity) else r.similarity,
        "source": r.source,
        "position": r.position,
        "part_of_speech": r.part_of_speech,
        "clean_tokens": r.clean.tokens,
        "final_tokens": r.final.tokens,
        "reason": r.reason,
    }
