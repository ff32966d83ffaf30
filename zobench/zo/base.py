"""The optimizer interface: a card that describes the method, its cost, and ``step(objective) -> StepRecord``.

A method file defines one class derived from :class:`Optimizer` and its parameters as a frozen dataclass
``Config`` with the paper's defaults. The class composes parameter space x direction x estimator x update.
Plugins implement the same interface (entry-point group ``zobench.optimizers``).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    from zobench.zo.engine import Engine
    from zobench.zo.method_data import MethodData, Need
    from zobench.zo.objective import Objective
    from zobench.zo.space import ParameterSpace

Replay = Literal["scalars", "scalars+artifacts", "scalars+step-artifacts", "checkpoint"]
Order = Literal["zeroth", "forward-mode", "first", "mixed", "none"]


@dataclass(frozen=True, slots=True)
class MethodCard:
    """Description of a method, for the documentation and for the planner.

    Attributes:
        name: catalogue name, lower case with hyphens.
        title: name as the paper writes it.
        source: arXiv id or citation; "zobench" for baselines.
        formula: the update rule in one line of plain text.
        order: order of the optimizer: which derivatives it uses.
        replay: what is needed to rebuild the trained weights from the base model: the recorded scalars, the
            scalars and stored artifacts (masks, bases, anchors), artifacts of every step (which a submission
            does not hold), or a checkpoint.
        spaces: parameter spaces it supports (``full``, ``lora``, ``prefix``, ``prompt`` ...); ``("*",)``
            means any.
        unbiased: whether E[estimate] equals the gradient up to O(eps^2) on smooth losses.
        descent: whether it is meant to lower the loss (baselines are not).
        in_span: whether every step is a linear combination of the displacements measured in the same step
            (False with momentum, moments, signs of entries, gradients, projections).
        by_seeds: the update is a weighted list of seeds although ``in_span`` is False (weights per layer,
            seeds of earlier steps).
        fades: whether steps become short once all gradients are 0 (False if a momentum enters by its sign or
            polar factor, so that steps keep their length).
        noisy: whether noise is added to the estimate, so that the weights move on a constant loss too.
        notes: choices made where the paper gives no detail; differences from the authors' code.
        decay: for methods with weight decay: how it is coupled, which tensors decay, and what the authors'
            code does; empty for methods without.
        needs: what the run must supply besides the step's minibatch (see ``zobench.zo.method_data``).
        summable: whether the weights are the starting weights plus the recorded -lr c u(seed) of all steps,
            with directions that are a function of the seed and a static mask.
        revision: version of the arithmetic, from 1. It is raised whenever the same losses would give
            different weights. Above 1 it is part of a run's identity. CHANGELOG.md lists what each revision
            changed.
    """

    name: str
    title: str
    source: str
    formula: str
    order: Order
    replay: Replay
    spaces: tuple[str, ...] = ("*",)
    unbiased: bool = False
    descent: bool = True
    in_span: bool = False
    by_seeds: bool = False
    fades: bool = True
    noisy: bool = False
    notes: str = ""
    decay: str = ""
    needs: tuple[Need, ...] = ()
    revision: int = 1
    summable: bool = False


@dataclass(frozen=True, slots=True)
class Cost:
    """Declared cost of one step under a given config; the conformance kit compares it with measurements.

    Attributes:
        forwards_per_step: mean number of forward passes over a long run (work done in every k-th step counts
            1/k).
        max_forwards_in_step: the maximum cost of any single step; the runner stops before a step that might
            exceed the budget.
        passes_per_step: read+write sweeps over the tuned parameters.
        state_bytes_per_parameter: optimizer state that must be kept between steps, per tuned parameter.
        preparation_forwards: forward passes spent by ``prepare`` before the first step, from the same budget.
        period: number of steps over which the mean is taken, for schedules with long alternating blocks.
    """

    forwards_per_step: float
    max_forwards_in_step: int
    passes_per_step: float
    state_bytes_per_parameter: float
    preparation_forwards: int = 0
    period: int = 1


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One step as scalars. They suffice to replay the step if the method's card says ``scalars``.

    Attributes:
        step: 0-based index.
        seeds: direction seeds, in the order used; empty for first-order steps.
        coefficients: the factor of each direction in the estimate (the projected gradients).
        losses: every loss queried, in order of query.
        loss: the loss to plot: the loss at theta if it was measured, else the mean of the queried losses.
        lr: step size used.
        forwards: forward passes spent in this step.
        tokens: tokens processed in this step.
        moved: False if the step was refused (non-finite loss, zero spread) and the weights were left
            unchanged.
        reason: why the step was refused; empty otherwise.
        extras: further scalars of the method (gain, norm, share of changed entries ...), for replay and
            diagnostics.
    """

    step: int
    seeds: tuple[int, ...]
    coefficients: tuple[float, ...]
    losses: tuple[float, ...]
    loss: float
    lr: float
    forwards: int
    tokens: int
    moved: bool = True
    reason: str = ""
    extras: dict[str, float] = field(default_factory=dict)


