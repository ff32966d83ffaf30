"""Base class of attacks on images: changed 8-bit pixels, a margin to lower, and a random baseline.

The model is queried through its answers alone. Perturbations are whole numbers of 1/255, so that what was
queried is what is recorded. The search lowers the margin  log p(gold) - max over others of log p  and stops
at the first wrong answer. Budget-matched random baseline (null): as many images with independent random
perturbations of the same size, one per query.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np

from zobench.attacks.base import Attack, AttackContext, QueryConfig, Victim
from zobench.attacks.composed import SearchedAttack
from zobench.attacks.lockstep import Search
from zobench.attacks.protect import Guard
from zobench.attacks.session import Draft, Session, Try
from zobench.attacks.streams import stream
from zobench.data.example import Example
from zobench.data.image import Image
from zobench.tasks.base import Prediction

FIELD = "image"
"""``field`` of the records of attacks on images."""
HALVINGS = (10, 50, 200, 1000, 2000, 4000, 6000, 8000)
"""Queries out of 10,000 after which the area of a proposed change is halved (arXiv 1912.00049)."""

_RESAMPLES = 8
"""Draws per query: a draw may equal the accepted image."""

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


P = TypeVar("P")


def level(share: float) -> int:
    """A share of the range of pixel values in units of 1/255; at least 1."""
    return max(1, round(255 * share))


def clipped(values: Any) -> Pixels:
    """Integers as 8-bit pixels, limited to the range from 0 to 255."""
    return np.clip(values, 0, 255).astype(np.uint8)


def margin(prediction: Prediction, gold: int) -> float:
    """log p(gold) - max over the other classes of log p; negative if the answer is wrong."""
    assert prediction.log_probs is not None, "a prediction of an image task has class probabilities"
    others = [value for k, value in enumerate(prediction.log_probs) if k != gold]
    return prediction.log_probs[gold] - max(others)


def side_of(share: float, query: int, queries: int, area: int, most: int) -> int:
    """Side of the square changed by a query: sqrt(share * area / 2^k), k the halvings passed, rounded, from 1
    to ``most``. ``query`` counts from 0."""
    passed = sum(query * 10_000 >= at * queries for at in HALVINGS)
    return min(most, max(1, round(math.sqrt(share * area / 2**passed))))


class ImageAttack(SearchedAttack):
    """Base of attacks on images: a subclass gives ``search`` and ``drawn``."""

    edits: ClassVar[Literal["text", "image"]] = "image"

    @abstractmethod
    def drawn(self, pixels: Pixels, random: np.random.Generator) -> Pixels:
        """The image with a random perturbation of the attack's size, without the attack's search."""

    def null(self) -> Attack:
        return RandomPerturbations(self)

    def session(self, example: Example, victim: Victim, context: AttackContext) -> Session:
        if example.image is None:
            raise ValueError(f"attack {self.name!r} edits images; example {example.id!r} has none")
        return Session(
            example=example,
            field=FIELD,
            guard=Guard("", (), ()),
            random=stream(context.seed, *self.stream_names(), example.id),
            limit=self.affordable(example, victim),
            sampled=victim.sampled,
        )

    def stream_names(self) -> tuple[str, ...]:
        """Names that the random stream of an example is derived from, besides seed and example id."""
        return (self.name,)


def independent(session: Session, draw: Any, count: int) -> Search[Try | None]:
    """Query up to ``count`` independent perturbations; the first that is answered wrongly."""
    pixels, random = start(session)
    for _ in range(count):
        tries = yield from session.ask([draft(draw(pixels, random))])
        if not tries or session.won(tries[0]):
            return tries[0] if tries else None
    return None


def random_search(
    session: Session, first: P, shown: Callable[[P], Pixels], propose: Callable[[P, int, int], P]
) -> Search[Try | None]:
    """Query ``first``, then one proposal per query, accepted if its margin is lower; the first wrong answer.

    Args:
        shown: the image of a perturbation.
        propose: from the accepted perturbation, the number of the query and the number of queries. Drawn
            again if the image is the accepted one.
    """
    gold = session.example.label
    assert gold is not None, "image tasks have classes"
    accepted, best, queries = first, float("inf"), session.left
    for query in range(queries):
        proposed = first
        for _ in range(_RESAMPLES if query else 0):
            proposed = propose(accepted, query, queries)
            if not np.array_equal(shown(proposed), shown(accepted)):
                break
        tries = yield from session.ask([draft(shown(proposed))])
        if session.won(tries[0]):
            return tries[0]
        value = margin(tries[0].prediction, gold)
        if value < best:
            accepted, best = proposed, value
    return None


def start(session: Session) -> tuple[Pixels, np.random.Generator]:
    """The clean pixels, of shape (height, width, channels), and the example's random numbers."""
    image = session.example.image
    assert image is not None, "session() refuses examples without an image"
    return image.array(), np.random.default_rng(session.random.getrandbits(64))


def draft(pixels: Pixels) -> Draft:
    """An image to be queried."""
    return Draft("", image=Image.of(pixels))


class RandomPerturbations(ImageAttack):
    """Independent random perturbations of equal number and size: the null of an attack on images, and of
    itself."""

    Config = QueryConfig
    name: ClassVar[str] = "null"

    def __init__(self, attack: ImageAttack) -> None:
        super().__init__(QueryConfig(budget=attack.limit(), confirmations=attack.reserve()))
        self.attack = attack

    def null(self) -> Attack:
        return self

    def stream_names(self) -> tuple[str, ...]:
        return (self.name, self.attack.name)

    def drawn(self, pixels: Pixels, random: np.random.Generator) -> Pixels:
        return self.attack.drawn(pixels, random)

    def search(self, session: Session, context: AttackContext) -> Search[Try | None]:
        won = yield from independent(session, self.drawn, session.left)
        return won
