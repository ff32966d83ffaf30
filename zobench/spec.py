"""The resolved specification of one run: what a suite expands to, what a run folder is named after.

A :class:`RunSpec` holds literal values only (no grids, no defaults left open). Its identity is the SHA-256
of its canonical JSON together with model, data and schema digests; the row name, display settings and the
executor are not part of it, so that two suites that ask for the same run share it.

What else is known of a field (since when it exists, whether it counts in the identity, whether a suite of
unlearning may set it) stands at the field, as a :class:`~zobench.fields.FieldMeta`. What a suite file says in
the same words as the specification is written once, here, and the entry of the file derives from it.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from zobench.fields import FieldMeta, identity

SPEC_VERSION = 4
"""Version that brought the newest field: the next one carries ``since=4``, and this becomes 4 with it."""
HASHED_VERSION = 1
HASHED_SCHEMA = "1"
"""What is hashed as version of the specification and of the store's schema, whatever these have become: never
to be changed, as every identity would change with it."""

PerturbationMode = Literal["auto", "in-place", "snapshot", "streamed", "batched", "factored"]
"""How the loss at displaced weights is obtained; see ``zobench.zo.engine``."""

Precision = Literal["auto", "nearest", "stochastic", "compensated", "master"]
"""How updates of half-precision weights are rounded; see ``zobench.zo.precision``."""

TrainOn = Literal["loss", "accuracy", "f1"]
"""What is minimized: the task's loss, or 1 minus a score of the minibatch, which has no gradient."""


LossDtype = Literal["float32", "logits"]
"""Floating-point format in which a task's loss is computed from the logits."""


class Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ModelRef(Frozen):
    """``name`` is ``builtin:nano``, ``package:smollm2-135m``, a folder, a GGUF file, or a hub id."""

    name: str
    revision: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    device: str = "cpu"
    architecture: Literal["auto", "causal", "masked", "encoder"] = "auto"
    trust_remote_code: bool = False
    attention: Literal["auto", "eager", "sdpa"] = "auto"
    """``auto``: ``sdpa`` where the model has it, else ``eager``; a plan holds what it came to."""
    max_length: Annotated[int | None, FieldMeta(since=2)] = Field(default=None, ge=8)
    """Rows are cut to so many tokens; ``None``: to what the model takes."""


class Component(Frozen):
    """A task, attack or method by catalogue name with its literal parameters.

    ``alias`` is an attack's name in the suite where that is not the catalogue name: the same attack may stand
    in a suite several times with other parameters, and its rows carry the alias.
    """

    name: str
    params: dict[str, Any] = Field(default_factory=dict)
    alias: Annotated[str, FieldMeta(since=2)] = ""
    files: Annotated[tuple[str, ...], FieldMeta(since=4)] = ()
    """Parameters that are paths of data files: their content is part of a run's identity, not the path."""

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


Count = Annotated[int, Field(ge=1)] | None
"""A cap; ``None``: all."""
Points = tuple[Annotated[int, Field(ge=0)], ...]
"""Budgets in forwards."""
ON_TASKS = FieldMeta(unlearning=False)
"""A field that is about tasks, which a suite of unlearning does not have."""


class Evaluation(Frozen):
    """When and on what a run is measured.

    ``at`` are budgets in forwards; the point b is measured at the last state that spent no more than b. The
    final state is always measured. ``test_items`` and ``validation_items`` cap the rows (``None``: all).
    ``attacks_at`` are points at which attacks run as well, besides the final state: those named in
    ``attacks_along``, all where it is empty. ``lm_eval_attack`` names, per lm-eval task, the text column of
    its rows that the attacks edit. ``attack_similarity`` names the sentence encoder by which successful edits
    are compared with their originals where the attack itself computed no similarity.
    """

    at: Points = ()
    test_items: Annotated[Count, ON_TASKS] = None
    validation_items: Annotated[Count, ON_TASKS] = None
    lm_eval: Annotated[tuple[str, ...], ON_TASKS] = ()
    lm_eval_include: Annotated[str | None, ON_TASKS] = None
    lm_eval_limit: Annotated[Count, ON_TASKS] = None
    attacks_at: Annotated[Points, FieldMeta(since=2, unlearning=False)] = ()
    attacks_along: Annotated[tuple[str, ...], FieldMeta(since=2, unlearning=False)] = ()
    lm_eval_attack: Annotated[dict[str, str], FieldMeta(since=2, unlearning=False)] = Field(
        default_factory=dict
    )
    attack_similarity: Annotated[str | None, FieldMeta(since=3, unlearning=False)] = Field(
        default=None, min_length=1
    )


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


class UnlearningSettings(Frozen):
    """What the section of the suite file and that of the specification have in common.

    ``check_every``: steps between two looks of the stop rule (0: spend the budget). ``scored_retain``: share
    of the retained facts that is scored.
    """

    pair: Pair | None = None
    forget_set: ForgetSet = ForgetSet()
    check_every: int = Field(default=10, ge=0)
    scored_retain: float = Field(default=0.1, gt=0, le=1)
    truth: bool = True
    generate: Annotated[int | None, FieldMeta(since=3)] = Field(default=None, ge=1)
    """Most tokens of a generated answer; ``None``: nothing is generated."""
    scored_other: Annotated[float | None, FieldMeta(since=3)] = Field(default=None, gt=0, le=1)
    """Share of the further domains' rows that is scored; ``None``: all."""


