"""Base class of the built-in attacks: skip, search, confirm and record, for all examples in lockstep.

An attack is a subclass with a ``Config`` and a ``search``: a generator over one :class:`Session` that
queries drafts and returns the winning try, or ``None``. It is composed of a candidate source, constraints, a
search strategy and the goal "answered wrongly".
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from zobench.attacks.base import (
    AppliedEdit,
    Attack,
    AttackContext,
    AttackRecord,
    QueryConfig,
    SearchConfig,
    Victim,
)
from zobench.attacks.lockstep import CONFIRM, VICTIM, Search, Service, lockstep
from zobench.attacks.protect import Guard
from zobench.attacks.session import Draft, Session, Try
from zobench.attacks.streams import stream
from zobench.attacks.words import changed_words
from zobench.data.example import Example


class SearchedAttack(Attack):
    """Base of the built-in attacks on texts and on images. Cost per example: one clean query and at most
    ``limit() - 1`` others."""

    name: ClassVar[str]
    config: QueryConfig

    def __init__(self, config: QueryConfig | None = None) -> None:
        self.config = self.Config() if config is None else config

    @abstractmethod
    def search(self, session: Session, context: AttackContext) -> Search[Try | None]:
        """Query drafts until one wins; return it, else ``None``."""

    def verdict(self, session: Session, won: Try) -> Search[tuple[Try, str]]:
        """Check a win: the try to record, and the reason why it does not count (empty if it counts)."""
        right = yield from session.confirm(won.draft, self.config.confirmations)
        return (won, "") if right is None else (Try(won.draft, right), "not confirmed")

    def reserve(self) -> int:
        """Queries reserved for the verdict."""
        return self.config.confirmations

    def limit(self) -> int | None:
        """Queries per example with the clean one and the confirmations; ``None`` if the attack sets none."""
        return self.config.budget

    def prefix(self) -> str:
        """Text put before the field in every query, the clean one included (a defence prompt)."""
        return ""

    def services(self, context: AttackContext) -> Mapping[str, Service]:
        """Batched helper services that ``search`` may call besides the victim."""
        return {}

    @abstractmethod
    def session(self, example: Example, victim: Victim, context: AttackContext) -> Session:
        """A fresh session with the example's own random stream."""

    def run(self, victim: Victim, examples: Sequence[Example], context: AttackContext) -> list[AttackRecord]:
        if len({e.id for e in examples}) != len(examples):
            raise ValueError(f"attack {self.name!r}: two examples share an id")
        services: dict[str, Service] = {
            VICTIM: victim.query,
            CONFIRM: lambda items: victim.query(items, fresh=True),
            **self.services(context),
        }
        return lockstep([self._attack(e, victim, context) for e in examples], services)

    def affordable(self, example: Example, victim: Victim) -> int | None:
        """Queries that the search may spend on this example; ``None`` for no limit."""
        limits = [n for n in (self.limit(), victim.remaining(example.id)) if n is not None]
        return max(0, min(limits) - self.reserve()) if limits else None

    def _attack(self, example: Example, victim: Victim, context: AttackContext) -> Search[AttackRecord]:
        session = self.session(example, victim, context)
        if session.left < 1:
            raise ValueError(
                f"attack {self.name!r}: a budget of {session.left} queries is too small for the clean text"
            )
        clean = yield from session.ask_clean()
        if not clean.correct:
            return _record(session, "skipped", None, reason="answered wrongly before the attack")
        won = yield from self.search(session, context)
        if won is not None:
            last, refusal = yield from self.verdict(session, won)
            return _record(session, "failure" if refusal else "success", last, reason=refusal)
        best = session.best()
        if best is None:
            return _record(session, "skipped", None, reason="nothing to edit or no query left")
        return _record(session, "failure", best)


class ComposedAttack(SearchedAttack):
    """Base of the built-in attacks on texts."""

    null_kinds: ClassVar[tuple[str, ...]] = ("lexical", "typographic")
    """Kinds of meaning-preserving edits that the budget-matched random baseline draws from."""
    config: SearchConfig

    def null(self) -> Attack:
        from zobench.attacks.null import NullAttack

        return NullAttack(self)

    def session(self, example: Example, victim: Victim, context: AttackContext) -> Session:
        """A fresh session with the example's own random stream."""
        name = next((f for f in context.fields if f in example.text), "")
        if not name:
            raise ValueError(f"example {example.id!r} has none of the fields {list(context.fields)}")
        return Session(
            example=example,
            field=name,
            guard=Guard(example.text[name], context.protected, self.config.protect),
            random=stream(context.seed, self.name, example.id),
            limit=self.affordable(example, victim),
            prefix=self.prefix(),
            sampled=victim.sampled,
        )


def _record(session: Session, outcome: Any, attempt: Try | None, *, reason: str = "") -> AttackRecord:
    assert session.clean is not None
    final = session.clean if attempt is None else attempt.prediction
    draft = session.unedited if attempt is None else attempt.draft
    return AttackRecord(
        example_id=session.example.id,
        outcome=outcome,
        field=session.field,
        original=session.unedited.shown,
        edited=draft.shown,
        clean=session.clean,
        final=final,
        queries=session.asked,
        changed_words=0 if draft.image is not None else changed_words(session.original, draft.text),
        similarity=draft.similarity,
        source=draft.source,
        position=draft.position,
        part_of_speech=draft.part_of_speech,
        reason=reason,
        edits=draft.edits or (_only_edit(draft) if draft.source else ()),
        size=draft.size,
    )


def _only_edit(draft: Draft) -> tuple[AppliedEdit]:
    return (AppliedEdit(draft.source, draft.position, draft.part_of_speech, "", ""),)
