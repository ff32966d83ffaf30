"""Multiple choice on a user's own data file (``task: choice``).

Each record contains its options; the answer column identifies the correct option in one of four forms
(:class:`OwnChoiceConfig`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from zobench.data.example import Example
from zobench.data.records import Record, Records, as_text
from zobench.tasks.classification import PromptedClassification, TrainingMode
from zobench.tasks.own_data import OwnData, OwnDataConfig, record_id
from zobench.tasks.prompts import Prompt

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_READINGS = ("column", "letter", "number", "text")


@dataclass(frozen=True, kw_only=True)
class OwnChoiceConfig(OwnDataConfig):
    """Parameters of multiple choice; each record has its own options."""

    question: str = "question"
    """Column with the question."""
    options: tuple[str, ...] = ("options",)
    """Columns with one option each, or one column with a list of options."""
    answer: str = "answer"
    """Column that names the right option."""
    answer_is: Literal["auto", "column", "letter", "number", "text"] = "auto"
    """Form of the answer: the option's column, letter (A, B, ...), number from 0, or text; ``auto``: the form
    that fits all records."""
    template: str | None = None
    """Prompt with the names of columns in braces; ``None``: ``"{QUESTION}\\nAnswer:"``."""
    training: TrainingMode = "teacher-forcing"
    """``teacher-forcing`` on the right option, or ``classification`` over all of them."""


class OwnChoice(OwnData, PromptedClassification):
    """See :class:`OwnChoiceConfig`."""

    kind: ClassVar[str] = "multiple-choice"
    scores: ClassVar[tuple[str, ...]] = ("accuracy",)
    Config: ClassVar[type] = OwnChoiceConfig

    def __init__(self, config: OwnChoiceConfig) -> None:
        template = config.template or "{" + config.question + "}\nAnswer:"
        super().__init__(
            config, prompt=Prompt(template), scoring="option-likelihood", training=config.training
        )
        self._reading: str = config.answer_is

    def options(self, example: Example) -> tuple[str, ...]:
        return example.candidates

    def prepare(self, files: list[Records]) -> None:
        for records in files:
            for column, key in ((self.config.question, "question"), (self.config.answer, "answer")):
                records.require(column, key)
            for column in self.config.options:
                records.require(column, "options")
        self._reading = self._read(files)

    def _read(self, files: list[Records]) -> str:
        """The form of the answer column that fits every record of every file."""
        config = self.config
        names = _READINGS if config.answer_is == "auto" else (config.answer_is,)
        told = [(f, r, self._options(f, r), r.text(config.answer).strip()) for f in files for r in f.rows]
        for records, record, options, answer in told:
            if all(_place(name, options, answer, config) is None for name in names):
                raise ValueError(
                    f"{records.at(record)}: answer {answer!r} is not the {' or '.join(names)} of one of the "
                    f"options {list(options)}"
                )
        places = {
            name: [_place(name, options, answer, config) for *_, options, answer in told] for name in names
        }
        fitting = {name: found for name, found in places.items() if None not in found}
        if len({tuple(found) for found in fitting.values()}) == 1:
            return next(iter(fitting))
        how = "fit several readings that disagree" if fitting else "fit no single reading"
        raise ValueError(
            f"{files[0].source}: the answers in column {config.answer!r} {how} "
            f"({', '.join(fitting or names)}); say answer_is"
        )

    def _options(self, records: Records, record: Record) -> tuple[str, ...]:
        columns = self.config.options
        only = record.values.get(columns[0])
        if len(columns) == 1 and isinstance(only, list):
            found = tuple(as_text(value) for value in only)
        else:
            found = tuple(text for column in columns if (text := record.text(column)) != "")
        if len(found) < 2 or len(set(found)) != len(found):
            raise ValueError(f"{records.at(record)}: needs two or more different options, has {list(found)}")
        return found

    def example(self, records: Records, record: Record) -> Example | None:
        options = self._options(records, record)
        place = _place(self._reading, options, record.text(self.config.answer).strip(), self.config)
        assert place is not None, "the reading was chosen to fit every record"
        return Example(record_id(records, record), self.fields_of(record), label=place, candidates=options)


def _place(reading: str, options: tuple[str, ...], answer: str, config: OwnChoiceConfig) -> int | None:
    """Index of the option that the answer identifies in this form; ``None`` if there is no such option."""
    names: tuple[str, ...] = options
    if reading == "column":
        names = config.options if len(config.options) == len(options) else ()
    elif reading == "letter":
        names = tuple(_LETTERS[: len(options)])
    elif reading == "number":
        names = tuple(map(str, range(len(options))))
    return names.index(answer) if answer in names else None
