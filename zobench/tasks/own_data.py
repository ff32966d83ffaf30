"""Tasks on a user's own data file, defined in a suite without code: classification, choice, generation.

    tasks:
      mine: {task: classification, params: {data: reviews.csv, label: stars, template: "{text} It was",
                                            words: {1: terrible, 5: great}}}
      pick: {task: choice, params: {data: q.jsonl, question: q, options: [a, b, c], answer: gold}}
      sums: {task: generation, params: {data: math.jsonl, template: "Q: {question}\\nA:", answer: answer,
                                        match: number}}

``data`` is the path of a CSV, TSV, JSON Lines or parquet file, relative to the suite file, or
``hub:OWNER/NAME``. The content of the examples is part of a run's identity; the path is not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Protocol

from zobench.data.example import Example, Splits
from zobench.data.own_splits import Part, PartRule, parted, shared_texts
from zobench.data.records import HUB, Record, Records, distinct, read_records
from zobench.parameters import Bounds, Count, CountOrZero, DataFile, Fraction, NonEmpty, Parameters
from zobench.tasks.base import MetricValue, Prediction
from zobench.tasks.classification import PromptedClassification, Scoring
from zobench.tasks.generation import GenerationTask
from zobench.tasks.matching import MatchRule, answer_of, gold_problem, is_right, rouge_l
from zobench.tasks.prompts import Prompt

SHARES = (0.6, 0.2, 0.2)
_MANY_LABELS = 50


@dataclass(frozen=True, kw_only=True)
class OwnDataConfig(Parameters):
    """Source of the records and their division into training, validation and test."""

    data: DataFile
    """File with all records, or with the training records; ``hub:OWNER/NAME@SPLIT`` for the hub."""
    validation: DataFile | None = None
    """File with validation records; then no share of ``data`` is used for validation."""
    test: DataFile | None = None
    """File with test records; then no share of ``data`` is used for testing."""
    split: str | None = None
    """Column of ``data`` with train, validation or test for each record."""
    shares: tuple[Fraction, Fraction, Fraction] = SHARES
    """Shares of training, validation and test, if neither files nor a column define them."""
    split_seed: CountOrZero = 0
    """Seed of the shares; it is the same for all seeds of the suite."""
    limit: Count | None = None
    """Maximum number of records to read from each file."""
    revision: str | None = None
    """Commit of a data set on the hub."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shares[0] <= 0 or self.shares[2] <= 0:
            raise ValueError(f"shares: training and test need some, not {list(self.shares)}")


@dataclass(frozen=True, kw_only=True)
class OwnClassificationConfig(OwnDataConfig):
    """Parameters of classification by label words at the end of a prompt."""

    template: Annotated[str, NonEmpty()]
    """Prompt with the names of columns in braces, for instance ``"{text} It was"``."""
    label: str = "label"
    """Column with the class."""
    words: Mapping[str, str] | None = None
    """Label as in the file -> label word for the model; ``None``: the labels themselves."""
    drop: bool = False
    """Whether to leave out records whose label is not in ``words``; else they are an error."""
    scoring: Scoring = "option-likelihood"
    """``option-likelihood`` (whole words, causal models) or ``label-words`` (first token)."""


@dataclass(frozen=True, kw_only=True)
class OwnGenerationConfig(OwnDataConfig):
    """Parameters of tasks whose answers are generated and compared with the gold answer."""

    template: Annotated[str, NonEmpty()]
    """Prompt with the names of columns in braces, for instance ``"Q: {question}\\nA:"``."""
    answer: str = "answer"
    """Column with the right answer."""
    solution: str | None = None
    """Column with the text to train on, if it is more than the answer."""
    match: MatchRule = "exact"
    """Rule for right answers: number, exact, contains, regex, math or rouge."""
    rouge_threshold: Annotated[float, Bounds(ge=0, le=1)] = 0.5
    """Least ROUGE-L F1 of a right answer (``match: rouge``)."""
    max_new_tokens: Count = 64
    """Longest answer in tokens."""
    stop: tuple[str, ...] = ("\n\n",)
    """Texts that end an answer."""


