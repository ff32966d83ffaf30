"""The few-shot classification tasks of the ZO literature, each under two protocols and from two sources.

One class serves them all; a catalogue name is a subclass that fixes the data set. Sampling is described in
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
    """Training rows (``mezo-opt``)."""
    dev: CountOrZero = 500
    """Rows that select (``mezo-opt``); the authors use 100 for CB and COPA."""
    test: Count = 1000
    """Most rows to test on."""
    k: Count = 16
    """Rows per class to train, and as many to select (``mezo-roberta``)."""
    training: TrainingMode = "classification"
    """Loss under ``mezo-opt``."""
    calibrated: bool = False
    """Subtract the content-free score in prediction (``mezo-opt``)."""
    hub: str | None = None
    """Hub repository other than the usual one."""
    revision: str | None = None
    """Commit of the hub repository."""


def draw_splits(task: str, config: Any, seed: int) -> Splits:
    """Rows of a few-shot set under its protocol. FewGLUE files (source ``local``) train with all 32 rows,
    test empty.
    """
    found = pools(task, config.source, repository=config.hub, revision=config.revision)
    if config.source == "local" and task in FEWGLUE_FOLDERS:
        return mezo_opt(found.train, [], seed, train=config.train, dev=0, test=config.test)
    if config.protocol == "mezo-roberta":
        return mezo_roberta(found.train, found.held_out, seed, k=config.k, test=config.test)
    return mezo_opt(found.train, found.held_out, seed, train=config.train, dev=config.dev, test=config.test)


def untestable(task: str) -> str:
    """What to say when an empty test split is measured."""
    return (
        f"task {task!r} has no labelled test rows in its local files (FewGLUE holds training rows only): "
        "set source: hub to measure it"
    )


class FewShotTask(PromptedClassification):
    """A classification set named by the subclass."""

    Config: ClassVar[type] = FewShotConfig
    name: ClassVar[str]
    attack_fields: ClassVar[tuple[str, ...]] = ()
    """Fields that may be edited without changing what is asked; empty means all of the prompt's."""

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
    """The PASCAL RTE 1-3 sets: not GLUE's RTE, which also holds RTE-5 and splits otherwise."""

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
    """Accuracy per answer, as the ZO literature reports it; not SuperGLUE's F1 or exact match per
    question."""

    name = "multirc"
    attack_fields = ("paragraph", "question")
