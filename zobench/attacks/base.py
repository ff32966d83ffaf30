"""What an attack is: candidates x constraints x search x goal, asking a counted victim.

An attack edits the text of an example without changing its gold answer, to find an edit that changes the
model's answer. Every attack names its null: what the same number of queries does without the attack's idea.
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
        budget_per_example: queries that one example may spend; asking for more raises
        ``QueryBudgetExceeded``.
        sampled: decoding is random: nothing is cached, and each asked example carries its query number in
            ``meta["query"]``, from which ``predict`` derives its sample.
        store: answers kept from other attacks or runs; not read where decoding is random.

    Attributes:
        unique: different predictions asked for; total: predictions asked for. Their difference are repeats.
        computed: predictions computed, those asked ahead of need included; stored: taken from ``store``.
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
        """Predictions in order; each asked example counts as one query of its id, cached or not.

        Args:
            fresh: compute them again even if they are cached (confirmation of a winning text).
            ahead: examples likely to be asked next: computed in the same batch, and no queries until they
                are.
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
        """Put these answers into the cache, from the store where it has them."""
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
        return (self._digest, example.id, *sorted(example.text.items()), *example.candidates)


class QueryBudgetExceeded(RuntimeError):
    """An attack asked for more queries than its budget; a defect of the attack, not of the user."""

    def __init__(self, example_id: str, budget: int) -> None:
        super().__init__(f"example {example_id!r}: more than {budget} queries asked")


AttackOutcome = Literal["success", "failure", "skipped"]


@dataclass(frozen=True, slots=True)
class AppliedEdit:
    """One edit that stands in an edited text: where it came from, where it went, and what it exchanged."""

    source: str
    position: int | None
    part_of_speech: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class AttackRecord:
    """What became of one example.

    Attributes:
        outcome: ``skipped`` where the model was already wrong on the clean text (or nothing could be edited:
            see ``reason``); ``success`` where the final text is answered wrongly; else ``failure``.
        original, edited: the attacked text field before and after (equal unless something was applied).
        clean, final: predictions on them.
        queries: asked of the victim for this example, the clean one included.
        changed_words: words of the original that were replaced, removed or inserted.
        source, position, part_of_speech: where the last applied edit came from; empty where meaningless.
        edits: every applied edit, where the attack makes several; ``size``: unit edits in the text.
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
    """What an attack may look at besides the victim.

    Attributes:
        fields: text fields that may be edited, the first one by default.
        protected: words never to be edited or inserted.
        seed: the attack's seed; each example derives its own stream from (seed, attack name, example id).
        lm: the model under attack, for candidate sources that read its embeddings; ``None`` for black-box
        attacks.
        pool: other examples of the same task, source of distractor sentences.
    """

    fields: tuple[str, ...]
    protected: tuple[str, ...]
    seed: int
    lm: Any = None
    pool: Sequence[Example] = ()


@dataclass(frozen=True, slots=True)
class Measure:
    """One number of an attack's own: a row of the metrics table, in the place of its attack; ``params`` are
    added to the row's parameters."""

    metric: str
    value: float
    n: int
    stderr: float | None = None
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trained:
    """A run's model beside the rows it was trained on, for attacks that compare them with fresh ones.

    Attributes:
        members: rows that the run was trained on; others: test rows.
        victim: answers both, greedily and without a budget.
        token_scores: name -> a number per row (loss, zlib, min-k, min-k++ of the gold answer's tokens); empty
            where the model's token probabilities cannot be had.
    """

    victim: Victim
    context: AttackContext
    members: Sequence[Example]
    others: Sequence[Example]
    token_scores: Callable[[Sequence[Example]], Mapping[str, Sequence[float]]]


class Attack(ABC):
    """One attack. ``Config`` is a frozen dataclass of typed parameters with defaults; ``name`` is its
    catalogue name; ``card`` says what its results need to be shown.

    What every attack is measured by is in :mod:`zobench.attacks.metrics`. Numbers of its own come from
    ``measures``, ``measures_of_training`` and ``measures_across``; a table of the card puts them on the page.
    """

    Config: ClassVar[type]
    name: ClassVar[str]
    card: ClassVar[AttackCard] = PLAIN
    config: Any

    @abstractmethod
    def run(self, victim: Victim, examples: Sequence[Example], context: AttackContext) -> list[AttackRecord]:
        """Attack every example, in order. Deterministic in (context.seed, example id), whatever the other
        examples.
        """

    def intensity(self) -> tuple[str, float] | None:
        """The parameter that says how strong the attack is and its value; ``None`` where there is none."""
        return None

    def decoding(self) -> tuple[float, int]:
        """Temperature of the victim's answers (0: greedy) and how often the whole attack is repeated."""
        return 0.0, 1

    def measures(self, records: Sequence[AttackRecord]) -> Sequence[Measure]:
        """Numbers of its own over its records; also asked for those of its null."""
        return ()

    def measures_of_training(self, trained: Trained) -> Sequence[Measure]:
        """Numbers that need the rows a run was trained on; not asked where there are none."""
        return ()

    @classmethod
    def measures_across(cls, ran: Mapping[str, tuple[Attack, Sequence[AttackRecord]]]) -> Sequence[Measure]:
        """Numbers over all attacks of this class in a suite, by their name there, with their records."""
        return ()

    @abstractmethod
    def null(self) -> Attack:
        """The same query pattern without the attack's idea; run beside it. A null's own null is itself."""


@dataclass(frozen=True, kw_only=True)
class SearchConfig(Parameters):
    """Parameters that every attack has."""

    budget: Count | None = None
    """Queries per example, the clean one and the confirmations included; ``None``: no limit of its own."""
    confirmations: CountOrZero = 0
    """Times a winning text is asked again, computed anew; one right answer makes it a failure."""
    protect: tuple[Rule, ...] = RULES
    """Protection rules; the task's own protected words always hold."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.budget is not None and self.budget < 1 + self.confirmations:
            raise ValueError(f"budget must be at least 1 + confirmations, not {self.budget}")
