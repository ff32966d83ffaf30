"""The method template of black-box optimizers by ask and tell.

points z_1 .. z_n in R^d <- ask();   f_k = L(theta + lr (z_k - m));   tell(f_1 .. f_n);   m -> m'
theta <- theta + lr (m' - m)

z counts all tuned entries in the order of the space, m is the point that the searcher recommends (its mean,
or its best point), and lr, in the units of the weights, is the standard deviation sigma_0 of the first
generation: the searcher itself starts at 0 with standard deviation 1. n forward passes per step, all on the
step's minibatch, so that the points of a generation are compared on the same examples.

Points are functions of (seed, losses told so far). The record of a step therefore holds all that a replay
needs, and a checkpoint holds the losses of all steps: a resumed run asks and tells again, without forward
passes (its time grows with the number of steps). A generation with a non-finite loss, or in which all losses
are equal, is refused: the searcher is not told, and draws the next generation from the state that it had.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from zobench.zo.blackbox.searcher import Searcher
from zobench.zo.directions import Direction
from zobench.zo.estimators import Estimate
from zobench.zo.method import ZerothOrder
from zobench.zo.objective import Objective
from zobench.zo.sparse import counter_only

SMALL_SPACES = (
    "layer-scales",
    "singular-values",
    "bias",
    "prompt",
    "prefix",
    "scales",
    "zerotuning",
    "masked",
    "lora",
    "names",
)
"""Spaces whose size is chosen by the user; the full space of a language model is always too large."""
MOVE = -1
"""Key of the last move of the recommended point; seeds are not negative."""


class AskedPoints(Direction):
    """u(seed) = the point that was asked under this seed, relative to the recommended point.

    Attributes:
        points: seed -> vector of all tuned entries, float64 on the CPU.
    """

    def __init__(self, inner: Direction) -> None:
        super().__init__(inner.source)
        self.points: dict[int, torch.Tensor] = {}
        ends = torch.tensor([self.space.size(name) for name in self.space]).cumsum(0).tolist()
        self._ends = dict(zip(self.space, ends, strict=True))

    def add_(self, tensor: torch.Tensor, name: str, seed: int, scale: float) -> None:
        self.source.drawn += tensor.numel()
        end = self._ends[name]
        part = self.points[seed][end - self.space.size(name) : end]
        wide = torch.float64 if tensor.dtype == torch.float64 else torch.float32
        moved = (part * scale).to(device=tensor.device, dtype=wide).view(tensor.shape)
        tensor.copy_(moved.add_(tensor.to(wide)))


class AskTell(ZerothOrder):
    """A searcher as a method. Subclasses provide ``search`` and ``most``.

    Raises:
        ValueError: the space is larger than ``most`` allows, or the package is missing.
    """

    direction: AskedPoints

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        most, reason = self.most()
        if self.space.numel > most:
            raise ValueError(
                f"{self.card.name}: {self.space.numel} tuned entries, at most {most}: {reason}; or choose a "
                f"smaller space ({', '.join(SMALL_SPACES)}) or a method without state (mezo, es)"
            )
        self.told: list[tuple[float, ...]] = []
        self._searcher: Searcher | None = self.search()

    @abstractmethod
    def search(self) -> Searcher:
        """A new searcher in ``self.space.numel`` dimensions, a function of config and run seed."""

    @abstractmethod
    def most(self) -> tuple[int, str]:
        """Largest number of tuned entries under this config, and why it ends there and what to choose
        instead."""

    @property
    def searcher(self) -> Searcher:
        """The searcher after all generations told so far, built again if need be."""
        if self._searcher is None:
            built = self.search()
            for losses in self.told:
                built.ask()
                self._answer(built, losses)
            self._searcher = built
        return self._searcher

    def make_direction(self) -> AskedPoints:
        counter_only(self.engine, self.card.name)
        return AskedPoints(self.engine.gaussian())

    def smoothing(self) -> float:
        return self.learning_rate()

    @staticmethod
    def _answer(searcher: Searcher, losses: Sequence[float]) -> str:
        """Tell the losses if they are usable; otherwise the reason why the generation is refused."""
        if not all(map(math.isfinite, losses)):
            searcher.skip()
            return "non-finite loss"
        if min(losses) == max(losses):
            searcher.skip()
            return "no difference between the losses"
        searcher.tell(losses)
        return ""

    def measure(self, objective: Objective) -> Estimate:
        searcher, lr = self.searcher, self.learning_rate()
        # Built again if a query raises: the generation that was asked is then not part of the history.
        self._searcher = None
        asked, before = searcher.ask(), searcher.center()
        seeds = self.seeds(len(asked))
        self.direction.points = {seed: z - before for seed, z in zip(seeds, asked, strict=True)}
        points = [self.engine.along(self.direction, seed, lr) for seed in seeds]
        losses = tuple(self.engine.losses(objective, points))
        reason = self._answer(searcher, losses)
        self.told.append(losses)
        self.direction.points[MOVE] = searcher.center() - before
        self._searcher = searcher
        mean = math.fsum(losses) / len(losses) if all(map(math.isfinite, losses)) else math.nan
        weights = tuple((loss - mean) / len(losses) for loss in losses)
        return Estimate(seeds, weights, losses, mean, reason=reason)

    def update(self, estimate: Estimate, lr: float) -> dict[str, float]:
        self.engine.home()
        for name in self.space:
            with self.engine.editing(name) as values:
                self.direction.add_(values, name, MOVE, lr)
        return {"spread": self.searcher.spread() * lr}

    def state_dict(self) -> dict[str, Any]:
        told = torch.tensor(self.told, dtype=torch.float64) if self.told else torch.zeros(0, 0).double()
        return {**super().state_dict(), "told": told}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict({k: v for k, v in state.items() if k != "told"})
        self.told = [tuple(row.tolist()) for row in state["told"]]
        self._searcher = None
