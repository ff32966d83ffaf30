"""What a run minimizes: the loss of its task, with a penalty or without, or a score or reward, which have no
gradient."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from zobench.fields import FieldMeta, Frozen

TrainOn = Literal["loss", "accuracy", "f1"]
"""What is minimized: the task's loss, or 1 minus a score of the minibatch, which has no gradient."""


class RewardRef(Frozen):
    """A reward of generated answers to train on: a catalogue name, or ``FILE.py:FUNCTION``.

    ``temperature`` 0 means greedy answers. Sampled answers use the same random numbers for all queries of a
    step. ``seconds`` is the time limit of one score by a function of a file. ``file`` and ``sha256`` are set
    when a suite is planned: the path of the file, which is not part of a run's identity, and its digest,
    which is.
    """

    reward: str
    params: dict[str, Any] = Field(default_factory=dict)
    temperature: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    samples: int = Field(default=1, ge=1)
    """Number of answers to each example; their scores are averaged."""
    seconds: float = Field(default=5.0, gt=0, allow_inf_nan=False)
    file: Annotated[str, FieldMeta(identity=False)] = ""
    sha256: str = ""


class BottleneckRef(Frozen):
    """The task's loss plus ``weight`` times an information-bottleneck penalty on the output of a block
    (:mod:`zobench.runner.bottleneck` has the formulas)."""

    bottleneck: Literal["variational", "hsic"]
    weight: float = Field(default=0.1, ge=0, allow_inf_nan=False)
    layer: int | None = Field(default=None, ge=1)
    """Number of the block, from 1; ``None``: the middle one, that of L blocks with number ceil(L / 2)."""
    prior: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """``variational``: standard deviation of the prior, in the unit of the states; choose the size that the
    states of the model have (their root mean square)."""
    noise: float = Field(default=0.1, gt=0, allow_inf_nan=False)
    """``variational``: standard deviation of the noise on the block's output, in units of ``prior``."""
    keep: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    """``hsic``: weight of what the states tell about the answer, beta."""


def _objective_kind(value: Any) -> str | None:
    if isinstance(value, str):
        return "by score"
    if isinstance(value, BottleneckRef) or (isinstance(value, dict) and "bottleneck" in value):
        return "by bottleneck"
    return "by reward" if isinstance(value, dict | RewardRef) else None


TrainedOn = Annotated[
    Annotated[TrainOn, Tag("by score")]
    | Annotated[RewardRef, Tag("by reward")]
    | Annotated[BottleneckRef, Tag("by bottleneck")],
    Discriminator(_objective_kind),
]
"""What a row of a suite trains on."""
