"""Interfaces of attacks: the victim (the attacked model), its query count, the records, the base class.

An attack edits the text of an example without changing its gold answer, to find an edit that changes the
model's answer. It combines a source of candidate edits, constraints, a search strategy and a goal. Every
attack has a budget-matched random baseline (null): the same number of queries without the attack's idea.
The runner runs both.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from zobench.attack_card import PLAIN, AttackCard
from zobench.attacks.protect import RULES, Rule
from zobench.data.example import Example
from zobench.parameters import Count, CountOrZero, Parameters
from zobench.tasks.base import Prediction

if TYPE_CHECKING:
    from zobench.attacks.answers import Answers


class Victim:
    """The attacked model as a function from examples to predictions: batched, cached by content, counted.

    Args:
        predict: the task's prediction function on the model under attack.
        weights_digest: part of every cache key, so that a changed model never gets an old answer.
        budget_per_example: queries that one example may spend; one query more raises
            ``QueryBudgetExceeded``.
        sampled: True if decoding is random. Then nothing is cached, and each queried example carries its
            query number in ``meta["query"]``, from which ``predict`` derives its sample.
        store: answers kept from other attacks or runs; not read if ``sampled``.

    Attributes:
        unique: number of different predictions queried.
        total: number of predictions queried; ``total - unique`` are repeats.
        computed: number of predictions computed, including those computed ahead of need.
        stored: number of predictions taken from ``store``.
    """

    def __init__(
        self,
        predict: Callable[[Sequence[Example]], list[Prediction]],
        *,
        weights_digest: str,
        budget_per_example: int | None = None,
        sampled: bool = False,
        store: Answers | None = None,
    ) -> None:
        self._predict = predict
        self._store = store
        self.sampled = sampled
        self._digest = weights_digest
        self._budget = budget_per_example
        self._cache: dict[tuple[object, ...], Prediction] = {}
        self._asked: set[tuple[object, ...]] = set()
        self._spent: dict[str, int] = {}
        self.unique = 0
        self.total = 0
        self.computed = 0
        self.stored = 0

    def query(
        self, examples: Sequence[Example], *, fresh: bool = False, ahead: Sequence[Example] = ()
    ) -> list[Prediction]:
        """Predictions in order; each queried example counts as one query of its id, cached or not.

        Args:
            fresh: compute them again even if they are cached (confirmation of a winning text).
            ahead: examples likely to be queried next. They are computed in the same batch and count as
                queries only when they are queried.

        Raises:
            QueryBudgetExceeded: an example has spent its budget.
        """
        asked = list(examples)
        for i, example in enumerate(asked):
            spent = self._spent.get(example.id, 0) + 1
            if self._budget is not None and spent > self._budget:
                raise QueryBudgetExceeded(example.id, self._budget)
            self._spent[example.id] = spent
            if self.sampled:
                asked[i] = dataclasses.replace(example, meta={**example.meta, "query": spent})
        if self.sampled or fresh:
            self.unique += len(asked)
            self.total += len(asked)
            self.computed += len(asked)
            return self._predict(asked) if asked else []
        keys = [self._key(e) for e in asked]
        fill = {self._key(e): e for e in ahead}
        missing = {**dict(zip(keys, asked, strict=True)), **fill}
        self._answer({k: e for k, e in missing.items() if k not in self._cache})
        self.unique += len(set(keys) - self._asked)
        self._asked.update(keys)
        self.total += len(asked)
        return [self._cache[k] for k in keys]

    def _answer(self, missing: dict[tuple[object, ...], Example]) -> None:
        """Put the answers of ``missing`` into the cache: from the store if it has them, else computed."""
        keys, examples = list(missing), list(missing.values())
        known = self._store.get(examples) if self._store is not None else {}
        self._cache.update({keys[i]: answer for i, answer in known.items()})
        self.stored += len(known)
        new = [i for i in range(len(keys)) if i not in known]
        if not new:
            return
        answers = self._predict([examples[i] for i in new])
        self.computed += len(new)
        self._cache.update({keys[i]: answer for i, answer in zip(new, answers, strict=True)})
        if self._store is not None:
            self._store.put([examples[i] for i in new], answers)

    def remaining(self, example_id: str) -> int | None:
        """Queries left for this example; ``None`` without a budget."""
        return None if self._budget is None else self._budget - self._spent.get(example_id, 0)

    def _key(self, example: Example) -> tuple[object, ...]:
        return (self._digest, *example.content)


class QueryBudgetExceeded(RuntimeError):
    """An attack exceeded its query budget: a defect of the attack, not an error of the user."""

    def __init__(self, example_id: str, budget: int) -> None:
        super().__init__(f"example {example_id!r}: the attack made more than {budget} queries")


AttackOutcome = Literal["success", "failure", "skipped"]


@dataclass(frozen=True, slots=True)
class AppliedEdit:
    """One edit in an edited text: its source, its position, and the words before and after it."""

    source: str
    position: int | None
    part_of_speech: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class AttackRecord:
    """The result of an attack on one example.

    Attributes:
        outcome: ``skipped`` if the model was already wrong on the clean text or nothing could be edited
            (see ``reason``); ``success`` if the final text is answered wrongly; else ``failure``.
        field: name of the attacked text field; ``image`` for images.
        original, edited: its text before and after (equal if no edit was applied); of images, small pictures
            as data URIs.
        clean, final: predictions on the two texts.
        queries: queries spent on this example, the clean one included.
        changed_words: words of the original that were replaced, removed or inserted.
        similarity: sentence similarity (cosine) of the two texts, where a constraint computed it.
        source, position, part_of_speech: of the last applied edit; empty if they do not apply.
        reason: why the outcome is not ``success``; empty if that is clear from the outcome.
        edits: every applied edit, if the attack makes several.
        size: unit edits in the text.
    """

    example_id: str
    outcome: AttackOutcome
    field: str
    original: str
    edited: str
    clean: Prediction
    final: Prediction
    queries: int
    changed_words: int = 0
    similarity: float | None = None
    source: str = ""
    position: int | None = None
    part_of_speech: str = ""
    reason: str = ""
    edits: tuple[AppliedEdit, ...] = ()
    size: int = 0


@dataclass(frozen=True, slots=True)
class AttackContext:
    """What an attack may read besides the victim's answers.

    Attributes:
        fields: text fields that may be edited, the first one by default.
        protected: words that are never edited or inserted.
        seed: the attack's seed; each example derives its own stream from (seed, attack name, example id).
        lm: the model under attack, for candidate sources that read its embeddings; ``None`` for black-box
            attacks.
        pool: other examples of the same task, the source of distractor sentences.
    """

    fields: tuple[str, ...]
    protected: tuple[str, ...]
    seed: int
    lm: Any = None
    pool: Sequence[Example] = ()


@dataclass(frozen=True, slots=True)
class Measure:
    """One metric that a particular attack defines: a line of the metrics table under that attack.

    ``params`` are added to the parameters of that line."""

    metric: str
    value: float
    n: int
    stderr: float | None = None
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained model and its training examples, for attacks that compare training with unseen examples.

    Attributes:
        members: examples that the run was trained on.
        others: test examples.
        victim: answers both, with greedy decoding and without a budget.
        token_scores: maps examples to {name: one number per example} (loss, zlib, min-k, min-k++ of the
            gold answer's tokens); empty if the model gives no token probabilities.
    """

    victim: Victim
    context: AttackContext
    members: Sequence[Example]
    others: Sequence[Example]
    token_scores: Callable[[Sequence[Example]], Mapping[str, Sequence[float]]]