@dataclass(frozen=True, slots=True)
class Examined:
    """The parts of a user's data, and notes on duplicates, empty cells and records that are left out."""

    splits: Splits
    notes: list[str]


def on_hub(path: str) -> bool:
    """Whether a ``data`` parameter names a data set on the hub, not a file."""
    return path.startswith(HUB)


class OwnData:
    """Reads and splits the records; base class of the three kinds of task."""

    config: Any
    prompt: Prompt

    def splits(self, seed: int) -> Splits:
        """The parts of the file; the same for every seed."""
        return self.examined().splits

    def examined(self) -> Examined:
        """The parts, and notes for the user on duplicates, empty cells and records that are left out.

        Raises:
            ValueError: an invalid file, column, label or answer; the message names file and record.
        """
        config = self.config
        main = read_records(config.data, revision=config.revision)
        files: dict[Part, str | None] = {"validation": config.validation, "test": config.test}
        others = {
            part: replace(read_records(file, revision=config.revision), prefix=f"{part}-")
            for part, file in files.items()
            if file is not None
        }
        for records in (main, *others.values()):
            for column, key in self.columns().items():
                records.require(column, key)
        self.prepare([main, *others.values()])
        left_out: Counter[str] = Counter()

        def make(records: Records, record: Record) -> Example | None:
            found = self.example(records, record)
            left_out.update([] if found is not None else [records.source])
            return found

        rule = PartRule(config.split, config.shares, config.split_seed)
        splits = parted(main, others, rule, make, config.limit)
        return Examined(splits, _notes(splits, left_out, (main, *others.values())))

    def columns(self) -> Mapping[str, str]:
        """Columns that every file must have -> the key of the suite that names them.

        Raises:
            ValueError: the template names no column, so that all prompts are equal.
        """
        if not self.prompt.fields:
            raise ValueError(
                f"template: {self.prompt.template!r} names no column of {self.config.data}; put one in "
                "braces, for instance {text}"
            )
        return dict.fromkeys(self.prompt.fields, "template")

    def prepare(self, files: list[Records]) -> None:
        """Check the columns that this kind of task needs, before records become examples."""

    def example(self, records: Records, record: Record) -> Example | None:
        """One record as an example; ``None`` if it is left out."""
        raise NotImplementedError

    def fields_of(self, record: Record) -> dict[str, str]:
        """The text fields of the prompt."""
        return {name: record.text(name) for name in self.prompt.fields}


class OwnClassification(OwnData, PromptedClassification):
    """See :class:`OwnClassificationConfig`. Without ``words``, the constructor reads the classes from the
    file."""

    Config: ClassVar[type] = OwnClassificationConfig

    def __init__(self, config: OwnClassificationConfig) -> None:
        words = dict(config.words) if config.words is not None else labels_of(config)
        self.classes = tuple(sorted(words))
        """Labels as in the file, in class order."""
        prompt = Prompt(config.template, tuple(words[c] for c in self.classes))
        super().__init__(config, prompt=prompt, scoring=config.scoring)

    def names_of(self, label: int) -> tuple[str, ...]:
        return (self.classes[label], self.prompt.words[label])

    def prepare(self, files: list[Records]) -> None:
        for records in files:
            records.require(self.config.label, "label")

    def example(self, records: Records, record: Record) -> Example | None:
        label = record.text(self.config.label)
        if label not in self.classes:
            if self.config.drop:
                return None
            raise ValueError(
                f"{records.at(record)}: label {label!r} is not among words ({', '.join(self.classes)}); "
                + _about_label(label, self.classes)
            )
        return Example(record_id(records, record), self.fields_of(record), label=self.classes.index(label))


def _about_label(label: str, classes: Sequence[str]) -> str:
    """What to do about a label without a word."""
    try:
        same = [name for name in classes if float(name) == float(label)]
    except ValueError:
        same = []
    if same:
        return (
            f"labels are compared as text: write {label!r} in words, as in the file, in place of {same[0]!r}"
        )
    if not label:
        return "the cell is empty: fill it in, or leave such records out with drop: true"
    return "add it, or leave such records out with drop: true"


