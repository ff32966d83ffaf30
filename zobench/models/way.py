"""How a model is run: its position ids, which sequences may share a batch, and how it decodes.

The usual way (padded batches, positions from 0, a cache of keys and values) silently gives wrong logits on
many kinds of model. :mod:`zobench.models.probe` tests the loaded model and chooses the settings; all code
that pads sequences or decodes follows them. A *row* below is one sequence of a batch.
"""

from __future__ import annotations

import dataclasses
import inspect
from dataclasses import dataclass
from typing import Any, Literal

import torch

Mixing = Literal["padded", "equal", "single"]
"""Which rows may share a batch: rows of any length, rows of equal length only, or none."""
CacheArgument = Literal["past_key_values", "cache", "cache_params", "state"]


@dataclass(frozen=True, slots=True)
class Way:
    """Settings for running a model.

    Attributes:
        first_position: position id of a row's first token in a padded batch; ``None``: no position ids are
            passed, because the model takes none or computes the right ones itself.
        rows: which rows may share a batch in scoring.
        cache: argument that passes earlier results to the next decoding step; ``None``: every step computes
            the whole rows again.
        decoded: which rows may share a batch in decoding.
        selects: whether rows that have ended can be removed from the cache.
        keeps: whether the head honours ``logits_to_keep``; if not, the surplus columns are cut.
        token_types: whether an encoder uses token types (which of two texts a token belongs to).
        right: whether a causal model's logits are unchanged by padding on the right (unlearning pads there).
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
        """1 if the module is run as it was before the probe existed, else 2; part of a run's identity.

        ``selects`` and ``token_types`` are ignored: keeping ended rows changes no result, and token types
        matter only to tasks with pairs of texts."""
        same = dataclasses.replace(self, selects=True, token_types=False) == usual(module)
        return 1 if same else 2

    def told(self) -> list[str]:
        """Differences from padded batches with positions from 0 and a cache of keys and values, as text."""
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
    """Settings of a module that was not probed: padded rows, positions from 0 if it takes position ids."""
    return Way(first_position=0 if takes(module, "position_ids") else None)


def takes(module: Any, argument: str) -> bool:
    """Whether the module's ``forward`` has this argument."""
    return argument in inspect.signature(module.forward).parameters
