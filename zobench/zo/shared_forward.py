"""One call of a module in the place of one call for each branch of a step, for mode ``grouped``.

Each branch calls a stand-in for the module. The first call runs the module on the rows of all branches; the
others get their part of the output.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves, tree_map

ADVICE = "use mode 'snapshot' or 'batched'"
PLAIN = (int, float, bool, str, type(None), torch.dtype, torch.device)


class SharedForward:
    """Answers n calls of a module with the same arguments by one call on n times as many rows."""

    def __init__(self, module: nn.Module, count: int) -> None:
        self.module, self.count = module, count
        self.rows = 0
        self._calls: list[tuple[Any, Any]] = []
        self._at = [0] * count

    def answer(self, branch: int, args: Any, kwargs: Any) -> Any:
        position, self._at[branch] = self._at[branch], self._at[branch] + 1
        if position == len(self._calls):
            self._calls.append(((args, kwargs), self._run(args, kwargs)))
        given, output = self._calls[position]
        if not _same(given, (args, kwargs)):
            raise ValueError(
                f"mode 'grouped': the loss calls the module differently in each branch; {ADVICE}"
            )
        return tree_map(lambda leaf: self._part(leaf, branch), output)

    def _run(self, args: Any, kwargs: Any) -> Any:
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        if not tensors:
            raise ValueError(f"mode 'grouped': the module is called without a tensor; {ADVICE}")
        self.rows = tensors[0].shape[0]
        args, kwargs = tree_map(self._repeated, (args, kwargs))
        return self.module(*args, **kwargs)

    def _repeated(self, leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor):
            if not isinstance(leaf, PLAIN):
                raise ValueError(
                    f"mode 'grouped': the module is called with a {type(leaf).__name__}; {ADVICE}"
                )
            return leaf
        if leaf.dim() == 0 or leaf.shape[0] != self.rows:
            return leaf
        if leaf.dim() == 1:
            raise ValueError(f"mode 'grouped': a vector of {self.rows} could be rows or positions; {ADVICE}")
        return leaf.repeat(self.count, *([1] * (leaf.dim() - 1)))

    def _part(self, leaf: Any, branch: int) -> Any:
        """A branch's rows of the output; ``None`` for what is no tensor (a cache)."""
        if not isinstance(leaf, torch.Tensor):
            return leaf if isinstance(leaf, PLAIN) else None
        if leaf.dim() == 0 or leaf.shape[0] != self.count * self.rows:
            return leaf
        return leaf[branch * self.rows : (branch + 1) * self.rows]


class Branch(nn.Module):
    """One branch of a shared forward, in the place of the module."""

    def __init__(self, shared: SharedForward, number: int) -> None:
        super().__init__()
        self._shared, self._number = shared, number

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self._shared.answer(self._number, args, kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_shared"].module, name)


def _same(one: Any, other: Any) -> bool:
    a, b = tree_leaves(one), tree_leaves(other)
    return len(a) == len(b) and all(
        x is y
        or (torch.equal(x, y) if isinstance(x, torch.Tensor) and isinstance(y, torch.Tensor) else x == y)
        for x, y in zip(a, b, strict=True)
    )
