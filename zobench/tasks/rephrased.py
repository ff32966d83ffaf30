"""Any task with its training rows rephrased for zeroth-order training (OAT-Rephrase, arXiv 2506.17264), as a
task of its own.

Which texts stand for which is read from a file that :func:`zobench.data.rephrase.save` wrote: rewriter and
judge ran once, outside of any suite, and what they accepted is what every run sees. Validation rows, test
rows and demonstrations are the inner task's, and so are prompts, loss and metrics. The data digest of a run
covers the rephrased rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from zobench.data.example import Splits
from zobench.data.rephrase import accepted
from zobench.parameters import Parameters
from zobench.tasks.wrapped import WrappedTask, made


@dataclass(frozen=True)
class RephrasedConfig(Parameters):
    file: str
    """What was accepted, as ``zobench.data.rephrase.save`` writes it; relative to the current directory."""
    of: str = "nano-sentiment"
    """The task whose training rows are rephrased."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """Its parameters."""
    text: str = "text"
    """The text field that is rephrased."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not Path(self.file).is_file():
            raise ValueError(f"file: no file {self.file!r} (seen from here)")
        made(self.of, self.params)


class RephrasedTask(WrappedTask):
    """The inner task, trained on other words."""

    Config: ClassVar[type] = RephrasedConfig
    scores: ClassVar[tuple[str, ...]] = ("accuracy", "f1")
    config: RephrasedConfig

    def splits(self, seed: int) -> Splits:
        """``ValueError`` where no training row has a rephrasing: the file is another task's."""
        splits = self.inner.splits(seed)
        train = accepted(splits.train, self.config.text, Path(self.config.file))
        if all(a is b for a, b in zip(train, splits.train, strict=True)):
            raise ValueError(f"{self.config.file}: rephrases no training row of {self.config.of!r}")
        return replace(splits, train=train)
