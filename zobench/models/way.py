"""How a model is run: which position ids it is given, which rows may share a batch, how it decodes.

The usual way (padded batches, positions from 0, keys and values kept between steps) is wrong, in silence, on
many kinds of model. :mod:`zobench.models.probe` tries the loaded model and chooses; everything that pads rows
or decodes goes by what it chose.
"""

from __future__ import annotations

import dataclasses
import inspect
from dataclasses import dataclass
from typing import Any, Literal

import torch

Mixing = Literal["padded", "equal", "single"]
"""Which rows share a batch: of any length, of equal length only, or none."""
CacheArgument = Literal["past_key_values", "cache", "cache_params", "state"]


@dataclass(frozen=True, slots=True)
class Way:
    """How rows go through a model.

    Attributes:
        first_position: position id of a row's first token where rows are padded; ``None``: no position ids
            are passed, because the model takes none or makes the right ones itself.
        rows: which rows share a batch when they are scored.
        cache: argument that carries what was computed before into the next step of decoding; ``None``: every
            step computes the whole rows again.
        decoded: which rows share a batch when they are decoded.
        selects: whether rows that have ended can be taken out of the cache.
        keeps: whether the head honours ``logits_to_keep``; where it does not, its columns are cut.
        token_types: whether an encoder reads which of two texts a token belongs to.
        right: whether a causal model's logits stay where rows are padded behind their end (unlearning pads
            there).
    """

    first_position: int | None = None
    rows: Mixing = "padded"
    cache: CacheArgument | None = "past_key_values"
    decoded: Mixing = "padded"
    selects: bool = True
    keeps: bool = True
    token_types: bool = False
    right: bool = True

    def __str__(self) -> str:
        return "; ".join(self.told())

    def revision(self, module: torch.nn.Module) -> int:
        """1 where rows go through the module as they did before there was a probe, else 2. Keeping ended rows
        changes no result, and token types matter to tasks with pairs alone."""
        same = dataclasses.replace(self, selects=True, token_types=False) == usual(module)
        return 1 if same else 2

    def told(self) -> list[str]:
        """What differs from running padded batches with positions from 0 and a cache of keys and values."""
        said = []
        if self.first_position:
            said.append(f"positions from {self.first_position}")
        if self.rows != "padded":
            said.append(_ROWS[self.rows])
        if self.cache is None:
            said.append("decoded without cache")
        elif self.cache != "past_key_values":
            said.append(f"cache passed as {self.cache!r}")
        if self.cache is not None and self.decoded != self.rows:
            said.append(f"decoded in {_ROWS[self.decoded]}")
        if self.cache is not None and not self.selects:
            said.append("ended rows stay in the batch")
        if not self.keeps:
            said.append("logits_to_keep has no effect")
        if not self.right:
            said.append("padding behind rows changes their logits: no unlearning")
        if self.token_types:
            said.append("token types of pairs")
        return said or ["as usual"]


_ROWS = {"padded": "padded batches", "equal": "batches of equal length", "single": "one row at a time"}


def usual(module: torch.nn.Module) -> Way:
    """The way of a module that nobody has probed: padded rows, positions from 0 where its forward takes
    them."""
    return Way(first_position=0 if takes(module, "position_ids") else None)


def takes(module: Any, argument: str) -> bool:
    """Whether the module's forward names this argument."""
    return argument in inspect.signature(module.forward).parameters