class Unlearning(UnlearningSettings):
    """What makes a run one of unlearning; its objective stands where other runs have their task.

    ``role``: ``unlearn``; ``full`` and ``oracle`` measure the two references; ``noise`` measures the full
    model moved by ``distance`` in a random direction, as far as a run of another row moved it.
    ``match_forget``: S at which forgetting is matched; ``match_retain``: share of the full model's retained
    score at which retention is matched; ``None``: not.
    """

    role: Literal["unlearn", "full", "oracle", "noise"] = "unlearn"
    data: Component
    oracle: ModelRef
    probes: tuple[Component, ...] = ()
    match_forget: float | None = None
    match_retain: float | None = None
    distance: float | None = None
    like: Annotated[str | None, FieldMeta(identity=False)] = None
    """Row whose distance a ``noise`` run moves; display only, beside ``distance``."""


class Diagnostics(Frozen):
    """What is read at every ``every``-th step besides its record (``zobench.zo.diagnostics``).

    ``directions`` and ``radius`` (smoothing radius) are those of its own probes; their forward passes do not
    count towards the budget."""

    measure: tuple[
        Literal["gradient-cosine", "variance", "effective-rank", "sharpness", "gradip", "probe-losses"], ...
    ]
    every: int = Field(default=10, ge=1)
    directions: int = Field(default=8, ge=2)
    radius: float = Field(default=1e-3, gt=0)


def _text_of_true(value: Any) -> Any:
    return "true" if value is True else value


class RowSettings(Frozen):
    """What a leaderboard row of the suite file and a run's specification have in common."""

    labels: Annotated[Literal["true", "shuffled"], BeforeValidator(_text_of_true), ON_TASKS] = "true"
    shots: Annotated[int, ON_TASKS] = Field(default=0, ge=0)
    perturbation: PerturbationMode = "auto"
    noise: Literal["counter", "legacy"] = "counter"
    train_on: Annotated[TrainOn, FieldMeta(since=3, unlearning=False)] = "loss"
    precision: Annotated[Precision, FieldMeta(since=3)] = "auto"
    loss_dtype: Annotated[LossDtype, FieldMeta(since=4, unlearning=False)] = "float32"


class RunSpec(RowSettings):
    """Everything that determines the outcome of one run."""

    model: ModelRef
    task: Component
    method: Component
    space: SpaceRef = SpaceRef()
    seed: int = Field(ge=0)
    budget: Budget
    evaluation: Evaluation = Evaluation()
    attacks: tuple[Component, ...] = ()
    attack_items: int | None = None
    purpose: Literal["result", "tuning"] = "result"
    unlearning: Annotated[Unlearning | None, FieldMeta(since=2)] = None
    diagnostics: Annotated[Diagnostics | None, FieldMeta(since=2)] = None

    def canonical(self, *, display: bool = False) -> str:
        """Canonical JSON of what decides the run's identity: sorted keys, no spaces, floats as Python prints
        them. ``display``: with what is display only, which counted in an earlier zobench."""
        body = {"spec_version": HASHED_VERSION, **identity(self, display=display)}
        for name in self.task.files:
            del body["task"]["params"][name]
        for model in (body["model"], (body.get("unlearning") or {}).get("oracle", {})):
            if model.get("attention") == "auto":  # what nearly every model resolves it to
                model["attention"] = "sdpa"
        return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    def run_id(self, digests: dict[str, str]) -> str:
        """Folder name: 20 hexadecimal digits of the SHA-256 over the spec and the digests (model, data,
        schema)."""
        return _digest(self.canonical(), digests)

    def superseded_by(self, run_id: str, digests: dict[str, str]) -> str | None:
        """The id of today for a run that is named as an earlier zobench named it; ``None`` for any other."""
        today, earlier = self.run_id(digests), _digest(self.canonical(display=True), digests)
        return today if run_id == earlier != today else None


def identifying(model: str, data: str) -> dict[str, str]:
    """The digests that :meth:`RunSpec.run_id` takes, from those of the model and the data."""
    return {"model": model, "data": data, "schema": HASHED_SCHEMA}


def _digest(canonical: str, digests: dict[str, str]) -> str:
    text = canonical + json.dumps(digests, sort_keys=True, separators=(",", ":"))
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
    task_name: str = ""
    """Name of the task's entry in the suite (of the objective's in one of unlearning)."""
    model_name: str = ""
    """Name of the model's entry in the suite."""

    @property
    def shown_task(self) -> str:
        """The task by the name that its suite gives it, else by the catalogue's."""
        return self.task_name or self.spec.task.name

    @property
    def shown_model(self) -> str:
        """The model by the name that its suite gives it, else as it is loaded."""
        return self.model_name or self.spec.model.name
