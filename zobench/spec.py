"""The resolved specification of one run. A suite expands to these; run folders are named after them.

A :class:`RunSpec` contains literal values only: grids are expanded and defaults filled in. Its identity is
the SHA-256 of its canonical JSON together with the model, data and schema digests. The row name, display
settings and the executor are not part of the identity, so that two suites that ask for the same run share it.

A field's :class:`~zobench.fields.FieldMeta` states since when the field exists, whether it enters the
identity, and whether an unlearning suite may set it. Settings that have the same form in the suite file and
in the specification are declared once, here; the classes of the suite file inherit from these.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from zobench.distribution import Clients, Split
from zobench.fields import FieldMeta, Frozen, identity
from zobench.pair import Pair
from zobench.trained_on import BottleneckRef, RewardRef, TrainedOn

SPEC_VERSION = 8
"""Version that added the newest field. The next new field gets ``since=9``, and this constant becomes 9."""
HASHED_VERSION = 1
HASHED_SCHEMA = "1"
"""Hashed in place of the current versions of the specification and of the store's schema. Never change these
two: the identity of every run would change."""

PerturbationMode = Literal[
    "auto",
    "in-place",
    "snapshot",
    "streamed",
    "streamed-sliced",
    "streamed-paired",
    "batched",
    "grouped",
    "factored",
    "factored-lazy",
    "offload",
]
"""How the loss at perturbed weights is computed; see ``zobench.zo.engine``."""

Precision = Literal["auto", "nearest", "stochastic", "compensated", "master"]
"""How updates of half-precision weights are rounded; see ``zobench.zo.precision``."""

LossDtype = Literal["float32", "logits"]
"""Floating-point format in which a task's loss is computed from the logits."""


def _pairs_of(value: Any) -> Any:
    """A mapping as sorted pairs of text, so that a model reference can be a key."""
    if isinstance(value, dict):
        value = sorted(value.items())
    if not isinstance(value, list | tuple):
        return value
    return tuple(tuple(map(str, pair)) if isinstance(pair, list | tuple) else pair for pair in value)


class ModelRef(Frozen):
    """``name`` is ``builtin:nano``, ``package:smollm2-135m``, a folder, a GGUF file, or a hub id."""

    name: str
    revision: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    device: str = "cpu"
    architecture: Literal["auto", "causal", "masked", "encoder", "encoder-decoder", "classifier", "image"] = (
        "auto"
    )
    trust_remote_code: bool = False
    attention: Literal["auto", "eager", "sdpa"] = "auto"
    """``auto``: ``sdpa`` if the model supports it, else ``eager``; a plan contains the resolved value."""
    max_length: Annotated[int | None, FieldMeta(since=2)] = Field(default=None, ge=8)
    """Inputs are truncated to this many tokens; ``None``: to the longest input of the model."""
    chat: Annotated[bool, FieldMeta(since=5)] = False
    """Prompts are put through the tokenizer's chat template (:mod:`zobench.models.chat`)."""
    system: Annotated[str | None, FieldMeta(since=5)] = None
    """Text of the system message of chat prompts; ``None``: no such message."""
    head: Annotated[int | None, FieldMeta(since=5, unlearning=False)] = Field(default=None, ge=2)
    """Number of outputs of a new classification layer of an image classifier, in place of its own."""
    base: Annotated[str | None, FieldMeta(since=5)] = None
    """For the folder of an adapter: its base model, named as any model; ``None``: the one that it names."""
    labels: Annotated[tuple[tuple[str, str], ...], FieldMeta(since=5), BeforeValidator(_pairs_of)] = ()
    """For a classifier: class of the task and label of its head, where the names differ."""
    image_size: Annotated[int | None, FieldMeta(since=5, unlearning=False)] = Field(default=None, ge=1)
    """Height and width to which images are resized; ``None``: the input of the image classifier."""


