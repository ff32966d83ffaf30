"""A method running on the 17-entry quadratic, and the same problem as one flat float64 vector.

Factors of low-rank directions are drawn here straight from the generator (label, seed) and brought to the
documented grids; everything else is plain matrix algebra in the tests.
"""

from __future__ import annotations

import torch

from zobench.plugins import lookup
from zobench.zo import Engine, Objective, build_space, noise
from zobench.zo.conformance.problems import quadratic, transformer

SEED = 11
STEPS = 5
H = torch.linspace(0.5, 2.0, 17, dtype=torch.float64)
T = torch.linspace(-0.5, 0.5, 17, dtype=torch.float64)
M, N = 3, 4


def loss(theta: torch.Tensor) -> float:
    return float(0.5 * (H * (theta - T) ** 2).sum())


def slope(theta: torch.Tensor, u: torch.Tensor, eps: float) -> float:
    return (loss(theta + eps * u) - loss(theta - eps * u)) / (2 * eps)


def flat(matrix: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
    return torch.cat([matrix.reshape(-1), vector])


def step_seed(step: int, query: int, *stream: str) -> int:
    return noise.derive_seed(SEED, step, *stream, query)


def basis_seed(index: int) -> int:
    return noise.derive_seed("basis", SEED, index)


def draw(name: str, shape: tuple[int, ...], seed: int, kind: str = "gaussian") -> torch.Tensor:
    return noise.sample(shape, seed=seed, key=noise.tensor_key(name), kind=kind).double()


def grid(values: torch.Tensor) -> torch.Tensor:
    """To multiples of 2^-18, as Gaussian factors are documented to be."""
    return (values * 2**18).round() / 2**18


def factor(label: str, shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """A Gaussian factor of ``matrix``."""
    return grid(draw(f"matrix/{label}", shape, seed))


def frame(label: str, shape: tuple[int, int], seed: int) -> torch.Tensor:
    """An orthonormal factor of ``matrix``, multiples of 2^-24; QR with a positive diagonal."""
    q, r = torch.linalg.qr(factor(label, shape, seed))
    return (q * r.diagonal().sign() * 2**24).round() / 2**24


def vector(seed: int) -> torch.Tensor:
    return draw("vector", (5,), seed)


def full(seed: int, kind: str = "gaussian") -> torch.Tensor:
    """The full-rank direction of this seed."""
    return flat(draw("matrix", (M, N), seed, kind), draw("vector", (5,), seed, kind))


def class_of(method: str | type):
    """The class of a catalogue name; a class as it is."""
    return lookup("methods", method) if isinstance(method, str) else method


class Steps:
    """Steps of ``method`` on ``objective``; the tensors of ``space`` as one flat vector."""

    @property
    def theta(self) -> torch.Tensor:
        return torch.cat([p.detach().reshape(-1) for p in self.space.tensors.values()]).clone()

    def run(self, steps: int = STEPS) -> list[torch.Tensor]:
        path = []
        for _ in range(steps):
            self.record = self.method.step(self.objective)
            path.append(self.theta)
        return path


class Lab(Steps):
    """One method on the quadratic in float64."""

    def __init__(self, name: str | type, **params: object) -> None:
        cls = class_of(name)
        problem = quadratic()
        self.module = problem.make(torch.float64)
        self.space = build_space("full", {}, self.module)
        self.method = cls(cls.Config(**params), self.space, seed=SEED)
        self.objective = Objective(self.module, problem.loss)
        self.objective.set_batch(None, sequences=1, tokens=0)

    def u(self, step: int, query: int, kind: str = "gaussian") -> torch.Tensor:
        """The direction of (run seed, step, query), straight from the generator's definition."""
        return full(step_seed(step, query), kind)


def start(name: str | type, kind: str, params: dict, engine: Engine | None = None, **config: object):
    """A method on the tiny transformer in float64, in a space of this kind."""
    problem, cls = transformer(), class_of(name)
    module = problem.make(torch.float64).eval()
    space = build_space(kind, params, module)
    method = cls(cls.Config(**config), space, seed=SEED, engine=engine)
    objective = Objective(module, problem.loss)
    objective.set_batch(problem.batch, sequences=4, tokens=24)
    return method, space, objective


def same(path: list[torch.Tensor], expected: list[torch.Tensor], tolerance: float = 1e-9) -> None:
    for step, (got, want) in enumerate(zip(path, expected, strict=True)):
        assert float((got - want).norm()) <= tolerance * float(want.norm()), f"step {step}"
