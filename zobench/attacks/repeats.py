"""Repetitions of an attack: one with greedy decoding, several with independent samples otherwise.

A repetition is the whole attack with another seed for its draws and for the victim's samples. Its records
follow those of the previous one, with ``#2``, ``#3`` after the example ids, so a metric over all records is
the mean over repetitions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from zobench.attacks.base import Attack, AttackContext, AttackRecord, Victim
from zobench.data.example import Example


@dataclasses.dataclass(frozen=True, slots=True)
class Queries:
    """Query counts summed over the victims of all repetitions; see :class:`zobench.attacks.base.Victim`."""

    total: int
    unique: int
    computed: int
    stored: int


def run_repeats(
    attack: Attack,
    victim: Callable[[float, int], Victim],
    examples: Sequence[Example],
    context: AttackContext,
) -> tuple[list[AttackRecord], Queries]:
    """Records of all repetitions, and their queries.

    Args:
        victim: makes a victim from (temperature, seed); called once per repetition.
    """
    temperature, repeats = attack.decoding()
    records: list[AttackRecord] = []
    victims: list[Victim] = []
    for k in range(repeats):
        # Shifted by 2**32, so that repetitions of neighbouring seeds do not share streams.
        seed = context.seed + (k << 32)
        victims.append(victim(temperature, seed))
        found = attack.run(victims[-1], examples, dataclasses.replace(context, seed=seed))
        mark = f"#{k + 1}" if k else ""
        records += [dataclasses.replace(r, example_id=r.example_id + mark) for r in found]
    counts = zip(*((v.total, v.unique, v.computed, v.stored) for v in victims), strict=True)
    return records, Queries(*(sum(count) for count in counts))
