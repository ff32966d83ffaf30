"""Data of an unlearning suite by name: ``nano-facts`` (built in), ``tofu``, ``muse``, ``wmdp``, ``files``.

Each source is a frozen dataclass of parameters whose ``load`` returns :class:`FactSplits`. ``tofu``, ``muse``
and ``wmdp`` read a local ``folder``, or download the data set of that name from the hub if there is no such
folder; ``tofu`` looks under ``ZOBENCH_DATA`` first. The readers of MUSE and WMDP were not tested on the hub's
files; they follow the published keys (``question``, ``answer``; ``question``, ``choices``, ``answer``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from zobench.data.files import json_file, json_lines, parquet_rows, utf8
from zobench.data.locate import data_folder
from zobench.parameters import Count, CountOrZero, Parameters
from zobench.unlearning.data import (
    REFUSALS,
    FactSplits,
    Percent,
    invented_facts,
    tofu,
    tofu_sizes,
    with_traces,
)
from zobench.unlearning.rows import FactRow, row_from_json

READABLE = (".json", ".jsonl", ".parquet")


class FactSource(Protocol):
    """Parameters of a data source."""

    def load(self) -> FactSplits: ...

    @property
    def reasons(self) -> bool:
        """Whether it has reasoning traces (R2MU)."""
        ...


class Plain:
    """A source without reasoning traces."""

    reasons = False


class Traced:
    """A source whose traces are written by a template (:func:`zobench.unlearning.data.with_traces`)."""

    reasons = True


@dataclass(frozen=True, kw_only=True)
class NanoFacts(Traced, Parameters):
    """The invented people of ``builtin:nano-facts``.

    Attributes:
        percent: number of people to forget out of a hundred: 1, 5 or 10. The built-in oracle is for 10.
    """

    percent: Percent = 10

    def load(self) -> FactSplits:
        return with_traces(invented_facts(self.percent))


@dataclass(frozen=True, kw_only=True)
class Tofu(Traced, Parameters):
    """TOFU from the files of its release.

    Attributes:
        folder: local folder or hub data set; empty: ``ZOBENCH_DATA``/tofu, else ``locuslab/TOFU``.
        percent: 1, 5 or 10.
        authors: use only this many authors, the last ones, for small models trained on them; 0: all 200.
            ``percent`` is a share of these, rounded down.
        holdout: number of authors directly before the forget set that no model was trained on.
        forgotten: number of authors to forget, in place of ``percent``; ``None``: by ``percent``.
    """

    folder: str = ""
    percent: Percent = 10
    authors: CountOrZero = 0
    holdout: CountOrZero = 0
    forgotten: Count | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        tofu_sizes(self.percent, self.authors or None, self.holdout, self.forgotten)

    def load(self) -> FactSplits:
        folder = found(self.folder, "tofu", "locuslab/TOFU")
        return with_traces(
            tofu(
                folder,
                self.percent,
                authors=self.authors or None,
                holdout=self.holdout,
                forgotten=self.forgotten,
            )
        )


@dataclass(frozen=True, kw_only=True)
class Muse(Plain):
    """MUSE's question sets (``knowmem``): questions and answers about the forget and retain corpus.

    Attributes:
        folder: local folder or hub data set with ``knowmem/forget_qa`` and ``knowmem/retain_qa``.
    """

    folder: str = "muse-bench/MUSE-News"

    def load(self) -> FactSplits:
        folder = found(self.folder, "", self.folder)
        forget, retain = (plain_rows(folder, f"knowmem/{n}_qa", n) for n in ("forget", "retain"))
        return FactSplits(forget, retain, (), {}, REFUSALS)


@dataclass(frozen=True, kw_only=True)
class Wmdp(Plain):
    """WMDP's multiple-choice questions of one subject to forget, and others to retain.

    The right choice is the answer, the other choices are its perturbed answers.

    Attributes:
        folder: local folder or hub data set with ``subject``.
        subject: ``wmdp-bio``, ``wmdp-chem``, ``wmdp-cyber``.
        retain: local folder or hub data set of the retained questions.
        retain_subject: its subject, for instance ``all`` (MMLU).
        limit: maximum number of questions on each side; 0: all.
    """

    folder: str = "cais/wmdp"
    subject: str = "wmdp-bio"
    retain: str = "cais/mmlu"
    retain_subject: str = "all"
    limit: int = 0

    def load(self) -> FactSplits:
        sides = ((self.folder, self.subject), (self.retain, self.retain_subject))
        forget, retain = (plain_rows(found(f, "", f), name, name) for f, name in sides)
        cut = self.limit or None
        return FactSplits(forget[:cut], retain[:cut], (), {}, REFUSALS)


@dataclass(frozen=True, kw_only=True)
class Files:
    """Your own facts in TOFU's keys.

    Attributes:
        forget, retain: JSON-lines (or JSON, parquet) files.
        holdout: file of facts that no model was trained on; empty: none.
        traces, general: files of questions with reasoning as answers, on the forget facts and on other
            domains (R2MU); ``None``: none.
    """

    forget: str
    retain: str
    holdout: str = ""
    traces: str | None = None
    general: str | None = None

    @property
    def reasons(self) -> bool:
        return self.traces is not None and self.general is not None

    def load(self) -> FactSplits:
        def rows(path: str, name: str) -> tuple[FactRow, ...]:
            return rows_of(Path(path).expanduser(), name) if path else ()

        return FactSplits(
            rows(self.forget, "forget"),
            rows(self.retain, "retain"),
            rows(self.holdout, "holdout"),
            {},
            REFUSALS,
            traces=rows(self.traces or "", "traces"),
            general=rows(self.general or "", "general"),
        )


SOURCES: dict[str, type[FactSource]] = {
    "nano-facts": NanoFacts,
    "tofu": Tofu,
    "muse": Muse,
    "wmdp": Wmdp,
    "files": Files,
}


def found(folder: str, local: str, hub: str) -> Path:
    """The given folder, else ``local`` under ``ZOBENCH_DATA``, else the hub's data set."""
    if folder and Path(folder).expanduser().is_dir():
        return Path(folder).expanduser()
    shared = data_folder()
    if not folder and local and shared is not None and (shared / local).is_dir():
        return shared / local
    if folder.startswith((".", "/", "~")):
        raise ValueError(f"unlearning data: no folder {folder!r}")
    from zobench.data.hub import snapshot

    return snapshot(folder or hub, kind="dataset")


