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

    # Without an upper limit, a number of 14 digits passes the plan and its run never ends.
    shards: int = Field(ge=2, le=4096)
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


class Limit(Frozen):
    """When a client is limited to one local step per round (Meerkat-vp): the mean magnitude of its GradIP
    over the last ``window`` local steps is below ``ratio`` times that over the first ``window``."""

    window: int = Field(default=10, ge=1)
    ratio: float = Field(default=0.1, gt=0, lt=1)


class Clients(Frozen):
    """Federated training: a step is a round of these clients (:mod:`zobench.zo.rounds`).

    ``number`` of clients, each with ``local_steps`` per round. ``skew``: concentration of the Dirichlet
    distribution from which each class's shares are drawn, ``None`` for equal shares at random. ``drop_out``:
    probability that a client misses a round. ``gradip``: record GradIP of every client. ``limit``: limit
    clients whose GradIP vanishes.
    """

    number: int = Field(ge=2, le=100_000)
    local_steps: int = Field(default=1, ge=1, le=100_000)
    skew: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    drop_out: float = Field(default=0.0, ge=0, lt=1)
    gradip: bool = False
    limit: Limit | None = None
