"""Tasks over a user's own file, filled in by a suite without code: classification, choice, generation.

    tasks:
      mine: {task: classification, params: {data: reviews.csv, label: stars, template: "{text} It was",
                                            words: {1: terrible, 5: great}}}
      pick: {task: choice, params: {data: q.jsonl, question: q, options: [a, b, c], answer: gold}}
      sums: {task: generation, params: {data: math.jsonl, template: "Q: {question}\\nA:", answer: answer,
                                        match: number}}

``data`` is a CSV, TSV, JSON Lines or parquet file, its path relative to the suite file, or
``hub:OWNER/NAME``. The content of the examples is part of a run's identity, the path is not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

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
    """Where the records come from and how they are parted."""

    data: DataFile
    """File with all records, or with those to train on; ``hub:OWNER/NAME@SPLIT`` for the hub."""
    validation: DataFile | None = None
    """File with records that select; then no share of ``data`` is taken for it."""
    test: DataFile | None = None
    """File with records to test on; then no share of ``data`` is taken for it."""
    split: str | None = None
    """Column of ``data`` that says train, validation or test for each record."""
    shares: tuple[Fraction, Fraction, Fraction] = SHARES
    """Shares of training, validation and test where neither files nor a column say it."""
    split_seed: CountOrZero = 0
    """Seed of the shares; it is the same for all seeds of the suite."""
    limit: Count | None = None
    """Most records to read of each file."""
    revision: str | None = None
    """Commit of a data set on the hub."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shares[0] <= 0 or self.shares[2] <= 0:
            raise ValueError(f"shares: training and test need some, not {list(self.shares)}")


@dataclass(frozen=True, kw_only=True)
class OwnClassificationConfig(OwnDataConfig):
    """Classes by label words at the end of a prompt."""

    template: Annotated[str, NonEmpty()]
    """Prompt with the names of columns in braces, for instance ``"{text} It was"``."""
    label: str = "label"
    """Column that holds the class."""
    words: Mapping[str, str] | None = None
    """Label as it stands in the file -> word that the model gives for it; ``None``: the labels themselves."""
    drop: bool = False
    """Leave out records whose label is not in ``words``; else they are an error."""
    scoring: Scoring = "option-likelihood"
    """``option-likelihood`` (whole words, causal models) or ``label-words`` (first token)."""


@dataclass(frozen=True, kw_only=True)
class OwnGenerationConfig(OwnDataConfig):
    """Answers that are generated and matched."""

    template: Annotated[str, NonEmpty()]
    """Prompt with the names of columns in braces, for instance ``"Q: {question}\\nA:"``."""
    answer: str = "answer"
    """Column with the right answer."""
    solution: str | None = None
    """Column with the text to learn, where it is more than the answer."""
    match: MatchRule = "exact"
    """number, exact, contains, regex, math or rouge: when an answer counts as right."""
    rouge_threshold: Annotated[float, Bounds(ge=0, le=1)] = 0.5
    """Least ROUGE-L F1 of a right answer (``match: rouge``)."""
    max_new_tokens: Count = 64
    """Longest answer."""
    stop: tuple[str, ...] = ("\n\n",)
    """Texts that end an answer."""


@dataclass(frozen=True, slots=True)
class Examined:
    """The parts of a user's data, and sentences about duplicates, empty cells and left-out records."""

    splits: Splits
    notes: list[str]


def on_hub(path: str) -> bool:
    """Whether a ``data`` parameter names a data set on the hub and no file."""
    return path.startswith(HUB)


class OwnData:
    """Reading and parting of the records, for the three kinds."""

    config: Any
    prompt: Prompt

    def splits(self, seed: int) -> Splits:
        """The parts of the file; the same for every seed."""
        return self.examined().splits

    def examined(self) -> Examined:
        """The parts, and what a user should know of them: duplicates, empty cells, left-out records.

        Raises:
            ValueError: a file, column, label or answer that is wrong, by file and record.
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
            for column in self.prompt.fields:
                records.require(column, "template")
        self.prepare([main, *others.values()])
        left_out: Counter[str] = Counter()

        def make(records: Records, record: Record) -> Example | None:
            found = self.example(records, record)
            left_out.update([] if found is not None else [records.source])
            return found

        rule = PartRule(config.split, config.shares, config.split_seed)
        splits = parted(main, others, rule, make, config.limit)
        return Examined(splits, _notes(splits, left_out))

    def prepare(self, files: list[Records]) -> None:
        """Check the columns of the kind before any record is made an example."""

    def example(self, records: Records, record: Record) -> Example | None:
        """One record as an example; ``None`` where it is left out."""
        raise NotImplementedError

    def fields_of(self, record: Record) -> dict[str, str]:
        """The text fields of the prompt."""
        return {name: record.text(name) for name in self.prompt.fields}


class OwnClassification(OwnData, PromptedClassification):
    """See :class:`OwnClassificationConfig`. Without ``words`` the classes are read from the file at once."""

    Config: ClassVar[type] = OwnClassificationConfig

    def __init__(self, config: OwnClassificationConfig) -> None:
        words = dict(config.words) if config.words is not None else _labels(config)
        self.classes = tuple(sorted(words))
        """Labels as they stand in the file, in class order."""
        prompt = Prompt(config.template, tuple(words[c] for c in self.classes))
        super().__init__(config, prompt=prompt, scoring=config.scoring)

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
                "add it, or leave such records out with drop: true"
            )
        return Example(record_id(records, record), self.fields_of(record), label=self.classes.index(label))


class OwnGeneration(OwnData, GenerationTask):
    """See :class:`OwnGenerationConfig`. ``rouge_l`` is measured where answers are matched by it."""

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


def _labels(config: OwnClassificationConfig) -> dict[str, str]:
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
    """Number in its file, with the part in front where the part has a file of its own."""
    return f"{records.prefix}{record.number}"


def _notes(splits: Splits, left_out: Counter[str]) -> list[str]:
    told = [f"{source}: {count} records left out by drop" for source, count in sorted(left_out.items())]
    both = shared_texts(splits)
    if both:
        later, earlier = both[0]
        told.append(
            f"{len(both)} texts stand in more than one part, for instance {later.id} and {earlier.id}"
        )
    every = (e for part in (splits.train, splits.validation, splits.test) for e in part)
    empty = Counter(name for e in every for name, text in e.text.items() if not text)
    told += [f"{count} examples have an empty {name!r}" for name, count in sorted(empty.items())]
    return told
