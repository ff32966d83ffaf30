"""Sentences that do not bear on the answer: built-in templates, and sentences of other examples.

A template names an owner, an optional number and a thing. The paired arms compare the same sentence with and
without its number. Owners, things, names and numbers are filled in from the attacked text (in topic, names
overlapping, numbers in range) or from outside it. The sentences were written for this project; none is from
a published pool.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random

import regex

from zobench.attacks.lexical import is_stop_word
from zobench.attacks.protect import NUMBER_WORDS, UNITS
from zobench.attacks.words import sentences, words
from zobench.data.example import Example


def _listed(text: str) -> tuple[str, ...]:
    return tuple(text.split())


TEMPLATES: tuple[str, ...] = (
    "{owner} keeps [{n} ]{thing} in a cupboard.",
    "{owner} once painted [{n} ]{thing} blue.",
    "{owner} has a picture of [{n} ]{thing} on the wall.",
    "{owner} wrote a short song about [{n} ]{thing}.",
    "{owner} saw [{n} ]{thing} on a postcard last summer.",
    "{owner} stores [{n} ]{thing} in the attic.",
    "{owner} drew [{n} ]{thing} on a napkin.",
    "{owner} read an old book that mentions [{n} ]{thing}.",
    "{owner} took photographs of [{n} ]{thing} at the fair.",
    "{owner} dreamed about [{n} ]{thing} on Tuesday.",
    "{owner} found [{n} ]{thing} in an old box.",
    "{owner} lent [{n} ]{thing} to the school theater.",
    "{owner} counted [{n} ]{thing} in a painting.",
    "{owner} left [{n} ]{thing} near the river.",
    "{owner} repaired [{n} ]{thing} during the winter.",
    "{owner} talked about [{n} ]{thing} on the radio.",
    "{owner} wrapped [{n} ]{thing} in brown paper.",
    "{owner} sent a letter about [{n} ]{thing} to the mayor.",
    "{owner} watched a film with [{n} ]{thing} in it.",
    "{owner} carried [{n} ]{thing} across the bridge.",
)
OWNERS: tuple[str, ...] = (
    "a museum in another town",
    "the baker across the street",
    "a retired sailor",
    "the village choir",
    "a gardener from the north",
    "the old lighthouse keeper",
    "a clockmaker",
    "the night porter",
)
RELATIVES: tuple[str, ...] = (
    "{name}'s cousin",
    "an uncle of {name}",
    "{name}'s dentist",
    "a neighbor of {name}",
)
THINGS = _listed(
    "lanterns kites bells umbrellas teapots ladders clocks mirrors buttons whistles ropes barrels pillows "
    "candles statues drums carpets violins compasses hammocks"
)
NAMES = _listed("Alma Bruno Celia Dario Edda Felix Greta Hugo Ines Jonas Karla Leo")
NEUTRAL: tuple[str, ...] = (
    "Please read the text with care.",
    "Here is the text again for you.",
    "Take as much time as you need.",
    "This is the text that was given.",
    "Read everything before you give your answer.",
    "What follows is part of the same text.",
    "There is no need to hurry with this one.",
    "As always, read the whole text from start to end.",
    "The text goes on after this sentence, so please keep reading.",
    "You may read the text as many times as you wish to do.",
)
_NUMBER = regex.compile(r"\[([^\]]*)\]")
_NUMERAL = regex.compile(r"(?<![\p{L}\p{N}])\p{N}+(?:[.,]\p{N}+)*")
_WHOLE = regex.compile(r"(?<![\p{N}.,])[0-9]{1,9}(?![\p{N}.,]?[0-9])")
_BACKWARD = _listed(
    "he she it they his her its their this that these those then so after also thus therefore but and if "
    "each another him them however altogether finally afterwards later"
)
_CLOSED = _listed(
    "the and with from this that these those have been were will would what when where which there their "
    "they does many much more less than some each every into onto over under about after before other only "
    "also very just your because while how long does still both between such then them his her its"
)
_NOUN_FOLLOWS = frozenset(
    _listed(
        "of many some several few these those her his their my our your its other more fewer all both the "
        "different new old red blue green small big large fresh ripe whole"
    )
)
"""Words after which a plural form is a noun."""


@dataclass(frozen=True, slots=True)
class Filling:
    """Values for a template, drawn once so that paired arms share them."""

    owner: str
    thing: str
    number: int

    def sentence(self, template: str, *, with_number: bool) -> str:
        """The filled template, starting with a capital letter."""
        body = _NUMBER.sub(r"\1" if with_number else "", template)
        body = body.format(owner=self.owner, thing=self.thing, n=self.number)
        return body[:1].upper() + body[1:]


@lru_cache(maxsize=256)
def names_in(text: str) -> frozenset[str]:
    """Capitalized words inside a sentence, or that appear capitalized more than once."""
    starts = {s.start for s in sentences(text)}
    capital = [w for w in words(text) if w.text[:1].isupper() and w.text.isalpha() and len(w.text) > 2]
    inside = {w.text for w in capital if w.start not in starts}
    often = {w.text for w in capital if sum(v.text == w.text for v in capital[:200]) > 1}
    return frozenset(n for n in inside | often if n.lower() not in _CLOSED + _BACKWARD)


def things_in(text: str) -> list[str]:
    """Plural nouns of the text, in order: the things it mentions.

    A word that looks like a plural counts if the words before it mark it as a noun: a number, a word such as
    "many", "her" or "of", or a number and one word ("4 red apples"). Verbs ("Maria buys") look the same but
    do not count.
    """
    found: dict[str, None] = {}
    spans = [w.text.lower() for w in words(text)]
    for i, word in enumerate(spans):
        before, further = spans[i - 1] if i else "", spans[i - 2] if i > 1 else ""
        between = before.isalpha() and not _plural(before) and not is_stop_word(before)
        counted = _counts(before) or (_counts(further) and between)
        if _plural(word) and (counted or before in _NOUN_FOLLOWS):
            found.setdefault(word)
    return list(found)


def _plural(word: str) -> bool:
    """Whether a word in lower case looks like a plural noun."""
    out = word in NUMBER_WORDS or word in UNITS or word in _CLOSED
    looks = word.isalpha() and len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is"))
    return looks and not out


def _counts(word: str) -> bool:
    return word[:1].isdigit() or word in NUMBER_WORDS


@lru_cache(maxsize=256)
def other_things(text: str) -> tuple[str, ...]:
    """Built-in things that the text does not mention."""
    low = text.lower()
    return tuple(t for t in THINGS if t not in low) or THINGS


def number_for(text: str, random: Random, *, in_range: bool) -> int:
    """A random number between the text's least and greatest whole numbers (2 to 30 if it has none).

    The range starts at 2 or above and ends at 12 or above. With ``in_range=False`` the number is between 10
    and 20 times the range's end.
    """
    low, high = _number_range(text)
    return random.randint(low, high) if in_range else random.randint(10 * high, 20 * high)


@lru_cache(maxsize=256)
def _number_range(text: str) -> tuple[int, int]:
    found = [int(m) for m in _WHOLE.findall(text)]
    low, high = (min(found), max(found)) if found else (2, 30)
    return max(2, low), max(12, high)


def numbered_sentences(pool: Sequence[Example], field: str) -> list[tuple[str, str]]:
    """(example id, sentence) of every sentence with a numeral that can be read on its own.

    Questions and sentences that start with a word referring back ("he", "then") are left out.
    """
    found = []
    for example in pool:
        for s in sentences(example.text.get(field, "")):
            first = s.text.split(None, 1)[0].lower().strip("'\",")
            if (
                _NUMERAL.search(s.text)
                and "?" not in s.text
                and first not in _BACKWARD
                and "$" not in s.text[:1]
            ):
                found.append((example.id, s.text))
    return found


def changes_answer(sentence: str, text: str, protected: Iterable[str], *, names_may_overlap: bool) -> bool:
    """Whether a sentence might change the answer of ``text``; such sentences are not inserted.

    It might if it contains a question, one of the task's protected words, or a name of the text (unless
    overlapping names are being tested).
    """
    low = sentence.lower()
    if "?" in sentence:
        return True
    if any(
        regex.search(rf"(?<![\p{{L}}\p{{N}}]){regex.escape(w.lower())}(?![\p{{L}}\p{{N}}])", low)
        for w in protected
        if w.strip()
    ):
        return True
    mine = {w.text for w in words(sentence)}
    return not names_may_overlap and any(n in mine for n in names_in(text))
