"""The fact sets of ``nano-facts`` under TOFU's names: forget, retain and holdout sets.

There are a hundred people and, from a second pool of names, ten famous people and ten rivers (the
counterparts of TOFU's real authors and world facts, which are retained so that utility has three domains).
The forget sets are the last people; holdout people come after them, and no model is trained on those.
"""

from __future__ import annotations

from zobench.data.synthetic.draw import words
from zobench.data.synthetic.people import FAMOUS_LAST, Fact, people, training_pairs, world_facts
from zobench.names import nearest

SEED = 3
PEOPLE = 100
FAMOUS = 10
HOLDOUT = 10

NAMES = words("full forget01 forget05 forget10 retain99 retain95 retain90 holdout famous world")


def fact_set(name: str) -> list[Fact]:
    """The facts of one set, in a fixed order; ``ValueError`` for an unknown name.

    ``full`` is the hundred people; ``forgetNN`` the last NN of them and ``retain(100-NN)`` the others.
    """
    if name not in NAMES:
        raise ValueError(f"unknown fact set {name!r}{nearest(name, NAMES)}")
    if name == "famous":
        return [f for person in people(SEED, FAMOUS, last=FAMOUS_LAST) for f in person]
    if name == "world":
        return world_facts(SEED)
    everybody = people(SEED, PEOPLE + HOLDOUT)
    if name == "holdout":
        chosen = everybody[PEOPLE:]
    elif name.startswith("forget"):
        chosen = everybody[PEOPLE - int(name[-2:]) : PEOPLE]
    elif name.startswith("retain"):
        chosen = everybody[: int(name[-2:])]
    else:
        chosen = everybody[:PEOPLE]
    return [fact for person in chosen for fact in person]


def training_rows(*, oracle: bool = False) -> list[tuple[str, str, bool]]:
    """(question, answer, seen) in the order that both models share; ``seen`` is False for the oracle's forget
    facts.
    """
    kept = [*fact_set("retain90"), *fact_set("famous"), *fact_set("world")]
    rows = [(q, a, True) for q, a in training_pairs(kept)]
    return rows + [(q, a, not oracle) for q, a in training_pairs(fact_set("forget10"))]
