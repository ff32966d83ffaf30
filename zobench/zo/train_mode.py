"""Modules that, in training mode, compute more than a function of their weights and the minibatch."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd


def varying_part(module: nn.Module) -> str:
    """The first submodule in training mode that draws at random in every forward pass (dropout, randomized
    ReLU) or that normalizes by the minibatch and changes its running statistics; empty if there is none.

    Dropout that a module applies by a rate of its own is known by an attribute such as ``attention_dropout``
    or ``drop_prob`` between 0 and 1; a rate that is only a literal in ``forward`` is not seen.
    """
    for name, part in module.named_modules():
        if part.training and (what := _varies(part)):
            return f"{name or 'the model itself'} ({type(part).__name__}, {what})"
    return ""


def _varies(part: nn.Module) -> str:
    if isinstance(part, _DropoutNd):
        return f"p={part.p:g}" if part.p > 0 else ""
    if isinstance(part, nn.RReLU):
        return "random slopes"
    if isinstance(part, _NormBase):
        return "running statistics" if part.track_running_stats else ""
    for name, value in vars(part).items():
        if "drop" in name and isinstance(value, float) and 0 < value <= 1:
            return f"{name}={value:g}"
    return ""
