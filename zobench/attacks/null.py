"""The budget-matched random baseline (null) of a search attack: the same queries without its idea.

The attack is first rehearsed on each example against an answer that never flips. Its confidence falls a
little with each query, so that greedy searches go on accumulating edits. The rehearsal yields the queries
that the attack would spend on a model it cannot break. The baseline then queries as many texts, in the same
order, and stops at the first wrong answer as the attack does:

- greedy decoding: for each rehearsed text, random edits of equal size from the meaning-preserving pool
  (``neutral``);
- sampled decoding: the same text again.

Probes (texts queried only to rank words) cannot win, so the baseline omits them: it has as many chances to
win as the attack. The net success rate is the attack's rate minus the baseline's. The rehearsal accepts
every edit, so the baseline's edit sizes are upper bounds of the attack's, and the net rate is biased
downwards.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from zobench.attacks.base import Attack, AttackContext, SearchConfig
from zobench.attacks.composed import ComposedAttack
from zobench.attacks.lockstep import VICTIM, Search, Service
from zobench.attacks.neutral import neutral_text
from zobench.attacks.search import brute_force
from zobench.attacks.session import Draft, Session, Try
from zobench.attacks.streams import stream
from zobench.tasks.base import Prediction

_STEP = 1e-6
"""Drop of the gold label's log probability per rehearsed query: too small to flip an answer."""


@dataclass(frozen=True, kw_only=True)
class NullConfig(SearchConfig):
    of: str = ""
    """Name of the attack whose baseline this is."""


class NullAttack(ComposedAttack):
    """Meaning-preserving edits of equal number and size. The null of this attack is itself."""

    Config = NullConfig
    name: ClassVar[str] = "null"
    config: NullConfig

    def __init__(self, attack: ComposedAttack) -> None:
        base = attack.config
        super().__init__(
            NullConfig(
                of=attack.name, budget=attack.limit(), confirmations=base.confirmations, protect=base.protect
            )
        )
        self.attack = attack

    def null(self) -> Attack:
        return self

    def decoding(self) -> tuple[float, int]:
        return self.attack.decoding()

    def verdict(self, session: Session, won: Try) -> Search[tuple[Try, str]]:
        found = yield from self.attack.verdict(session, won)
        return found

    def reserve(self) -> int:
        return self.attack.reserve()

    def prefix(self) -> str:
        return self.attack.prefix()

    def services(self, context: AttackContext) -> Mapping[str, Service]:
        return self.attack.services(context)

    def session(self, example, victim, context):  # type: ignore[no-untyped-def]
        session = super().session(example, victim, context)
        return dataclasses.replace(
            session, random=stream(context.seed, self.name, self.config.of, example.id)
        )

    def search(self, session: Session, context: AttackContext) -> Search[Try | None]:
        planned = yield from self._rehearse(session, context)
        drafts: list[Draft] = []
        for draft in planned:
            text: str | None = session.original
            if not session.sampled:
                text = neutral_text(
                    session.original, session.guard, draft.size, session.random, self.attack.null_kinds
                )
            if text is None:
                break
            drafts.append(Draft(text, size=draft.size, source="neutral"))
        won = yield from brute_force(session, drafts)
        return won

    def _rehearse(self, session: Session, context: AttackContext) -> Search[list[Draft]]:
        """The drafts that the attack queries if no answer ever flips; the victim is not queried."""
        shadow = dataclasses.replace(
            session, random=stream(context.seed, self.attack.name, session.example.id), tries=[], probes=[]
        )
        search = self.attack.search(shadow, context)
        reply = None
        asked = 0
        while True:
            try:
                ask = search.send(reply)  # type: ignore[arg-type]
            except StopIteration:
                return [t.draft for t in shadow.tries]
            if ask.service == VICTIM:
                reply = [_wavering(session, asked + i) for i in range(len(ask.items))]
                asked += len(ask.items)
            else:
                reply = yield ask


def _wavering(session: Session, query: int) -> Prediction:
    clean, label = session.clean, session.example.label
    assert clean is not None
    if clean.log_probs is None or label is None:
        return clean
    shifted = list(clean.log_probs)
    shifted[label] -= _STEP * (query + 1)
    return dataclasses.replace(clean, log_probs=tuple(shifted))
