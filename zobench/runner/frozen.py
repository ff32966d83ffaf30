"""Detects changes of weights outside the tuned parameter space.

Such a change affects the model that the run evaluates, but the run's record does not show it: a replay that
makes the same change agrees, and the run would be compared with others that tuned fewer parameters. SHA-256
digests of everything outside the space are computed before the method is created. They are compared after
training, before the first checkpoint and at a clean stop; in between, one piece is compared every
``STEPS_BETWEEN_LOOKS`` steps.

Covered: parameters, the entries of a masked tensor that are not tuned, and the buffers in ``state_dict``
(codes of quantized layers). Not covered: running statistics of normalization layers, which a forward pass in
training mode changes, and buffers outside ``state_dict``, which some models recompute in a forward pass.
Modules that a space adds (adapters, prefixes, quantized layers) exist when the digests are computed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch.nn.modules.batchnorm import _NormBase

if TYPE_CHECKING:
    from torch import nn

    from zobench.zo.space import ParameterSpace

STEPS_BETWEEN_LOOKS = 16
PIECE = 2**18
"""Maximum number of tensor entries per digest: 1 MiB in float32, which takes less than a millisecond."""
_NAMED = 3

Piece = tuple[str, int]


class FrozenWeightsMoved(RuntimeError):
    """Weights that are not tuned have changed."""


class FrozenWeights:
    """Digests of the tensors that ``space`` does not tune, in pieces of at most ``PIECE`` entries.

    Args:
        method: name of the method, for the error message.
    """

    def __init__(self, space: ParameterSpace, method: str) -> None:
        self.space, self.method = space, method
        self._digests: dict[Piece, bytes] = {}
        self._order: list[Piece] = []
        self.take()

    def take(self) -> None:
        """Compute the digests of the current weights; later checks compare with these."""
        self._digests = {
            piece: self._digest(tensor, piece)
            for name, tensor in self._frozen().items()
            for piece in pieces(name, tensor)
        }
        self._order = list(self._digests)

    def check(self) -> None:
        """Compare all pieces.

        Raises:
            FrozenWeightsMoved: tensors were changed, added or removed; the message names them.
        """
        now = self._frozen()
        found = {piece for name, tensor in now.items() for piece in pieces(name, tensor)}
        moved = {name for name, _ in found ^ self._digests.keys()}
        for piece in self._order:
            if piece[0] not in moved and self._digest(now[piece[0]], piece) != self._digests[piece]:
                moved.add(piece[0])
        if moved:
            self._refuse(sorted(moved), f"{len(moved)} of {len(now)} tensors compared")

    def look(self, step: int) -> None:
        """Compare one piece after every ``STEPS_BETWEEN_LOOKS``-th step, in rotation; raises the same errors
        as ``check``."""
        if step % STEPS_BETWEEN_LOOKS or not self._order:
            return
        piece = self._order[step // STEPS_BETWEEN_LOOKS % len(self._order)]
        tensor = self._frozen().get(piece[0])
        if tensor is None or self._digest(tensor, piece) != self._digests[piece]:
            self._refuse([piece[0]], f"seen after step {step - 1}")

    def _refuse(self, names: list[str], seen: str) -> None:
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        listed = ", ".join(map(repr, names[:_NAMED])) + more
        raise FrozenWeightsMoved(
            f"method {self.method!r} changed weights outside the tuned space {self.space.kind!r}: {listed} "
            f"({seen})"
        )

    def _frozen(self) -> dict[str, torch.Tensor]:
        """Tensors with entries that are not tuned, by name."""
        module = self.space.module
        own = dict(module.named_parameters())
        every = {name for name, _ in module.named_parameters(remove_duplicate=False)} | statistics(module)
        saved = {
            name: value
            for name, value in module.state_dict().items()
            if name not in every and isinstance(value, torch.Tensor)
        }
        fully = {name for name in self.space if self.space.indices(name) is None}
        return {name: t.detach() for name, t in {**own, **saved}.items() if name not in fully}

    def _digest(self, tensor: torch.Tensor, piece: Piece) -> bytes:
        name, start = piece
        values = tensor.reshape(-1)[start : start + PIECE]
        index = self.space.indices(name) if name in self.space.tensors else None
        if index is not None:
            bounds = index.new_tensor([start, start + PIECE])
            low, high = torch.searchsorted(index, bounds).tolist()
            values = values.clone()
            values[index[low:high] - start] = 0
        plain = values.cpu().contiguous().view(torch.uint8).numpy()
        about = f"{tensor.dtype}|{tuple(tensor.shape)}|".encode()
        return hashlib.sha256(about + plain.tobytes()).digest()


def pieces(name: str, tensor: torch.Tensor) -> Iterator[Piece]:
    """The pieces of a tensor, each identified by the position of its first entry."""
    return ((name, start) for start in range(0, tensor.numel(), PIECE))


def statistics(module: nn.Module) -> set[str]:
    """Names of the running statistics of normalization layers."""
    return {
        f"{name}.{buffer}" if name else buffer
        for name, part in module.named_modules()
        if isinstance(part, _NormBase)
        for buffer, _ in part.named_buffers(recurse=False)
    }
