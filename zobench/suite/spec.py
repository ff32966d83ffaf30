"""The resolved specification of one run: what a suite expands to, what a run folder is named after.

A :class:`RunSpec` holds literal values only (no grids, no defaults left open). Its identity is the SHA-256
of its canonical JSON together with model, data and schema digests; the row name, display settings and the
executor are not part of it, so that two suites that ask for the same run share it.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SPEC_VERSION = 1


class Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ModelRef(Frozen):
    """``name`` is ``builtin:nano``, a local path, or a hub id."""

    name: str
    revision: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    device: str = "cpu"
    architecture: Literal["auto", "causal", "masked", "encoder"] = "auto"
    trust_remote_code: bool = False
    attention: Literal["eager", "sdpa"] = "sdpa"


class Component(Frozen):
    """A task, attack or method by catalogue name with its literal parameters."""

    name: str
    params: dict[str, Any] = Field(default_factory=dict)


class SpaceRef(Frozen):
    """The parameter space that is tuned: ``full``, ``lora``, ``prefix``, ``prompt``, ``names`` ... with
    parameters."""

    kind: str = "full"
    params: dict[str, Any] = Field(default_factory=dict)


class Budget(Frozen):
    """``forwards`` is the budget of training: passes of one minibatch of ``batch_size`` examples."""

    forwards: int = Field(ge=0)
    batch_size: int = Field(default=16, ge=1)


class Evaluation(Frozen):
    """When and on what a run is measured.

    ``at`` are budgets in forwards; the point b is measured at the last state that spent no more than b. The
    final state is always measured. ``test_items`` and ``validation_items`` cap the rows (``None``: all).
    """

    at: tuple[int, ...] = ()
    test_items: int | None = None
    validation_items: int | None = None
    lm_eval: tuple[str, ...] = ()
    lm_eval_include: str | None = None
    lm_eval_limit: int | None = None


class RunSpec(Frozen):
    """Everything that determines the outcome of one run."""

    model: ModelRef
    task: Component
    method: Component
    space: SpaceRef = SpaceRef()
    labels: Literal["true", "shuffled"] = "true"
    shots: int = Field(default=0, ge=0)
    seed: int = Field(ge=0)
    budget: Budget
    evaluation: Evaluation = Evaluation()
    attacks: tuple[Component, ...] = ()
    attack_items: int | None = None
    perturbation: Literal["auto", "in-place", "snapshot", "streamed", "batched"] = "auto"
    noise: Literal["counter", "legacy"] = "counter"
    purpose: Literal["result", "tuning"] = "result"

    def canonical(self) -> str:
        """Canonical JSON of the spec: sorted keys, no spaces, floats as Python prints them."""
        body = {"spec_version": SPEC_VERSION, **self.model_dump(mode="json")}
        return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    def run_id(self, digests: dict[str, str]) -> str:
        """Folder name: 20 hexadecimal digits of the SHA-256 over the spec and the digests (model, data,
        schema)."""
        text = self.canonical() + json.dumps(digests, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:20]


class PlannedRun(Frozen):
    """A run in a plan, with what is only for display: the row it belongs to and why it is there."""

    row: str
    """Leaderboard row, for instance ``mezo`` or ``mezo lr=0.001``; the unit that is averaged over seeds."""
    group: Literal["method", "control"] = "method"
    note: str = ""
    """Shown on the page, for instance ``learning rate from docs/results/tuning.json``."""
    spec: RunSpec
    tuning_of: str | None = None
    """For tuning trials: the row whose hyperparameters they choose."""
