"""Mode ``streamed`` with large linear layers computed in slices of their outputs.

The perturbed head of a language model (vocabulary x width) is the largest tensor that mode ``streamed``
creates. Mode ``streamed-sliced`` never creates it: for slices of its rows,

    y[:, a:b] = x (W[a:b] + eps U[a:b])^T + bias[a:b],

each slice is created in the same memory, multiplied and overwritten. Extra memory: the largest layer below
``LARGE``, or one slice. Losses equal those of mode ``streamed`` up to the rounding of the products; the
size of a slice is part of the mode.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from zobench.zo.perturb import Point
from zobench.zo.streamed import Streamed

LARGE = 16 << 20
"""Weights of linear layers with at least this many bytes are sliced."""
SLICE = 4 << 20
"""Bytes of a slice."""


def standing_in(module: nn.Module, forward: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[], None]:
    """Compute the module by another function; returns what undoes it."""
    own = module.__dict__
    before = own.get("forward")
    own["forward"] = forward

    def undo() -> None:
        if before is None:
            del own["forward"]
        else:
            own["forward"] = before

    return undo


class Sliced(Streamed):
    """``Streamed`` without a whole copy of any large linear layer."""

    mode = "streamed-sliced"

    @contextmanager
    def displaced(self, point: Point) -> Iterator[None]:
        touched = set(self.touched(point))
        with ExitStack() as stack:
            for module, owned in self._owned:
                if self._large(module, owned) and owned["weight"] in touched:
                    stack.enter_context(self._instead(module, owned["weight"], point))
            stack.enter_context(super().displaced(point))
            yield

    def _large(self, module: nn.Module, owned: dict[str, str]) -> bool:
        if "weight" not in owned or type(module).forward is not nn.Linear.forward:
            return False
        # Not the parameter itself: a call of its methods would look like a use outside the module.
        weight = self.space.tensors[owned["weight"]].data
        whole = self.space.indices(owned["weight"]) is None
        return whole and weight.numel() * weight.element_size() >= LARGE

    @contextmanager
    def _instead(self, module: nn.Module, name: str, point: Point) -> Iterator[None]:
        """Inside the block the module's forward is computed in slices."""
        assert isinstance(module, nn.Linear)
        forward = module.forward
        undo = standing_in(module, lambda x: self._multiply(module, name, point, x, forward))
        try:
            yield
        finally:
            undo()

    def replaced(
        self, module: nn.Module, local: dict[str, str], point: Point, args: Any
    ) -> dict[str, torch.Tensor]:
        # The weight of a sliced layer keeps its place; its bias is replaced as in mode ``streamed``.
        rest = {k: n for k, n in local.items() if not (k == "weight" and self._large(module, local))}
        return super().replaced(module, rest, point, args)

    def _multiply(
        self,
        module: nn.Linear,
        name: str,
        point: Point,
        x: torch.Tensor,
        forward: Callable[[torch.Tensor], torch.Tensor],
    ) -> torch.Tensor:
        # ``detach``: another tensor than the parameter, which must not be used outside this module.
        weight = self.space.entries(name).detach()
        rows = max(1, SLICE // (weight.shape[1] * weight.element_size()))
        parts = []
        with torch.inference_mode(False), torch.no_grad():
            memory = torch.empty(
                min(rows, len(weight)), weight.shape[1], dtype=weight.dtype, device=weight.device
            )
        for start in range(0, len(weight), rows):
            end = min(start + rows, len(weight))
            values = memory[: end - start]
            with torch.inference_mode(False), torch.no_grad():
                values.copy_(weight[start:end])
                at = torch.arange(start, end)
                if not all(self.add_rows(values, name, at, shift) for shift in point):
                    return self._whole_product(module, name, point, x, forward)
                here = self.standing(module, "weight", values)
            bias = None if module.bias is None else module.bias[start:end]
            parts.append(nn.functional.linear(x, here, bias))
        return torch.cat(parts, -1)

    def _whole_product(
        self,
        module: nn.Linear,
        name: str,
        point: Point,
        x: torch.Tensor,
        forward: Callable[[torch.Tensor], torch.Tensor],
    ) -> torch.Tensor:
        """As in mode ``streamed``: a displacement that cannot be computed row by row."""
        with torch.inference_mode(False), torch.no_grad():
            whole = self.standing(module, "weight", self._whole(name, point))
        own = module._parameters["weight"]
        module._parameters["weight"] = whole  # type: ignore[assignment]
        try:
            return forward(x)
        finally:
            module._parameters["weight"] = own
