"""Displaced module by module, while each computes.

Mode ``streamed`` gives the bits of a snapshot with the memory of one module: a module's perturbed weights are
made when its forward starts and dropped when it ends; the base weights are never written.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from zobench.zo.objective import Objective
from zobench.zo.perturb import Perturbation, Point
from zobench.zo.space.base import ParameterSpace


class _Watch(TorchFunctionMode):
    """Notes which of the given parameters take part in any operation (attribute reads do not count)."""

    def __init__(self, parameters: dict[int, str]) -> None:
        super().__init__()
        self.parameters = parameters
        self.used: set[str] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") != "__get__":
            for leaf in tree_leaves((args, kwargs)):
                name = self.parameters.get(id(leaf))
                if name is not None:
                    self.used.add(name)
        return func(*args, **kwargs)


class Streamed(Perturbation):
    """Each module computes with perturbed weights made when its forward starts and dropped when it ends.

    Works where every tuned tensor is used only inside the forward of a module that owns it (tied owners
    included). The
    first loss that displaces a tensor is watched: ``ValueError`` names a displaced tensor that is used
    elsewhere, instead of a wrong loss.
    """

    mode = "streamed"

    def __init__(self, space: ParameterSpace) -> None:
        super().__init__(space)
        names = {id(p): name for name, p in space.tensors.items()}
        self._names = names
        self._owned: list[tuple[nn.Module, dict[str, str]]] = []
        for module in space.module.modules():
            owned = {
                k: names[id(p)] for k, p in module._parameters.items() if p is not None and id(p) in names
            }
            if owned:
                self._owned.append((module, owned))
        self._checked: set[str] = set()

    def loss(self, objective: Objective, point: Point) -> float:
        if objective.recorded:
            return objective.loss()
        touched = set(self.touched(point))
        with self.displaced(point):
            if touched <= self._checked:
                return objective.loss()
            with _Watch(self._names) as watch:
                value = objective.loss()
        elsewhere = sorted(watch.used & touched)
        if elsewhere:
            raise ValueError(
                f"mode {self.mode!r}: {elsewhere[0]!r} is used outside the forward of its module; use mode "
                "'snapshot'"
            )
        self._checked |= touched
        return value

    @contextmanager
    def displaced(self, point: Point) -> Iterator[None]:
        touched = set(self.touched(point))
        own: dict[int, dict[str, Any]] = {}
        handles = []
        for module, owned in self._owned:
            local = {k: n for k, n in owned.items() if n in touched}
            if not local:
                continue
            enter, leave = self._hooks(local, point, own)
            handles.append(module.register_forward_pre_hook(enter, prepend=True))
            handles.append(module.register_forward_hook(leave, always_call=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            for module, _ in self._owned:
                module._parameters.update(own.pop(id(module), {}))

    def _hooks(self, local: dict[str, str], point: Point, own: dict[int, dict[str, Any]]) -> tuple[Any, Any]:
        def enter(module: nn.Module, args: Any) -> None:
            if id(module) in own:
                return
            moved = self.replaced(module, local, point, args)
            own[id(module)] = {k: module._parameters[k] for k in local}
            module._parameters.update(moved)  # type: ignore[arg-type]

        def leave(module: nn.Module, args: Any, output: Any) -> Any:
            module._parameters.update(own.pop(id(module), {}))
            return self.answered(module, args, output)

        return enter, leave

    def replaced(
        self, module: nn.Module, local: dict[str, str], point: Point, args: Any
    ) -> dict[str, torch.Tensor]:
        """What stands in for the module's parameters while it computes: ``local`` maps its own names to the
        space's, ``args`` are its inputs."""
        return {
            k: self.standing(module, k, self.space.whole(n, self.values(n, point))) for k, n in local.items()
        }

    def standing(self, module: nn.Module, own: str, values: torch.Tensor) -> torch.Tensor:
        """``values`` as they stand in for the module's parameter ``own``."""
        # torch multiplies by a weight that asks for a gradient in one call and by another row by row: on the
        # last position of a sequence (a slice, as heads get it) that has other last bits, and in bfloat16 on
        # a CPU it takes a hundred times as long.
        parameter = module._parameters[own]
        assert parameter is not None
        return values.requires_grad_(parameter.requires_grad)

    def answered(self, module: nn.Module, args: Any, output: Any) -> Any:
        """What the module returns in place of ``output``; ``None``: that. ``output`` is ``None`` where it
        raised."""
        return None
