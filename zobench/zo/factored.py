"""Updates for low-rank directions: computed from the factors for matrices, entry by entry for vectors.

theta <- theta - eta step(factors, estimate), with ``step`` defined by a subclass. At most one dense tensor
exists at a time.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Generic, TypeVar

import torch

from zobench.zo.directions import Direction
from zobench.zo.engine import BoundEngine
from zobench.zo.estimators import Estimate
from zobench.zo.lowrank import LowRank, add_product_, on_own_grid
from zobench.zo.updates import Update

D = TypeVar("D", bound=LowRank)


class FactoredUpdate(Update, Generic[D]):
    """An update computed from the direction's factors instead of a dense estimate.

    Attributes:
        family: the class of directions that the update accepts.
    """

    family: ClassVar[type[LowRank]]

    @abstractmethod
    def step(self, direction: D, estimate: Estimate, name: str) -> torch.Tensor:
        """The step of one tensor before multiplication by the learning rate, in the working dtype."""

    def apply(self, engine: BoundEngine, direction: Direction, estimate: Estimate, lr: float) -> None:
        assert isinstance(direction, self.family)
        engine.home()
        self.apply_dense(engine, lambda name: self.step(direction, estimate, name), lr)  # type: ignore[arg-type]

    def step_for(self, name: str, gradient: torch.Tensor) -> torch.Tensor:
        return gradient


class BasisUpdate(FactoredUpdate[D]):
    """A factored update whose state is expressed in the basis of one interval.

    Attributes:
        index: the interval whose basis the state refers to.
    """

    def __init__(self) -> None:
        super().__init__()
        self.index = 0

    def moved(self, direction: D) -> bool:
        """Whether the state refers to another basis than the direction's current one."""
        # ``apply_dense`` has counted this step already: in the first one (count 1) there is no state yet.
        return self.count > 1 and self.index != direction.index

    def apply(self, engine: BoundEngine, direction: Direction, estimate: Estimate, lr: float) -> None:
        super().apply(engine, direction, estimate, lr)
        assert isinstance(direction, LowRank)
        self.index = direction.index

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "index": self.index}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.index = int(state["index"])
        super().load_state_dict({key: value for key, value in state.items() if key != "index"})


def working_dtype(direction: Direction, name: str) -> torch.dtype:
    """float64 for float64 weights, else float32."""
    return torch.float64 if direction.space.dtype(name) == torch.float64 else torch.float32


def product(direction: Direction, name: str, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """``left right^T`` in the shape and working dtype of the tensor, with ``left`` (m x r), ``right`` (n x
    r).

    For float32, ``left`` is first rounded to its own grid, so that the product does not depend on the order
    of summation.
    """
    wide = working_dtype(direction, name)
    out = torch.zeros(direction.space.shape(name), dtype=wide, device=left.device)
    add_product_(out, on_own_grid(left) if wide == torch.float32 else left, right, 1.0)
    return out
