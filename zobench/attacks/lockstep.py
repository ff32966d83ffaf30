"""Many searches at once, so that the victim and the helper models are asked in large batches.

A search is a generator for ONE example, written as if it were alone: it yields an :class:`Ask` and is sent
the replies. :func:`lockstep` advances all searches together: helper services (masked LM, sentence encoder)
are answered until every unfinished search waits for the victim, then the victim is asked once for all of
them. What a search decides depends only on the replies to its own questions, so the outcome is that of
running the searches one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, TypeVar

VICTIM = "victim"
"""Name of the service that answers with predictions; asked once nothing waits for a helper."""
CONFIRM = "confirm"
"""Name of the service that computes predictions anew; asked last, for all winning texts at once."""

FULL = 128
"""Texts that make a full batch: rounds of fewer are filled with what would be asked next."""
VAIN = 8
"""A step ahead is computed while fewer of its texts are expected in vain: about what one more round costs."""

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Ask:
    """``items`` for the service of that name; the reply is a list of the same length and order. ``ahead``:
    items that will be asked next if none of these decides; the service may prepare them.
    """

    service: str
    items: tuple[Any, ...]
    ahead: tuple[Any, ...] = ()


Search = Generator[Ask, list[Any], R]
Service = Callable[..., list[Any]]


def lockstep(searches: Sequence[Search[R]], services: Mapping[str, Service]) -> list[R]:
    """Run all searches to their ends; results in the order given."""
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
    """Which texts to compute ahead of need, so that fewer rounds are needed.

    A text ``k`` steps ahead is needed with probability ``p ** k``, where ``p`` is the share of texts next in
    line that were asked then (even odds before any was). All searches' texts of a step are taken while fewer
    than ``VAIN`` of them are expected not to be needed.
    """

    def __init__(self) -> None:
        self._offered, self._asked = 2, 1

    def chosen(self, ahead: Sequence[tuple[Any, ...]], room: int) -> list[Any]:
        """At most ``room`` items, the nearest to be asked of every search first."""
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
        """Compare each item that was next in line with what its search asked then (``None``: it ended)."""
        self._offered += len(offered)
        self._asked += sum(then is not None and then.items[:1] == (item,) for item, then in offered)


def _rank(service: str) -> tuple[int, str]:
    """Helpers first, then the victim, confirmations last."""
    return {VICTIM: 1, CONFIRM: 2}.get(service, 0), service
