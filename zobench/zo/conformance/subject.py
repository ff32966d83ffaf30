"""One method under test: starting it on a problem, running it, and reading its weights."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from zobench.zo.base import Optimizer, StepRecord
from zobench.zo.conformance.problems import Problem, transformer
from zobench.zo.engine import Engine
from zobench.zo.objective import CodeLoss, Meter, Objective, ResidualFunction
from zobench.zo.space import ParameterSpace, build_space

SEED = 7


class Skip(Exception):
    """The check does not apply to this method; the message gives the reason."""


class Failed(Exception):
    """The method does not pass the check; the message states what was wrong."""


def expect(condition: bool, message: str) -> None:
    """Raise ``Failed`` with this message unless the condition holds."""
    if not condition:
        raise Failed(message)


def raised(error: Exception, near: type) -> str:
    """An error of a class as the reason of a failure, with the line of its file that it came from."""
    file = vars(sys.modules.get(near.__module__, sys)).get("__file__")
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    place = f" ({Path(own[-1].filename).name}:{own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {error}{place}"


@dataclass
class StartedRun:
    """A started optimizer with its module, space and objective."""

    optimizer: Optimizer
    module: nn.Module
    space: ParameterSpace
    objective: Objective

    def steps(self, count: int) -> list[StepRecord]:
        return [self.optimizer.step(self.objective) for _ in range(count)]


@dataclass(frozen=True)
class Subject:
    """A method class and the config it is checked with.

    Attributes:
        method: the class under test.
        config: its config.
        preset: the original config if ``config`` is its variant for small problems; otherwise ``None``.
    """

    method: type[Optimizer]
    config: Any
    preset: Any = None

    @property
    def space_kind(self) -> str:
        """``full`` if the method supports it, otherwise the first space of its card."""
        spaces = self.method.card.spaces
        return "full" if "*" in spaces or "full" in spaces else spaces[0]

    def has(self, key: str) -> bool:
        return key in {f.name for f in fields(self.config)}

    def changed(self, **values: Any) -> Subject:
        """The same method with changed parameters; ``Skip`` if a parameter does not exist."""
        for key in values:
            if not self.has(key):
                raise Skip(f"the config has no parameter {key!r}")
        return Subject(self.method, replace(self.config, **values), self.preset)

    def as_given(self) -> Subject | None:
        """The subject with its original config if it is checked with a variant; otherwise ``None``."""
        return None if self.preset is None else Subject(self.method, self.preset)

    def start(
        self,
        problem: Problem | None = None,
        *,
        dtype: torch.dtype = torch.float32,
        engine: Engine | None = None,
        budget: int | None = None,
        space: Callable[[nn.Module], ParameterSpace] | None = None,
        loss: Callable[[nn.Module, Any], Any] | None = None,
        seed: int = SEED,
    ) -> StartedRun:
        """A new module, space, objective and optimizer. ``Skip`` if the problem's module does not support the
        space."""
        problem = problem or transformer()
        module = problem.make(dtype).eval()
        try:
            chosen = space(module) if space else build_space(self.space_kind, {}, module)
        except (ValueError, AttributeError) as error:
            raise Skip(f"space {self.space_kind!r} does not exist on the {problem.name}: {error}") from error
        items = problem.items if loss is None or problem.items is None else _repeated(loss, problem.sequences)
        needs = self.method.card.needs
        residual = _gradient(loss or problem.loss) if "residual" in needs else None
        code = loss_as_code(loss or problem.loss) if "code" in needs else None
        objective = Objective(
            module, loss or problem.loss, Meter(budget), items=items, residual=residual, code=code
        )
        objective.set_batch(problem.batch, sequences=problem.sequences, tokens=problem.tokens)
        optimizer = self.method(self.config, chosen, seed=seed, engine=engine)
        return StartedRun(optimizer, module, chosen, objective)


def _gradient(loss: Callable[[nn.Module, Any], Any]) -> ResidualFunction:
    """Loss and gradient: of 1/2 |theta - y|^2 this is the residual of f(theta) = theta."""

    def residual(module: nn.Module, batch: Any) -> tuple[Any, dict[str, torch.Tensor]]:
        named = dict(module.named_parameters())
        with torch.inference_mode(False), torch.enable_grad():
            value = loss(module, batch)
            if not isinstance(value, torch.Tensor) or not value.requires_grad:
                return value, {name: torch.zeros_like(p) for name, p in named.items()}
            found = torch.autograd.grad(value, list(named.values()), allow_unused=True)
        return value.detach(), {
            name: torch.zeros_like(p) if g is None else g
            for (name, p), g in zip(named.items(), found, strict=True)
        }

    return residual


def loss_as_code(loss: Callable[[nn.Module, Any], Any]) -> CodeLoss:
    """The loss itself as a code of one number, of which the black box returns the value."""

    def code(module: nn.Module, batch: Any) -> torch.Tensor:
        value = loss(module, batch)
        if not isinstance(value, torch.Tensor) or not value.requires_grad:
            tuned = [p for p in module.parameters() if p.requires_grad]
            value = torch.as_tensor(value) + 0 * sum(p.sum() for p in tuned)
        return value.reshape(1, 1)

    return CodeLoss(code, lambda module, batch, points: points[..., 0])


def _repeated(loss: Callable[[nn.Module, Any], Any], count: int) -> Callable[[nn.Module, Any], torch.Tensor]:
    """Losses of items for a loss of the minibatch that cannot be divided: every item has it."""
    return lambda module, batch: torch.as_tensor(loss(module, batch)).expand(count)
