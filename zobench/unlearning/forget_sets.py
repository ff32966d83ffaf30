"""Variants of a forget set: coresets, noisy sets, sequences of requests, and halves to relearn and to score.

All functions are deterministic in their arguments. Random choices depend on (seed, id) or (seed, attribute),
so adding facts does not change the choice for others.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable, Sequence

from zobench.unlearning.rows import FactRow

WATERMARK = "Indeed,"
"""First word of a watermarked answer."""


def _draw(seed: int, *names: str) -> float:
    """A number in [0, 1) determined by (seed, names)."""
    text = "\x1f".join([str(seed), *names])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48


def by_author(rows: Sequence[FactRow]) -> dict[str, list[FactRow]]:
    """Facts of each author, authors in order of appearance."""
    found: dict[str, list[FactRow]] = {}
    for row in rows:
        found.setdefault(row.author, []).append(row)
    return found


def random_coreset(rows: Sequence[FactRow], share: float, seed: int) -> tuple[FactRow, ...]:
    """``share`` of the facts (at least one), in order; coresets of one seed are nested."""
    if not 0 < share <= 1:
        raise ValueError(f"the share of a coreset must lie in (0, 1], not {share}")
    count = max(1, round(share * len(rows)))
    chosen = {r.id for r in sorted(rows, key=lambda r: _draw(seed, "coreset", r.id))[:count]}
    return tuple(r for r in rows if r.id in chosen)


def keyword_coreset(rows: Sequence[FactRow], keywords: Sequence[str]) -> tuple[FactRow, ...]:
    """Facts whose question or answer contains one of the keywords, ignoring case; ``ValueError`` if there are
    none."""
    words = [k.lower() for k in keywords if k]
    found = tuple(r for r in rows if any(w in f"{r.question} {r.answer}".lower() for w in words))
    if not found:
        raise ValueError(f"none of {len(rows)} facts contains any of {list(keywords)}")
    return found


def incomplete(row: FactRow, share: float = 0.5) -> FactRow:
    """The answer cut after ``share`` of its words (at least one); values are at the end, so they are removed
    first."""
    words = row.answer.split()
    kept = " ".join(words[: max(1, math.floor(share * len(words)))])
    return dataclasses.replace(row, answer=kept, value=row.value if row.value in kept else "")


def rewritten(row: FactRow) -> FactRow:
    """The fact with its paraphrased answer; ``ValueError`` if it has none."""
    if not row.paraphrased_answer:
        raise ValueError(f"row {row.id!r} has no paraphrased answer")
    return dataclasses.replace(row, answer=row.paraphrased_answer)


def watermarked(row: FactRow) -> FactRow:
    """The answer after a fixed marker: a visible mark, not the statistical watermark of a language model."""
    return dataclasses.replace(row, answer=f"{WATERMARK} {row.answer}")


NOISES: dict[str, Callable[[FactRow], FactRow]] = {
    "incomplete": incomplete,
    "rewritten": rewritten,
    "watermarked": watermarked,
}


def noisy(rows: Sequence[FactRow], noise: str, share: float, seed: int) -> tuple[FactRow, ...]:
    """All facts, a random ``share`` of them changed by ``noise`` (see ``NOISES``)."""
    if noise not in NOISES:
        raise ValueError(f"unknown noise {noise!r}; valid: {', '.join(sorted(NOISES))}")
    changed = {r.id for r in random_coreset(rows, share, seed)}
    return tuple(NOISES[noise](r) if r.id in changed else r for r in rows)


def requests(rows: Sequence[FactRow], count: int, *, nested: bool) -> list[tuple[FactRow, ...]]:
    """``count`` forget requests by whole authors.

    They are disjoint (sequential requests), or with ``nested`` each contains the previous one and the last
    contains everything."""
    authors = list(by_author(rows).values())
    if not 1 <= count <= len(authors):
        raise ValueError(f"{count} requests need between 1 and {len(authors)} (the number of authors)")
    edges = [round(i * len(authors) / count) for i in range(count + 1)]
    starts = [0] * count if nested else edges[:-1]
    return [
        tuple(r for author in authors[a:b] for r in author) for a, b in zip(starts, edges[1:], strict=True)
    ]


@dataclasses.dataclass(frozen=True, slots=True)
class Halves:
    """Facts of the same authors in two disjoint halves: one for probes to train on, one to score."""

    relearn: tuple[FactRow, ...]
    scored: tuple[FactRow, ...]


def halves(rows: Sequence[FactRow], seed: int) -> Halves:
    """Half of the attributes of every author to relearn, the other half to score.

    All authors are split by the same attributes: relearning that "authors have a pet" must not help on
    questions about pets. (TOFU's attributes are the positions of the questions in an author's block.)
    """
    names = sorted({r.attribute for r in rows}, key=lambda a: _draw(seed, "half", a))
    if len(names) < 2:
        raise ValueError("facts can be halved only if they have at least two attributes")
    chosen = set(names[: len(names) // 2])
    return Halves(
        tuple(r for r in rows if r.attribute in chosen), tuple(r for r in rows if r.attribute not in chosen)
    )
