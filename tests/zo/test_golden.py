"""Trajectories compared with the results of the authors' own step functions on a tiny problem with the same
directions (``golden/`` of ``ZOBENCH_DATA``, whose README has the tolerances)."""

from __future__ import annotations

import base64
import json
import os
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from zobench.plugins import lookup
from zobench.runner.losses import loss_of
from zobench.spec import Budget, Component, ModelRef, RunSpec
from zobench.tasks.base import Batch
from zobench.zo import Engine, Objective, build_space
from zobench.zo.base import StepRecord
from zobench.zo.trajectory import Replayer


def task_of(name: str) -> Any:
    task = lookup("tasks", name)
    return task(task.Config())


FOLDER = Path(os.environ.get("ZOBENCH_DATA", "")) / "golden"
needs_numbers = pytest.mark.skipif(
    "ZOBENCH_DATA" not in os.environ or not FOLDER.is_dir(),
    reason="the authors' numbers are not here: set ZOBENCH_DATA to a folder that holds golden/",
)
pytestmark = needs_numbers
AT = (1, 2, 10, 11, 50)
PUBLISHED = {"lr": 0.01, "epsilon": 1e-3}


@cache
def golden(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def floats(text: str) -> torch.Tensor:
    return torch.from_numpy(np.frombuffer(base64.b64decode(text), "<f8").copy())


class Net(nn.Module):
    """The problem's model: embedding, mean, linear, layer norm, tanh, linear, tanh, linear."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 6)
        self.k_proj = nn.Linear(6, 13)
        self.layer_norm = nn.LayerNorm(13, eps=1e-5)
        self.v_proj = nn.Linear(13, 9, bias=False)
        self.head = nn.Linear(9, 5)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        inner = self.layer_norm(self.k_proj(self.embed(tokens).mean(dim=1)))
        return self.head(torch.tanh(self.v_proj(torch.tanh(inner))))


class Problem:
    """A method on the problem, step t on its own minibatch; losses keep the dtype of the logits."""

    def __init__(
        self, name: str, dtype: torch.dtype = torch.float64, engine: Engine | None = None, **params: Any
    ) -> None:
        told = golden("problem")
        self.module = Net()
        order = [key for key, _ in self.module.named_parameters()]
        assert order == told["order"]
        start = floats(told["initial_float64"])
        sizes = [p.numel() for p in self.module.parameters()]
        self.module.to(torch.float64)
        for p, values in zip(self.module.parameters(), start.split(sizes), strict=True):
            p.data.copy_(values.view_as(p))
        self.module.to(dtype)
        self.tokens, self.labels = torch.tensor(told["tokens"]), torch.tensor(told["labels"])
        method = lookup("methods", name)
        space = build_space("full", {}, self.module)
        self.method = method(method.Config(**PUBLISHED, **params), space, seed=0, engine=engine)
        self.objective = Objective(
            self.module, lambda module, batch: F.cross_entropy(module(batch[0]), batch[1])
        )
        self.t = 0

    def step(self) -> StepRecord:
        self.objective.set_batch((self.tokens[self.t], self.labels[self.t]), sequences=16, tokens=64)
        self.t += 1
        return self.method.step(self.objective)

    def flat(self) -> torch.Tensor:
        return torch.cat([p.detach().double().reshape(-1) for p in self.module.parameters()])


def worst(problem: Problem, told: dict[str, str]) -> float:
    """The largest distance from the authors' parameters after steps 1, 2, 10, 11 and 50, as a share of the
    distance they have moved."""
    start, shares = problem.flat(), []
    for t in range(1, 51):
        problem.step()
        if t in AT:
            want = floats(told[str(t)])
            shares.append(float((problem.flat() - want).norm() / (want - start).norm()))
    return max(shares)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_mezo(decay: float) -> None:
    run = golden("mezo")["float64_given_directions"]["runs"][f"weight_decay {decay}"]
    assert worst(Problem("mezo", weight_decay=decay), run["parameters_float64"]) < 1e-12


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_mezo_with_legacy_noise_to_the_bit(dtype: str, decay: float) -> None:
    run = golden("mezo")["legacy_own_generator"]["runs"][f"{dtype} weight_decay {decay}"]
    engine = Engine(mode="in-place", noise="legacy", legacy_seeds=tuple(run["seeds"]))
    problem = Problem("mezo", getattr(torch, dtype), engine, weight_decay=decay)
    start, records = problem.flat(), []
    for t in range(50):
        record = problem.step()
        records.append(record)
        assert list(record.losses) == run["losses"][t], f"step {t}"
        assert list(record.coefficients) == [run["slopes"][t]], f"step {t}"
    assert torch.equal(problem.flat(), floats(run["parameters_float64_at_50"]))
    fresh = Problem("mezo", getattr(torch, dtype), engine, weight_decay=decay)
    assert torch.equal(fresh.flat(), start)
    replayer = Replayer(fresh.method)
    for record in records:
        replayer.follow(record)
    assert torch.equal(fresh.flat(), problem.flat())


def through_a_task(problem: Problem, dtype: str, loss_dtype: str) -> None:
    """Let the problem's loss be that of a run on a classification task, the model standing in for an encoder
    whose head has the task's five classes."""
    spec = RunSpec(
        model=ModelRef(name="golden", dtype=dtype),
        task=Component(name="sst5"),
        method=Component(name="mezo"),
        seed=0,
        budget=Budget(forwards=100),
        loss_dtype=loss_dtype,
    )
    loss = loss_of(spec, SimpleNamespace(architecture="encoder"), task_of("sst5"))

    def of_minibatch(module: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        inputs = {"padded": {"tokens": batch[0]}, "classes": 5, "gold": batch[1]}
        return loss(module, Batch(inputs, sequences=16, tokens=64))

    problem.objective = Objective(problem.module, of_minibatch)


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_mezo_through_a_task_whose_loss_has_the_dtype_of_the_logits(dtype: str, decay: float) -> None:
    run = golden("mezo")["legacy_own_generator"]["runs"][f"{dtype} weight_decay {decay}"]
    engine = Engine(mode="in-place", noise="legacy", legacy_seeds=tuple(run["seeds"]))
    problem = Problem("mezo", getattr(torch, dtype), engine, weight_decay=decay)
    through_a_task(problem, dtype, "logits")
    for t in range(50):
        assert list(problem.step().losses) == run["losses"][t], f"step {t}"
    assert torch.equal(problem.flat(), floats(run["parameters_float64_at_50"]))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_float32_loss_is_not_mezos_in_half_precision(dtype: str) -> None:
    """Why ``loss_dtype`` exists: the default leaves the published run at the first loss."""
    run = golden("mezo")["legacy_own_generator"]["runs"][f"{dtype} weight_decay 0.0"]
    engine = Engine(mode="in-place", noise="legacy", legacy_seeds=tuple(run["seeds"]))
    problem = Problem("mezo", getattr(torch, dtype), engine)
    through_a_task(problem, dtype, "float32")
    assert list(problem.step().losses) != run["losses"][0]
    assert problem.objective.loss_dtype == torch.float32


def test_lozo() -> None:
    told = golden("lozo")
    assert worst(Problem("lozo", rank=2, interval=10), told["parameters_float64"]) < 1e-12


def test_lozo_m() -> None:
    told = golden("lozo_m")
    assert worst(Problem("lozo-m", rank=2, interval=10, momentum=0.9), told["parameters_float64"]) < 1e-12


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("alpha", [1e-8, 0.01])
def test_hizoo(alpha: float, decay: float) -> None:
    run = golden("hizoo")["runs"][f"alpha {alpha} weight_decay {decay}"]
    problem = Problem("hizoo", alpha=alpha, weight_decay=decay)
    assert worst(problem, run["parameters_float64"]) < 1e-10
    h = torch.cat([problem.method.curvature.value(n).reshape(-1) for n in problem.method.space])
    want = floats(run["H_float64_at_50"])
    # As a share of H: at alpha 1e-8 H moves by 4e-7 in all, which the authors' H holds to 1e-8 of it.
    assert float((h - want).norm() / want.norm()) < 1e-10


@pytest.mark.parametrize("beta", [0.0, 0.9])
def test_zo_mopi(beta: float) -> None:
    run = golden("zo_mopi")["runs"][f"beta {beta}"]
    settings = {"rank": 4, "interval": 10, "n": 1, "directions": 2, "vector_scale": 1e-5}
    problem = Problem("zo-mopi", momentum=beta, sides="two", **settings)
    assert worst(problem, run["parameters_float64"]) < 1e-5
