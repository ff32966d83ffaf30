"""Displacement of one module at a time, during its forward.

Mode ``streamed`` is bit-identical to mode ``snapshot`` but needs extra memory for one module only: a module's
perturbed weights are created when its forward starts and released when it ends. The base weights are never
written. For an embedding, only the rows that the minibatch reads are created.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from zobench.zo.objective import Objective
from zobench.zo.perturb import Along, Perturbation, Point
from zobench.zo.space.base import ParameterSpace

REUSED_FROM = 1 << 16
"""Minimum size in bytes of a displaced weight whose memory is reused."""
SHORT = 1 << 14
"""Number of entries below which a vector is displaced together with the others."""


class _Watch(TorchFunctionMode):
    """Records which of the given parameters take part in any operation (attribute reads do not count)."""

    def __init__(self, parameters: dict[int, str]) -> None:
        super().__init__()
        self.parameters = parameters
        self.used: set[str] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        # An attribute read such as ``weight.dtype``, or a new storage, does not use the values.
        if getattr(func, "__name__", "") not in ("__get__", "__set__"):
            for leaf in tree_leaves((args, kwargs)):
                name = self.parameters.get(id(leaf))
                if name is not None:
                    self.used.add(name)
        return func(*args, **kwargs)


def owners(space: ParameterSpace) -> list[tuple[nn.Module, dict[str, str]]]:
    """Every module that owns tuned tensors, with the names of these tensors in the module and in the space. A
    tied tensor has several owners."""
    names = {id(p): name for name, p in space.tensors.items()}
    found = []
    for module in space.module.modules():
        owned = {k: names[id(p)] for k, p in module._parameters.items() if p is not None and id(p) in names}
        # ``named_parameters`` lists a tied tensor under its first name only. The match by identity finds
        # every module that owns it.
        if owned:
            found.append((module, owned))
    return found


class Streamed(Perturbation):
    """Each module computes with perturbed weights, created when its forward starts and released when it ends.

    Every tuned tensor must be used only inside the forward of a module that owns it. A tied tensor may have
    several owners. The first loss that displaces a tensor is checked: if a displaced tensor is used
    elsewhere, ``ValueError`` names it, because the loss would be wrong.
    """

    mode = "streamed"

    def __init__(self, space: ParameterSpace) -> None:
        super().__init__(space)
        self._names = {id(p): name for name, p in space.tensors.items()}
        self._owned = owners(space)
        self._checked: set[str] = set()
        self._spare: list[torch.Tensor] = []
        self._lent: dict[int, list[torch.Tensor]] = {}
        self._taken: list[torch.Tensor] | None = None
        self._places: dict[int, torch.Tensor] = {}
        self._vectors: dict[str, torch.Tensor] = {}

    def loss(self, objective: Objective, point: Point) -> float:
        if objective.recorded:
            return objective.loss()
        with self.displaced(point):
            return self._watched(objective, point)

    def _watched(self, objective: Objective, point: Point) -> float:
        """The loss of the displaced module."""
        touched = set(self.touched(point))
        # The watch slows down every operation, so that each tensor is checked in one forward only.
        if touched <= self._checked:
            return objective.loss()
        with _Watch(self._names) as watch:
            value = objective.loss()
        # Inside its module's forward a displaced parameter is replaced by another tensor. The watch therefore
        # sees the parameter itself only where it is used outside.
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
        before, self._vectors = self._vectors, self._small(touched, point)
        try:
            with self._hooked(touched, lambda local: self._hooks(local, point, own), [own]):
                yield
        finally:
            self._vectors = before

    @contextmanager
    def _hooked(
        self,
        touched: set[str],
        hooks: Callable[[dict[str, str]], tuple[Any, Any]],
        kept: Sequence[dict[int, dict[str, Any]]],
    ) -> Iterator[None]:
        """Inside the block the owners of these tensors call the hooks made for their tensors; ``kept`` is
        where the hooks keep the modules' own parameters."""
        handles = []
        for module, owned in self._owned:
            local = {k: n for k, n in owned.items() if n in touched}
            if not local:
                continue
            enter, leave = hooks(local)
            # ``prepend``: other hooks may read the weights. ``always_call``: restores after an exception too.
            handles.append(module.register_forward_pre_hook(enter, prepend=True))
            handles.append(module.register_forward_hook(leave, always_call=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            # Restores modules whose forward started and did not reach ``leave``.
            for module, _ in self._owned:
                for own in kept:
                    module._parameters.update(own.pop(id(module), {}))

    def _small(self, names: Iterable[str], point: Point) -> dict[str, torch.Tensor]:
        """The displaced values of all short vectors, by one sweep for all of them."""
        space = self.space
        short = [
            n
            for n in names
            if len(space.shape(n)) == 1 and space.size(n) < SHORT and space.indices(n) is None
        ]
        with torch.inference_mode(False), torch.no_grad():
            return self.values_of(short, point)

    def _whole(self, name: str, point: Point) -> torch.Tensor:
        if name in self._vectors:
            return self._vectors[name]
        return self.space.whole(name, self.values(name, point))

    def _hooks(self, local: dict[str, str], point: Point, own: dict[int, dict[str, Any]]) -> tuple[Any, Any]:
        def enter(module: nn.Module, args: Any) -> None:
            # A module that calls itself is displaced already: saving again would save perturbed weights.
            if id(module) in own:
                return None
            # torch treats tensors created in inference mode as not requiring a gradient (see ``standing``).
            with torch.inference_mode(False), torch.no_grad(), self._lending(module):
                moved = self.replaced(module, local, point, args)
            own[id(module)] = {k: module._parameters[k] for k in local}
            # Written to the dict directly: assigning an attribute accepts ``nn.Parameter`` objects only.
            module._parameters.update(moved)  # type: ignore[arg-type]
            return self.arguments(module, args)

        def leave(module: nn.Module, args: Any, output: Any) -> Any:
            module._parameters.update(own.pop(id(module), {}))
            self._spare += self._lent.pop(id(module), [])
            return self.answered(module, args, output)

        return enter, leave

    def replaced(
        self, module: nn.Module, local: dict[str, str], point: Point, args: Any
    ) -> dict[str, torch.Tensor]:
        """The tensors that replace the module's parameters during its forward, by the module's own names.
        ``local`` maps these names to names of the space; ``args`` are the module's inputs."""
        made = self._rows(module, local, point, args)
        if made is None:
            made = {k: self._whole(n, point) for k, n in local.items()}
        return {k: self.standing(module, k, values) for k, values in made.items()}

    def _rows(
        self, module: nn.Module, local: dict[str, str], point: Point, args: Any
    ) -> dict[str, torch.Tensor] | None:
        """The displaced rows of an embedding that its input reads; ``arguments`` gives their positions.
        ``None`` for other modules, or if more than half of the rows are read."""
        if type(module).forward is not nn.Embedding.forward or len(args) != 1 or set(local) != {"weight"}:
            return None
        assert isinstance(module, nn.Embedding)
        # The module then looks up positions within the reduced table instead of token ids. ``padding_idx``
        # must stay valid for it, ``max_norm`` would rescale rows of the table, and masked entries have no
        # rows.
        rows, places = torch.unique(args[0], return_inverse=True)
        padding = -1 if module.padding_idx is None else module.padding_idx
        few = padding < rows.numel() <= module.num_embeddings // 2
        if not few or module.max_norm is not None or self.space.indices(local["weight"]) is not None:
            return None
        values = self.read_rows(local["weight"], rows)
        if not all(self.add_rows(values, local["weight"], rows, shift) for shift in point):
            return None
        self._places[id(module)] = places
        return {"weight": values.to(module.weight.dtype)}

    def read_rows(self, name: str, rows: torch.Tensor) -> torch.Tensor:
        """These rows of a weight before the point's shifts, as a new tensor."""
        return self.space.entries(name).detach()[rows]

    def add_rows(self, values: torch.Tensor, name: str, rows: torch.Tensor, shift: Any) -> bool:
        """``values`` += these rows of the shift's displacement; False if it supports whole tensors only."""
        if not shift.touches(name):
            return True
        return isinstance(shift, Along) and shift.direction.add_rows_(
            values, name, rows, shift.seed, shift.scale
        )

    def arguments(self, module: nn.Module, args: Any) -> Any:
        """The arguments that replace ``args`` in the call of the module; ``None`` keeps them."""
        places = self._places.pop(id(module), None)
        return None if places is None else (places,)

    @contextmanager
    def _lending(self, module: nn.Module) -> Iterator[None]:
        """Buffers taken inside the block belong to the module until its forward ends and are then reused:
        allocating memory takes several times as long as filling it."""
        # Only layers of torch itself: the output of another module could be a view of its weight, which would
        # be overwritten.
        own = type(module).forward in (nn.Linear.forward, nn.Embedding.forward)
        self._taken = [] if own else None
        yield
        if self._taken:
            self._lent[id(module)] = self._taken
        self._taken = None

    def buffer(self, name: str, like: torch.Tensor) -> torch.Tensor:
        size = like.numel() * like.element_size()
        if self._taken is None or like.device.type != "cpu" or size < REUSED_FROM:
            return super().buffer(name, like)
        fits = [memory for memory in self._spare if memory.numel() >= size]
        memory = min(fits, key=torch.numel) if fits else self._memory(size)
        self._spare = [other for other in self._spare if other is not memory]
        self._taken.append(memory)
        return memory[:size].view(like.dtype).view(like.shape)

    def _memory(self, size: int) -> torch.Tensor:
        # Buffers that are too small for the largest layer are released before a larger one is allocated.
        self._spare.clear()
        return torch.empty(size, dtype=torch.uint8)

    def standing(self, module: nn.Module, own: str, values: torch.Tensor) -> torch.Tensor:
        """``values`` with the ``requires_grad`` of the module's parameter ``own``, which they replace."""
        # torch multiplies a slice (the last position of a sequence, as model heads receive it) by a weight
        # that requires a gradient in one call, and by any other weight row by row. The second has different
        # last bits and takes a hundred times as long in bfloat16 on a CPU.
        parameter = module._parameters[own]
        assert parameter is not None
        return nn.Parameter(values, requires_grad=parameter.requires_grad)

    def answered(self, module: nn.Module, args: Any, output: Any) -> Any:
        """The value returned in place of ``output``; ``None`` keeps ``output``. ``output`` is ``None`` if the
        module raised."""
        return None
