"""A small study as a plain function: full model, oracle and unlearned models, each through the probes.

Every unlearned model starts from the full one, sees the same minibatches as the others of its seed, and stops
at the first check where its forget score is at or below the oracle's (or chance, where the oracle is
confidently wrong and lies below it), or when the budget is spent. The
budget is in forwards of one minibatch: a loss query is 1, a gradient 3, preparing the minibatch 1 at theta
and 1 at the reference where the objective needs them. Checks are evaluation and are not counted.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from zobench.unlearning.base import Context, Material, ModelProbe, Objective, Tokens, loss_function
from zobench.unlearning.data import FactSplits
from zobench.unlearning.evaluate import measure, scores
from zobench.unlearning.forget_sets import Halves, halves, random_coreset
from zobench.unlearning.metrics.summary import normalized
from zobench.unlearning.minibatches import Minibatches, passes_over
from zobench.unlearning.probes.inputs import InputMaterial, InputProbe
from zobench.unlearning.probes.weights import distance
from zobench.unlearning.rows import FactRow
from zobench.zo.base import Optimizer
from zobench.zo.objective import Meter
from zobench.zo.objective import Objective as Metered

Probe = ModelProbe | InputProbe
STOP_METRIC = "forget_value_probability"


@dataclass(frozen=True)
class Plan:
    """What to compare.

    Attributes:
        objectives: name -> a fresh objective; optimizers: name -> optimizer of (module, seed).
        probes: applied one at a time to each model; no probe is always included.
        seeds: of minibatches, directions and probes.
        budget: forwards of each unlearning run; check_every: steps between checks of the stop rule.
        size: rows of each part of a minibatch.
        retained: share of the retained facts that are scored.
        metrics: names of :func:`~zobench.unlearning.evaluate.scores` to report.
    """

    objectives: Mapping[str, Callable[[], Objective]]
    optimizers: Mapping[str, Callable[[nn.Module, int], Optimizer]]
    probes: Sequence[Probe] = ()
    seeds: Sequence[int] = (0,)
    budget: int = 600
    check_every: int = 10
    size: int = 16
    retained: float = 0.1
    relearn_minibatches: int = 100
    metrics: Sequence[str] = (
        STOP_METRIC,
        "forget_value_accuracy",
        "retain_value_accuracy",
        "real_authors_value_accuracy",
        "world_facts_value_accuracy",
    )

    @property
    def truth(self) -> bool:
        """Whether a metric needs paraphrased and perturbed answers, six times the cost."""
        return any("truth_ratio" in m or "among_options" in m or m == "utility" for m in self.metrics)


@dataclass(frozen=True, slots=True)
class Subject:
    """A model under study; ``objective`` is ``full`` or ``oracle`` for the two references."""

    objective: str
    optimizer: str
    module: nn.Module
    forwards: int = 0
    distance: float = 0.0
    reached: bool = True


@dataclass(frozen=True, slots=True)
class StudyRow:
    """One number: value, what oracle and full model have after the same probe, and S.

    S is given for forget scores; on retained facts oracle and full model do not differ, and it is ``nan``.
    """

    objective: str
    optimizer: str
    seed: int
    probe: str
    strength: float
    params: Mapping[str, float | str]
    metric: str
    value: float
    oracle: float
    full: float
    normalized: float
    forwards: int
    distance: float
    reached: bool


@dataclass(frozen=True)
class Bench:
    """Models, data and what is scored. ``split`` keeps relearned facts apart from scored ones."""

    full: nn.Module
    oracle: nn.Module
    tokenizer: Any
    splits: FactSplits
    split: Halves = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "split", halves(self.splits.forget, seed=0))

    def parts(self, plan: Plan) -> dict[str, Sequence[FactRow]]:
        kept = random_coreset(self.splits.retain, plan.retained, seed=0)
        return {"forget": self.split.scored, "retain": kept, **self.splits.other}

    def material(self, plan: Plan, seed: int) -> Material:
        def batches(rows: Sequence[FactRow]) -> list[Tokens]:
            return passes_over(
                self.tokenizer, rows, size=plan.size, count=plan.relearn_minibatches, seed=seed
            )

        return Material(
            relearn=batches(self.split.relearn),
            benign={"retain": batches(self.splits.retain)},
            original=self.full,
            seed=seed,
        )


def study(bench: Bench, plan: Plan) -> Iterator[StudyRow]:
    """Rows of every seed, model, probe and metric; oracle and full model first."""
    for seed in plan.seeds:
        material = bench.material(plan, seed)
        subjects = [Subject("full", "", bench.full), Subject("oracle", "", bench.oracle)]
        full, oracle = (dict(_probed(bench, plan, s.module, material)) for s in subjects)
        subjects += [
            unlearn(bench, plan, objective, optimizer, seed)
            for objective in plan.objectives
            for optimizer in plan.optimizers
        ]
        for subject in subjects:
            for key, found in _probed(bench, plan, subject.module, material):
                yield from _rows(plan, subject, seed, key, found, oracle[key], full[key])


def unlearn(bench: Bench, plan: Plan, objective: str, optimizer: str, seed: int) -> Subject:
    """One unlearned model: a trained copy of the full one, at the stop rule's checkpoint."""
    module, target = copy.deepcopy(bench.full), plan.objectives[objective]()
    method = plan.optimizers[optimizer](module, seed)
    if method.card.order != "first":
        target.require_zeroth_order()
    metered = Metered(module, loss_function(target, bench.full), Meter(plan.budget))
    draw = Minibatches(bench.tokenizer, bench.splits, plan.size, seed)
    level = max(_forget_score(bench, bench.oracle), bench.splits.chance or 0.0)
    extra = _prepared_forwards(target)
    dearest = type(method).cost(method.config).max_forwards_in_step + extra
    context, step, reached = Context(module, bench.full), 0, False
    while not reached and (metered.meter.remaining or 0) >= dearest:
        ready = target.prepare(context, draw.batch(step, target.parts()))
        metered.set_batch(ready, sequences=ready.sequences, tokens=ready.tokens)
        metered.meter.charge(extra, ready.sequences, ready.tokens)
        method.step(metered)
        target.advance(ready)
        step += 1
        reached = step % plan.check_every == 0 and _forget_score(bench, module) <= level
    return Subject(
        objective, optimizer, module, metered.meter.forwards, distance(bench.full, module), reached
    )


