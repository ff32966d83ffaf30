"""A run of unlearning: the training loop on an objective of two models, its stop rule, and its probes.

The loop is that of every run (budget, checkpoints, evaluation points, divergence); what differs is here. A
step's minibatch is prepared first, and that is charged. Every ``check_every`` steps the forget score on the
half that is not reported is compared with the oracle's (or chance, where the oracle lies below it): the first
state at or below ends the run. A method that has to end in a certain phase says in its record's extras
whether it ``may_stop``. Looking is evaluation and is booked as such.

Roles without steps measure a reference (``full``, ``oracle``) or a noise control: the full model moved in a
random direction.
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
from zobench.runner.probing import Finished, Probed, clean_values, probing_rows
from zobench.runner.results import Measured, Row
from zobench.runner.training import Stopped, Training
from zobench.runner.unlearning_cache import UnlearningCache
from zobench.spec import Unlearning
from zobench.tasks.base import MetricValue
from zobench.unlearning.base import Context
from zobench.unlearning.metered import Counted, cost_under, prepared_forwards, target_of
from zobench.unlearning.objectives.task_vector import TaskVector
from zobench.unlearning.probes.noise import add_noise_of_norm_
from zobench.unlearning.probes.weights import distance, state, write

if TYPE_CHECKING:
    from zobench.unlearning.base import Batch
    from zobench.zo.base import StepRecord

SECONDS_BETWEEN_CHECKPOINTS = 30.0
"""Of probing, between two probes."""


@dataclass(slots=True)
class Position:
    """Where an unlearning run stands besides what every run has; JSON in the checkpoint."""

    reached: bool = False
    backwards: int = 0
    reference_forwards: int = 0
    objective: dict[str, float] = field(default_factory=dict)
    probed: dict[str, Probed] = field(default_factory=dict)
    """Rows of the probes that are done, by split and probe, and how many answers each scored."""


class UnlearningTraining(Training):
    """One run of unlearning; see the module's text."""

    objective: Counted

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.facts: UnlearningCache = self.bench.facts(self.spec)
        self.facts.check_read(self.target.parts())
        self.position = Position()
        self.cost = cost_under(self.cost, self.target, self.optimizer.card)
        self._should_stop: Callable[[], bool] = lambda: False
        self._saved = time.monotonic()
        self.clean: dict[str, MetricValue] = {}
        """What was measured last; on the final state once training is over."""
        self._trained: int | None = None
        """Evaluation forwards when training was over."""

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
        self._should_stop = should_stop
        if self.section.role != "unlearn":
            self._take_role()
        status = super().run(should_stop)
        self._trained = self.progress.evaluation_forwards
        if self.vector is not None:
            self._apply_vector(self.vector)
        return status

    @torch.no_grad()
    def _take_role(self) -> None:
        """The oracle's weights, or the full model's moved at random, in the place of the model's own."""
        if self.section.role == "oracle":
            write(self.lm.module, state(self.facts.oracle))
        elif self.section.role == "noise":
            assert self.section.distance is not None, "filled in when the run it follows is done"
            add_noise_of_norm_(self.lm.module, self.section.distance, seed=self.spec.seed)

    @torch.no_grad()
    def _apply_vector(self, vector: TaskVector) -> None:
        changed = vector.apply(self.facts.reference, self.subject())
        write(self.lm.module, state(changed))

    def subject(self) -> nn.Module:
        """The model as a plain module that probes may copy: adapters are merged."""
        if self.space.kind != "lora":
            return self.lm.module
        from zobench.zo.space.lora import Lora, merged

        adapters, plain = Lora(**self.spec.space.params), copy.deepcopy(self.facts.reference)
        write(plain, merged(self.space, adapters.alpha / adapters.r))
        return plain

    def minibatch(self) -> Batch:
        """The step's minibatch with what the objective computes beforehand; charged and timed with the
        step."""
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
        """Dual ascent, then the stop rule where it is time to look."""
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
        """Every clean score of the current state."""
        started = time.perf_counter()
        values = clean_values(self.facts, self.lm.module, tuning=self.tuning)
        if len(self.facts.requests) > 1:
            values["requests_served"] = MetricValue(self.requests_served(), 1)
        self.clean = values
        rows = self.facts.with_holdout(self.tuning)
        self.evaluator.book(sum(map(len, rows.values())) * (6 if self.facts.truth else 1), started)
        self._tell({"metric": values[self.facts.forget_metric].value})
        return Measured("validation" if self.tuning else "test", (), [], values)

    def requests_served(self) -> float:
        """How many of the suite's forget requests the budget spent so far has served, the present one
        included; none before the first step. Scores over it are MUSE's scalability where requests are
        nested, and sustainability where they are disjoint."""
        share = self.meter.forwards / max(1, self.spec.budget.forwards)
        asked = len(self.facts.requests)
        return min(float(asked), math.ceil(share * asked))

    def further_rows(self) -> list[Row]:
        """Cost and distance, and the probes of the final state and of its matched points."""
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
            probed=self.position.probed,
            done=self.probe_done,
        )
        return probing_rows(finished, subject)

    def _checkpoint(self) -> None:
        """Costs recorded after training are recorded again by a resumed run: it is not kept."""
        booked = self.progress.evaluation_forwards
        self.progress.evaluation_forwards = booked if self._trained is None else self._trained
        super()._checkpoint()
        self.progress.evaluation_forwards = booked

    def probe_done(self, key: str, rows: list[Row], predictions: int, started: float) -> None:
        """Keep a probe's records, so that a run that is stopped while probing resumes after this probe."""
        self.position.probed[key] = (rows, predictions)
        self.evaluator.book(predictions, started)
        if time.monotonic() - self._saved > SECONDS_BETWEEN_CHECKPOINTS and self.progress.step:
            self._checkpoint()
            self._saved = time.monotonic()
        if self._should_stop():
            if self.progress.step:
                self._checkpoint()
            raise Stopped

    def own_position(self) -> dict[str, Any]:
        self.position.backwards = self.objective.backwards
        self.position.objective = dict(self.target.state_dict())
        return {"unlearning": {n: getattr(self.position, n) for n in Position.__dataclass_fields__}}

    def take_position(self, position: dict[str, Any]) -> None:
        self.position = Position(**position["unlearning"])
        self.objective.backwards = self.position.backwards
        self.target.load_state_dict(self.position.objective)
