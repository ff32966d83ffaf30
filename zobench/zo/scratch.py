"""Weights outside the compute memory: a private memory-mapped file, or host memory for another device.

``Mapped`` is for a CPU. The tensors are copied into one file in safetensors layout, which the process maps
and writes; the memory that they occupy is the file cache's, which the system takes back when it needs it. The
file has no name (where the system permits) and ends with the process, however that ends.

``Host`` is for an accelerator: the tensors stay in the host's memory and are on the device during a visit.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import torch

CODES = {torch.float64: "F64", torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}
PIECE = 1 << 24
"""Bytes that are copied at once."""


class Store(Protocol):
    """Where weights are between two visits."""

    def load(self, names: Iterable[str]) -> None:
        """Make these tensors ready for computation."""

    def ahead(self, names: Iterable[str]) -> None:
        """Begin to read tensors that will be loaded next."""

    def release(self, names: Iterable[str], changed: bool) -> None:
        """The visit of these tensors has ended."""

    def forget(self) -> None:
        """Tensors were written outside their visit: what was read ahead may be old."""


def raw(tensor: torch.Tensor) -> Iterator[memoryview]:
    """The bytes of a tensor in C order, in pieces; a tensor that is not contiguous is copied once."""
    flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    for start in range(0, flat.numel(), PIECE):
        yield flat[start : start + PIECE].numpy().data


def digest(tensor: torch.Tensor) -> str:
    """SHA-256 of a tensor's bytes."""
    sha = hashlib.sha256()
    for piece in raw(tensor):
        sha.update(piece)
    return sha.hexdigest()


def folder_of(scratch: str | Path) -> Path:
    """The folder of scratch copies: the given one, or the system's for temporary files."""
    return Path(scratch) if str(scratch) else Path(tempfile.gettempdir())


def refuse_little_space(folder: Path, size: int) -> None:
    """``ValueError`` if ``folder`` is none or has less free space than ``size`` bytes."""
    if not folder.is_dir():
        raise ValueError(
            f"mode 'offload': the scratch folder {folder} does not exist; create it, or name another"
        )
    free = shutil.disk_usage(folder).free
    if free < size:
        raise ValueError(
            f"mode 'offload': the scratch copy of the weights needs {size:,} bytes, and {folder} has "
            f"{free:,} free; name a folder on another disk (--scratch DIR)"
        )


class Mapped:
    """Copies of ``tensors`` in a mapped file.

    Args:
        tensors: the tensors, in the order in which they will be visited.
        folder: where the file is made.

    Attributes:
        tensors: the mapped tensors, by name.
        digests: SHA-256 of each tensor as it was copied.

    Raises:
        ValueError: too little space in ``folder``.
    """

    def __init__(self, tensors: Mapping[str, torch.Tensor], folder: Path) -> None:
        # No gaps are allowed in this layout, so wide types come first: every tensor is then aligned.
        order = sorted(tensors, key=lambda name: -tensors[name].element_size())
        header, self._spans = _layout({name: tensors[name] for name in order})
        self.size = max((end for _, end in self._spans.values()), default=len(header))
        refuse_little_space(folder, self.size)
        self.digests: dict[str, str] = {}
        with tempfile.TemporaryFile(dir=folder, prefix="zobench-scratch-") as file:
            # Written, not only mapped: a full disk is then an error here and not a signal at some later step.
            file.write(header)
            for name in order:
                sha = hashlib.sha256()
                for piece in raw(tensors[name]):
                    file.write(piece)
                    sha.update(piece)
                self.digests[name] = sha.hexdigest()
            file.flush()
            self._map = mmap.mmap(file.fileno(), self.size)
        self.tensors = {name: self._view(name, tensors[name]) for name in order}

    def _view(self, name: str, like: torch.Tensor) -> torch.Tensor:
        if like.numel() == 0:
            return torch.empty_like(like)
        start, _ = self._spans[name]
        flat = torch.frombuffer(self._map, dtype=like.dtype, count=like.numel(), offset=start)
        return flat.view(like.shape)

    def load(self, names: Iterable[str]) -> None:
        return None

    def ahead(self, names: Iterable[str]) -> None:
        for name in names:
            start, end = self._spans[name]
            first = start - start % mmap.PAGESIZE
            if sys.platform != "win32" and end > start:
                self._map.madvise(mmap.MADV_WILLNEED, first, end - first)

    def release(self, names: Iterable[str], changed: bool) -> None:
        return None

    def forget(self) -> None:
        return None


def _layout(tensors: Mapping[str, torch.Tensor]) -> tuple[bytes, dict[str, tuple[int, int]]]:
    """The header of a safetensors file, and where in the file each tensor lies."""
    entries: dict[str, dict[str, object]] = {}
    ends, at = {}, 0
    for name, tensor in tensors.items():
        before, at = at, at + tensor.numel() * tensor.element_size()
        ends[name] = (before, at)
        entries[name] = {
            "dtype": CODES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [before, at],
        }
    text = json.dumps(entries).encode()
    text += b" " * (-(len(text) + 8) % mmap.PAGESIZE)
    start = len(text) + 8
    return len(text).to_bytes(8, "little") + text, {n: (start + a, start + b) for n, (a, b) in ends.items()}


class Host:
    """Parameters whose values lie in host memory and are on ``device`` during a visit.

    Host memory is page-locked for a CUDA device, and the next block is copied on a stream of its own while
    the present one computes.
    """

    def __init__(self, parameters: Mapping[str, torch.nn.Parameter], device: torch.device) -> None:
        self.parameters, self.device = parameters, device
        self._cuda = device.type == "cuda"
        self._stream = torch.cuda.Stream(device) if self._cuda else None
        self._coming: dict[str, torch.Tensor] = {}
        self.tensors = {name: self._at_home(p.detach()) for name, p in parameters.items()}

    def _at_home(self, values: torch.Tensor) -> torch.Tensor:
        home = torch.empty(values.shape, dtype=values.dtype, pin_memory=self._cuda)
        return home.copy_(values)

    def load(self, names: Iterable[str]) -> None:
        if self._stream is not None:
            torch.cuda.current_stream(self.device).wait_stream(self._stream)
        for name in names:
            there = self._coming.pop(name, None)
            if there is None:
                there = self.tensors[name].to(self.device, copy=True)
            self.parameters[name].data = there
        self._coming.clear()

    def ahead(self, names: Iterable[str]) -> None:
        if self._stream is None:
            return
        wanted: Sequence[str] = list(names)
        with torch.cuda.stream(self._stream):
            self._coming = {n: self.tensors[n].to(self.device, non_blocking=True) for n in wanted}

    def release(self, names: Iterable[str], changed: bool) -> None:
        for name in names:
            parameter = self.parameters[name]
            if changed:
                self.tensors[name].copy_(parameter.data)
            parameter.data = self.tensors[name]

    def forget(self) -> None:
        self._coming.clear()
