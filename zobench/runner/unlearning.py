"""An unlearning run: the training loop on an objective of two models, its stop rule, and its probes.

The loop is that of every run (budget, checkpoints, evaluation points, divergence); this module contains the
differences. The preparation of a step's minibatch counts towards the budget. Every ``check_every`` steps the
forget score on the half that is not reported is compared with the oracle's (or with chance, if the oracle is
below it); the run ends at the first state whose score is not above. A method that must end in a certain phase
sets ``may_stop`` in the extras of its record. These checks count as evaluation.

Roles without steps measure a reference model (``full``, ``oracle``) or a noise baseline: the full model moved
in a random direction.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from zobench.parameters import configure
from zobench.plugins import lookup
from zobench.runner.divergence import NotFinite
from zobench.runner.measurements import Measurements
from zobench.runner.probing import Finished, clean_values, probing_rows
from zobench.runner.results import Measured, Row
from zobench.runner.training import Training
from zobench.runner.unlearning_cache import UnlearningCache
from zobench.spec import Unlearning
from zobench.tasks.base import MetricValue, Prediction
from zobench.unlearning.base import Context
from zobench.unlearning.metered import Counted, cost_under, prepared_forwards, target_of
from zobench.unlearning.objectives.task_vector import TaskVector
from zobench.unlearning.probes.noise import add_noise_of_norm_
from zobench.unlearning.probes.weights import distance, state, write

if TYPE_CHECKING:
    from zobench.unlearning.base import Batch
    from zobench.zo.base import StepRecord


@dataclass(slots=True)
class Position:
    """The additional state of an unlearning run; JSON in the checkpoint."""

    reached: bool = False
    backwards: int = 0
    reference_forwards: int = 0
    objective: dict[str, float] = field(default_factory=dict)


class UnlearningTraining(Training):
    """One unlearning run; see the module's docstring."""

    objective: Counted

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.facts: UnlearningCache = self.bench.facts(self.spec)
        self.facts.check_read(self.target.parts())
        self.position = Position()
        self.cost = cost_under(self.cost, self.target, self.optimizer.card)
        self.clean: dict[str, MetricValue] = {}
        """The latest clean scores; after training those of the final state."""

    def make_objective(self) -> Counted:
        found = lookup("objectives", self.spec.task.name)
        config = configure(found.Config, self.spec.task.params)
        self.target = target_of(found, config)
        self.vector = found(config) if issubclass(found, TaskVector) else None
        return Counted(self.lm.module, self.target, self.bench.facts(self.spec).reference, self.meter)

    @property
    def section(self) -> Unlearning:
        assert self.spec.unlearning is not None
        return self.spec.unlearning

    @property
    def tuning(self) -> bool:
        return self.spec.purpose == "tuning"

    def note_of_data(self) -> None:
        """Facts have no classes."""

    def _looks_free(self) -> bool:
        return False

    def run(self, should_stop: Callable[[], bool]) -> str:
        if self.section.role != "unlearn":
            self._take_role()
            self.frozen.take()
        status = super().run(should_stop)
        if self.vector is not None:
            self._apply_vector(self.vector)
            self.frozen.take()
        return status

    @torch.no_grad()
    def _take_role(self) -> None:
        """Replace the model's weights by the oracle's, or move them in a random direction."""
        if self.section.role == "oracle":
            write(self.lm.module, state(self.facts.oracle))
        elif self.section.role == "noise":
            assert self.section.distance is not None, "set when the run that it depends on has ended"
            add_noise_of_norm_(self.lm.module, self.section.distance, seed=self.spec.seed)

    @torch.no_grad()
    def _apply_vector(self, vector: TaskVector) -> None:
        changed = vector.apply(self.facts.reference, self.subject())
        write(self.lm.module, state(changed))

    def subject(self) -> nn.Module:
        """The model as a plain module that probes may copy, with adapters merged."""
        if self.space.kind != "lora":
            return self.lm.module
        from zobench.zo.space.lora import Lora, merged

        adapters, plain = Lora(**self.spec.space.params), copy.deepcopy(self.facts.reference)
        write(plain, merged(self.space, adapters.alpha / adapters.r))
        return plain

    def minibatch(self) -> Batch:
        """The step's minibatch, prepared by the objective; cost and time count towards the step."""
        started = time.perf_counter()
        share = self.meter.forwards / max(1, self.spec.budget.forwards)
        raw = self.facts.minibatch(self.spec, self.progress.step, self.target.parts(), share)
        ready = self.target.prepare(Context(self.lm.module, self.facts.reference), raw)
        extra = prepared_forwards(self.target)
        self.meter.charge(extra, ready.sequences, ready.tokens)
        self.position.reference_forwards += self.target.passes().reference
        self._synchronize()
        self.progress.seconds += time.perf_counter() - started
        return ready

    def after_step(self, batch: Any, record: StepRecord) -> None:
        """Dual ascent of the objective, then the stop rule at every ``check_every``-th step."""
        self.target.advance(batch)
        every, step = self.section.check_every, self.progress.step
        if not every or step % every or not record.extras.get("may_stop", 1.0) or self.vector is not None:
            return
        started = time.perf_counter()
        score = self.facts.forget_score(self.lm.module)
        self.evaluator.book(len(self.facts.split.relearn), started)
        self.position.reached = score <= self.facts.stop_level()

    def _next_fits(self) -> bool:
        return not self.position.reached and super()._next_fits()

    def measured(self) -> Measured:
        """All clean scores of the current state."""
        started = time.perf_counter()
        values = clean_values(self.facts, self.lm.module, tuning=self.tuning)
        if len(self.facts.requests) > 1:
            values["requests_served"] = MetricValue(self.requests_served(), 1)
        if math.isnan(values[self.facts.forget_metric].value):
            raise NotFinite(f"{self.facts.forget_metric} is NaN")
        self.clean = values
        rows = self.facts.with_holdout(self.tuning)
        self.evaluator.book(sum(map(len, rows.values())) * (6 if self.facts.truth else 1), started)
        self._tell({"metric": values[self.facts.forget_metric].value})
        return Measured("validation" if self.tuning else "test", (), [], values)

    def recalled(self, values: dict[str, MetricValue], predictions: list[Prediction], split: str) -> Measured:
        self.clean = values
        return Measured(split, (), [], values)

    def requests_served(self) -> float:
        """Number of forget requests served with the budget spent so far, including the current one; 0 before
        the first step. Scores as a function of it are MUSE's scalability if requests are nested, and
        sustainability if they are disjoint."""
        share = self.meter.forwards / max(1, self.spec.budget.forwards)
        asked = len(self.facts.requests)
        return min(float(asked), math.ceil(share * asked))

    def further_rows(self, measurements: Measurements) -> list[Row]:
        """Cost, distance, and the probes of the final state and of its matched points."""
        subject = self.subject()
        costs = {
            "distance": distance(self.facts.reference, subject),
            "reached": float(self.position.reached or self.section.role != "unlearn"),
            "backwards": float(self.objective.backwards),
            "reference_forwards": float(self.position.reference_forwards),
        }
        finished = Finished(
            spec=self.spec,
            facts=self.facts,
            spent=self.spent(),
            costs=costs,
            clean=self.clean,
            merged=self.space.kind == "lora",
            progress=self.progress,
            measurements=measurements,
        )
        return probing_rows(finished, subject)

    def own_position(self) -> dict[str, Any]:
        self.position.backwards = self.objective.backwards
        self.position.objective = dict(self.target.state_dict())
        return {"unlearning": {n: getattr(self.position, n) for n in Position.__dataclass_fields__}}

    def take_position(self, position: dict[str, Any]) -> None:
        known = Position.__dataclass_fields__
        self.position = Position(**{k: v for k, v in position["unlearning"].items() if k in known})
        self.objective.backwards = self.position.backwards
        self.target.load_state_dict(self.position.objective)
