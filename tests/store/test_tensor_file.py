"""The parts of a file are the bytes that safetensors writes, and refer to the tensors' memory."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load, save

from zobench.store.tensor_file import _TYPES, file_parts

TYPES = [getattr(torch, name) for name in _TYPES]


def tensors() -> dict[str, torch.Tensor]:
    """Two of each type, with a single number, none, a slice and names that need quotes."""
    made = {f'weights/ä "{d}" {n}': torch.arange(n).to(d) for d in reversed(TYPES) for n in (3, 8)}
    some = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))
    return {**made, "one": torch.tensor(2.5), "none": torch.zeros(0, 3), "slice": some[:, ::2], "t": some.T}


@pytest.mark.parametrize("metadata", [None, {"position": '{"a": "ü"}'}])
def test_the_bytes_are_those_of_the_package(metadata: dict[str, str] | None) -> None:
    given = tensors()
    found = b"".join(file_parts(given, metadata))
    assert found == save({name: t.contiguous() for name, t in given.items()}, metadata=metadata)
    read = load(found)
    assert read.keys() == given.keys()
    assert all(read[name].dtype == t.dtype and read[name].shape == t.shape for name, t in given.items())


def test_nothing_is_copied() -> None:
    given = torch.zeros(1000)
    _, part = file_parts({"a": given})
    given += 1
    assert bytes(part) == given.numpy().tobytes()


def test_an_unknown_type_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"'a' is torch\.complex128; files hold uint64"):
        file_parts({"a": torch.zeros(2, dtype=torch.complex128)})
