"""Any task with its training examples rephrased for zeroth-order training (OAT-Rephrase, arXiv 2506.17264).

The replacements are read from a file written by :func:`zobench.data.rephrase.save`: rewriter and judge ran
once, outside of any suite, and every run uses the texts they accepted. Validation examples, test examples,
demonstrations, prompts, loss and metrics are the inner task's. The data digest of a run covers the rephrased
examples.
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
    """Accepted texts, written by ``zobench.data.rephrase.save``; relative to the current directory."""
    of: str = "nano-sentiment"
    """The task whose training examples are rephrased."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """Parameters of that task."""
    text: str = "text"
    """The text field that is rephrased."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not Path(self.file).is_file():
            raise ValueError(f"file: no file {self.file!r} (relative to the current directory)")
        made(self.of, self.params)


class RephrasedTask(WrappedTask):
    """The inner task, trained on rephrased examples."""

    Config: ClassVar[type] = RephrasedConfig
    scores: ClassVar[tuple[str, ...]] = ("accuracy", "f1")
    config: RephrasedConfig

    def splits(self, seed: int) -> Splits:
        """The inner task's splits with rephrased training examples.

        Raises:
            ValueError: no training example has a rephrasing, so the file belongs to another task.
        """
        splits = self.inner.splits(seed)
        train = accepted(splits.train, self.config.text, Path(self.config.file))
        if all(a is b for a, b in zip(train, splits.train, strict=True)):
            raise ValueError(f"{self.config.file}: rephrases no training example of {self.config.of!r}")
        return replace(splits, train=train)
