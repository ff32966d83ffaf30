"""The texts of one example for a model: what it reads before the answer, and the whole text of each answer.

Without a chat template these are the task's own prompt and its completions. With one, the task's prompt is
the user's message and the answer is the assistant's; every in-context demonstration is an earlier turn of the
user and the assistant. The separator between prompt and answer is then the template's, not the task's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from zobench.data.example import Example
from zobench.models.chat import Chat


@dataclass(frozen=True, slots=True)
class Written:
    """``context`` is the text before the answer, without spaces at its end; ``completed`` has the context
    with each answer behind it."""

    context: str
    completed: tuple[str, ...]


def conversation(
    chat: Chat, example: Example, plain: Written, shots: Sequence[tuple[Example, Written]]
) -> Written:
    """The texts of a model with a chat template, from the plain texts of the example and of its
    demonstrations, each without further demonstrations."""
    turns = [(shot.context, answers_of(e, shot)[0]) for e, shot in shots]
    opened = chat.opened(plain.context, turns, example=example.id)
    return Written(opened.rstrip(" "), tuple(opened + answer for answer in answers_of(example, plain)))


def answers_of(example: Example, plain: Written) -> list[str]:
    """The answers of the completed texts alone, without spaces around them."""
    if not all(text.startswith(plain.context) for text in plain.completed):
        raise ValueError(
            f"example {example.id!r}: the text with the answer does not begin with the text before it, so "
            "they cannot be told apart"
        )
    return [text[len(plain.context) :].strip(" ") for text in plain.completed]
