"""Runs the attacks of a run on the current model, each together with its budget-matched random baseline
(``null``).

Denominators: ``accuracy_before``, ``accuracy`` (after the attack), ``drop`` and ``pdr`` are over all examples
given to the attack. ``success_rate`` is over the examples that were answered correctly before and contain
something to edit (defined in :func:`zobench.attacks.metrics.summarize`). ``net_success_rate`` is the success
rate of the attack minus that of its random baseline. ``queries`` is per attacked example, ``queries_total``
and ``queries_unique`` are sums; their difference is ``cache_hits``.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING

from zobench.attacks.answers import Answers, AnswerStore, RunAnswers
from zobench.attacks.base import Attack, AttackContext, AttackRecord, Trained, Victim
from zobench.attacks.repeats import run_repeats
from zobench.attacks.similarity import compared
from zobench.data.example import Example
from zobench.runner.attack_rows import (
    condition_of,
    metric_rows_of,
    net_row,
    record_row,
    rows_across,
    rows_of,
)
from zobench.runner.results import AttackResult, Measured
from zobench.runner.rows import demonstrations_of
from zobench.runner.token_scores import token_scores
from zobench.spec import RunSpec
from zobench.tasks.base import Prediction

if TYPE_CHECKING:
    from zobench.models.base import LanguageModel
    from zobench.runner.results import TaskData
    from zobench.tasks.base import Task

ANSWERS = "ZOBENCH_ANSWERS"
"""Environment variable with a folder in which answers are cached between runs (see
:mod:`zobench.attacks.answers`)."""

Predict = Callable[[Sequence[Example]], list[Prediction]]


class CleanKnown:
    """The task's predictions; those on clean examples are taken from the evaluation of the same state.

    Other predictions are not cached here: an attack that queries a successful text again gets a new answer.
    Each attack's victim counts its queries in any case; ``computed`` counts the predictions that were
    computed.
    """

    def __init__(self, predict: Predict, known: Iterable[tuple[Example, Prediction]] = ()) -> None:
        self._predict = predict
        self._known = {e.content: p for e, p in known}
        self.computed = 0

    def __call__(self, examples: Sequence[Example]) -> list[Prediction]:
        fresh = [e for e in examples if e.content not in self._known]
        answers = iter(self._predict(fresh) if fresh else [])
        self.computed += len(fresh)
        return [self._known[c] if (c := e.content) in self._known else next(answers) for e in examples]

    def counting(self, predict: Predict) -> Predict:
        """``predict`` with its predictions added to ``computed``."""

        def counted(examples: Sequence[Example]) -> list[Prediction]:
            self.computed += len(examples)
            return predict(examples)

        return counted


@dataclasses.dataclass(frozen=True, slots=True)
class Target:
    """The target of attacks: a task's name, its examples, the model's predictions, and data attacks may use.

    ``members``: examples that the model was trained on. ``tokens``: task and model that score their tokens.
    ``sampled``: returns a prediction function for a temperature and a seed. ``scope``: everything that an
    answer depends on besides the trained weights and the example, as a key for cached answers.
    """

    task: str
    examples: Sequence[Example]
    predict: Predict
    fields: tuple[str, ...]
    protected: tuple[str, ...]
    pool: Sequence[Example]
    members: Sequence[Example] = ()
    tokens: tuple[Task, LanguageModel] | None = None
    sampled: Callable[[float, int], Predict] | None = None
    scope: Mapping[str, object] | None = None


def task_target(spec: RunSpec, lm: LanguageModel, data: TaskData, measured: Measured) -> Target:
    """The run's own task: its first test examples, with their clean answers from ``measured``."""
    shown = demonstrations_of(spec, data)
    scoring = data.task.revision(lm)
    return Target(
        task=spec.task.name,
        examples=list(data.splits.test[: spec.evaluation.test_items][: spec.attack_items]),
        predict=CleanKnown(
            lambda rows: data.task.predict(lm, rows, shown),
            zip(measured.examples, measured.predictions, strict=True),
        ),
        fields=data.task.attackable,
        protected=data.task.protected,
        pool=data.splits.validation or data.splits.train,
        members=data.splits.train,
        tokens=(data.task, lm),
        sampled=lambda temperature, seed: _sampled(data.task, lm, shown, temperature, seed),
        scope={
            "model": spec.model.model_dump(mode="json"),
            "model_digest": lm.identity.digest,
            "space": spec.space.model_dump(mode="json"),
            "task": spec.task.model_dump(mode="json"),
            "demonstrations": [e.content for e in shown],
            **({"scoring": scoring} if scoring > 1 else {}),
        },
    )


def _sampled(
    task: Task, lm: LanguageModel, shown: Sequence[Example], temperature: float, seed: int
) -> Predict:
    from zobench.tasks.sampling import sampled_predict

    return sampled_predict(task, lm, shown, temperature=temperature, seed=seed)


def harness_target(spec: RunSpec, lm: LanguageModel, name: str, column: str) -> Target:
    """An lm-eval task, answered and scored by the harness; attacks edit the text in ``column``.

    At most ``attack_items`` examples (else ``lm_eval_limit``); the examples after them are the pool.
    """
    from zobench.tasks.lm_eval_rows import HarnessRows

    evaluation = spec.evaluation
    rows = HarnessRows(lm, name, field=column, include=evaluation.lm_eval_include)
    most = spec.attack_items or evaluation.lm_eval_limit
    attacked = rows.examples[:most]
    return Target(name, attacked, rows.predict, (column,), (), rows.examples[len(attacked) :] or attacked)


