"""Any optimizer of the package ``nevergrad`` by its name there."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from zobench.zo.blackbox.searcher import OwnGlobalState, library
from zobench.zo.parameters import nearest


class NevergradSearch:
    """One optimizer of ``nevergrad.optimizers.registry``, n points at a time, initial deviation 1.

    Raises:
        ValueError: an unknown name, or an optimizer that asks for one point at a time (it runs in a thread
            of its own) or for all its points at once.
    """

    def __init__(self, name: str, dimension: int, n: int, evaluations: int, seed: int, method: str) -> None:
        nevergrad, numpy = library("nevergrad", method), library("numpy", method)
        registry = nevergrad.optimizers.registry
        if name not in registry:
            hint = nearest(name, registry)
            raise ValueError(f"{method}: unknown optimizer {name!r}; {hint or 'see nevergrad.optimizers'}")
        # In one dimension its CMA changes the registered optimizer for the rest of the process.
        made = copy.deepcopy(registry[name])
        if made.no_parallelization or made.one_shot:
            kind = "one point at a time" if made.no_parallelization else "all its points before any loss"
            raise ValueError(
                f"{method}: optimizer {name!r} asks for {kind}, so that it has no generations; choose for "
                "instance TBPSA, DE, PSO, OnePlusOne or DiagonalCMA"
            )
        self.n, self._name, self._method = n, name, method
        # Some of its optimizers draw from numpy's global generator besides the one that they are given.
        self._global = OwnGlobalState(seed)
        start = nevergrad.p.Array(init=numpy.zeros(dimension)).set_mutation(sigma=1.0)
        start.random_state = numpy.random.RandomState(seed % 2**32)
        with self._inside():
            self._search = made(parametrization=start, budget=evaluations or None, num_workers=n)
        self._candidates: list[Any] = []

    @contextmanager
    def _inside(self) -> Iterator[None]:
        """The package's code: with the random state of this object, its errors with the optimizer's name."""
        try:
            with self._global:
                yield
        except Exception as error:
            raise ValueError(
                f"{self._method}: optimizer {self._name!r} failed: {error!r}; it may need its budget "
                "(evaluations) or a package of its own, or choose another"
            ) from error

    def ask(self) -> torch.Tensor:
        with self._inside():
            self._candidates = [self._search.ask() for _ in range(self.n)]
        return torch.stack([torch.from_numpy(c.value).clone() for c in self._candidates])

    def tell(self, losses: Sequence[float]) -> None:
        with self._inside():
            for candidate, loss in zip(self._candidates, losses, strict=True):
                self._search.tell(candidate, loss)

    def skip(self) -> None:
        self._candidates = []

    def center(self) -> torch.Tensor:
        with self._inside():
            return torch.from_numpy(self._search.provide_recommendation().value).clone()

    def spread(self) -> float:
        return math.nan
