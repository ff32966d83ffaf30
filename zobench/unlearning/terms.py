"""Building blocks of objectives and scores: aligned log-probabilities, hidden states, masked means.

Column t of a model's logits predicts token t + 1; the functions here return tensors of width - 1 columns
aligned with tokens 1..width-1. Half precision is converted to float32; float64 is kept.
"""

from __future__ import annotations

import torch
from torch import nn

from zobench.models.scoring import logits_at
from zobench.unlearning.base import Tokens, TokenSet


def _precise(values: torch.Tensor) -> torch.Tensor:
    return values if values.dtype in (torch.float32, torch.float64) else values.float()


def logits(module: nn.Module, tokens: Tokens) -> torch.Tensor:
    """Next-token logits, shape (rows, width - 1, vocabulary). Cost: one forward pass."""
    return _precise(module(**tokens.inputs, use_cache=False).logits[:, :-1])


def labels(tokens: Tokens) -> torch.Tensor:
    """The tokens predicted, shape (rows, width - 1)."""
    return tokens.ids[:, 1:]


def mask(tokens: Tokens, which: TokenSet = "answer") -> torch.Tensor:
    """Mask of the predicted tokens to average over, boolean of shape (rows, width - 1), without padding."""
    chosen = tokens.target if which == "answer" else tokens.real
    return chosen[:, 1:]


def token_nll(scores: torch.Tensor, tokens: Tokens) -> torch.Tensor:
    """-log p of each predicted token from logits, shape (rows, width - 1)."""
    return -chosen(scores.log_softmax(-1), tokens)


def chosen(values: torch.Tensor, tokens: Tokens) -> torch.Tensor:
    """The entries of the true tokens from values of shape (rows, width - 1, vocabulary)."""
    return values.gather(-1, labels(tokens)[..., None])[..., 0]


def over_tokens(values: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
    """Mean over all kept tokens of the minibatch; long sequences weigh more."""
    weights = keep.to(values.dtype)
    return (values * weights).sum() / weights.sum()


def per_row(values: torch.Tensor, keep: torch.Tensor, reduction: str) -> torch.Tensor:
    """Sum (``sum``) or mean (``mean``) over the kept tokens of each sequence, shape (rows,)."""
    weights = keep.to(values.dtype)
    total = (values * weights).sum(-1)
    return total / weights.sum(-1) if reduction == "mean" else total


def mean_nll(module: nn.Module, tokens: Tokens) -> torch.Tensor:
    """l(x): token-mean negative log-likelihood of the answers. Cost: one forward pass."""
    return over_tokens(token_nll(logits(module, tokens), tokens), mask(tokens))


def answer_nll(module: nn.Module, tokens: Tokens) -> torch.Tensor:
    """l(x) as in :func:`mean_nll`, computed from the answer columns alone.

    This is cheaper, but its data-dependent shapes do not work under ``torch.func.vmap``. Cost: one forward
    pass."""
    keep = mask(tokens)
    columns = keep.any(0).nonzero()
    first, last = int(columns[0]), int(columns[-1]) + 1
    asked = torch.arange(first, last, device=keep.device)
    scores = _precise(logits_at(module, tokens.inputs, asked))
    return nn.functional.cross_entropy(scores[keep[:, first:last]], labels(tokens)[keep])


def row_nll(module: nn.Module, tokens: Tokens, reduction: str) -> torch.Tensor:
    """L(x) per sequence: token-sum (or token-mean) negative log-likelihood of the answer, shape (rows,).

    Cost: one forward pass."""
    return per_row(token_nll(logits(module, tokens), tokens), mask(tokens), reduction)


def divergence(reference: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """KL(softmax(reference) || softmax(scores)) over the last axis."""
    p, q = reference.log_softmax(-1), scores.log_softmax(-1)
    weights = p.exp()
    return torch.where(weights > 0, weights * (p - q), 0.0).sum(-1)


def hidden(module: nn.Module, tokens: Tokens, layer: int) -> torch.Tensor:
    """Output of block ``layer`` (from 0), shape (rows, width, d). Cost: one forward pass.

    ``ValueError`` for the last block, because the model returns its output with the final norm applied.
    """
    states = module(**tokens.inputs, use_cache=False, output_hidden_states=True).hidden_states
    blocks = len(states) - 1
    if not 0 <= layer < blocks - 1:
        raise ValueError(f"layer {layer}: the model has {blocks} blocks, valid are 0 to {blocks - 2}")
    return _precise(states[layer + 1])


def hidden_mask(tokens: Tokens, which: TokenSet) -> torch.Tensor:
    """Mask of the positions of :func:`hidden` to average over, boolean of shape (rows, width)."""
    return tokens.target if which == "answer" else tokens.real


def squared_distance(a: torch.Tensor, b: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
    """Mean over kept positions of ||a - b||^2 / d."""
    return over_tokens(((a - b) ** 2).mean(-1), keep)