class Optimizer(ABC):
    """A method bound to a parameter space and a run seed.

    ``engine`` decides how losses at displaced weights are obtained, how noise is drawn and how updates are
    written. The default ``Engine()`` restores the weights exactly and draws counter-based noise.

    ``step`` follows four rules: it never uses the global random state; it spends forward passes only through
    the objective; with learning rate 0 the weights stay bit-identical; a step with a non-finite loss is
    refused and leaves the weights unchanged.
    """

    Config: ClassVar[type]
    card: ClassVar[MethodCard]
    search_space: ClassVar[Mapping[str, Sequence[Any]]] = {}
    """Values to try if a suite requests tuning without listing values. If empty, learning rates from a tenth
    of the default to ten times the default are tried."""
    small_problem: ClassVar[Mapping[str, Any]] = {}
    """Config values for problems with a few dozen parameters, on which a paper's default is meaningless
    (0.1 % of 17 entries) or takes minutes. The conformance kit uses them."""

    def __init__(
        self, config: Any, space: ParameterSpace, *, seed: int, engine: Engine | None = None
    ) -> None:
        self.config = config
        self.space = space
        self.seed = seed

    @classmethod
    @abstractmethod
    def cost(cls, config: Any) -> Cost:
        """Declared cost under this config."""

    @classmethod
    def indivisible(cls, config: Any) -> str:
        """Why the losses of a step cannot be divided among shards (:mod:`zobench.zo.distributed`) under this
        config; empty if they can."""
        return f"{cls.card.name} uses more than losses ({cls.card.order} order)"

    @classmethod
    def unsummable(cls, config: Any) -> str:
        """Why a server cannot rebuild a client's path from its scalars (:mod:`zobench.zo.federated`); empty
        if it can."""
        if not cls.card.summable or getattr(config, "interval", False):
            return f"{cls.card.name} cannot be replayed by a server"
        if getattr(config, "weight_decay", 0.0):
            return f"{cls.card.name} with weight decay is not a sum of its directions; set weight_decay to 0"
        return ""

    @classmethod
    def picks(cls, config: Any) -> tuple[int, ...]:
        """For methods that only compare losses of one step: how many best points an oracle has to name in
        each ranking of a step (:mod:`zobench.zo.ranked`). Empty for all other methods."""
        return ()

    def supply(self, supplies: MethodData) -> None:  # noqa: B027 - for methods whose card names needs
        """Receive the source of additional minibatches. Called at the start of a run and after a resume."""

    def prepare(self, objective: Objective) -> None:  # noqa: B027 - for methods that calibrate
        """Run once before step 0, after ``supply``. Cost: ``cost(config).preparation_forwards`` forward
        passes. A resumed run does not repeat it, because its results are part of ``state_dict``."""

    @abstractmethod
    def step(self, objective: Objective) -> StepRecord:
        """One update from the objective's current minibatch."""

    def settle(self) -> None:  # noqa: B027 - for modes that put steps off
        """Write steps that were put off into the weights: at the end of a run."""

    def settled(self) -> AbstractContextManager[None]:
        """Inside the block the weights hold steps that were put off; afterwards they are as before."""
        return nullcontext()

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Everything except the weights that ``load_state_dict`` needs to continue bit-identically. Only
        plain numbers, strings, lists and tensors are allowed (they are stored as safetensors and JSON)."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from ``state_dict()`` of an optimizer with the same config, space and seed."""
