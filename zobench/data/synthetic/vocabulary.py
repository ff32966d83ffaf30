"""Words that several generators share."""

from __future__ import annotations

NAMES = (
    "Tom", "Ann", "Ben", "Mia", "Sam", "Eva", "Leo", "Ida", "Max", "Zoe", "Jim", "Kay", "Dan", "Liv", "Roy", "Amy",
)  # fmt: skip
OBJECTS = (
    "apples", "books", "coins", "pens", "stamps", "cards", "eggs", "shells", "toys", "balls", "cakes", "stones",
)  # fmt: skip
COLOURS = ("red", "blue", "green", "black", "white", "pink", "grey", "brown")
CONTAINERS = ("box", "basket", "drawer", "jar")
