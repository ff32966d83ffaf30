"""The linear layers of a space, for methods that read a layer's inputs or add to its outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:  # the package of spaces imports this module
    from zobench.zo.space.base import ParameterSpace


def linear_layers(space: ParameterSpace) -> dict[str, nn.Linear]:
    """Linear layers whose whole weight is tuned and used by no other module, by the name of the weight."""
    owners: dict[int, list[tuple[str, nn.Module]]] = {}
    for module in space.module.modules():
        for own, parameter in module._parameters.items():
            if parameter is not None:
                owners.setdefault(id(parameter), []).append((own, module))
    found = {}
    for name, parameter in space.tensors.items():
        held = owners.get(id(parameter), [])
        if len(held) == 1 and held[0][0] == "weight" and type(held[0][1]).forward is nn.Linear.forward:
            layer = held[0][1]
            assert isinstance(layer, nn.Linear)
            if space.indices(name) is None:
                found[name] = layer
    return found
