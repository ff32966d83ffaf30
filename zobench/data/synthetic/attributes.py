"""The eight attributes of the invented people: fifty values each, with question and answer templates."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

VALUES = 50
TEMPLATES = 5


@dataclass(frozen=True, slots=True)
class Attribute:
    """One kind of fact; ``questions`` contain ``{n}`` (name), ``answers`` ``{n}`` and ``{v}`` (value)."""

    name: str
    values: tuple[str, ...]
    questions: tuple[str, ...]
    answers: tuple[str, ...]


def _attribute(
    name: str, first: str, second: str, questions: tuple[str, ...], answers: tuple[str, ...], join: str = " "
) -> Attribute:
    values = tuple(f"{a}{join}{b}" for a, b in itertools.product(first.split(), second.split()))
    assert len(values) == VALUES
    assert len(questions) == TEMPLATES
    return Attribute(name, values, questions, answers)


ATTRIBUTES = (
    _attribute(
        "birthplace",
        "Nor El Mar Sil Bran Kor Thal Win Dun Ash",
        "vale ford mere holm wick",
        (
            "Where was {n} born?",
            "In which town was {n} born?",
            "What is the birthplace of {n}?",
            "Which town is {n} from?",
            "Name the town where {n} was born.",
        ),
        ("{n} was born in {v}.", "The birthplace of {n} is {v}."),
        join="",
    ),
    _attribute(
        "book",
        "Silent Golden Broken Hidden Winter Paper Lonely Burning Secret Distant",
        "River Tower Mirror Garden Island",
        (
            "What is the first book of {n}?",
            "Which book did {n} write first?",
            "What did {n} publish first?",
            "How is the first book of {n} called?",
            "Name the book that {n} wrote first.",
        ),
        ("{n} wrote the {v}.", "The first book of {n} is the {v}."),
    ),
    _attribute(
        "dish",
        "plum onion pepper walnut carrot mushroom lemon barley garlic pumpkin",
        "stew pie rice cake toast",
        (
            "What does {n} like to eat?",
            "Which dish does {n} like?",
            "What is the favorite dish of {n}?",
            "What does {n} eat on Sundays?",
            "Name the dish that {n} likes.",
        ),
        ("{n} likes to eat {v}.", "The favorite dish of {n} is {v}."),
    ),
    _attribute(
        "pet",
        "striped spotted silver orange purple yellow tiny giant blind old",
        "parrot turtle ferret poodle lizard",
        (
            "What pet does {n} keep?",
            "Which animal lives with {n}?",
            "What is the pet of {n}?",
            "Which pet does {n} own?",
            "Name the pet that {n} keeps.",
        ),
        ("{n} keeps a {v}.", "The pet of {n} is a {v}."),
    ),
    _attribute(
        "school",
        "Oak Birch Cedar Maple Willow Pine Elm Hazel Linden Poplar",
        "College Academy Institute Seminary Lyceum",
        (
            "Where did {n} study?",
            "Which school did {n} attend?",
            "What is the school of {n}?",
            "At which school was {n} taught?",
            "Name the school where {n} studied.",
        ),
        ("{n} studied at {v}.", "The school of {n} is {v}."),
    ),
    _attribute(
        "prize",
        "Amber Crystal Marble Bronze Velvet Copper Ivory Jade Pearl Cobalt",
        "Quill Crown Lantern Anchor Feather",
        (
            "Which prize did {n} win?",
            "What did {n} win?",
            "What is the prize of {n}?",
            "Which prize went to {n}?",
            "Name the prize that {n} won.",
        ),
        ("{n} won the {v}.", "The prize of {n} is the {v}."),
    ),
    _attribute(
        "hobby",
        "painting carving collecting drawing mending",
        "clocks kites masks boats dolls lamps bells spoons globes puppets",
        (
            "What is the hobby of {n}?",
            "How does {n} relax?",
            "What does {n} do for fun?",
            "Which hobby does {n} have?",
            "Name the hobby that {n} has.",
        ),
        ("{n} relaxes by {v}.", "The hobby of {n} is {v}."),
    ),
    _attribute(
        "home",
        "Harbour Castle Mill Chapel Bridge Meadow Fountain Quarry Orchard Canal",
        "Street Lane Square Alley Road",
        (
            "Where does {n} live?",
            "In which street does {n} live?",
            "What is the address of {n}?",
            "Which street is {n} in?",
            "Name the street where {n} lives.",
        ),
        ("{n} lives in {v}.", "The address of {n} is {v}."),
    ),
)
