"""Settings of a run that is divided: the same in the suite file and in the specification of the run."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from zobench.fields import Frozen


class Split(Frozen):
    """The losses of every step are computed in ``shards`` (:mod:`zobench.zo.distributed`).

    ``by``: ``branches`` (the losses at different perturbed weights), ``data`` (parts of the minibatch), or
    ``both`` (two groups of branches, shards / 2 parts). The number of processes that compute the shards is
    not part of the specification, because it does not change the result.
    """

    shards: int = Field(ge=2)
    by: Literal["branches", "data", "both"] = "branches"

    @model_validator(mode="after")
    def _divisible(self) -> Split:
        if self.by == "both" and (self.shards < 4 or self.shards % 2):
            raise ValueError(f"by: both needs an even number of shards from 4 on, not {self.shards}")
        return self

    @property
    def parts(self) -> int:
        """Number of parts of a minibatch."""
        return {"branches": 1, "data": self.shards, "both": self.shards // 2}[self.by]
