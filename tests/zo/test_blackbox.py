"""Black-box methods against their packages driven alone, in the same coordinates, and what the adapter adds:
refusals, resume without forward passes, no use of the global random states."""

from __future__ import annotations

import importlib.util
import math
import random
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from zo_lab import SEED, STEPS, class_of, loss, same

from zobench.plugins import missing_package
from zobench.zo import Objective, build_space
from zobench.zo.blackbox.searcher import library
from zobench.zo.conformance.problems import quadratic
from zobench.zo.method import Method
from zobench.zo.trajectory import replay

LR = 0.3
N = 6
EVERYTHING = {"include": ["*"]}
METHODS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("cma-es", {}),
    ("cma-es", {"covariance": "separable"}),
    ("cma-es", {"covariance": "diagonal-decoding"}),
    ("pgpe", {}),
    ("snes", {}),
    ("nevergrad", {}),
    ("nevergrad", {"optimizer": "DE"}),
    ("nevergrad", {"optimizer": "XLognormalDiscreteOnePlusOne"}),  # draws from numpy's global generator
)


def needs(name: str) -> None:
    """Skip without the package of a method."""
    if reason := missing_package(name):
        pytest.skip(reason)


class Run:
    """A method on the 17 entries of the quadratic in float64, all of them by name (xnes: by a mask)."""

    def __init__(self, name: str, **params: Any) -> None:
        needs(name)
        cls = class_of(name)
        problem = quadratic()
        self.module = problem.make(torch.float64)
        kind, given = ("masked", {"share": 1.0}) if name == "xnes" else ("names", EVERYTHING)
        self.space = build_space(kind, given, self.module)
        self.method: Method = cls(cls.Config(**{"lr": LR, "n": N, **params}), self.space, seed=SEED)
        self.objective = Objective(self.module, problem.loss)
        self.objective.set_batch(None, sequences=1, tokens=0)

    @property
    def theta(self) -> torch.Tensor:
        return torch.cat([self.space.entries(n).reshape(-1) for n in self.space]).clone()

    def run(self, count: int = STEPS) -> list[torch.Tensor]:
        self.records = []
        path = []
        for _ in range(count):
            self.records.append(self.method.step(self.objective))
            path.append(self.theta)
        return path


def alone_cma(start: torch.Tensor, options: dict[str, Any]) -> list[torch.Tensor]:
    import cma
    import numpy as np

    own = {"seed": np.nan, "randn": np.random.RandomState(SEED).randn, "popsize": N, "verbose": -9}
    es = cma.CMAEvolutionStrategy(start.numpy(), LR, {**own, **options})
    path = []
    for _ in range(STEPS):
        points = es.ask()
        es.tell(points, [loss(torch.from_numpy(x)) for x in points])
        path.append(torch.from_numpy(es.mean).clone())
    return path


@pytest.mark.parametrize(
    ("covariance", "options"),
    [
        ("full", {}),
        ("separable", {"CMA_diagonal": True}),
        ("diagonal-decoding", {"CMA_diagonal_decoding": 1.0}),
    ],
)
def test_cma_es_takes_the_steps_of_its_package(covariance: str, options: dict[str, Any]) -> None:
    run = Run("cma-es", covariance=covariance)
    expected = alone_cma(run.theta, options)
    same(run.run(), expected)


