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

PerturbationMode = Literal["auto", "in-place", "snapshot", "streamed", "batched", "factored"]
"""How the loss at displaced weights is obtained; see ``zobench.zo.engine``."""

Precision = Literal["auto", "nearest", "stochastic", "compensated", "master"]
"""How updates of half-precision weights are rounded; see ``zobench.zo.precision``."""

TrainOn = Literal["loss", "accuracy", "f1"]
"""What is minimized: the task's loss, or 1 minus a score of the minibatch, which has no gradient."""


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
    max_length: int | None = Field(default=None, ge=8)
    """Rows are cut to so many tokens; ``None``: to what the model takes."""


class Component(Frozen):
    """A task, attack or method by catalogue name with its literal parameters.

    ``alias`` is an attack's name in the suite where that is not the catalogue name: the same attack may stand
    in a suite several times with other parameters, and its rows carry the alias.
    """

    name: str
    params: dict[str, Any] = Field(default_factory=dict)
    alias: str = ""

    @property
    def label(self) -> str:
        return self.alias or self.name


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
    ``attacks_at`` are points at which attacks run as well, besides the final state: those named in
    ``attacks_along``, all where it is empty. ``lm_eval_attack`` names, per lm-eval task, the text column of
    its rows that the attacks edit. ``attack_similarity`` names the sentence encoder by which successful edits
    are compared with their originals where the attack itself computed no similarity.
    """

    at: tuple[int, ...] = ()
    test_items: int | None = None
    validation_items: int | None = None
    lm_eval: tuple[str, ...] = ()
    lm_eval_include: str | None = None
    lm_eval_limit: int | None = None
    attacks_at: tuple[int, ...] = ()
    attacks_along: tuple[str, ...] = ()
    lm_eval_attack: dict[str, str] = Field(default_factory=dict)
    attack_similarity: str | None = None


class Pair(Frozen):
    """A full model and its retain-only oracle, trained on the data of the suite when they are first needed.

    ``models`` and ``oracle`` name them ``pair:full`` and ``pair:oracle``; weights are kept by the digest of
    these settings and the data. Steps of AdamW on minibatches of ``batch`` rows with a one-cycle rate.
    """

    width: int = Field(default=96, ge=8)
    layers: int = Field(default=3, ge=1)
    heads: int = Field(default=4, ge=1)
    mlp: int = Field(default=224, ge=8)
    vocabulary: int = Field(default=2000, ge=64)
    steps: int = Field(default=1500, ge=1)
    batch: int = Field(default=32, ge=1)
    lr: float = Field(default=3e-3, gt=0)
    seed: int = Field(default=0, ge=0)


class ForgetSet(Frozen):
    """What the optimizer sees of the forget set; scores are always on facts of the whole.

    ``share`` below 1 is a random coreset, ``keywords`` a chosen one; ``noise`` changes ``noise_share`` of the
    rows (``incomplete``, ``rewritten``, ``watermarked``); ``requests`` above 1 asks for parts one after the
    other (``nested``: each with those before it), the budget shared equally.
    """

    share: float = Field(default=1.0, gt=0, le=1)
    keywords: tuple[str, ...] = ()
    noise: Literal["none", "incomplete", "rewritten", "watermarked"] = "none"
    noise_share: float = Field(default=1.0, gt=0, le=1)
    requests: int = Field(default=1, ge=1)
    nested: bool = False


class Unlearning(Frozen):
    """What makes a run one of unlearning; its objective stands where other runs have their task.

    ``role``: ``unlearn``; ``full`` and ``oracle`` measure the two references; ``noise`` measures the full
    model moved by ``distance`` in a random direction, as far as a run of another row moved it.
    ``check_every``: steps between two looks of the stop rule (0: spend the budget). ``scored_retain``: share
    of the retained facts that is scored. ``match_forget``: S at which forgetting is matched;
    ``match_retain``: share of the full model's retained score at which retention is matched; ``None``: not.
    """

    role: Literal["unlearn", "full", "oracle", "noise"] = "unlearn"
    data: Component
    oracle: ModelRef
    pair: Pair | None = None
    forget_set: ForgetSet = ForgetSet()
    probes: tuple[Component, ...] = ()
    check_every: int = 10
    scored_retain: float = 0.1
    truth: bool = True
    match_forget: float | None = None
    match_retain: float | None = None
    generate: int | None = None
    """Most tokens of a generated answer; ``None``: nothing is generated."""
    scored_other: float | None = None
    """Share of the further domains' rows that is scored; ``None``: all."""
    distance: float | None = None
    like: str | None = None
    """Row whose distance a ``noise`` run moves; display only, beside ``distance``."""


class Diagnostics(Frozen):
    """What is read at every ``every``-th step besides its record (``zobench.zo.diagnostics``).

    ``directions`` and ``radius`` (smoothing radius) are those of its own probes; their forwards are no part
    of the budget.
    """

    measure: tuple[
        Literal["gradient-cosine", "variance", "effective-rank", "sharpness", "gradip", "probe-losses"], ...
    ]
    every: int = Field(default=10, ge=1)
    directions: int = Field(default=8, ge=2)
    radius: float = Field(default=1e-3, gt=0)


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
    perturbation: PerturbationMode = "auto"
    noise: Literal["counter", "legacy"] = "counter"
    train_on: TrainOn = "loss"
    precision: Precision = "auto"
    purpose: Literal["result", "tuning"] = "result"
    unlearning: Unlearning | None = None
    diagnostics: Diagnostics | None = None

    def canonical(self) -> str:
        """Canonical JSON of the spec: sorted keys, no spaces, floats as Python prints them."""
        body = {"spec_version": SPEC_VERSION, **self.model_dump(mode="json")}
        if self.unlearning is None:  # runs without it keep the identity they had before there was unlearning
            del body["unlearning"]
        if self.diagnostics is None:
            del body["diagnostics"]
        for key, unset in (("train_on", "loss"), ("precision", "auto")):
            if body[key] == unset:
                del body[key]
        _drop_unset(body)
        return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    def run_id(self, digests: dict[str, str]) -> str:
        """Folder name: 20 hexadecimal digits of the SHA-256 over the spec and the digests (model, data,
        schema)."""
        text = self.canonical() + json.dumps(digests, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:20]


def _drop_unset(body: dict[str, Any]) -> None:
    """Keys that came after version 1 count only where they are set: runs from before keep their identity."""
    for component in (body["task"], body["method"], *body["attacks"]):
        if not component["alias"]:
            del component["alias"]
    if body["model"]["max_length"] is None:
        del body["model"]["max_length"]
    for key in ("generate", "scored_other"):
        if "unlearning" in body and body["unlearning"][key] is None:
            del body["unlearning"][key]
    for key in ("attacks_at", "attacks_along", "lm_eval_attack", "attack_similarity"):
        if not body["evaluation"][key]:
            del body["evaluation"][key]


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
