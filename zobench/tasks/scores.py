"""Scores of a minibatch for training without a gradient: accuracy and F1, in [0, 1], higher is better.

They use plain tensor operations, so ``torch.func.vmap`` can batch them; none is a differentiable function of
the weights. Source of the idea: MeZO, arXiv 2305.17333, section on
non-differentiable objectives.
"""

from __future__ import annotations

import re
import string
from collections import Counter

import torch

_ARTICLES = re.compile(r"\b(a|an|the)\b")


def option_accuracy(scores: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Share of the examples whose best-scored option is right; each of k tied options counts 1/k.

    ``scores``: shape (examples, options); ``right``: bool, same shape."""
    return (chosen_shares(scores) * right).sum(dim=1).mean()


def chosen_shares(scores: torch.Tensor) -> torch.Tensor:
    """1 for the best option of each example, 1/k for each of k tied ones; float32, shape of ``scores``."""
    best = (scores == scores.amax(dim=1, keepdim=True)).float()
    return best / best.sum(dim=1, keepdim=True).clamp_min(1)


def macro_f1(scores: torch.Tensor, gold: torch.Tensor) -> torch.Tensor:
    """Mean of F1 = 2 TP / (2 TP + FP + FN) over the classes that occur in ``gold``.

    ``gold``: shape (examples,); ``scores``: (examples, classes). Ties as in :func:`option_accuracy`."""
    classes = torch.arange(scores.shape[1], device=scores.device)
    chosen = chosen_shares(scores)
    wanted = gold[:, None] == classes
    hits = (chosen * wanted).sum(dim=0)
    f1 = 2 * hits / (chosen.sum(dim=0) + wanted.sum(dim=0)).clamp_min(1)
    occurs = wanted.any(dim=0).float()
    return (f1 * occurs).sum() / occurs.sum()


def token_f1(answer: str, gold: str) -> float:
    """Harmonic mean of precision and recall over bags of words, as in SQuAD.

    Words are in lower case, without punctuation and articles. Two empty answers have F1 = 1."""
    said, wanted = _words(answer), _words(gold)
    if not said or not wanted:
        return float(said == wanted)
    common = sum((Counter(said) & Counter(wanted)).values())
    return 2 * common / (len(said) + len(wanted))


def _words(text: str) -> list[str]:
    plain = "".join(c for c in text.lower() if c not in string.punctuation)
    return _ARTICLES.sub(" ", plain).split()
