"""State of the attack on one example: editable text, queries made, remaining budget."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from zobench.attacks.base import AppliedEdit
from zobench.attacks.lockstep import CONFIRM, VICTIM, Ask, Search
from zobench.attacks.protect import Guard
from zobench.data.example import Example
from zobench.data.image import PICTURE_SIDE, Image
from zobench.tasks.base import Prediction


@dataclass(frozen=True, slots=True)
class Draft:
    """An edited text or image that may be queried.

    Attributes:
        text: the edited text; empty for an image.
        size: unit edits in it (characters, words or inserted words, as the attack counts); the
            budget-matched random baseline makes edits of the same size.
        similarity: sentence similarity (cosine) to the original, where a constraint computed it.
        source, position, part_of_speech: of the last edit (position: index of the word or sentence).
        edits: all edits, if there are several.
        image: the edited image; ``None`` for a text.
    """

    text: str
    size: int = 1
    source: str = ""
    position: int | None = None
    part_of_speech: str = ""
    similarity: float | None = None
    edits: tuple[AppliedEdit, ...] = ()
    image: Image | None = None

    @property
    def shown(self) -> str:
        """What records and pages show of it: the text, or a small picture as a data URI."""
        return self.text if self.image is None else self.image.thumbnail(PICTURE_SIDE).data_uri()


class Try(NamedTuple):
    """A draft that was queried, and its answer."""

    draft: Draft
    prediction: Prediction


def gold_probability(prediction: Prediction, label: int | None) -> float:
    """Probability of the gold label; 1 or 0 by correctness if the victim gives no probabilities."""
    if prediction.log_probs is None or label is None:
        return float(prediction.correct)
    return math.exp(prediction.log_probs[label])


@dataclass
class Session:
    """State of the attack on one example.

    Attributes:
        limit: most queries, the clean one included; ``None`` for no limit.
        prefix: text put before the field in every query.
        asked: queries made so far.
        tries: queried texts or images that could win.
        probes: texts queried only to rank words; they cannot win.
    """

    example: Example
    field: str
    guard: Guard
    random: Random
    limit: int | None
    prefix: str = ""
    sampled: bool = False
    asked: int = 0
    probes: list[Try] = dataclasses.field(default_factory=list)
    tries: list[Try] = dataclasses.field(default_factory=list)
    clean: Prediction | None = None

    @property
    def original(self) -> str:
        return self.example.text[self.field]

    @property
    def unedited(self) -> Draft:
        """The example's own text or image."""
        image = self.example.image
        return Draft(self.original, size=0) if image is None else Draft("", size=0, image=image)

    @property
    def left(self) -> int:
        """Queries that the search may still spend."""
        # An integer, not infinity: callers slice with it.
        return 1 << 62 if self.limit is None else max(0, self.limit - self.asked)

    def ask_clean(self) -> Search[Prediction]:
        """The prediction on the unedited text or image."""
        [self.clean] = yield self._request([self.unedited])
        return self.clean

    def ask(self, drafts: Sequence[Draft], ahead: Sequence[Draft] = ()) -> Search[list[Try]]:
        """Answers to as many of the drafts, in order, as the budget allows (none if it is spent).

        ``ahead``: drafts that would be queried next; they count as queries only when they are needed."""
        affordable = list(drafts[: self.left])
        if not affordable:
            return []
        ask = self._request(affordable)
        replies = yield dataclasses.replace(ask, ahead=self._examples(ahead[: self.left]))
        found = [Try(d, p) for d, p in zip(affordable, replies, strict=True)]
        self.tries += found
        return found

    def confirm(self, draft: Draft, times: int) -> Search[Prediction | None]:
        """Query the text ``times`` more times without the cache; the first right answer, else ``None``."""
        return next((p for p in (yield from self.again(draft, times)) if p.correct), None)

    def again(self, draft: Draft, times: int) -> Search[list[Prediction]]:
        """``times`` answers to the text, each computed without the cache."""
        if not times:
            return []
        replies = yield dataclasses.replace(self._request([draft] * times), service=CONFIRM)
        return replies

    def won(self, attempt: Try) -> bool:
        """The goal: the text is answered wrongly (the clean text was answered rightly)."""
        return not attempt.prediction.correct

    def score(self, prediction: Prediction) -> float:
        """The quantity a search maximizes: one minus the probability of the gold answer."""
        return 1.0 - gold_probability(prediction, self.example.label)

    def best(self) -> Try | None:
        """The try with the highest score (the first one, if several are equal); ``None`` without tries."""
        return max(self.tries, key=lambda t: self.score(t.prediction), default=None)

    def _request(self, drafts: Sequence[Draft]) -> Ask:
        self.asked += len(drafts)
        return Ask(VICTIM, self._examples(drafts))

    def _examples(self, drafts: Sequence[Draft]) -> tuple[Example, ...]:
        return tuple(
            self.example.with_text(self.field, self.prefix + d.text)
            if d.image is None
            else self.example.with_image(d.image)
            for d in drafts
        )
