"""Sentence-level classification sets: SST-2, SST-5, TREC, MR, MPQA from local files, and PASCAL RTE 1-3.

The local SST-2 file has 6,920 whole sentences; the GLUE release on the hub trains on 67,349 phrases of them.
MR and MPQA have no published split: 2,000 examples are held out by one fixed permutation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from zobench.data.example import Example
from zobench.data.files import labelled_lines, rte_pairs
from zobench.data.locate import data_file
from zobench.data.sampling import permuted

HELD_OUT_ROWS = 2000


@dataclass(frozen=True, slots=True)
class Pools:
    """Labelled examples for training and validation, and for testing (empty if none are labelled)."""

    train: list[Example]
    held_out: list[Example]


def _sentences(task: str, file: str, *, encoding: str = "utf-8") -> list[Example]:
    path = data_file(f"sentence_classification/{file}", task=task)
    return [
        Example(id=f"{task}/{file}/{number}", text={"sentence": text}, label=label)
        for number, label, text in labelled_lines(path, encoding=encoding)
    ]


def _sst2() -> Pools:
    """Training sentences, and the 872 sentences of the development set, on which both protocols test."""
    return Pools(_sentences("sst2", "stsa.binary.train.txt"), _sentences("sst2", "stsa.binary.dev.txt"))


def _sst5() -> Pools:
    return Pools(_sentences("sst5", "stsa.fine.train.txt"), _sentences("sst5", "stsa.fine.test.txt"))


def _trec() -> Pools:
    train = _sentences("trec", "TREC.train.all.txt", encoding="latin-1")
    return Pools(train, _sentences("trec", "TREC.test.all.txt", encoding="latin-1"))


def _held_out(rows: list[Example]) -> Pools:
    shuffled = permuted(rows, seed=0)
    return Pools(shuffled[HELD_OUT_ROWS:], shuffled[:HELD_OUT_ROWS])


def _mr() -> Pools:
    return _held_out(_sentences("mr", "rt-polarity.all.txt", encoding="latin-1"))


def _mpqa() -> Pools:
    return _held_out(_sentences("mpqa", "mpqa.all.txt"))


def _rte() -> Pools:
    """The development sets of RTE 1, 2 and 3 (1,767 pairs: the archive has half of RTE-2) and their test sets
    (2,400); class 0 is entailment.
    """
    path = data_file("nltk/rte.zip", task="rte-pascal")
    return Pools(
        [e for n in (1, 2, 3) for e in _rte_file(path, f"rte{n}_dev")],
        [e for n in (1, 2, 3) for e in _rte_file(path, f"rte{n}_test")],
    )


def _rte_file(path: Path, name: str) -> list[Example]:
    return [
        Example(
            id=f"rte-pascal/{name}/{number}",
            text={"premise": premise, "hypothesis": hypothesis},
            label=0 if entailed else 1,
        )
        for number, premise, hypothesis, entailed in rte_pairs(path, f"rte/{name}.xml")
    ]


LOCAL: Mapping[str, Callable[[], Pools]] = {
    "sst2": _sst2,
    "sst5": _sst5,
    "trec": _trec,
    "mr": _mr,
    "mpqa": _mpqa,
    "rte-pascal": _rte,
}
