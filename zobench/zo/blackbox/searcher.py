"""What an optimizer by ask and tell must provide, and how its package is imported.

A searcher works in R^d in float64 on the CPU, starts at 0 with standard deviation 1 and minimizes. It must be
a function of (d, its config, seed, the losses told): the global random states are neither read nor changed.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch

EXTRA = "blackbox"
"""The optional extra of pyproject.toml with all three packages."""


class Searcher(Protocol):
    """A black-box optimizer by ask and tell."""

    def ask(self) -> torch.Tensor:
        """The next generation, n x d float64. Called once per generation, before ``tell`` or ``skip``."""
        ...

    def tell(self, losses: Sequence[float]) -> None:
        """The finite losses of the points of the last ``ask``, in their order."""
        ...

    def skip(self) -> None:
        """The losses of the last ``ask`` are unusable: the next generation is drawn from the same state of
        the search."""
        ...

    def center(self) -> torch.Tensor:
        """The recommended point, d float64; a new tensor."""
        ...

    def spread(self) -> float:
        """Standard deviation of the search (the geometric mean over the axes where they differ), 1 at the
        start; NaN if the optimizer has none."""
        ...


def library(name: str, method: str) -> Any:
    """The imported package.

    Raises:
        ValueError: it is not installed; the message names the extra.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise ValueError(
            f"method {method!r} needs the package {name}: pip install 'zobench[{EXTRA}]'"
        ) from error


class OwnGlobalState:
    """numpy's global random state of a package that draws from it although it was given a generator.

    Inside ``with state:`` numpy's global generator is this one; afterwards it is as it was.
    """

    def __init__(self, seed: int) -> None:
        self._numpy = importlib.import_module("numpy").random
        self._own = self._numpy.RandomState(seed % 2**32).get_state()

    def __enter__(self) -> None:
        self._outer = self._numpy.get_state()
        self._numpy.set_state(self._own)

    def __exit__(self, *error: object) -> None:
        self._own = self._numpy.get_state()
        self._numpy.set_state(self._outer)


@contextmanager
def one_thread() -> Iterator[None]:
    """Inside the block, torch computes with one thread: sums of matrix products depend on their number."""
    count = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(count)
