"""Search strategies over words and their options, each a generator for one example.

All of them stop at the first wrong answer (in query order) and never exceed the session's budget.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from zobench.attacks.constraints import WordConfig, drafts, most_words
from zobench.attacks.lockstep import FULL, Search
from zobench.attacks.options import Option
from zobench.attacks.session import Draft, Session, Try
from zobench.attacks.words import Edit, apply_edits, words

OptionsOf = Callable[[int], Search[list[Option]]]


def one_by_one(
    session: Session, config: WordConfig, order: Sequence[int], options_of: OptionsOf
) -> Search[Try | None]:
    """Each option of each word alone, in order, until one wins (MSCR): edits never accumulate.

    A text is queried once: a global replacement appears again at the word's next occurrence.
    """
    known = {session.original}
    for position in order:
        found = yield from drafts(session, config, (), (yield from options_of(position)))
        ready = [(d, o) for d, o in found if d.text not in known]
        known.update(d.text for d, _ in ready)
        won = yield from brute_force(session, [d for d, _ in ready])
        if won is not None or not session.left:
            return won
    return None


def greedy(
    session: Session, config: WordConfig, order: Sequence[int], options_of: OptionsOf
) -> Search[Try | None]:
    """Word by word: query its options on top of the applied ones; keep the best if it raises the score."""
    assert session.clean is not None
    applied: list[Option] = []
    score = session.score(session.clean)
    for position in order:
        if len(applied) >= most_words(session, config) or not session.left:
            return None
        ready = yield from drafts(session, config, applied, (yield from options_of(position)))
        tries = yield from session.ask([d for d, _ in ready])
        for attempt in tries:
            if session.won(attempt):
                return attempt
        best = max(range(len(tries)), key=lambda i: session.score(tries[i].prediction), default=None)
        if best is not None and session.score(tries[best].prediction) > score:
            score = session.score(tries[best].prediction)
            applied.append(ready[best][1])
    return None


def by_importance(session: Session, order: Sequence[int], substitute: str | None) -> Search[list[int]]:
    """Words by how much the score rises when each is left out (``None``) or replaced by ``substitute``.

    Cost: one query per word, at most half of the remaining budget. Words that were not queried come last.
    """
    asked = list(order[: session.left // 2])
    texts = [Draft(_without(session.original, i, substitute), source="importance", position=i) for i in asked]
    ranked = yield from _scores(session, texts)
    kept = [i for i, _ in sorted(zip(asked, ranked, strict=True), key=lambda pair: -pair[1])]
    return kept + list(order[len(asked) :])


def _scores(session: Session, texts: Sequence[Draft]) -> Search[list[float]]:
    """Scores of texts that only rank words: they count as queries, are not tries and cannot win."""
    before = len(session.tries)
    tries = yield from session.ask(texts)
    session.probes += session.tries[before:]
    del session.tries[before:]
    return [session.score(t.prediction) for t in tries]


def _without(text: str, position: int, substitute: str | None) -> str:
    word = words(text)[position]
    if substitute is not None:
        return apply_edits(text, [Edit(word.start, word.end, substitute)])
    # The space after the word goes with it, so that no double space remains.
    gap = 1 if text[word.end : word.end + 1] == " " else 0
    return apply_edits(text, [Edit(word.start, word.end + gap, "")])


def weighted_saliency(
    session: Session, config: WordConfig, order: Sequence[int], options_of: OptionsOf, substitute: str
) -> Search[Try | None]:
    """PWWS (Ren et al. 2019): options are applied one after the other in order of their weighted rise.

    The weight is softmax(saliency) x the rise of the score by the word's best option. Saliency of a word is
    the rise of the score when it is replaced by ``substitute``. Cost: at most a third of the remaining
    budget for saliencies, then one query per option and per combined text.
    """
    assert session.clean is not None
    base = session.score(session.clean)
    # At most a third, so that the rest can be spent on the options of these words.
    asked = list(order[: session.left // 3])
    probes = [Draft(_without(session.original, i, substitute), source="saliency", position=i) for i in asked]
    saliency = yield from _scores(session, probes)
    total = sum(math.exp(s - base) for s in saliency)
    best: list[tuple[float, Option]] = []
    for position, value in zip(asked, saliency, strict=True):
        ready = yield from drafts(session, config, (), (yield from options_of(position)))
        tries = yield from session.ask([d for d, _ in ready])
        for attempt in tries:
            if session.won(attempt):
                return attempt
        rises = [session.score(t.prediction) - base for t in tries]
        if rises:
            top = max(range(len(rises)), key=rises.__getitem__)
            best.append((math.exp(value - base) / total * rises[top], ready[top][1]))
    best.sort(key=lambda pair: -pair[0])
    return (yield from _cumulative(session, config, [option for _, option in best]))


def _cumulative(session: Session, config: WordConfig, chosen: Sequence[Option]) -> Search[Try | None]:
    """Apply options one on top of the other, with a query after each."""
    applied: list[Option] = []
    for option in chosen:
        ready = yield from drafts(session, config, applied, [option])
        if not ready:
            continue
        applied.append(option)
        if len(applied) == 1:
            continue  # queried before, on its own
        for attempt in (yield from session.ask([ready[0][0]])):
            if session.won(attempt):
                return attempt
    return None


def beam(
    session: Session, config: WordConfig, order: Sequence[int], options_of: OptionsOf, width: int = 1
) -> Search[Try | None]:
    """Extend the ``width`` best texts by every option of every other word, until the score stops rising."""
    assert session.clean is not None
    front: list[tuple[float, tuple[Option, ...]]] = [(session.score(session.clean), ())]
    while session.left and len(front[0][1]) < most_words(session, config):
        extended: list[tuple[float, tuple[Option, ...]]] = []
        for _, applied in front:
            taken = {o.position for o in applied}
            for position in order:
                if position in taken or not session.left:
                    continue
                ready = yield from drafts(session, config, applied, (yield from options_of(position)))
                tries = yield from session.ask([d for d, _ in ready])
                # Not strict: fewer tries than drafts when the budget runs out.
                for attempt, (_, option) in zip(tries, ready, strict=False):
                    if session.won(attempt):
                        return attempt
                    extended.append((session.score(attempt.prediction), (*applied, option)))
        extended.sort(key=lambda pair: -pair[0])
        if not extended or extended[0][0] <= front[0][0]:
            return None
        front = extended[:width]
    return None


def brute_force(session: Session, texts: Sequence[Draft]) -> Search[Try | None]:
    """Query a fixed list in order until one wins; the next texts may be computed in the same batch."""
    for at, draft in enumerate(texts):
        for attempt in (yield from session.ask([draft], ahead=texts[at + 1 : at + 1 + FULL])):
            if session.won(attempt):
                return attempt
    return None