def _prepared_forwards(objective: Objective) -> int:
    passes = objective.passes()
    return int(passes.prepare > 0) + int(passes.reference > 0)


def _forget_score(bench: Bench, module: nn.Module) -> float:
    """The stop rule's score, on the half of the forget facts that relearning uses: never on the half that
    is reported."""
    found = scores(measure(module, bench.tokenizer, {"forget": bench.split.relearn}, truth=False))
    return found[STOP_METRIC]


Key = tuple[str, float, tuple[tuple[str, float | str], ...]]


def _probed(
    bench: Bench, plan: Plan, module: nn.Module, material: Material
) -> Iterator[tuple[Key, dict[str, float]]]:
    """Scores by (probe, strength, params). What a probe measures about a model (moved steps) is no key."""
    parts = bench.parts(plan)

    def scored(changed: nn.Module, rows: Mapping[str, Sequence[FactRow]]) -> dict[str, float]:
        return scores(measure(changed, bench.tokenizer, rows, truth=plan.truth))

    yield ("none", 0.0, ()), scored(module, parts)
    for probe in plan.probes:
        if isinstance(probe, InputProbe):
            given = InputMaterial(bench.splits.retain, material.seed, bench.full, bench.tokenizer)
            for setting in probe.settings():
                asked = {n: probe.rows_at(setting, r, given) for n, r in parts.items()}
                key = (probe.name, setting.strength, tuple(sorted(setting.params.items())))
                yield key, scored(module, asked)
            continue
        for v in probe.variants(module, material):
            params = tuple(sorted((k, p) for k, p in v.params.items() if not k.startswith("moved")))
            yield (probe.name, v.strength, params), scored(v.module, parts)


def _rows(
    plan: Plan,
    subject: Subject,
    seed: int,
    key: Key,
    found: Mapping[str, float],
    oracle: Mapping[str, float],
    full: Mapping[str, float],
) -> Iterator[StudyRow]:
    probe, strength, params = key
    for metric in plan.metrics:
        value, low, high = (m.get(metric, math.nan) for m in (found, oracle, full))
        yield StudyRow(
            objective=subject.objective,
            optimizer=subject.optimizer,
            seed=seed,
            probe=probe,
            strength=strength,
            params=dict(params),
            metric=metric,
            value=value,
            oracle=low,
            full=high,
            normalized=normalized(value, low, high) if metric.startswith("forget") else math.nan,
            forwards=subject.forwards,
            distance=subject.distance,
            reached=subject.reached,
        )
