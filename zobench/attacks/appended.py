"""Fixed lists of edits, queried in order until one wins: StressTest, CheckList edits, option order.

StressTest and CheckList append text as PromptBench does (arXiv 2306.04528). The strings are our own; where
the published list is random they are drawn per example. CheckList edits are the invariance tests of Ribeiro
et al. (arXiv 2005.04118) that need no lexicon.
"""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from typing import ClassVar

from zobench.attack_card import AttackCard
from zobench.attacks.base import Attack, AttackContext, SearchConfig
from zobench.attacks.composed import ComposedAttack
from zobench.attacks.lockstep import VICTIM, Ask, Search
from zobench.attacks.neutral import neutral_sites
from zobench.attacks.search import brute_force
from zobench.attacks.session import Draft, Session, Try
from zobench.attacks.words import apply_edits, words

TAUTOLOGIES = ("and true is true", "and false is not true", " ".join(["and true is true"] * 5))
_ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def appended(text: str, extra: str) -> str:
    """The text followed by a space and the extra words; the text's final mark stays before them."""
    return f"{text}{' ' if text and not text[-1].isspace() else ''}{extra}"


class StressTest(ComposedAttack):
    """One of three tautologies appended (the third is five repeats). Cost: at most 4 queries."""

    Config: ClassVar[type] = SearchConfig
    name: ClassVar[str] = "stresstest"
    card: ClassVar[AttackCard] = AttackCard(position="sentence")
    null_kinds: ClassVar[tuple[str, ...]] = ("lexical", "frame")

    def search(self, session: Session, context: AttackContext) -> Search[Try | None]:
        drafts = [
            Draft(appended(session.original, t), len(words(t)), "tautology", i)
            for i, t in enumerate(TAUTOLOGIES)
        ]
        found = yield from brute_force(session, [d for d in drafts if session.guard.keeps(d.text)])
        return found


@dataclass(frozen=True, kw_only=True)
class CheckListConfig(SearchConfig):
    strings: int = 3
    """Random strings of ten letters tried at the end of the text (50 fixed ones in PromptBench)."""


class CheckList(ComposedAttack):
    """Invariance edits: final mark on or off, a contraction or spelling variant, a random string appended."""

    Config: ClassVar[type] = CheckListConfig
    name: ClassVar[str] = "checklist"
    config: CheckListConfig

    def search(self, session: Session, context: AttackContext) -> Search[Try | None]:
        drafts = [*self._punctuation(session), *self._contractions(session), *self._strings(session)]
        kept = [d for d in drafts if d.text != session.original and session.guard.keeps(d.text)]
        found = yield from brute_force(session, kept)
        return found

    def _punctuation(self, session: Session) -> list[Draft]:
        text = session.original
        bare = text.rstrip().rstrip(".!")
        other = bare if bare != text.rstrip() else bare + "."
        return [Draft(other, source="punctuation")] if text.strip() else []

    def _contractions(self, session: Session) -> list[Draft]:
        text = session.original
        sites = neutral_sites(text, session.guard, ("lexical",))
        return [Draft(apply_edits(text, [e]), source="contraction") for e in sites]

    def _strings(self, session: Session) -> list[Draft]:
        drawn = [
            "".join(session.random.choice(_ALPHABET) for _ in range(10)) for _ in range(self.config.strings)
        ]
        return [Draft(appended(session.original, s), source="random string") for s in drawn]


@dataclass(frozen=True, kw_only=True)
class OptionOrderConfig(SearchConfig):
    tries: int = 3
    """Orders queried per example, besides the given one."""


class OptionOrder(ComposedAttack):
    """The answer options of a multiple-choice example in another order; the text stays.

    The gold label moves with its option. Examples without options of their own are skipped. Cost: 1 +
    ``tries`` queries. Baseline: the given order queried as often (reordering has no edit size to match).
    """

    Config: ClassVar[type] = OptionOrderConfig
    name: ClassVar[str] = "option-order"
    config: OptionOrderConfig

    def null(self) -> Attack:
        return SameOrder(self.config)

    def orders(self, session: Session) -> list[tuple[int, ...]]:
        """Orders to query, without the given one."""
        count = len(session.example.candidates)
        if count < 2:
            return []
        # Up to 5! = 120 orders are listed and drawn without repetition; more are drawn one by one.
        if count <= 5:
            every = list(itertools.permutations(range(count)))[1:]
            return session.random.sample(every, min(self.config.tries, len(every)))
        found = [tuple(session.random.sample(range(count), count)) for _ in range(self.config.tries)]
        return [o for o in dict.fromkeys(found) if o != tuple(range(count))]

    def search(self, session: Session, context: AttackContext) -> Search[Try | None]:
        for order in self.orders(session):
            if not session.left:
                return None
            example = session.example
            label = None if example.label is None else order.index(example.label)
            moved = dataclasses.replace(
                example, candidates=tuple(example.candidates[j] for j in order), label=label
            )
            session.asked += 1
            [prediction] = yield Ask(VICTIM, (moved,))
            attempt = Try(Draft(session.original, 0, "order " + " ".join(map(str, order))), prediction)
            session.tries.append(attempt)
            if session.won(attempt):
                return attempt
        return None


class SameOrder(OptionOrder):
    """The budget-matched baseline of option order: the given order, queried as often."""

    def null(self) -> Attack:
        return self

    def orders(self, session: Session) -> list[tuple[int, ...]]:
        count = len(session.example.candidates)
        return [tuple(range(count))] * len(super().orders(session))