class Attack(ABC):
    """Base class of attacks.

    ``Config`` is a frozen dataclass of typed parameters with defaults, ``name`` the catalogue name,
    ``edits`` what it changes, and ``card`` describes how the report shows the results.

    The metrics of all attacks are in :mod:`zobench.attacks.metrics`. An attack's own metrics come from
    ``measures``, ``measures_of_training`` and ``measures_across``; a table of the card shows them in the
    report.
    """

    Config: ClassVar[type]
    name: ClassVar[str]
    edits: ClassVar[Literal["text", "image"]] = "text"
    card: ClassVar[AttackCard] = PLAIN
    config: Any

    @abstractmethod
    def run(self, victim: Victim, examples: Sequence[Example], context: AttackContext) -> list[AttackRecord]:
        """Attack every example, in order.

        The result for an example depends on (context.seed, example id) alone, not on the other examples.
        """

    def intensity(self) -> tuple[str, float] | None:
        """Name and value of the parameter that sets the attack's strength; ``None`` if it has none."""
        return None

    def decoding(self) -> tuple[float, int]:
        """Temperature of the victim's answers (0: greedy) and number of repetitions of the whole attack."""
        return 0.0, 1

    def measures(self, records: Sequence[AttackRecord]) -> Sequence[Measure]:
        """The attack's own metrics over its records; also computed for the records of its baseline."""
        return ()

    def measures_of_training(self, trained: Trained) -> Sequence[Measure]:
        """The attack's own metrics that need training examples; not called for runs without training."""
        return ()

    @classmethod
    def measures_across(cls, ran: Mapping[str, tuple[Attack, Sequence[AttackRecord]]]) -> Sequence[Measure]:
        """Metrics over all attacks of this class in a suite.

        ``ran`` maps each attack's name in the suite to the attack and its records.
        """
        return ()

    @abstractmethod
    def null(self) -> Attack:
        """The budget-matched random baseline: the same query pattern without the attack's idea.

        The null of a null is the object itself.
        """


@dataclass(frozen=True, kw_only=True)
class QueryConfig(Parameters):
    """Parameters that every attack has."""

    budget: Count | None = None
    """Queries per example, the clean one and the confirmations included; ``None``: no limit by the attack."""
    confirmations: CountOrZero = 0
    """Times a winning text or image is queried again without the cache; one right answer makes it a
    failure."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.budget is not None and self.budget < 1 + self.confirmations:
            raise ValueError(f"budget must be at least 1 + confirmations, not {self.budget}")


@dataclass(frozen=True, kw_only=True)
class SearchConfig(QueryConfig):
    """Parameters that every attack on texts has."""

    protect: tuple[Rule, ...] = RULES
    """Protection rules; the task's own protected words are always protected as well."""
