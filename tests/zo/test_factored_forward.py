"""Mode factored: equal losses without forming the weights; unsupported weights are formed and listed."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from zobench.plugins import lookup
from zobench.zo import Engine, Objective, build_space
from zobench.zo.conformance.problems import transformer
from zobench.zo.lowrank import Paired
from zobench.zo.method import ZerothOrder
from zobench.zo.perturb import Along, Displaced

LOW_RANK = ["eggroll", "lozo", "lozo-m", "subzero", "tezo", "tezo-adam", "zo-muon", "subspace-mezo"]
RATES = {"lr": 1e-3}
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}


def start(name: str, mode: str, dtype: torch.dtype = torch.float32, kind: str = "full", **params: object):
    problem, cls = transformer(), lookup("methods", name)
    module = problem.make(dtype).eval()
    config = cls.Config(**{**RATES, **cls.small_problem, **params})
    method = cls(config, build_space(kind, {}, module), seed=3, engine=Engine(mode=mode))
    objective = Objective(module, problem.loss)
    objective.set_batch(problem.batch, sequences=4, tokens=24)
    return method, objective


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("name", LOW_RANK)
def test_losses_are_those_of_formed_weights(name: str, dtype: torch.dtype) -> None:
    """At the same weights in every step: a rounding of a loss moves what follows by 1 / eps as much."""
    (formed, objective), (factored, other) = (start(name, mode, dtype) for mode in ("snapshot", "factored"))
    before = factored.space.digest()
    factored.engine.losses(other, [factored.engine.along(factored.direction, s, 0.1) for s in (1, 2)])
    assert factored.space.digest() == before
    for _ in range(3):
        expected, got = formed.step(objective), factored.step(other)
        assert got.seeds == expected.seeds
        assert got.losses == pytest.approx(expected.losses, rel=TOLERANCE[dtype])
        factored.space.restore(formed.space.snapshot())
    made = factored.engine.perturbation.formed
    assert made["embedding.weight"] == "not the weight of a linear layer"
    assert not [n for n in made if n.endswith(("_proj.weight", "up.weight", "down.weight"))]


def test_the_direction_that_is_measured_is_the_one_that_is_applied() -> None:
    """On y = x W^T the loss is linear in W: it falls by exactly what the applied step says."""
    module = nn.Linear(6, 5, bias=False, dtype=torch.float64)
    with torch.no_grad():
        module.weight.copy_(torch.linspace(-1, 1, 30, dtype=torch.float64).reshape(5, 6))
    x = torch.linspace(0.5, 2, 12, dtype=torch.float64).reshape(2, 6)
    cls = lookup("methods", "eggroll")
    space = build_space("full", {}, module)
    config = cls.Config(lr=0.5, sigma=0.1, population=2, rank=2, mirrored=True)
    method = cls(config, space, seed=1, engine=Engine(mode="factored"))
    objective = Objective(module, lambda m, batch: m(batch).sum())
    objective.set_batch(x, sequences=2, tokens=0)
    before = module.weight.detach().clone()
    record = method.step(objective)
    moved = module.weight.detach() - before
    plus, minus = record.losses
    u = -moved / (config.lr * record.coefficients[0])
    assert float((x @ u.T).sum()) == pytest.approx((plus - minus) / (2 * config.sigma), rel=1e-10)


def test_no_displaced_matrix_is_made_for_a_linear_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    method, objective = start("eggroll", "factored")
    shapes: list[str] = []
    values = type(method.engine.perturbation).values
    monkeypatch.setattr(
        type(method.engine.perturbation),
        "values",
        lambda self, name, point: (shapes.append(name), values(self, name, point))[1],
    )
    method.engine.loss(objective, *method.engine.along(method.direction, 5, 0.1))
    assert "embedding.weight" in shapes
    assert not [n for n in shapes if n.endswith("proj.weight")]
    drawn = method.engine.source.drawn
    snapshot, other = start("eggroll", "snapshot")
    snapshot.engine.loss(other, *snapshot.engine.along(snapshot.direction, 5, 0.1))
    assert drawn < snapshot.engine.source.drawn


class Own(nn.Linear):
    """A linear layer that overrides ``nn.Linear.forward``."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


class Keyword(nn.Module):
    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(input=x)


