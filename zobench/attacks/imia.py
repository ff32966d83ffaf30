"""Membership inference by attack iterations (arXiv 2506.02711): members take more of them.

The score of an example is the number of tries that an attack needs until it is answered wrongly: fixed to the
budget plus one where every try fails, and to 0 where it is answered wrongly without an edit. Training rows
are members, test rows are not. Only the abstract of the paper is available: which attack builds the
adversarial text is ours (random typos, one per try, decision based, so the model may be a black box).

The attack itself runs like any other. Its runner also attacks as many training rows and reports the area
under the curve, and the true-positive rate at low false-positive rates where the sample is large enough,
beside the loss, zlib, min-k and min-k++ scores of the same rows (``zobench.runner.membership``). Null: the
meaning-preserving edits of equal number, whose iterations separate members as far as that needs no attack.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from zobench.attacks.base import AttackRecord
from zobench.attacks.char_typos import CharTypos, CharTyposConfig
from zobench.parameters import Count


@dataclass(frozen=True, kw_only=True)
class IterationsConfig(CharTyposConfig):
    edits: Count = 1
    tries: Count = 32
    members: Count = 200
    """Most training rows, and most test rows, that are compared."""


class Iterations(CharTypos):
    """Typos one at a time, counted. Cost: 1 + ``tries`` queries per example at most."""

    Config = IterationsConfig
    name: ClassVar[str] = "imia-2506.02711"
    config: IterationsConfig


def iterations(records: Sequence[AttackRecord], tries: int) -> list[int]:
    """Tries until the answer was wrong: 0 without an edit, ``tries`` + 1 where none of them did it."""
    found = []
    for r in records:
        if not r.clean.correct:
            found.append(0)
        else:
            found.append(r.queries - 1 if r.outcome == "success" else tries + 1)
    return found
