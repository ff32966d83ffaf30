"""Runs whose steps are computed in shards (``split``), by one process or several (``executor.processes``).

The process that executes the run (rank 0) trains, evaluates and records as usual. The others
(:mod:`zobench.runner.rank`) hold the same weights and take the same steps. Ranks exchange losses and numbers
of items only (:mod:`zobench.zo.distributed`), and before every step rank 0 sends the step's index.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from zobench.runner.losses import differentiable, items_of, loss_of, objective_of
from zobench.runner.micro_batches import mean_of_parts, parts_of
from zobench.runner.ranks import Ranks
from zobench.runner.training import Training
from zobench.spec import reward_of
from zobench.zo.distributed import Alone, Exchange, Grid, distribute
from zobench.zo.objective import Meter, Objective

if TYPE_CHECKING:
    from zobench.runner.process_cache import ProcessCache
    from zobench.spec import RunSpec
    from zobench.tasks.base import Batch
    from zobench.zo.base import Optimizer
    from zobench.zo.method_data import Part

END = -1.0
"""Sent in place of a step's index after the last step."""


class MinibatchParts:
    """``zobench.zo.distributed.Division`` of the minibatches of a run, and the loss that it needs.

    Called as a loss, it returns the mean over the items of a part, and remembers their number."""

    def __init__(self, spec: RunSpec, bench: ProcessCache) -> None:
        self._lm, self._task = bench.model(spec.model), bench.data(spec).task
        self._whole = loss_of(spec, self._lm, self._task)
        self._items = 0

    def __call__(self, module: torch.nn.Module, batch: Batch) -> torch.Tensor:
        if parts_of(batch):
            return self._whole(module, batch)
        losses = self._task.item_losses(self._lm, module, batch)
        self._items = len(losses)
        return losses.float().mean()

    def parts(self, batch: Batch) -> Sequence[Part]:
        found = parts_of(batch)
        self._examples = {id(part): examples for part, examples in found}
        return [(part, part.sequences, part.tokens) for part, _ in found]

    def items(self, part: Batch) -> int:
        return self._items if self._items > 1 else self._examples[id(part)]

    def mean(self, losses: Sequence[float], items: Sequence[int]) -> float:
        return float(mean_of_parts([torch.tensor(x, dtype=torch.float32) for x in losses], items))


def split_objective(
    spec: RunSpec, bench: ProcessCache, meter: Meter, *, inference: bool
) -> tuple[Objective, MinibatchParts | None]:
    """The training objective of a run in shards, and how its minibatches are divided (``None``: not)."""
    assert spec.split is not None, "only runs in shards have such an objective"
    if spec.split.parts == 1:
        return objective_of(spec, bench, meter, inference=inference), None
    parts = MinibatchParts(spec, bench)
    lm = bench.model(spec.model)
    made = Objective(
        lm.module,
        parts,
        meter,
        differentiable=differentiable(spec),
        inference=inference,
        items=items_of(spec, lm, bench.data(spec).task),
    )
    return made, parts


def divide(spec: RunSpec, optimizer: Optimizer, exchange: Exchange, division: MinibatchParts | None) -> None:
    """Distribute the optimizer's losses over the shards of the run. Collective."""
    assert spec.split is not None, "only runs in shards are divided"
    grid = Grid.of(spec.split.shards, spec.split.by)
    distribute(optimizer, exchange, grid, division, counting=reward_of(spec) is not None)


class SplitTraining(Training):
    """The training of a run in shards.

    Args:
        processes: number of processes; there are no more than shards.
        parts: name of the factory, for the other processes.
        scratch: folder of the other processes' scratch copies (``perturbation: offload``); empty: the run's.
    """

    division: MinibatchParts | None

    def __init__(self, *given: Any, processes: int, parts: str, scratch: str = "", **named: Any) -> None:
        super().__init__(*given, **named)
        assert self.spec.split is not None, "only runs in shards are trained like this"
        self._exchange: Exchange = Alone()
        self._ranks: Ranks | None = None
        if processes > 1:
            size = min(processes, self.spec.split.shards)
            self._ranks = Ranks(self.spec, parts, size, run=self.folder.path, scratch=scratch)

    def make_objective(self) -> Objective:
        inference = self.optimizer.card.order == "zeroth" and self.spec.diagnostics is None
        made, self.division = split_objective(self.spec, self.bench, self.meter, inference=inference)
        return made

    def run(self, should_stop: Callable[[], bool]) -> str:
        if self._ranks is None:
            return super().run(should_stop)
        with self._ranks:
            status = super().run(should_stop)
            self._exchange.gather([END])
        return status

    def _prepare(self) -> None:
        super()._prepare()
        if self._ranks is not None:
            self._exchange = self._ranks.join()
            started = self.progress.step or self.cost.preparation_forwards
            self._ranks.hand_over(self.space, self.optimizer if started else None)
        divide(self.spec, self.optimizer, self._exchange, self.division)

    def _step(self) -> None:
        self._exchange.gather([float(self.progress.step)])
        super()._step()