def paired(module: nn.Module, mode: str, indices: dict | None = None):
    from zobench.zo.space.base import ParameterSpace

    space = ParameterSpace(module, [n for n, _ in module.named_parameters()], kind="any", indices=indices)
    engine = Engine(mode=mode).bind(space, 0)
    return engine, Paired(engine.source, seed=0, rank=2)


@pytest.mark.parametrize(
    ("module", "why"),
    [
        (nn.Sequential(Own(4, 3)), "its layer overrides nn.Linear.forward"),
        (Keyword(nn.Linear(4, 3)), "its layer is called by keyword"),
        (nn.Linear(4, 1), "too small for factors"),
    ],
)
def test_what_cannot_be_factored_is_formed_with_its_reason(module: nn.Module, why: str) -> None:
    x = torch.linspace(-1, 1, 8).reshape(2, 4)
    objective = Objective(module, lambda m, batch: m(batch).square().sum())
    objective.set_batch(x, sequences=2, tokens=0)
    losses = []
    for mode in ("snapshot", "factored"):
        engine, direction = paired(module, mode)
        losses.append(engine.loss(objective, Along(direction, 7, 0.3)))
    assert losses[0] == losses[1]
    assert why in engine.perturbation.formed.values()


def test_masked_entries_and_dense_shifts_are_formed() -> None:
    module, x = nn.Linear(4, 3), torch.linspace(-1, 1, 8).reshape(2, 4)
    objective = Objective(module, lambda m, batch: m(batch).square().sum())
    objective.set_batch(x, sequences=2, tokens=0)
    shift = Displaced({"weight": torch.full((3, 4), 0.5)})
    engines = [paired(module, mode)[0] for mode in ("snapshot", "factored")]
    assert engines[0].loss(objective, shift) == engines[1].loss(objective, shift)
    assert engines[1].perturbation.formed["weight"] == "its displacement is not low-rank"
    index = {"weight": torch.tensor([0, 5])}
    pairs = [paired(module, mode, index) for mode in ("snapshot", "factored")]
    losses = [engine.loss(objective, Along(direction, 7, 0.3)) for engine, direction in pairs]
    assert losses[0] == losses[1]
    assert pairs[1][0].perturbation.formed["weight"] == "only some of its entries are tuned"


class Elsewhere(nn.Module):
    """Uses its layer's weight without calling the layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) @ self.layer.weight


def test_a_weight_used_outside_its_layer_is_refused() -> None:
    module = Elsewhere()
    engine, direction = paired(module, "factored")
    objective = Objective(module, lambda m, batch: m(batch).sum())
    objective.set_batch(torch.ones(2, 3), sequences=2, tokens=0)
    with pytest.raises(ValueError, match=r"'layer.weight' is used outside the forward of its module"):
        engine.loss(objective, Along(direction, 7, 0.3))
    assert module.layer.weight is dict(module.named_parameters())["layer.weight"]


def test_half_precision_keeps_what_rounding_the_weights_would_lose() -> None:
    """With s u far below the spacing of bfloat16 weights around 1, formed weights do not move at all."""
    module = nn.Linear(64, 8, bias=False, dtype=torch.bfloat16)
    with torch.no_grad():
        module.weight.fill_(1.0)
    x = torch.ones(1, 64, dtype=torch.bfloat16)
    x[0, ::2] = -1.0
    objective = Objective(module, lambda m, batch: m(batch).float().sum())
    objective.set_batch(x, sequences=1, tokens=0)
    (formed, direction), (factored, _) = (paired(module, mode) for mode in ("snapshot", "factored"))
    assert formed.loss(objective, Along(direction, 7, 2e-4)) == objective.loss() == 0.0
    a, b = direction.factors("weight", 7)
    exact = 2e-4 * float((x.double() @ b @ a.T).sum()) / 2**0.5
    assert factored.loss(objective, Along(direction, 7, 2e-4)) == pytest.approx(exact, rel=0.05)


def test_any_method_runs_in_the_mode() -> None:
    """Without factors it is mode streamed, to the bit."""
    records = []
    for mode in ("streamed", "factored"):
        method, objective = start("mezo", mode)
        assert isinstance(method, ZerothOrder)
        records.append([method.step(objective) for _ in range(2)])
    assert records[0] == records[1]
