"""The parameter space of a run. Most kinds need the module alone; space ``pruned`` prunes the model first,
for which it needs data (:mod:`zobench.zo.pruning`):

- task data: training examples of the run's task, by its training loss;
- general data: documents of the kinds that the built-in text model was trained on, without those about
  people, whose facts the tasks ask for.

Both are drawn by the run's seed, ``calibration`` of each; ``mixed`` has half of each. The pruned weights are
part of the model until it is restored after the run. A resumed run and a replay prune again, to the same
masks.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch

from zobench.data.example import Example
from zobench.data.synthetic import corpus
from zobench.models.base import LanguageModel
from zobench.models.likelihood import text_passes
from zobench.runner.factory import Factory
from zobench.spec import RunSpec
from zobench.zo.pruning import channel_scores, fused_scores, sizes_on
from zobench.zo.space.base import ParameterSpace
from zobench.zo.space.catalogue import SpaceConfig
from zobench.zo.space.pruned import Pruned

if TYPE_CHECKING:
    from zobench.tasks.base import Task

AT_A_TIME = 8
"""Training examples of one forward pass."""


def space_of(spec: RunSpec, lm: LanguageModel, parts: Factory) -> ParameterSpace:
    """The run's space on this model, which is pruned if the space asks for it. Cost: for the criteria that
    need data, one forward pass per general document and per 8 examples of the task."""
    if spec.space.kind != "pruned":
        return parts.space(spec.space, lm.module)
    kind = SpaceConfig("pruned", dict(spec.space.params)).parsed()
    assert isinstance(kind, Pruned)
    if lm.architecture != "causal":
        raise ValueError(f"space 'pruned' needs a causal model; {lm.identity.name} is {lm.architecture}")
    space = kind.layers(lm.module)
    return kind.applied(lm.module, scores(kind, space, lm, parts.task(spec.task), spec.seed))


def scores(
    kind: Pruned, space: ParameterSpace, lm: LanguageModel, task: Task, seed: int
) -> dict[str, torch.Tensor]:
    """The scores of the criterion, by name of the weight."""
    if kind.criterion == "magnitude":
        return {name: space.entries(name).detach().abs() for name in space}
    documents = corpus.general_documents(seed, kind.calibration)
    examples = list(task.splits(seed).train[: kind.calibration])
    if kind.criterion == "fused":
        on_general = sizes_on(space, text_passes(lm, documents))
        return fused_scores(
            space, on_general, sizes_on(space, task_passes(lm, task, examples)), kind.threshold
        )
    half = (kind.calibration + 1) // 2
    of_general = {"general": kind.calibration, "task": 0, "mixed": half}[kind.criterion]
    of_task = {"general": 0, "task": kind.calibration, "mixed": kind.calibration - half}[kind.criterion]
    runs = itertools.chain(text_passes(lm, documents[:of_general]), task_passes(lm, task, examples[:of_task]))
    return channel_scores(space, sizes_on(space, runs))


def task_passes(
    lm: LanguageModel, task: Task, examples: Sequence[Example]
) -> Iterator[Callable[[], torch.Tensor]]:
    """The training loss of 8 examples at a time."""
    for start in range(0, len(examples), AT_A_TIME):
        batch = task.batch(lm, examples[start : start + AT_A_TIME])
        yield functools.partial(task.loss, lm, lm.module, batch)
