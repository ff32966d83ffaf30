"""PGPE, SNES and XNES by the package ``evotorch``."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from zobench.zo.blackbox.searcher import library, one_thread


class EvotorchSearch:
    """A distribution-based search of ``evotorch`` by ask and tell, in float64 on the CPU, without actors.

    The package evaluates inside its own step, which updates the distribution with the losses of the last
    generation and then draws the next one. Here that evaluation is empty: ``step`` draws a generation, and
    the losses told afterwards are those that the next ``step`` reads.
    """

    def __init__(
        self, algorithm: str, dimension: int, n: int, seed: int, method: str, options: Mapping[str, Any]
    ) -> None:
        evotorch = library("evotorch", method)
        algorithms = library("evotorch.algorithms", method)
        # The package configures a logger of its own that prints at level INFO.
        logging.getLogger(evotorch.__name__).setLevel(logging.WARNING)

        class Unmeasured(evotorch.Problem):  # type: ignore[name-defined]
            """Losses are told later."""

            def _evaluate_batch(self, batch: Any) -> None:
                batch.set_evals(torch.zeros(len(batch), dtype=torch.float64))

        problem = Unmeasured(
            "min",
            solution_length=dimension,
            initial_bounds=(0.0, 0.0),
            dtype=torch.float64,
            eval_dtype=torch.float64,
            device="cpu",
            seed=seed,
            store_solution_stats=False,
        )
        start = torch.zeros(dimension, dtype=torch.float64)
        make = getattr(algorithms, algorithm)
        self._search = make(problem, popsize=n, center_init=start, stdev_init=1.0, **options)
        self._problem = problem
        self._ready = False

    def ask(self) -> torch.Tensor:
        if not self._ready:
            self._step()
        self._ready = False
        values: torch.Tensor = self._search.population.values
        return values.clone()

    def _step(self) -> None:
        with one_thread():
            self._search.step()

    def tell(self, losses: Sequence[float]) -> None:
        self._search.population.set_evals(torch.tensor(losses, dtype=torch.float64))
        # The update of the distribution, and the next generation.
        self._step()
        self._ready = True

    def skip(self) -> None:
        # A step would update the distribution with losses that do not exist: only draw again.
        population = self._search.population
        with one_thread():
            self._search._distribution.sample(out=population.access_values(), generator=self._problem)
        self._ready = True

    def center(self) -> torch.Tensor:
        mean: torch.Tensor = self._search.status["center"]
        return mean.clone()

    def spread(self) -> float:
        scale: torch.Tensor = self._search.status["stdev"]
        # XNES has the matrix A with covariance A A^T: its determinant is the volume.
        logs = scale.log() if scale.dim() < 2 else torch.linalg.slogdet(scale).logabsdet / len(scale)
        return float(logs.mean().exp())
