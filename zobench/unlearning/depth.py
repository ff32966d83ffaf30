"""Unlearning depth score (UDS, arXiv 2605.24614): in how many of a model's blocks a fact is erased.

F is the full model, R the oracle, U the unlearned model; E the tokens of the fact in the answer.

s = mean log p_F(E),  s_l(X) = the same while the output of block l of F, at the positions that predict E, is
that of X (R or U) on the same input
D_l(X) = s - s_l(X),  KE = {l: D_l(R) > tau}: the blocks of F whose states carry the fact
uds = sum_KE D_l(R) clip(D_l(U) / D_l(R), 0, 1) / sum_KE D_l(R)

1: as erased as in R; 0: intact. Undefined for a fact without KE; the score of a model is the mean over the
others. A model that is damaged everywhere also scores 1: read it beside the retained score. Outputs of blocks
are read by hooks: the last of ``hidden_states`` of Llama-like models lies after the final norm, and patched
before it would be normed twice, so that U = F would not score 0. Cost: 1 forward pass of the donor and one of
F for every block; for R once per data set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from zobench.unlearning import terms
from zobench.unlearning.base import Tokens

BLOCKS = "model.layers"
THRESHOLD = 0.05
"""tau, as in the authors' code: nats by which a block's states must raise log p of the fact."""


def blocks_of(module: nn.Module) -> list[nn.Module]:
    """The blocks of a model, first to last.

    Raises:
        ValueError: they are not at ``model.layers`` (Llama, Qwen, Mistral, Gemma have them there).
    """
    try:
        return list(module.get_submodule(BLOCKS).children())
    except AttributeError as error:
        raise ValueError(f"the unlearning depth score needs the blocks at {BLOCKS}: {error}") from error


def _state(output: Any) -> torch.Tensor:
    found: torch.Tensor = output[0] if isinstance(output, tuple) else output
    return found


def _like(output: Any, state: torch.Tensor) -> Any:
    return (state, *output[1:]) if isinstance(output, tuple) else state


@contextmanager
def _hooked(block: nn.Module, hook: Callable[..., Any]) -> Iterator[None]:
    handle = block.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _scores(module: nn.Module, tokens: Tokens, keep: torch.Tensor) -> torch.Tensor:
    """Mean log p of the kept tokens of every row."""
    return -terms.per_row(terms.token_nll(terms.logits(module, tokens), tokens), keep, "mean")


def _entity(tokens: Tokens, value: bool) -> torch.Tensor:
    return (tokens.value if value else tokens.target & ~tokens.end)[:, 1:]


@torch.no_grad()
def states(module: nn.Module, tokens: Tokens) -> list[torch.Tensor]:
    """The output of every block. Cost: 1 forward pass."""
    found: dict[int, torch.Tensor] = {}
    handles = [
        block.register_forward_hook(lambda m, args, out, at=at: found.__setitem__(at, _state(out)))
        for at, block in enumerate(blocks_of(module))
    ]
    try:
        module(**tokens.inputs, use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return [found[at] for at in range(len(handles))]


@torch.no_grad()
def drops(full: nn.Module, donor: nn.Module, tokens: Tokens, *, value: bool = False) -> torch.Tensor:
    """D_l(donor) of every block and row, shape (blocks, rows), float64.

    Args:
        value: E is the value of the fact; otherwise the answer without its end token.

    Raises:
        ValueError: the models have different numbers of blocks, or none where they are looked for.
    """
    keep, given = _entity(tokens, value), states(donor, tokens)
    blocks = blocks_of(full)
    if len(given) != len(blocks):
        raise ValueError(f"models of {len(blocks)} and {len(given)} blocks cannot be compared by depth")
    # Column t of the mask is token t + 1, which position t predicts; the last position predicts nothing.
    places = torch.nn.functional.pad(keep, (0, 1))
    whole = _scores(full, tokens, keep)
    found = []
    for block, state in zip(blocks, given, strict=True):

        def patch(module: nn.Module, args: Any, out: Any, state: torch.Tensor = state) -> Any:
            return _like(out, torch.where(places[..., None], state.to(_state(out)), _state(out)))

        with _hooked(block, patch):
            found.append((whole - _scores(full, tokens, keep)).double())
    return torch.stack(found)


def depth_score(oracle: torch.Tensor, unlearned: torch.Tensor, threshold: float = THRESHOLD) -> list[float]:
    """uds of every row for which it is defined, from :func:`drops` of the oracle and the unlearned model."""
    carries = oracle > threshold
    erased = torch.where(carries, unlearned.clamp_min(0).minimum(oracle), torch.zeros_like(oracle)).sum(0)
    known = torch.where(carries, oracle, torch.zeros_like(oracle)).sum(0)
    return [float(e / k) for e, k in zip(erased, known, strict=True) if k > 0]
