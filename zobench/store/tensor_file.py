"""The bytes of a safetensors file in parts that refer to the tensors' own memory, without a copy of them.

``safetensors.torch.save`` holds the whole file twice beside the tensors (findings/safetensors-save-twice.sh),
which for AdamW on a model of 134 M parameters is 3.2 GB. The bytes are those of that function
(``tests/store/test_tensor_file.py``); files are read by the package.

Format: the header's length (8 bytes, little endian), a JSON header padded with spaces to a multiple of eight,
and the tensors' bytes one after another, in the order of the types below and then of their names.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_TYPES = {
    "uint64": "U64",
    "int64": "I64",
    "float64": "F64",
    "complex64": "C64",
    "float32": "F32",
    "uint32": "U32",
    "int32": "I32",
    "bfloat16": "BF16",
    "float16": "F16",
    "uint16": "U16",
    "int16": "I16",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
}
"""Names of the types in the header, by those of torch. The wider ones come first, so that all are aligned."""


def file_parts(
    tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None = None
) -> list[bytes | memoryview]:
    """The header, and then the bytes of each tensor. The tensors must not change until the parts are written.

    Raises:
        ValueError: a tensor has a type that these files do not hold here.
    """
    assert sys.byteorder == "little", "the format is little endian, and the parts are the tensors' memory"
    ranks = {name: _rank(name, tensor) for name, tensor in tensors.items()}
    header: dict[str, object] = {} if metadata is None else {"__metadata__": dict(metadata)}
    parts: list[bytes | memoryview] = []
    start = 0
    for name in sorted(tensors, key=lambda name: (ranks[name], name)):
        tensor = tensors[name].detach().cpu().contiguous()
        part = _memory(tensor)
        header[name] = {
            "dtype": _TYPES[_type(tensor)],
            "shape": list(tensor.shape),
            "data_offsets": [start, start + part.nbytes],
        }
        start += part.nbytes
        parts.append(part)
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return [len(text).to_bytes(8, "little") + text, *parts]


def _memory(tensor: torch.Tensor) -> memoryview:
    import torch

    # Complex numbers and single numbers cannot be viewed as bytes as they are; numpy has no bfloat16.
    plain = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    memory: Any = plain.reshape(-1).view(torch.uint8).numpy()  # older stubs of numpy know no buffers
    return memoryview(memory)


def _type(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _rank(name: str, tensor: torch.Tensor) -> int:
    if _type(tensor) not in _TYPES:
        raise ValueError(f"tensor {name!r} is {tensor.dtype}; files hold {', '.join(_TYPES)}")
    return list(_TYPES).index(_type(tensor))
