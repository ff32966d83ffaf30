"""Word lists shared by several generators."""

from __future__ import annotations

from zobench.data.synthetic.draw import words

NAMES = words("Tom Ann Ben Mia Sam Eva Leo Ida Max Zoe Jim Kay Dan Liv Roy Amy")
OBJECTS = words("apples books coins pens stamps cards eggs shells toys balls cakes stones")
COLOURS = ("red", "blue", "green", "black", "white", "pink", "grey", "brown")
CONTAINERS = ("box", "basket", "drawer", "jar")
