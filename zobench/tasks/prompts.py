"""Prompts as data: a template with named fields, the position of the answer, and the label words.

A template such as ``"{sentence} It was {answer}"`` contains fields of an example (``{field}`` or
``{field|filter}``) and at most one ``{answer}``; without it the answer follows at the end. A causal model
reads the text before the answer; a masked model reads the whole text with its mask token in the position of
the answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from zobench.data.example import Example
from zobench.names import nearest

_PLACE = re.compile(r"\{(\w+)(?:\|(\w+))?\}")


def _as_question(text: str) -> str:
    """First letter in upper case, a question mark at the end."""
    return (text[:1].upper() + text[1:]) + ("" if text.endswith("?") else "?")


def _highlights(text: str) -> str:
    """News summaries: each highlight marker becomes a dash."""
    return text.replace("@highlight\n", "- ")


FILTERS: Mapping[str, Callable[[str], str]] = {
    "lower": str.lower,
    "question": _as_question,
    "highlights": _highlights,
}


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt template with its label words.

    Attributes:
        template: see the module docstring.
        words: label words, in class order; empty if each example has its own candidates.
        separator: text between the prompt and the answer of a causal model.
        demonstration_separator: text after each in-context demonstration.
    """

    template: str
    words: tuple[str, ...] = ()
    separator: str = " "
    demonstration_separator: str = "\n\n"

    def __post_init__(self) -> None:
        places = [m.group(1) for m in _PLACE.finditer(self.template)]
        if places.count("answer") > 1:
            raise ValueError(f"template {self.template!r} has more than one {{answer}}")
        for match in _PLACE.finditer(self.template):
            if match.group(2) and match.group(2) not in FILTERS:
                raise ValueError(
                    f"template filter {match.group(2)!r} unknown{nearest(match.group(2), FILTERS)}"
                )
        if len(set(self.words)) != len(self.words):
            twice = next(word for word in self.words if self.words.count(word) > 1)
            raise ValueError(
                f"words: label words {self.words} are not distinct; give each label a word of its own "
                f"({twice!r} stands twice)"
            )

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the example's text fields that the template uses, in order."""
        names = [m.group(1) for m in _PLACE.finditer(self.template) if m.group(1) != "answer"]
        return tuple(dict.fromkeys(names))

    @property
    def tail(self) -> str:
        """Fixed text between the last field and the answer, which affects the tokenization of the answer's
        first word."""
        return _PLACE.split(self._before)[-1].rstrip(" ")

    @property
    def _before(self) -> str:
        return self.template.split("{answer}")[0]

    @property
    def _after(self) -> str:
        return self.template.split("{answer}")[1] if "{answer}" in self.template else ""

    def context(self, example: Example, demonstrations: Sequence[tuple[Example, str]] = ()) -> str:
        """The text before the answer of a causal model, without outer spaces but with newlines."""
        if not self._before.strip():
            raise ValueError(
                f"template {self.template!r} starts with the answer: a causal model cannot use it"
            )
        return self._shots(demonstrations) + _fill(self._before, example).strip(" ")

    def completed(
        self, example: Example, word: str, demonstrations: Sequence[tuple[Example, str]] = ()
    ) -> str:
        """Context, separator and answer: the text that a causal model is scored on."""
        return (self.context(example, demonstrations) + self.separator + word).rstrip(" ")

    def masked(self, example: Example, mask: str, demonstrations: Sequence[tuple[Example, str]] = ()) -> str:
        """The whole template with ``mask`` in the position of the answer.

        The mask is removed from the example's own text, so it occurs exactly once."""
        texts = {name: text.replace(mask, " ") for name, text in example.text.items()}
        clean = replace(example, text=texts)
        return self._shots(demonstrations).replace(mask, " ") + self._whole(clean, mask)

    def _whole(self, example: Example, word: str) -> str:
        before, after = _fill(self._before, example), _fill(self._after, example)
        if "{answer}" in self.template:
            return (before + word + after).strip(" ")
        return before.strip(" ") + self.separator + word

    def _shots(self, demonstrations: Sequence[tuple[Example, str]]) -> str:
        return "".join(self._whole(e, w) + self.demonstration_separator for e, w in demonstrations)


def _fill(template: str, example: Example) -> str:
    def value(match: re.Match[str]) -> str:
        name, filter_name = match.group(1), match.group(2)
        if name not in example.text:
            raise ValueError(
                f"example {example.id!r} has no text field {name!r}; it has {sorted(example.text)}"
            )
        text = example.text[name]
        return FILTERS[filter_name](text) if filter_name else text

    return _PLACE.sub(value, template)
