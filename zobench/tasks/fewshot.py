"""The few-shot classification tasks of the ZO literature, each with two protocols and two data sources.

All share one class; a catalogue name is a subclass that fixes the data set. Sampling is described in
:mod:`zobench.data.sampling`, prompts in :mod:`zobench.tasks.templates`, scoring in
:mod:`zobench.tasks.classification`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from zobench.data.example import Splits
from zobench.data.fewshot import pools
from zobench.data.sampling import mezo_opt, mezo_roberta
from zobench.data.superglue import FEWGLUE_FOLDERS
from zobench.parameters import Count, CountOrZero, Parameters
from zobench.tasks.classification import PromptedClassification, TrainingMode
from zobench.tasks.templates import Protocol, prompt_for

DataSource = Literal["local", "hub"]


@dataclass(frozen=True, kw_only=True)
class FewShotConfig(Parameters):
    """Parameters of a few-shot task."""

    protocol: Protocol = "mezo-opt"
    """``mezo-opt`` (option likelihood, 1000/500/1000) or ``mezo-roberta`` (label words, k per class)."""
    source: DataSource = "local"
    """``local`` files under ZOBENCH_DATA, or the ``hub``."""
    train: Count = 1000
    """Training examples (``mezo-opt``)."""
    dev: CountOrZero = 500
    """Validation examples (``mezo-opt``); the authors use 100 for CB and COPA."""
    test: Count = 1000
    """Maximum number of test examples."""
    k: Count = 16
    """Training examples per class, and as many for validation (``mezo-roberta``)."""
    training: TrainingMode = "classification"
    """Training loss under ``mezo-opt``."""
    calibrated: bool = False
    """Subtract the content-free score in prediction (``mezo-opt``)."""
    hub: str | None = None
    """Hub repository other than the usual one."""
    revision: str | None = None
    """Commit of the hub repository."""


def draw_splits(task: str, config: Any, seed: int) -> Splits:
    """Splits of a few-shot set under its protocol.

    FewGLUE files (source ``local``) have 32 training examples, which are all used, and no test examples.
    """
    found = pools(task, config.source, repository=config.hub, revision=config.revision)
    if config.source == "local" and task in FEWGLUE_FOLDERS:
        return mezo_opt(found.train, [], seed, train=config.train, dev=0, test=config.test)
    if config.protocol == "mezo-roberta":
        return mezo_roberta(found.train, found.held_out, seed, k=config.k, test=config.test)
    return mezo_opt(found.train, found.held_out, seed, train=config.train, dev=config.dev, test=config.test)


def untestable(task: str) -> str:
    """Error message for measuring an empty test split."""
    return (
        f"task {task!r} has no labelled test examples in its local files (FewGLUE has training examples "
        "only): set source: hub to measure it"
    )


class FewShotTask(PromptedClassification):
    """A few-shot classification task; the subclass names its data set."""

    Config: ClassVar[type] = FewShotConfig
    name: ClassVar[str]
    attack_fields: ClassVar[tuple[str, ...]] = ()
    """Fields that may be edited without changing the question; empty: all fields of the prompt."""

    def __init__(self, config: FewShotConfig) -> None:
        opt = config.protocol == "mezo-opt"
        super().__init__(
            config,
            prompt=prompt_for(self.name, config.protocol),
            scoring="option-likelihood" if opt else "label-words",
            training=config.training,
            calibrated=config.calibrated,
        )
        self.attackable = self.attack_fields or self.prompt.fields

    def splits(self, seed: int) -> Splits:
        return draw_splits(self.name, self.config, seed)

    def no_rows_message(self) -> str:
        return untestable(self.name)


class SST2(FewShotTask):
    name = "sst2"


class SST5(FewShotTask):
    name = "sst5"


class TREC(FewShotTask):
    name = "trec"


class MR(FewShotTask):
    name = "mr"


class MPQA(FewShotTask):
    name = "mpqa"


class RTEPascal(FewShotTask):
    """The PASCAL RTE 1-3 sets; GLUE's RTE also contains RTE-5 and has other splits."""

    name = "rte-pascal"


class RTE(FewShotTask):
    name = "rte"


class CB(FewShotTask):
    name = "cb"


class BoolQ(FewShotTask):
    name = "boolq"


class WSC(FewShotTask):
    name = "wsc"
    attack_fields = ("text",)


class WiC(FewShotTask):
    name = "wic"
    attack_fields = ("sentence1", "sentence2")


class MultiRC(FewShotTask):
    """MultiRC with accuracy per answer, as in the ZO literature, not SuperGLUE's F1 or exact match per
    question."""

    name = "multirc"
    attack_fields = ("paragraph", "question")