def test_cma_es_moves_to_the_weighted_mean_of_the_better_half() -> None:
    """The first step by hand: weights ln((n + 1) / 2) - ln i, normalized. The package starts with axes of
    slightly unequal length, exp(5e-5 i / d)."""
    import numpy as np

    run = Run("cma-es")
    start = run.theta
    z = torch.from_numpy(np.random.RandomState(SEED).randn(N, 17))
    z = z * (5e-5 * torch.arange(17, dtype=torch.float64) / 17).exp()
    order = sorted(range(N), key=lambda k: loss(start + LR * z[k]))
    ranks = torch.arange(1, N // 2 + 1, dtype=torch.float64)
    weights = math.log((N + 1) / 2) - ranks.log()
    move = (weights[:, None] * z[order[: N // 2]]).sum(dim=0) / weights.sum()
    same(run.run(1), [start + LR * move])


def test_essa_takes_the_steps_of_cma_on_the_singular_values_of_both_factors() -> None:
    """One layer with an adapter, W + (B + U_B diag(x_B) V_B) (A + U_A diag(x_A) V_A), written out."""
    import cma
    import numpy as np
    from test_scalings import Layers, X

    needs("essa")
    module = Layers(adapted=True)
    space = build_space("singular-values", {}, module)
    cls = class_of("essa")
    method = cls(cls.Config(lr=LR, n=N), space, seed=SEED)
    objective = Objective(module, lambda m, b: m(X).square().mean())
    objective.set_batch(None, sequences=1, tokens=0)
    plain = Layers(adapted=True)
    layer, out = plain.v_proj, plain.out
    factors = [layer.lora_A["adapter"].weight, layer.lora_B["adapter"].weight]
    bases = [torch.linalg.svd(factor, full_matrices=False) for factor in factors]

    def value(x: torch.Tensor) -> float:
        a, b = (u @ torch.diag(s + part) @ v for (u, s, v), part in zip(bases, x.view(2, 2), strict=True))
        return float(out(layer.base_layer(X) + X @ a.T @ b.T).square().mean())

    own = {"seed": np.nan, "randn": np.random.RandomState(SEED).randn, "popsize": N, "verbose": -9}
    es = cma.CMAEvolutionStrategy(np.zeros(4), LR, own)
    for _ in range(STEPS):
        points = es.ask()
        es.tell(points, [value(torch.from_numpy(x)) for x in points])
        method.step(objective)
        found = torch.cat([space.entries(name) for name in space])
        same([found], [torch.from_numpy(es.mean)], 1e-6)  # bases are rounded to 2^-20


def alone_evotorch(name: str, start: torch.Tensor) -> list[torch.Tensor]:
    from evotorch import Problem, algorithms

    class Quadratic(Problem):
        def __init__(self) -> None:
            wide = {"dtype": torch.float64, "eval_dtype": torch.float64}
            super().__init__("min", solution_length=17, initial_bounds=(0, 0), seed=SEED, **wide)

        def _evaluate_batch(self, batch: Any) -> None:
            values = [loss(start + LR * z) for z in batch.values]
            batch.set_evals(torch.tensor(values, dtype=torch.float64))

    options = {"center_learning_rate": 17**0.5 / 30, "stdev_learning_rate": 0.1} if name == "pgpe" else {}
    search = getattr(algorithms, name.upper())(
        Quadratic(), popsize=N, center_init=torch.zeros(17), stdev_init=1.0, **options
    )
    search.step()
    path = []
    for _ in range(STEPS):
        search.step()
        path.append(start + LR * search.status["center"].double())
    return path


@pytest.mark.parametrize("name", ["pgpe", "snes", "xnes"])
def test_evotorch_methods_take_the_steps_of_their_package(name: str) -> None:
    run = Run(name)
    expected = alone_evotorch(name, run.theta)
    same(run.run(), expected)


@pytest.mark.parametrize("optimizer", ["TBPSA", "DE", "OnePlusOne", "DiagonalCMA"])
def test_nevergrad_takes_the_steps_of_its_package(optimizer: str) -> None:
    run = Run("nevergrad", optimizer=optimizer)
    import nevergrad
    import numpy as np

    start = run.theta
    array = nevergrad.p.Array(init=np.zeros(17)).set_mutation(sigma=1.0)
    array.random_state = np.random.RandomState(SEED)
    search = nevergrad.optimizers.registry[optimizer](array, budget=None, num_workers=N)
    expected = []
    for _ in range(STEPS):
        asked = [search.ask() for _ in range(N)]
        for one in asked:
            search.tell(one, loss(start + LR * torch.from_numpy(one.value)))
        expected.append(start + LR * torch.from_numpy(search.provide_recommendation().value))
    same(run.run(), expected)


@pytest.mark.parametrize(("name", "params"), [*METHODS[:-1], ("xnes", {})])
def test_the_loss_falls(name: str, params: dict[str, Any]) -> None:
    run = Run(name, **params)
    before = loss(run.theta)
    run.run(60)
    assert loss(run.theta) < 0.5 * before


@pytest.mark.parametrize(("name", "params"), [*METHODS, ("xnes", {})])
def test_refused_generations_are_part_of_replay_and_resume(name: str, params: dict[str, Any]) -> None:
    """Steps 1 (NaN) and 2 (all equal) are refused; the points differ all the same, and a run resumed after
    them, like a replay, gives the same bits without asking for the losses again."""
    whole = Run(name, **params)
    begin = whole.space.state_dict()
    honest, wrong = whole.objective._loss, {1: float("nan"), 2: 1.0}
    records = []
    for step in range(6):
        whole.objective._loss = honest if step not in wrong else lambda m, b, v=wrong[step]: v
        records.append(whole.method.step(whole.objective))
        if step == 3:
            weights, state = whole.space.state_dict(), whole.method.state_dict()
    assert [r.moved for r in records] == [True, False, False, True, True, True]
    assert len({r.losses for r in records}) == 6
    resumed = Run(name, **params)
    resumed.space.load_state_dict(weights)
    resumed.method.load_state_dict(state)
    resumed.run(2)
    assert resumed.objective.meter.forwards == 2 * N
    assert torch.equal(resumed.theta, whole.theta)
    again = Run(name, **params)
    again.space.load_state_dict(begin)
    kind = type(again.method)
    assert replay(records, again.space, kind, again.method.config, seed=SEED) == whole.space.digest()


@pytest.mark.parametrize(("name", "params"), [*METHODS, ("xnes", {})])
def test_the_global_random_states_are_neither_read_nor_changed(name: str, params: dict[str, Any]) -> None:
    import numpy as np

    quiet = Run(name, **params).run(3)
    noisy = Run(name, **params)
    for want in quiet:
        np.random.rand()
        random.random()
        torch.rand(())
        states = (np.random.get_state()[1].tolist(), random.getstate(), torch.get_rng_state().tolist())
        noisy.run(1)
        found = (np.random.get_state()[1].tolist(), random.getstate(), torch.get_rng_state().tolist())
        assert states == found
        assert torch.equal(noisy.theta, want)


def test_a_query_that_raises_leaves_the_history_as_it_was() -> None:
    run, other = Run("cma-es"), Run("cma-es")
    run.run(2)
    honest = run.objective._loss

    def broken(module: object, batch: object) -> float:
        raise RuntimeError("no loss")

    run.objective._loss = broken
    with pytest.raises(RuntimeError, match="no loss"):
        run.method.step(run.objective)
    run.objective._loss = honest
    run.run(2)
    assert torch.equal(run.theta, other.run(4)[-1])


@pytest.mark.parametrize("seed", [0, 2**32, 2**63 + 5])
@pytest.mark.parametrize("name", ["cma-es", "nevergrad", "snes"])
def test_every_seed_is_reproducible(name: str, seed: int) -> None:
    """Seed 0 means the time to cma, and no package takes every 64-bit number."""
    needs(name)
    ends = []
    for _ in range(2):
        run = Run(name)
        run.method = type(run.method)(run.method.config, run.space, seed=seed)
        ends.append(run.run(2)[-1])
    assert torch.equal(*ends)


def too_large(name: str, **params: Any) -> Callable[[], Method]:
    cls = class_of(name)
    module = torch.nn.Linear(1500, 300, bias=False)
    space = build_space("masked", {"share": 1.0}, module)
    return lambda: cls(cls.Config(**params), space, seed=0)


@pytest.mark.parametrize(
    ("name", "params", "told"),
    [
        ("cma-es", {}, "450000 tuned entries, at most 2000: the covariance has d.2 .*covariance: separable"),
        ("cma-es", {"covariance": "separable"}, "at most 200000: every generation is held"),
        ("xnes", {}, "at most 1000: a step has a matrix exponential of d x d; use snes"),
        ("snes", {}, "at most 200000"),
        ("nevergrad", {}, "at most 10000: the package holds many points; use snes"),
    ],
)
def test_large_spaces_are_refused_with_the_reason_and_another_choice(
    name: str, params: dict[str, Any], told: str
) -> None:
    with pytest.raises(ValueError, match=f"{name}: .*{told}.*choose a smaller space .layer-scales"):
        too_large(name, **params)()


@pytest.mark.parametrize(
    ("optimizer", "told"),
    [
        ("TBPSAA", "did you mean 'TBPSA'"),
        ("Cobyla", "asks for one point at a time"),
        ("ScrHammersleySearch", "asks for all its points before any loss"),
    ],
)
def test_nevergrad_optimizers_without_generations_are_refused(optimizer: str, told: str) -> None:
    with pytest.raises(ValueError, match=f"nevergrad: .*{optimizer}.*{told}"):
        Run("nevergrad", optimizer=optimizer)


def test_one_dimension_does_not_change_an_optimizer_for_the_rest_of_the_process() -> None:
    """In one dimension its CMA asks for another package, and sets this in the registered optimizer."""
    needs("nevergrad")
    from zobench.zo.blackbox.registry import NevergradSearch

    if importlib.util.find_spec("fcmaes") is None:
        with pytest.raises(ValueError, match=r"optimizer 'DiagonalCMA' failed: .*install fcmaes"):
            NevergradSearch("DiagonalCMA", 1, N, 0, SEED, "nevergrad").ask()
    search = NevergradSearch("DiagonalCMA", 17, N, 0, SEED, "nevergrad")
    assert search.ask().shape == (N, 17)


def test_an_error_of_the_package_names_the_optimizer() -> None:
    needs("nevergrad")
    told = r"nevergrad: optimizer 'BAR4' failed: ZeroDivisionError.*\(evaluations\)"
    with pytest.raises(ValueError, match=told):
        Run("nevergrad", optimizer="BAR4").run()


def test_an_odd_number_of_points_is_refused_where_they_are_pairs() -> None:
    config = class_of("pgpe").Config
    with pytest.raises(ValueError, match="n must be an even number of at least 2, not 7"):
        config(n=7)


@pytest.mark.parametrize("name", ["cma", "evotorch", "nevergrad"])
def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ValueError, match=rf"needs the package {name}: pip install 'zobench\[blackbox\]'"):
        library(name, "some-method")
