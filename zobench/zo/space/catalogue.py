"""The kinds of parameter space and their typed parameters: ``build_space("lora", {"r": 8}, module)``.

Each kind is a frozen dataclass with a ``build(module)`` method. The dataclass validates its parameters, so
that a suite can be checked without a model: ``SpaceConfig("lora", {"r": 0}).parsed()`` raises ``ValueError``
naming the field.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

import torch
from torch import nn

from zobench.zo.parameters import Count, Parameters, Patterns, PositiveFraction, nearest
from zobench.zo.space.base import ParameterSpace
from zobench.zo.space.codes import Codes
from zobench.zo.space.conv_scales import ConvScales
from zobench.zo.space.lora import Lora
from zobench.zo.space.prefix import Prefix
from zobench.zo.space.prompt import Prompt
from zobench.zo.space.pruned import Pruned
from zobench.zo.space.quantized import FakeQuant, Scales
from zobench.zo.space.scalings import LayerScales, SingularValues
from zobench.zo.space.zerotuning import ZeroTuning


class SpaceKind(Protocol):
    def build(self, module: nn.Module) -> ParameterSpace: ...


def matching(names: Iterable[str], include: Sequence[str], exclude: Sequence[str]) -> list[str]:
    """Names that match a glob pattern of ``include`` (``*`` also matches dots) and no pattern of
    ``exclude``."""
    return [
        n
        for n in names
        if any(fnmatch.fnmatchcase(n, p) for p in include)
        and not any(fnmatch.fnmatchcase(n, p) for p in exclude)
    ]


def _floating(module: nn.Module) -> list[str]:
    return [n for n, p in module.named_parameters() if p.is_floating_point()]


@dataclass(frozen=True)
class Full(Parameters):
    """Every floating-point parameter of the module.

    Attributes:
        exclude: glob patterns of parameters to leave frozen.
    """

    exclude: Sequence[str] = ()

    def build(self, module: nn.Module) -> ParameterSpace:
        return ParameterSpace(module, matching(_floating(module), ("*",), self.exclude), kind="full")


@dataclass(frozen=True)
class Names(Parameters):
    """Parameters by name pattern.

    Attributes:
        include: glob patterns (``*`` also matches dots), for instance ``*.layers.3.*``.
        exclude: glob patterns of parameters to leave frozen.
    """

    include: Patterns
    exclude: Sequence[str] = ()

    def build(self, module: nn.Module) -> ParameterSpace:
        names = _floating(module)
        chosen = matching(names, self.include, self.exclude)
        if not chosen:
            raise ValueError(f"space 'names': {list(self.include)} match none of {names[:4]} …")
        return ParameterSpace(module, chosen, kind="names")


@dataclass(frozen=True)
class Bias:
    """Bias vectors only (parameters whose last name part is ``bias``)."""

    def build(self, module: nn.Module) -> ParameterSpace:
        chosen = [n for n in _floating(module) if n.rpartition(".")[2] == "bias"]
        if not chosen:
            raise ValueError("space 'bias': the module has no bias parameter")
        return ParameterSpace(module, chosen, kind="bias")


@dataclass(frozen=True)
class LastLayers(Parameters):
    """The last blocks of the model: parameters with the highest layer numbers (first number in the name).

    Attributes:
        layers: number of blocks, counted from the end.
    """

    layers: Count = 1

    def build(self, module: nn.Module) -> ParameterSpace:
        number = {n: int(m.group(1)) for n in _floating(module) if (m := re.search(r"\.?\b(\d+)\.", n))}
        if not number:
            raise ValueError("space 'last-layer': no parameter name contains a layer number")
        kept = sorted(set(number.values()))[-self.layers :]
        return ParameterSpace(module, [n for n, k in number.items() if k in kept], kind="last-layer")


@dataclass(frozen=True)
class Masked(Parameters):
    """Listed entries of the module's parameters; without a list, a random share of every tensor.

    Attributes:
        indices: flat positions by parameter name (lists or int64 tensors). If given, ``share`` is not used.
        share: share of the entries of each matched tensor to tune, in (0, 1]; at least one entry per tensor.
        include: glob patterns of the tensors that ``share`` applies to.
        seed: seed of the random choice.
    """

    indices: Mapping[str, Any] | None = None
    share: PositiveFraction = 0.001
    include: Patterns = ("*",)
    seed: int = 0

    def build(self, module: nn.Module) -> ParameterSpace:
        tensors = dict(module.named_parameters())
        if self.indices is not None:
            index = {n: torch.as_tensor(i, dtype=torch.int64) for n, i in self.indices.items()}
        else:
            index = {n: self._random(n, tensors[n].numel()) for n in self.names(module)}
        index = {n: i.to(tensors[n].device) if n in tensors else i for n, i in index.items()}
        return ParameterSpace(module, list(index), kind="masked", indices=index)

    def names(self, module: nn.Module) -> list[str]:
        """The tensors with tuned entries."""
        return (
            list(self.indices) if self.indices is not None else matching(_floating(module), self.include, ())
        )

    def _random(self, name: str, size: int) -> torch.Tensor:
        """The round(share * size) entries (at least one) with the smallest uniform draw."""
        from zobench.zo import noise

        keep = max(1, round(self.share * size))
        draw = noise.sample((size,), seed=self.seed, key=noise.tensor_key(name + "|mask"), kind="uniform")
        return torch.argsort(draw, stable=True)[:keep].sort().values


SPACES: dict[str, type[SpaceKind]] = {
    "full": Full,
    "names": Names,
    "bias": Bias,
    "last-layer": LastLayers,
    "masked": Masked,
    "pruned": Pruned,
    "lora": Lora,
    "prefix": Prefix,
    "prompt": Prompt,
    "scales": Scales,
    "conv-scales": ConvScales,
    "codes": Codes,
    "fake-quant": FakeQuant,
    "zerotuning": ZeroTuning,
    "layer-scales": LayerScales,
    "singular-values": SingularValues,
}


@dataclass(frozen=True)
class SpaceConfig:
    """A space by name with literal parameters, as in a suite file."""

    kind: str = "full"
    params: dict[str, Any] = field(default_factory=dict)

    def parsed(self) -> SpaceKind:
        """The validated kind. ``ValueError`` names an unknown kind (with the nearest valid one), an unknown
        parameter or an invalid value."""
        if self.kind not in SPACES:
            raise ValueError(f"unknown parameter space {self.kind!r}; {_valid(self.kind, SPACES)}")
        cls = SPACES[self.kind]
        valid = [f.name for f in fields(cls)]  # type: ignore[arg-type]
        for key in self.params:
            if key not in valid:
                raise ValueError(f"space {self.kind!r} has no parameter {key!r}; {_valid(key, valid)}")
        try:
            return cls(**self.params)
        except (TypeError, ValueError) as error:
            raise ValueError(f"space {self.kind!r}: {error}") from error


def build_space(
    kind: str, params: Mapping[str, Any] | None = None, module: nn.Module | None = None
) -> ParameterSpace:
    """The space ``kind`` of ``module``. ``ValueError`` for unknown kinds, invalid parameters, or a module
    that the kind does not support."""
    parsed = SpaceConfig(kind, dict(params or {})).parsed()
    if module is None:
        raise ValueError("build_space needs the module whose parameters are tuned")
    return parsed.build(module)


def _valid(name: str, valid: Iterable[str]) -> str:
    names = sorted(valid)
    return nearest(name, names) or "valid: " + (", ".join(names) or "none")


def refusal(kind: SpaceKind, module: nn.Module) -> str:
    """Why the space cannot be built on this module; empty if it can.

    The space is built, and removed, on a module on the ``meta`` device: names and shapes without values.
    Random entries (``masked``) cannot be drawn there, and nothing be pruned, so that only the names of their
    tensors are checked.
    """
    try:
        if isinstance(kind, Masked):
            ParameterSpace(module, kind.names(module), kind="masked")
        elif isinstance(kind, Pruned):
            kind.layers(module)
        else:
            kind.build(module).remove()
    except ValueError as error:
        return str(error)
    return ""