class OwnGeneration(OwnData, GenerationTask):
    """See :class:`OwnGenerationConfig`. ``rouge_l`` is measured if it is the matching rule."""

    Config: ClassVar[type] = OwnGenerationConfig

    @classmethod
    def measures_with(cls, params: Mapping[str, Any]) -> tuple[str, ...]:
        return (*cls.measures, "rouge_l") if params.get("match") == "rouge" else cls.measures

    def __init__(self, config: OwnGenerationConfig) -> None:
        super().__init__(
            config, prompt=Prompt(config.template), max_new_tokens=config.max_new_tokens, stop=config.stop
        )

    def prepare(self, files: list[Records]) -> None:
        for records in files:
            records.require(self.config.answer, "answer")
            if self.config.solution is not None:
                records.require(self.config.solution, "solution")

    def example(self, records: Records, record: Record) -> Example | None:
        answer = record.text(self.config.answer)
        if problem := gold_problem(answer, self.config.match):
            raise ValueError(f"{records.at(record)}: {problem} (match: {self.config.match})")
        solution = self.config.solution
        meta = {} if solution is None else {"solution": record.text(solution)}
        return Example(record_id(records, record), self.fields_of(record), answer=answer, meta=meta)

    def judge(self, example: Example, text: str, tokens: int = 0) -> Prediction:
        gold, config = str(example.answer), self.config
        return Prediction(
            example_id=example.id,
            output=answer_of(text, config.match),
            correct=is_right(text, gold, config.match, rouge_threshold=config.rouge_threshold),
            raw=text,
            tokens=tokens,
            strict_correct=" ".join(text.split()) == " ".join(gold.split()),
        )

    def metrics(self, examples: Any, predictions: Any) -> dict[str, MetricValue]:
        found = super().metrics(examples, predictions)
        if self.config.match == "rouge":
            values = [rouge_l(p.raw, str(e.answer)) for e, p in zip(examples, predictions, strict=True)]
            found["rouge_l"] = MetricValue(sum(values) / len(values), len(values))
        return found


class Labelled(Protocol):
    """Parameters with a column of labels."""

    @property
    def data(self) -> str: ...

    @property
    def revision(self) -> str | None: ...

    @property
    def label(self) -> str: ...


def labels_of(config: Labelled) -> dict[str, str]:
    """The distinct labels of the file, each with itself as its name; ``ValueError`` if there are too many."""
    records = read_records(config.data, revision=config.revision)
    records.require(config.label, "label")
    found = sorted(set(distinct(records, config.label)))
    if len(found) > _MANY_LABELS:
        raise ValueError(
            f"label: column {config.label!r} of {records.source} has {len(found)} different values; name the "
            "classes with words:"
        )
    return {label: label for label in found}


def record_id(records: Records, record: Record) -> str:
    """The record's number in its file, preceded by the part if the part has its own file."""
    return f"{records.prefix}{record.number}"


def _named(example: Example, files: Sequence[Records]) -> str:
    """Record and file of an example."""
    records = max((f for f in files if example.id.startswith(f.prefix)), key=lambda f: len(f.prefix))
    return f"record {example.id.removeprefix(records.prefix)} of {records.source}"


def _notes(splits: Splits, left_out: Counter[str], files: Sequence[Records]) -> list[str]:
    told = [f"{source}: {count} records left out by drop" for source, count in sorted(left_out.items())]
    both = shared_texts(splits)
    if both:
        later, earlier = both[0]
        what = "texts" if later.image is None else "images"
        told.append(
            f"{len(both)} {what} stand in more than one part, for instance {_named(later, files)} and "
            f"{_named(earlier, files)}"
        )
    every = (e for part in (splits.train, splits.validation, splits.test) for e in part)
    empty = Counter(name for e in every for name, text in e.text.items() if not text)
    told += [f"{count} examples have an empty {name!r}" for name, count in sorted(empty.items())]
    return told