def plain_rows(folder: Path, name: str, prefix: str) -> tuple[FactRow, ...]:
    """Facts of the first readable file whose path in ``folder`` starts with ``name``; ``ValueError`` if there
    is no such file."""
    files = sorted(
        p
        for p in folder.rglob("*")
        if p.suffix in READABLE and p.relative_to(folder).as_posix().startswith(name)
    )
    if not files:
        raise ValueError(f"unlearning data: {folder} has no file {name}*.json, .jsonl or .parquet")
    preferred = [p for p in files if "test" in p.stem] or files
    return rows_of(preferred[0], prefix)


def rows_of(path: Path, prefix: str) -> tuple[FactRow, ...]:
    """Facts of one file. Facts without an attribute get attributes 0 and 1 alternately, so that they can be
    halved."""
    if not path.is_file():
        raise ValueError(f"unlearning data: no file {path}")
    rows = [row_from_json(_plain(r), f"{prefix}/{i}", str(path)) for i, r in enumerate(_objects(path))]
    return tuple(r if r.attribute else replace(r, attribute=str(i % 2)) for i, r in enumerate(rows))


def _objects(path: Path) -> Sequence[dict[str, Any]]:
    if path.suffix == ".parquet":
        return parquet_rows(path)[1]
    if not utf8(path).lstrip().startswith("["):
        return list(json_lines(path))
    rows = json_file(path)
    if wrong := next((n for n, row in enumerate(rows, 1) if not isinstance(row, dict)), None):
        raise ValueError(f"{path}: record {wrong} is not an object")
    return list(rows)


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Multiple-choice records as a question with one right and several wrong answers."""
    choices = row.get("choices")
    if not isinstance(choices, list) or not isinstance(row.get("answer"), int):
        return row
    right = row["answer"]
    if not 0 <= right < len(choices):
        raise ValueError(f"the answer {right} is not the number of one of {len(choices)} choices")
    wrong = [str(c) for i, c in enumerate(choices) if i != right]
    return {"question": row.get("question"), "answer": str(choices[right]), "perturbed_answer": wrong}
