"""Irrelevant sentences inserted into the text: GSM-IC (arXiv 2302.00093) and arXiv 2511.08022, with
comparable arms.

Arms:

- ``no-number``: built-in sentences without numbers (20 templates);
- ``number``: sentences with numbers from ``pool_size`` draws of other examples of the same task, as in
  arXiv 2511.08022;
- ``paired-number`` / ``paired-no-number``: the same built-in sentence with and without its number at the same
  position. Sentence, owner, thing and position are the same draws in both arms, so they differ only by the
  number.

Cost: at most 1 + ``tries`` queries per example. Budget-matched random baseline (``null_kind``):
``paraphrase`` (default) queries the text without the sentence, with as many meaning-preserving edits as words
were inserted (or as many as it allows); ``neutral`` inserts content-free sentences of about the same length
at the same positions, which separates the effect of the content from that of the length.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, islice
from typing import Any, ClassVar, Literal

from zobench.attack_card import AttackCard, Column, Contrast, Table
from zobench.attacks.base import (
    AppliedEdit,
    Attack,
    AttackContext,
    AttackRecord,
    Measure,
    SearchConfig,
)
from zobench.attacks.composed import ComposedAttack
from zobench.attacks.distractors import (
    NAMES,
    NEUTRAL,
    OWNERS,
    RELATIVES,
    TEMPLATES,
    Filling,
    changes_answer,
    names_in,
    number_for,
    numbered_sentences,
    other_things,
    things_in,
)
from zobench.attacks.lockstep import Search
from zobench.attacks.metrics import variant_accuracy
from zobench.attacks.search import brute_force
from zobench.attacks.session import Draft, Session, Try
from zobench.attacks.streams import stream
from zobench.attacks.words import Edit, apply_edits, in_style, sentences, words
from zobench.parameters import Count, Positive

Arm = Literal["no-number", "number", "paired-number", "paired-no-number"]
InsertPosition = Literal["start", "random", "before-question", "after"]
DEFENCE = "Ignore any information that has nothing to do with the question. "


@dataclass(frozen=True, kw_only=True)
class IrrelevantSentenceConfig(SearchConfig):
    arm: Arm = "no-number"
    """The source of the sentences."""
    sentences: Count = 1
    """Sentences inserted per try (grid of the paper's questions: 1, 2, 3, 5)."""
    length_ratio: Positive | None = None
    """Alternative to ``sentences``: insert sentences until their number of words reaches this share of the
    text's (0.25, 0.5, 1, 2, 10)."""
    position: InsertPosition = "random"
    """``random``: any sentence boundary, drawn for each sentence."""
    topic: Literal["off", "in"] = "off"
    """``in``: the sentence is about a thing that the text mentions."""
    role: Literal["none", "other", "overlap"] = "none"
    """The owner of the thing: without a name, a name that is not in the text, or (``overlap``) a relative of
    someone in the text.
    """
    number_range: Literal["in", "out"] = "in"
    """Whether numbers lie within the range of the text's numbers."""
    tries: Count = 3
    """Edited texts queried per example, besides the clean one."""
    pool_size: Count = 20
    """Sentences drawn from other examples in arm ``number``. The default equals the size of the built-in
    pool, so that no arm has more candidates."""
    style: Literal["match", "plain"] = "match"
    """``match``: follow the text's letter case and spacing of final marks."""
    defence: bool = False
    """Whether every query starts with an instruction to ignore irrelevant information."""
    null_kind: Literal["paraphrase", "neutral"] = "paraphrase"
    """Budget-matched random baseline: ``paraphrase`` (as many meaning-preserving edits) or ``neutral``
    (content-free sentences of about the same length at the same positions)."""


VARIANTS = Table(
    name="variants",
    title="Variants of the same problems",
    text="All irrelevant-sentence attacks with one try each. Micro: mean over texts; macro: share of "
    "problems answered correctly in every variant; normalized: each divided by the accuracy on the clean "
    "problems.",
    columns=(
        Column("micro", "Micro"),
        Column("macro", "Macro"),
        Column("normalized_micro", "Normalized micro"),
        Column("normalized_macro", "Normalized macro"),
    ),
    lines=("row",),
)
NUMBERS = Contrast(
    name="numbers",
    title="Numbers against no numbers",
    text="The same irrelevant sentence at the same position, with and without its number. The difference is "
    "accuracy without the number minus accuracy with it; it is positive if the number does harm. Interval "
    "over seeds and examples; discordant examples are those answered correctly only without and only with "
    "the number.",
    parameter="arm",
    first="paired-no-number",
    second="paired-number",
    first_label="Without number",
    second_label="With number",
)


class IrrelevantSentence(ComposedAttack):
    """Random irrelevant sentences at random positions. Black box: it reads only the answers."""

    Config = IrrelevantSentenceConfig
    name: ClassVar[str] = "irrelevant-sentence"
    card: ClassVar[AttackCard] = AttackCard(
        position="sentence",
        titled_by=("arm", "topic", "position"),
        tables=(VARIANTS,),
        contrasts=(NUMBERS,),
    )
    null_kinds: ClassVar[tuple[str, ...]] = ("lexical", "frame")
    config: IrrelevantSentenceConfig

    def __init__(self, config: IrrelevantSentenceConfig | None = None) -> None:
        super().__init__(config)
        self._pool: tuple[AttackContext | None, list[tuple[str, str]]] = (None, [])

    def null(self) -> Attack:
        return super().null() if self.config.null_kind == "paraphrase" else NeutralSentence(self.config)

    def intensity(self) -> tuple[str, float]:
        """Number of inserted sentences, or their length relative to the text's."""
        ratio = self.config.length_ratio
        return ("sentences", self.config.sentences) if ratio is None else ("length_ratio", ratio)

    def prefix(self) -> str:
        return DEFENCE if self.config.defence else ""

    @classmethod
    def measures_across(cls, ran: Mapping[str, tuple[Attack, Sequence[AttackRecord]]]) -> Sequence[Measure]:
        """Micro, macro and normalized accuracy (GSM-IC) over the attacks with one try each.

        Their texts are variants of the same problems. Empty if there are fewer than two."""
        single = {name: records for name, (attack, records) in ran.items() if attack.config.tries == 1}
        if len(single) < 2 or not all(single.values()):
            return ()
        correct: dict[str, list[bool]] = {}
        clean: dict[str, bool] = {}
        for r in chain.from_iterable(single.values()):
            correct.setdefault(r.example_id, []).append(r.final.correct)
            clean[r.example_id] = r.clean.correct
        found = dataclasses.asdict(variant_accuracy(correct, clean))
        over = {"variants": sorted(single)}
        return [Measure(k, v, len(correct), params=over) for k, v in found.items() if v is not None]

    def search(self, session: Session, context: AttackContext) -> Search[Try | None]:
        drawn = iter(lambda: self._draft(session, context), None)
        won = yield from brute_force(session, list(islice(drawn, self.config.tries)))
        return won

    def _draft(self, session: Session, context: AttackContext) -> Draft | None:
        text, config = session.original, self.config
        target = None if config.length_ratio is None else config.length_ratio * len(words(text))
        chosen: list[str] = []
        size = 0
        while len(chosen) < config.sentences if target is None else size < max(1.0, target):
            sentence = self._sentence(session, context, frozenset(chosen[-self.config.pool_size :]))
            if sentence is None:
                return None
            chosen.append(in_style(sentence, text) if config.style == "match" else sentence)
            size += len(words(sentence))
        places = [_place(session, config.position) for _ in chosen]
        if config.position != "random":
            places = places[:1] * len(chosen)
        edited = _inserted(text, chosen, places)
        first = min(places, key=lambda p: p[0])[1]
        applied = (AppliedEdit(config.arm, p, "", "", s) for s, (_, p) in zip(chosen, places, strict=True))
        return Draft(edited, size, config.arm, first, edits=tuple(applied))

    def _sentence(self, session: Session, context: AttackContext, chosen: frozenset[str]) -> str | None:
        """A sentence that cannot change the answer, if possible one that was not chosen yet."""
        makers = self._makers(session, context)
        session.random.shuffle(makers)
        spare = None
        for make in makers:
            sentence = make()
            overlap = self.config.role == "overlap"
            if changes_answer(sentence, session.original, context.protected, names_may_overlap=overlap):
                continue
            if sentence not in chosen and in_style(sentence, session.original) not in chosen:
                return sentence
            spare = sentence
        return spare

    def _makers(self, session: Session, context: AttackContext) -> list[Any]:
        """One function per sentence of the pool."""
        if self.config.arm == "number":
            found = self._others(session.field, context)
            return [lambda s=s: s for owner, s in found if owner != session.example.id]
        filling = self._filling(session, context)
        numbered = self.config.arm == "paired-number"
        return [lambda t=t: filling.sentence(t, with_number=numbered) for t in TEMPLATES]

    def _filling(self, session: Session, context: AttackContext) -> Filling:
        random, text = session.random, session.original
        things = things_in(text) if self.config.topic == "in" else []
        mine = sorted(names_in(text))
        owner = random.choice(OWNERS)
        if self.config.role != "none":
            others = [n for n in NAMES if n not in mine]
            names = mine if self.config.role == "overlap" and mine else others
            owner = random.choice(RELATIVES).format(name=random.choice(names))
        thing = random.choice(things or other_things(text))
        # A stream of its own: how much randint consumes depends on its range, and later draws must not.
        own = stream(random.getrandbits(64), "number")
        return Filling(owner, thing, number_for(text, own, in_range=self.config.number_range == "in"))

    def _others(self, field: str, context: AttackContext) -> list[tuple[str, str]]:
        if self._pool[0] is not context:
            found = numbered_sentences(context.pool, field)
            if not found:
                raise ValueError(
                    "irrelevant-sentence: arm 'number' takes sentences with numbers from other examples of "
                    "the task, but the task has none; use 'paired-number' for built-in sentences"
                )
            draw = stream(context.seed, self.name, "pool").sample(
                found, min(self.config.pool_size, len(found))
            )
            self._pool = (context, draw)
        return self._pool[1]


class NeutralSentence(IrrelevantSentence):
    """Baseline of kind ``neutral``: the same draws and positions, with content-free sentences instead."""

    def null(self) -> Attack:
        return self

    def _sentence(self, session: Session, context: AttackContext, chosen: frozenset[str]) -> str | None:
        meant = super()._sentence(session, context, frozenset())
        if meant is None:
            return None
        fit = sorted(NEUTRAL, key=lambda s: abs(len(words(s)) - len(words(meant))))
        return next((s for s in fit if s not in chosen), fit[0])


def _place(session: Session, position: InsertPosition) -> tuple[int, int]:
    """Character offset and sentence index of an insertion; the text's end if the position is protected."""
    text = session.original
    places, asking = _boundaries(text)
    place = {"start": places[0], "after": places[-1], "before-question": (asking or places)[-1]}.get(position)
    if place is None:
        place = session.random.choice(places)
    return place if session.guard.free(place[0], place[0]) else places[-1]


@lru_cache(maxsize=256)
def _boundaries(text: str) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """All insertion positions, and those before a question."""
    spans = sentences(text)
    places = [(s.start, i) for i, s in enumerate(spans)] + [(len(text), len(spans))]
    return places, [p for p, s in zip(places, spans, strict=False) if "?" in s.text]


def _inserted(text: str, chosen: list[str], places: list[tuple[int, int]]) -> str:
    by_offset: dict[int, list[str]] = {}
    for sentence, (offset, _) in zip(chosen, places, strict=True):
        by_offset.setdefault(offset, []).append(sentence)
    edits = []
    for offset, group in by_offset.items():
        before = " " if offset > 0 and not text[offset - 1].isspace() else ""
        after = " " if offset < len(text) else ""
        edits.append(Edit(offset, offset, before + " ".join(group) + after))
    return apply_edits(text, edits)