class SharedTarget:
    """One target for several successive attacks, which share cached answers. ``target`` may be a function
    that creates the target; it is called when the target is first needed."""

    def __init__(self, target: Target | Callable[[], Target], digest: str) -> None:
        self.digest = digest
        self._target = target
        self._kept: Answers | None = None
        self._waiting: dict[str, str] = {}

    @property
    def target(self) -> Target:
        if not isinstance(self._target, Target):
            self._target = self._target()
        return self._target

    @property
    def kept(self) -> Answers:
        """The cached answers so far."""
        if self._kept is None:
            self._kept = _kept_answers(self.target, self.digest)
        if self._waiting and isinstance(self._kept, RunAnswers):
            self._kept.add(self._waiting)
        self._waiting = {}
        return self._kept

    def fresh(self) -> dict[str, str]:
        """Answers that earlier calls did not return, for :meth:`take_up` after a restart."""
        return self._kept.fresh() if isinstance(self._kept, RunAnswers) else {}

    def take_up(self, answers: Mapping[str, str]) -> None:
        """Add cached answers from an earlier call; answers that are already cached are not replaced."""
        self._waiting.update(answers)


def attack_all(
    spec: RunSpec,
    attacks: Sequence[Attack],
    lm: LanguageModel,
    target: Target,
    digest: str,
    only: Sequence[str] = (),
    shared: SharedTarget | None = None,
) -> AttackResult:
    """Run the attacks of ``spec`` on the current model, each with its budget-matched random baseline.

    Args:
        digest: digest of the model's weights.
        only: names of the attacks to run; empty: all.
        shared: target whose cached answers are used and extended.
    """
    result = AttackResult()
    predict = target.predict if isinstance(target.predict, CleanKnown) else CleanKnown(target.predict)
    before = predict.computed
    context = AttackContext(target.fields, target.protected, spec.seed, lm, target.pool)
    kept = _kept_answers(target, digest) if shared is None else shared.kept
    attacked: dict[str, dict[str, tuple[Attack, Sequence[AttackRecord]]]] = {}
    for component, attack in zip(spec.attacks, attacks, strict=True):
        if only and component.label not in only:
            continue
        records: dict[str, Sequence[AttackRecord]] = {}
        for kind, one in (("attack", attack), ("null", attack.null())):
            budget = query_budget(attack)
            victim = _victims(target, predict, digest, budget, kept)
            records[kind], queries = run_repeats(one, victim, target.examples, context)
            if spec.evaluation.attack_similarity:
                records[kind] = compared(records[kind], spec.evaluation.attack_similarity)
            about = condition_of(target.task, component, kind)
            # Repeats of an attack return its records one repeat after the other, over the same examples.
            pairs = zip(cycle(target.examples), records[kind], strict=False)
            result.rows += [record_row(about, component, e, r) for e, r in pairs]
            result.metrics += metric_rows_of(about, component, attack, records[kind], queries)
        about = condition_of(target.task, component, "attack")
        result.metrics += net_row(about, component, attack, records["attack"], records["null"])
        if target.members:
            found = attack.measures_of_training(_trained(target, predict, digest, context))
            result.metrics += rows_of(about, component, attack, found)
        same = attacked.setdefault(component.name, {})
        same[component.label] = (attack, records["attack"])
    for name, ran in attacked.items():
        of = type(next(iter(ran.values()))[0])
        result.metrics += rows_across(target.task, name, of.measures_across(ran))
    result.predictions = predict.computed - before
    return result


def _trained(target: Target, predict: CleanKnown, digest: str, context: AttackContext) -> Trained:
    """The examples that the model was trained on together with the attacked ones."""
    tokens = target.tokens

    def scores(rows: Sequence[Example]) -> Mapping[str, Sequence[float]]:
        return {} if tokens is None else token_scores(*tokens, rows)

    victim = Victim(predict, weights_digest=digest)
    return Trained(victim, context, target.members, target.examples, scores)


def _kept_answers(target: Target, digest: str) -> Answers:
    """Cache of answers that these attacks share; on disk if ``ANSWERS`` is set and the target has a
    ``scope``."""
    folder = os.environ.get(ANSWERS, "")
    if folder and target.scope:
        return AnswerStore(folder, digest, target.scope)
    return RunAnswers(digest, {"task": target.task})


def _victims(
    target: Target, predict: CleanKnown, digest: str, budget: int | None, kept: Answers
) -> Callable[[float, int], Victim]:
    """Returns a function that creates a victim for a temperature and a seed. Only greedy victims use the
    cached answers: sampled answers differ between queries."""

    def make(temperature: float, seed: int) -> Victim:
        if not temperature:
            return Victim(predict, weights_digest=digest, budget_per_example=budget, store=kept)
        if target.sampled is None:
            raise ValueError(f"task {target.task!r} cannot be sampled at temperature {temperature}")
        answer = predict.counting(target.sampled(temperature, seed))
        return Victim(answer, weights_digest=digest, budget_per_example=budget, sampled=True)

    return make


def query_budget(attack: Attack) -> int | None:
    """Maximum number of queries per example: the attack's ``budget`` parameter; ``None`` if it has none."""
    names = {f.name for f in dataclasses.fields(attack.config)} if attack.config is not None else set()
    return attack.config.budget if "budget" in names else None
