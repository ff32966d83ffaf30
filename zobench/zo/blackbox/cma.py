"""CMA-ES by the package ``cma`` (pycma): full, separable, or full with diagonal decoding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch

from zobench.zo.blackbox.searcher import library

Covariance = Literal["full", "separable", "diagonal-decoding"]
OPTIONS: dict[str, dict[str, Any]] = {
    "full": {},
    "separable": {"CMA_diagonal": True},
    "diagonal-decoding": {"CMA_diagonal_decoding": 1.0},
}


class CmaSearch:
    """``cma.CMAEvolutionStrategy`` from 0 with sigma 1; stopping criteria are ignored.

    Args:
        bound: limit of the magnitude of every coordinate of a point; ``None``: none.

    The package seeds numpy's global generator with its option ``seed``, and 0 means the time. Here that
    option is off (NaN), and normal numbers are from a generator of this object. numpy's linear algebra uses
    one thread, because eigenvectors depend on the number of threads.
    """

    def __init__(
        self,
        dimension: int,
        n: int,
        covariance: Covariance,
        seed: int,
        method: str,
        *,
        bound: float | None = None,
    ) -> None:
        cma, numpy = library("cma", method), library("numpy", method)
        self._threads = library("threadpoolctl", method).ThreadpoolController()
        random = numpy.random.RandomState(seed % 2**32)
        # verbose -9: no files of logs, nothing printed.
        options = {"seed": numpy.nan, "randn": random.randn, "popsize": n, "verbose": -9}
        if bound is not None:
            options["bounds"] = [-bound, bound]
        self._es = cma.CMAEvolutionStrategy([0.0] * dimension, 1.0, {**options, **OPTIONS[covariance]})
        self._points: list[Any] = []

    def ask(self) -> torch.Tensor:
        with self._threads.limit(limits=1):
            self._points = self._es.ask()
        return torch.stack([torch.from_numpy(point).clone() for point in self._points])

    def tell(self, losses: Sequence[float]) -> None:
        with self._threads.limit(limits=1):
            self._es.tell(self._points, list(losses))

    def skip(self) -> None:
        self._points = []

    def center(self) -> torch.Tensor:
        return torch.from_numpy(self._es.mean).clone()

    def spread(self) -> float:
        return float(torch.from_numpy(self._es.stds).log().mean().exp())
