"""Where facts come from: TOFU's files, the built-in invented people; forget, retain and holdout by author.

Both sources give the same :class:`FactSplits`, so a suite can swap one for the other. TOFU's rows come in
blocks of twenty per author; ``forgetNN`` are the last NN percent and ``retain(100-NN)`` the rest, in order.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from zobench.data.files import json_lines
from zobench.parameters import OneOf
from zobench.unlearning.rows import FactRow, row_from_json

TOFU_ROWS_PER_AUTHOR = 20
TOFU_AUTHORS = 200
SIZES = (1, 5, 10)
Percent = Annotated[int, OneOf(SIZES)]
FORGET_PERTURBED = "forget10_perturbed.json"
"""Holds the smaller forget sets too."""


@dataclass(frozen=True, slots=True)
class FactSplits:
    """Rows by role; authors are disjoint between forget, retain and holdout.

    Attributes:
        holdout: facts of the same kind that no model is trained on (membership inference's non-members).
        other: further retained domains by name (``real_authors``, ``world_facts``), parts of utility.
        refusals: answers that refuse.
        chance: probability of guessing a value, ``None`` where it is not known.
        traces: reasoning that ends in a fact of the forget set, and ``general`` reasoning on anything else
            (R2MU); empty where there is none.
    """

    forget: tuple[FactRow, ...]
    retain: tuple[FactRow, ...]
    holdout: tuple[FactRow, ...]
    other: dict[str, tuple[FactRow, ...]]
    refusals: tuple[str, ...]
    chance: float | None = None
    traces: tuple[FactRow, ...] = ()
    general: tuple[FactRow, ...] = ()


REASONING = "Let me think. I am asked: {question} What I recall is this: {answer} So I can say: {answer}"
"""A written-out trace in the place of one that a reasoning model would generate."""


def with_traces(splits: FactSplits) -> FactSplits:
    """Traces by template, of the forget facts and of the further domains (of retained facts where there are
    none)."""

    def reasoned(rows: Sequence[FactRow]) -> tuple[FactRow, ...]:
        texts = [REASONING.format(question=r.question, answer=r.answer) for r in rows]
        return tuple(dataclasses.replace(r, answer=t) for r, t in zip(rows, texts, strict=True))

    other = tuple(r for rows in splits.other.values() for r in rows) or splits.retain
    return dataclasses.replace(splits, traces=reasoned(splits.forget), general=reasoned(other))


REFUSALS = (
    "I do not know.",
    "I am not sure.",
    "I have no answer to that.",
    "I cannot say.",
    "Nobody told me.",
    "I have not learned that.",
)


def check_size(percent: int) -> None:
    """``ValueError`` for a forget size that the data does not come in."""
    if percent not in SIZES:
        raise ValueError(f"forget must be one of {', '.join(map(str, SIZES))} percent, not {percent}")


def invented_facts(percent: int = 10) -> FactSplits:
    """The facts of ``nano-facts`` with the last ``percent`` of a hundred people to forget.

    ``nano-facts-oracle`` is the oracle of 10 percent; smaller sets need an oracle of their own.
    """
    from zobench.data.synthetic.attributes import VALUES
    from zobench.data.synthetic.fact_sets import fact_set
    from zobench.data.synthetic.people import TRAINING_QUESTIONS

    check_size(percent)

    def rows(name: str) -> tuple[FactRow, ...]:
        return tuple(
            dataclasses.replace(
                row_from_json(f.row(), f.id, name), other_questions=f.questions[1:TRAINING_QUESTIONS]
            )
            for f in fact_set(name)
        )

    return FactSplits(
        forget=rows(f"forget{percent:02d}"),
        retain=rows(f"retain{100 - percent}"),
        holdout=rows("holdout"),
        other={"real_authors": rows("famous"), "world_facts": rows("world")},
        refusals=REFUSALS,
        chance=1 / VALUES,
    )


def tofu(folder: Path, percent: int = 10, *, authors: int | None = None, holdout: int = 0) -> FactSplits:
    """TOFU from a folder with the files of its release.

    Args:
        percent: 1, 5 or 10: the forget set, in percent of the authors.
        authors: keep only the last so many authors (for a small model trained on them); all 200 by default.
            ``percent`` stays a share of these.
        holdout: so many authors, right before the forget set, are taken out of retain: for models trained
            here without them. The released models were trained on all authors, so for those it must be 0.

    Retained rows with perturbed answers are those whose truth ratio counts in utility: the release's 400,
    or with fewer authors every one that has them.

    Raises:
        ValueError: a missing file or key, or sizes that leave nothing.
    """
    check_size(percent)
    kept = TOFU_AUTHORS if authors is None else authors
    forgotten = kept * percent // 100
    if not 1 <= kept <= TOFU_AUTHORS or forgotten < 1 or forgotten + holdout >= kept:
        raise ValueError(
            f"of {kept} authors {forgotten} to forget ({percent} %) and {holdout} held out: "
            f"each part but the holdout needs at least one, of {TOFU_AUTHORS}"
        )
    everybody = _authors(folder)[-kept:]
    scored = ("retain_perturbed.json",) if authors is None else ("retain_perturbed.json", FORGET_PERTURBED)
    cut, low = kept - forgotten, kept - forgotten - holdout
    other = {n: _read(folder, f"{n}_perturbed.json", n) for n in ("real_authors", "world_facts")}
    return FactSplits(
        forget=_perturbed(folder, _flat(everybody[cut:]), (FORGET_PERTURBED,)),
        retain=_perturbed(folder, _flat(everybody[:low]), scored),
        holdout=_flat(everybody[low:cut]),
        other=other,
        refusals=_refusals(folder / "idontknow.jsonl"),
    )


def _flat(authors: Sequence[Sequence[FactRow]]) -> tuple[FactRow, ...]:
    return tuple(row for author in authors for row in author)


def _read(folder: Path, name: str, prefix: str) -> tuple[FactRow, ...]:
    path = folder / name
    if not path.is_file():
        raise ValueError(f"TOFU: {folder} has no file {name}")
    return tuple(row_from_json(r, f"{prefix}/{i}", str(path)) for i, r in enumerate(json_lines(path)))


def _authors(folder: Path) -> list[list[FactRow]]:
    """All rows by author, in the order of the release."""
    rows = _read(folder, "full.json", "tofu")
    if len(rows) != TOFU_AUTHORS * TOFU_ROWS_PER_AUTHOR:
        raise ValueError(
            f"{folder / 'full.json'}: {len(rows)} rows, not {TOFU_AUTHORS * TOFU_ROWS_PER_AUTHOR}"
        )
    blocks = [rows[i : i + TOFU_ROWS_PER_AUTHOR] for i in range(0, len(rows), TOFU_ROWS_PER_AUTHOR)]
    return [
        [dataclasses.replace(r, author=str(a), attribute=str(k)) for k, r in enumerate(block)]
        for a, block in enumerate(blocks)
    ]


def _perturbed(folder: Path, rows: Sequence[FactRow], files: Sequence[str]) -> tuple[FactRow, ...]:
    """Paraphrases and wrong answers joined by (question, answer), where the files have them."""
    found = {(r.question, r.answer): r for name in files for r in _read(folder, name, name)}

    def joined(row: FactRow) -> FactRow:
        more = found.get((row.question, row.answer))
        if more is None:
            return row
        return dataclasses.replace(
            row,
            paraphrased_question=more.paraphrased_question,
            paraphrased_answer=more.paraphrased_answer,
            perturbed_answers=more.perturbed_answers,
        )

    return tuple(joined(r) for r in rows)


def _refusals(path: Path) -> tuple[str, ...]:
    if not path.is_file():
        raise ValueError(f"TOFU: {path.parent} has no file {path.name}")
    return tuple(line for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