class Component(Frozen):
    """A task, attack or method by catalogue name with its literal parameters.

    ``alias`` is an attack's name in the suite if that differs from its catalogue name. A suite may contain
    the same attack several times with different parameters; its results carry the alias.
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
    """The space of trained parameters (``full``, ``lora``, ``prefix``, ``prompt``, ``names`` ...) and its
    settings."""

    kind: str = "full"
    params: dict[str, Any] = Field(default_factory=dict)


class Budget(Frozen):
    """``forwards`` is the training budget in forward passes of one minibatch of ``batch_size`` examples, of
    which ``micro_batch`` are computed at a time."""

    forwards: int = Field(ge=0)
    batch_size: int = Field(default=16, ge=1)
    micro_batch: Annotated[int | None, FieldMeta(since=4, unlearning=False)] = Field(default=None, ge=1)


Count = Annotated[int, Field(ge=1)] | None
"""A maximum number; ``None``: all."""
Points = tuple[Annotated[int, Field(ge=0)], ...]
"""Budgets in forward passes."""
ON_TASKS = FieldMeta(unlearning=False)
"""For fields that concern tasks, which an unlearning suite does not have."""


class Evaluation(Frozen):
    """When a run is evaluated, and on which examples.

    ``at`` are budgets in forward passes. The evaluation at budget b uses the last state that spent at most b
    forward passes. The final state is always evaluated. ``test_items`` and ``validation_items`` limit the
    number of examples (``None``: all). ``attacks_at`` are budgets at which attacks run in addition to the
    final state: the attacks named in ``attacks_along``, or all if it is empty. ``lm_eval_attack`` gives, per
    lm-eval task, the text column that the attacks edit. ``attack_similarity`` names the sentence encoder that
    compares successful edits with their originals if the attack itself computed no similarity.
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


class ForgetSet(Frozen):
    """The part of the forget set that the optimizer sees. Scores always cover the facts of the whole set.

    ``share`` below 1 selects a random coreset, ``keywords`` the examples that contain one of them. ``noise``
    alters ``noise_share`` of the examples (``incomplete``, ``rewritten``, ``watermarked``). ``requests``
    above 1 splits the set into requests that are handled one after the other, each with an equal share of the
    budget; ``nested``: each request includes the earlier ones.
    """

    share: float = Field(default=1.0, gt=0, le=1)
    keywords: tuple[str, ...] = ()
    noise: Literal["none", "incomplete", "rewritten", "watermarked"] = "none"
    noise_share: float = Field(default=1.0, gt=0, le=1)
    requests: int = Field(default=1, ge=1)
    nested: bool = False


class UnlearningSettings(Frozen):
    """Unlearning settings that the suite file and the specification have in common.

    ``check_every``: number of steps between two checks of the stop rule (0: no stop rule, the whole budget is
    spent). ``scored_retain``: share of the retained facts that is scored.
    """

    pair: Pair | None = None
    forget_set: ForgetSet = ForgetSet()
    check_every: int = Field(default=10, ge=0)
    scored_retain: float = Field(default=0.1, gt=0, le=1)
    truth: bool = True
    generate: Annotated[int | None, FieldMeta(since=3)] = Field(default=None, ge=1)
    """Maximum number of tokens of a generated answer; ``None``: no answers are generated."""
    scored_other: Annotated[float | None, FieldMeta(since=3)] = Field(default=None, gt=0, le=1)
    """Share of the examples of the further domains that is scored; ``None``: all."""
    depth: Annotated[bool | None, FieldMeta(since=7)] = None
    """Measure the unlearning depth score, where no probe is applied (``zobench.unlearning.depth``)."""


class Unlearning(UnlearningSettings):
    """Settings of an unlearning run. In such a run ``RunSpec.task`` is the unlearning objective.

    ``role``: ``unlearn`` trains; ``full`` and ``oracle`` measure the two reference models; ``noise`` measures
    the full model moved by ``distance`` in a random direction, where ``distance`` is how far a run of another
    row moved it. ``match_forget``: recovery rate at which forgetting is matched. ``match_retain``: share of
    the full model's retained score at which retention is matched. ``None``: no matching.
    """

    role: Literal["unlearn", "full", "oracle", "noise"] = "unlearn"
    data: Component
    oracle: ModelRef
    probes: tuple[Component, ...] = ()
    match_forget: float | None = None
    match_retain: float | None = None
    distance: float | None = None
    like: Annotated[str | None, FieldMeta(identity=False)] = None
    """Row that a ``noise`` run takes its distance from. For display only: ``distance`` has the value."""


class Diagnostics(Frozen):
    """Additional measurements at every ``every``-th step (``zobench.zo.diagnostics``).

    ``directions`` (number) and ``radius`` (smoothing radius) belong to the diagnostics' own random
    directions. Their forward passes do not count towards the budget."""

    measure: tuple[
        Literal["gradient-cosine", "variance", "effective-rank", "sharpness", "gradip", "probe-losses"], ...
    ]
    every: int = Field(default=10, ge=1)
    directions: int = Field(default=8, ge=2)
    radius: float = Field(default=1e-3, gt=0)


def _text_of_true(value: Any) -> Any:
    return "true" if value is True else value


