"""Logits at the needed positions only.

A causal model computes its head on the last columns only (``logits_to_keep``). A masked model computes its
head at one position per row: a hook registered at loading narrows the head's input while
:func:`masked_logits` runs. Both work on the loaded module and on any stand-in with the same call signature.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch

from zobench.models.batching import Groups, Padded, Rows, over_rows

_positions: ContextVar[torch.Tensor | None] = ContextVar("head_positions", default=None)
_as_they_are: ContextVar[bool] = ContextVar("scores_in_the_dtype_of_the_logits", default=False)


@contextmanager
def in_dtype_of_logits(wanted: bool = True) -> Iterator[None]:
    """Inside the block scores are computed in the dtype of the logits, operation by operation, instead of
    float32; nothing changes if ``wanted`` is False. For losses as published half-precision code computes
    them (``loss_dtype: logits``)."""
    token = _as_they_are.set(wanted)
    try:
        yield
    finally:
        _as_they_are.reset(token)


def keeps_dtype() -> bool:
    """Whether scores are being computed in the dtype of the logits."""
    return _as_they_are.get()


def mean_of_items(losses: torch.Tensor) -> torch.Tensor:
    """Mean of a vector of losses in its own dtype, summed and rounded as ``cross_entropy`` does."""
    first = torch.zeros(len(losses), dtype=torch.long, device=losses.device)
    return torch.nn.functional.nll_loss(-losses[:, None], first)


def scores_of(logits: torch.Tensor) -> torch.Tensor:
    """The logits in the dtype that scores are computed in: float32, or their own."""
    return logits if keeps_dtype() else logits.float()


def _narrow(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...] | None:
    positions = _positions.get()
    return None if positions is None else (_rows_at(inputs[0], positions), *inputs[1:])


def _rows_at(hidden: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    index = positions[:, None, None].expand(-1, 1, hidden.shape[-1])
    return hidden.gather(1, index)


def narrow_head(module: Any) -> None:
    """Let :func:`masked_logits` run this masked model's vocabulary projection at the given positions only."""
    module.get_output_embeddings().register_forward_pre_hook(_narrow)


def causal_logits(module: torch.nn.Module, given: Rows, keep: int = 1) -> torch.Tensor:
    """Next-token logits at the last ``keep`` columns, shape (rows, keep, vocabulary).

    Rows of a group with fewer columns are filled with zeros on the left. Cost: one forward pass of ``module``
    (one for each group of equal length)."""

    def run(padded: Padded, rows: torch.Tensor | None) -> torch.Tensor:
        logits = last_columns(module(**padded, use_cache=False, logits_to_keep=keep).logits, keep)
        short = 0 if rows is None else keep - logits.shape[1]
        return torch.nn.functional.pad(logits, (0, 0, short, 0)) if short > 0 else logits

    return over_rows(given, run)


def reads_in_decoder(given: Rows) -> bool:
    """Whether these are the arguments of an encoder-decoder model."""
    first = given.parts[0] if isinstance(given, Groups) else given
    return "decoder_input_ids" in first


def decoder_logits(module: torch.nn.Module, given: Rows, keep: int = 1) -> torch.Tensor:
    """Next-token logits of the decoder's last ``keep`` columns, shape (rows, keep, vocabulary).

    Cost: one forward pass of ``module`` (one for each group of equal length)."""
    return over_rows(given, lambda part, _: last_columns(module(**part, use_cache=False).logits, keep))


def last_columns(logits: torch.Tensor, keep: int) -> torch.Tensor:
    """The last ``keep`` columns: some models accept ``logits_to_keep`` but return every column."""
    return logits if logits.shape[1] <= keep else logits[:, -keep:]


def logits_at(module: torch.nn.Module, padded: Padded, columns: torch.Tensor) -> torch.Tensor:
    """Next-token logits at these columns, shape (rows, columns, vocabulary). Cost: one forward pass."""
    logits: torch.Tensor = module(**padded, use_cache=False, logits_to_keep=columns).logits
    return logits if logits.shape[1] == len(columns) else logits[:, columns]


def causal_states(module: torch.nn.Module, given: Rows) -> torch.Tensor:
    """Hidden states before the head at the last column, in float32 on the CPU, shape (rows, width).

    Cost: one forward pass of ``module`` (one for each group of equal length)."""

    def run(padded: Padded, _: torch.Tensor | None) -> torch.Tensor:
        out = module(**padded, use_cache=False, logits_to_keep=1, output_hidden_states=True)
        states: torch.Tensor = out.hidden_states[-1][:, -1]
        return states

    return over_rows(given, run).float().cpu()


def masked_logits(module: torch.nn.Module, given: Rows, positions: torch.Tensor) -> torch.Tensor:
    """Logits at one position per row, shape (rows, vocabulary).

    Cost: one forward pass of ``module`` (one for each group of equal length).

    Args:
        positions: column of the mask token in each row, shape (rows,).
    """

    def run(padded: Padded, rows: torch.Tensor | None) -> torch.Tensor:
        at = positions if rows is None else positions[rows]
        token = _positions.set(at)
        try:
            logits = module(**padded).logits
        finally:
            _positions.reset(token)
        # A stand-in without the hook returns every column.
        return (logits if logits.shape[1] == 1 else _rows_at(logits, at))[:, 0]

    return over_rows(given, run)


def option_log_likelihoods(
    module: torch.nn.Module,
    padded: Rows,
    targets: torch.Tensor,
    target_mask: torch.Tensor,
) -> torch.Tensor:
    """Sum of log-probabilities of each row's option tokens, shape (rows,), float32 except within
    :func:`in_dtype_of_logits`. Cost: one forward pass.

    Args:
        padded: left-padded rows that end with the option.
        targets: token ids of the last columns, shape (rows, longest option), left-padded with any ids.
        target_mask: 1 where a column belongs to the option, same shape.
    """
    chosen = _chosen(module, padded, targets)
    return (chosen * target_mask.to(chosen.dtype)).sum(1)


def option_token_log_likelihoods(
    module: torch.nn.Module,
    padded: Rows,
    targets: torch.Tensor,
    target_mask: torch.Tensor,
) -> torch.Tensor:
    """The same before summing: log-probabilities of all options' tokens, concatenated."""
    return _chosen(module, padded, targets)[target_mask > 0]


def _chosen(module: torch.nn.Module, padded: Rows, targets: torch.Tensor) -> torch.Tensor:
    """Log-probabilities of the targets, shape (rows, longest option)."""
    if reads_in_decoder(padded):
        logits = decoder_logits(module, padded, keep=targets.shape[1])
    else:
        logits = causal_logits(module, padded, keep=targets.shape[1] + 1)[:, :-1]
    if keeps_dtype():
        return logits.log_softmax(2).gather(2, targets[:, :, None])[:, :, 0]
    logits = logits.float()
    return logits.gather(2, targets[:, :, None])[:, :, 0] - logits.logsumexp(2)
