"""Missing question (arXiv 2511.08022): the question is removed from the text.

A model that still answers correctly has seen the problem before or guesses. Three cases need a rule; records
carry the case in ``source`` so that reports count each:

- ``question``: exactly one question sentence, which is removed;
- ``no-question-mark``: no question sentence; the last sentence (an imperative such as "Calculate …") is
  removed;
- ``several-questions``: the last one is removed, the others stay.

If the removed sentence contains a numeral, removing it also removes data. With ``keep_data`` the part before
its question word stays ("If she sells 5 eggs, how many …" becomes "If she sells 5 eggs."), and ``+data-kept``
is added to the case; ``+data-removed`` if the numeral follows the question word or ``keep_data`` is off.
Cost: 2 queries. Numbers and units are not protected by default, because they are removed with the question.
The task's own words are protected: a text that would lose one is skipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import regex

from zobench.attack_card import AttackCard, Column, Table
from zobench.attacks.base import AttackContext, AttackRecord, Measure, SearchConfig
from zobench.attacks.composed import ComposedAttack
from zobench.attacks.lockstep import Search
from zobench.attacks.metrics import case_counts
from zobench.attacks.protect import Rule
from zobench.attacks.session import Draft, Session, Try
from zobench.attacks.words import Edit, Span, apply_edits, sentences, words

_ASKING = regex.compile(
    r"[,;]?\s*\b(?:how|what|which|who|whom|whose|when|where|why|calculate|find|determine|compute)\b",
    regex.IGNORECASE,
)
_NUMERAL = regex.compile(r"\p{N}")


@dataclass(frozen=True, kw_only=True)
class MissingQuestionConfig(SearchConfig):
    protect: tuple[Rule, ...] = ()
    keep_data: bool = True
    """Whether numbers before the question word stay in the text."""


CASES = Table(
    name="cases",
    title="Cases",
    text="How the question was removed, over all runs: the text had one question sentence, none, or several, "
    "and data was kept or removed with it.",
    columns=(Column("count", "Examples", form="count", over_runs="sum"),),
    key="Case",
    lines=("attack",),
)


class MissingQuestion(ComposedAttack):
    """One edit; success means that the model no longer gives the right answer without the question."""

    Config: ClassVar[type] = MissingQuestionConfig
    name: ClassVar[str] = "missing-question"
    card: ClassVar[AttackCard] = AttackCard(position="sentence", keeps_answer=False, tables=(CASES,))
    null_kinds: ClassVar[tuple[str, ...]] = ("lexical", "frame")
    config: MissingQuestionConfig

    def search(self, session: Session, context: AttackContext) -> Search[Try | None]:
        draft = without_question(session.original, keep_data=self.config.keep_data)
        if draft is None or not session.guard.keeps(draft.text):
            return None
        for attempt in (yield from session.ask([draft])):
            if session.won(attempt):
                return attempt
        return None

    def measures(self, records: Sequence[AttackRecord]) -> Sequence[Measure]:
        """``count:CASE``: examples per case."""
        return [Measure(f"count:{c}", n, len(records)) for c, n in case_counts(records).items()]


def without_question(text: str, *, keep_data: bool = True) -> Draft | None:
    """The text without its question, with the case in ``source``; ``None`` if no text would be left."""
    spans = sentences(text)
    asking = [s for s in spans if "?" in s.text]
    if not spans:
        return None
    gone = asking[-1] if asking else spans[-1]
    case = "no-question-mark" if not asking else "question" if len(asking) == 1 else "several-questions"
    kept = _data_part(gone) if keep_data else ""
    if _NUMERAL.search(gone.text):
        case += "+data-kept" if kept else "+data-removed"
    else:
        kept = ""
    if len(spans) < 2 and not kept:
        return None
    edited = apply_edits(text, [Edit(gone.start, gone.end, kept)])
    edited = edited if kept else edited.rstrip()
    return Draft(edited, len(words(gone.text)) - len(words(kept)), case, spans.index(gone))


def _data_part(question: Span) -> str:
    """The part before the question word, ended by a full stop, if it contains a numeral; else empty."""
    found = _ASKING.search(question.text)
    before = question.text[: found.start()].rstrip(" ,;") if found else ""
    return f"{before}." if _NUMERAL.search(before) else ""