class RowSettings(Frozen):
    """Settings that a row of the suite file and the specification of a run have in common."""

    labels: Annotated[Literal["true", "shuffled"], BeforeValidator(_text_of_true), ON_TASKS] = "true"
    shots: Annotated[int, ON_TASKS] = Field(default=0, ge=0)
    perturbation: PerturbationMode = "auto"
    noise: Literal["counter", "legacy"] = "counter"
    train_on: Annotated[TrainedOn, FieldMeta(since=3, unlearning=False)] = "loss"
    best_of: Annotated[int | None, FieldMeta(since=5, unlearning=False)] = Field(default=None, ge=2)
    """Answer each test example by the best of so many sampled answers, by the reward; ``None``: greedily."""
    precision: Annotated[Precision, FieldMeta(since=3)] = "auto"
    loss_dtype: Annotated[LossDtype, FieldMeta(since=4, unlearning=False)] = "float32"
    split: Annotated[Split | None, FieldMeta(since=7, unlearning=False)] = None
    """How the losses of a step are divided into shards; ``None``: not at all."""
    clients: Annotated[Clients | None, FieldMeta(since=7, unlearning=False)] = None
    """Federated training of these clients; ``None``: on all training examples together."""


class RunSpec(RowSettings):
    """All settings that determine the outcome of one run."""

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
        """Canonical JSON of the fields that determine the run's identity: sorted keys, no spaces, floats as
        Python prints them. ``display``: include display-only fields, as earlier versions of zobench did."""
        body = {"spec_version": HASHED_VERSION, **identity(self, display=display)}
        for name in self.task.files:
            del body["task"]["params"][name]
        for model in (body["model"], (body.get("unlearning") or {}).get("oracle", {})):
            if model.get("attention") == "auto":  # nearly every model resolves it to sdpa: one id for both
                model["attention"] = "sdpa"
        return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    def run_id(self, digests: dict[str, str]) -> str:
        """Folder name: 20 hexadecimal digits of the SHA-256 over the spec and the digests (model, data,
        schema)."""
        return _digest(self.canonical(), digests)

    def superseded_by(self, run_id: str, digests: dict[str, str]) -> str | None:
        """The current id of a run whose ``run_id`` follows the rule of an earlier version of zobench;
        ``None`` for any other run."""
        today, earlier = self.run_id(digests), _digest(self.canonical(display=True), digests)
        return today if run_id == earlier != today else None


def placeholder(spec: RunSpec) -> str:
    """Id of the record of a run that could not be identified, because a regular id contains the digests of
    model, data and plugins. No result has it."""
    return spec.run_id({"unresolved": "true"})


def identifying(model: str, data: str) -> dict[str, str]:
    """The ``digests`` argument of :meth:`RunSpec.run_id` from the digests of the model and the data."""
    return {"model": model, "data": data, "schema": HASHED_SCHEMA}


def _digest(canonical: str, digests: dict[str, str]) -> str:
    text = canonical + json.dumps(digests, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def reward_of(spec: RowSettings) -> RewardRef | None:
    """The reward that the run or row trains on; ``None`` for another objective."""
    return spec.train_on if isinstance(spec.train_on, RewardRef) else None


def bottleneck_of(spec: RowSettings) -> BottleneckRef | None:
    """The penalty that the run or row adds to its loss; ``None`` for another objective."""
    return spec.train_on if isinstance(spec.train_on, BottleneckRef) else None


def objective_name(spec: RowSettings) -> str:
    """The training objective in one word: ``loss``, ``accuracy``, ``f1``, the name of the reward, or
    ``bottleneck``."""
    if isinstance(spec.train_on, RewardRef):
        return spec.train_on.reward
    return spec.train_on if isinstance(spec.train_on, str) else "bottleneck"


class PlannedRun(Frozen):
    """A run in a plan, with its display settings: row, group and note."""

    row: str
    """Leaderboard entry, for instance ``mezo`` or ``mezo lr=0.001``; results are averaged over its seeds."""
    group: Literal["method", "control"] = "method"
    note: str = ""
    """Shown on the page, for instance ``learning rate from docs/results/tuning.json``."""
    spec: RunSpec
    tuning_of: str | None = None
    """For tuning trials: the row whose hyperparameters are tuned."""
    task_name: str = ""
    """Name of the task's entry in the suite (in an unlearning suite, of the objective's entry)."""
    model_name: str = ""
    """Name of the model's entry in the suite."""

    @property
    def shown_task(self) -> str:
        """The suite's name of the task, otherwise the name in the catalogue."""
        return self.task_name or self.spec.task.name

    @property
    def shown_model(self) -> str:
        """The suite's name of the model, otherwise the name by which it is loaded."""
        return self.model_name or self.spec.model.name
