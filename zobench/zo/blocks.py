"""The parts of a model that are visited one after another: its layers, and the modules beside them.

A block is an element of a ``torch.nn.ModuleList`` (a transformer layer), or the outermost module beside such
lists that owns tuned tensors itself (embedding, last norm, head). The structure is read from the module; that
every tensor is used inside its block only is tested by the first forward pass that displaces it
(:class:`zobench.zo.streamed.Streamed`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn

from zobench.zo.space.base import ParameterSpace


@dataclass(eq=False)
class ModelPart:
    """One part.

    Attributes:
        path: the module's name.
        module: the module.
        layer: whether it is an element of a list.
        names: the tuned tensors that it owns, by their names in the space.
    """

    path: str
    module: nn.Module
    layer: bool
    names: list[str] = field(default_factory=list)


def blocks_of(space: ParameterSpace) -> list[ModelPart]:
    """The blocks, in the module's order. A tied tensor belongs to several.

    Raises:
        ValueError: no list of layers owns tuned tensors, or a module owns some and contains such a list.
    """
    names = {id(p): name for name, p in space.tensors.items()}
    found = list(_below("", space.module, names))
    if not any(block.layer for block in found):
        raise ValueError(
            f"mode 'offload': {type(space.module).__name__} has no list of layers (torch.nn.ModuleList) with "
            "tuned tensors; use mode 'streamed'"
        )
    return found


def refusal(module: nn.Module) -> str:
    """Why a module, which may be without weights, cannot be visited block by block if all its weights are
    tuned; empty if it can."""
    names = [name for name, p in module.named_parameters() if p.is_floating_point()]
    try:
        blocks_of(ParameterSpace(module, names, kind="full"))
    except ValueError as error:
        return str(error)
    return ""


def _owned(module: nn.Module, names: dict[int, str], *, below: bool) -> list[str]:
    own = module.parameters() if below else (p for p in module._parameters.values() if p is not None)
    return [names[id(p)] for p in own if id(p) in names]


def _below(path: str, module: nn.Module, names: dict[int, str]) -> list[ModelPart]:
    own = _owned(module, names, below=False)
    lists = [
        p for p, m in module.named_modules() if isinstance(m, nn.ModuleList) and _owned(m, names, below=True)
    ]
    if own and lists:
        raise ValueError(
            f"mode 'offload': {own[0]!r} belongs to a module that contains the list of layers {lists[0]!r}; "
            "use mode 'streamed'"
        )
    if own:
        return [ModelPart(path, module, False, _owned(module, names, below=True))]
    found = []
    for key, child in module.named_children():
        here = f"{path}.{key}" if path else key
        if not isinstance(module, nn.ModuleList) or isinstance(child, nn.ModuleList):
            found += _below(here, child, names)
        elif inside := _owned(child, names, below=True):
            found.append(ModelPart(here, child, True, inside))
    return found
