"""Many searches at once, so that the victim and the helper models are queried in large batches.

A search is a generator for one example: it yields an :class:`Ask` and is sent the replies. It does not know
of other searches. :func:`lockstep` advances all searches together: helper services (masked LM, sentence
encoder) answer first, until every unfinished search waits for the victim; then the victim answers all of
them in one call. A search depends only on the replies to its own queries, so the outcome is the same as
running the searches one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, TypeVar

VICTIM = "victim"
"""Name of the service that returns predictions; called when no search waits for a helper."""
CONFIRM = "confirm"
"""Name of the service that predicts without the cache; called last, for all winning texts at once."""

FULL = 128
"""Texts in a full batch. A round with fewer is filled with the texts likely to be queried next."""
VAIN = 8
"""A further step is computed ahead if fewer of its texts than this are expected to be wasted. The value is
about the cost of one more round."""

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Ask:
    """A request to a service: the reply to ``items`` is a list of the same length and order.

    ``ahead``: items that follow if none of these ends the search; the service may compute them already.
    """

    service: str
    items: tuple[Any, ...]
    ahead: tuple[Any, ...] = ()


Search = Generator[Ask, list[Any], R]
Service = Callable[..., list[Any]]


def lockstep(searches: Sequence[Search[R]], services: Mapping[str, Service]) -> list[R]:
    """Run all searches to completion; results in the order of the searches."""
    results: dict[int, R] = {}
    waiting: dict[int, Ask] = {}
    foresight = _Foresight()

    def advance(index: int, reply: list[Any] | None) -> None:
        try:
            waiting[index] = searches[index].send(reply)  # type: ignore[arg-type]
        except StopIteration as end:
            waiting.pop(index, None)
            results[index] = end.value

    for i in range(len(searches)):
        advance(i, None)
    while waiting:
        name = min((a.service for a in waiting.values()), key=_rank)
        # Sorted by index, so that the composition of a batch does not depend on who finished first.
        group = [(i, a.items) for i, a in sorted(waiting.items()) if a.service == name]
        asked = [item for _, items in group for item in items]
        ahead = {i: waiting[i].ahead for i, _ in group if waiting[i].ahead}
        spare = foresight.chosen(list(ahead.values()), FULL - len(asked))
        replies = services[name](asked, ahead=spare) if spare else services[name](asked)
        assert len(replies) == sum(len(items) for _, items in group), f"service {name!r} lost replies"
        at = 0
        for i, items in group:
            advance(i, replies[at : at + len(items)])
            at += len(items)
        foresight.learn([(items[0], waiting.get(i)) for i, items in ahead.items()])
    return [results[i] for i in range(len(searches))]


class _Foresight:
    """Chooses texts to compute ahead of need, so that fewer rounds are needed.

    A text ``k`` steps ahead is needed with probability ``p ** k``, where ``p`` is the observed share of
    next-in-line texts that were queried in the following round (1/2 before the first observation). The texts
    of all searches at a step are taken while fewer than ``VAIN`` of them are expected to be wasted.
    """

    def __init__(self) -> None:
        self._offered, self._asked = 2, 1

    def chosen(self, ahead: Sequence[tuple[Any, ...]], room: int) -> list[Any]:
        """At most ``room`` items: the next one of every search first, then the ones after those."""
        found: list[Any] = []
        needed = 1.0
        for step in zip_longest(*ahead):
            items = [item for item in step if item is not None]
            needed *= self._asked / self._offered
            if len(found) >= room or len(items) * (1 - needed) >= VAIN:
                break
            found += items
        return found[: max(0, room)]

    def learn(self, offered: Sequence[tuple[Any, Ask | None]]) -> None:
        """Compare each next-in-line item with its search's actual next request (``None``: it ended)."""
        self._offered += len(offered)
        self._asked += sum(then is not None and then.items[:1] == (item,) for item, then in offered)


def _rank(service: str) -> tuple[int, str]:
    """Helpers first, then the victim, confirmations last."""
    return {VICTIM: 1, CONFIRM: 2}.get(service, 0), service
