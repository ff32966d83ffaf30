"""Runs with legacy noise are bit-identical to the published MeZO algorithm on one machine.

The reference here is written from the algorithm's description (specification of arXiv 2305.17333's code
base): the global generator reseeded before every sweep, perturbations and restore by arithmetic, one update
per tensor.
"""

from __future__ import annotations

import pytest
import torch

from zobench.zo import Engine, Objective, build_space
from zobench.zo.conformance.problems import transformer
from zobench.zo.methods.mezo import Mezo

EPS, LR, SEEDS = 1e-3, 1e-3, (123456789, 42, 987654321, 7)


def published(module: torch.nn.Module, loss, decay: float) -> list[tuple[float, float, float]]:
    """(L+, L-, projected gradient) per step."""
    named = [(n, p) for n, p in module.named_parameters()]

    def sweep(seed: int, factor: int) -> None:
        torch.manual_seed(seed)
        for _, p in named:
            z = torch.normal(mean=0, std=1, size=p.data.size(), device=p.data.device, dtype=p.data.dtype)
            p.data = p.data + factor * z * EPS

    rows = []
    with torch.no_grad():
        for seed in SEEDS:
            sweep(seed, 1)
            plus = loss()
            sweep(seed, -2)
            minus = loss()
            g = ((plus - minus) / (2 * EPS)).item()
            sweep(seed, 1)
            torch.manual_seed(seed)
            for name, p in named:
                z = torch.normal(mean=0, std=1, size=p.data.size(), device=p.data.device, dtype=p.data.dtype)
                if decay and not any(word in name for word in ("bias", "layer_norm", "layernorm")):
                    p.data = p.data - LR * (g * z + decay * p.data)
                else:
                    p.data = p.data - LR * (g * z)
            rows.append((float(plus), float(minus), g))
    return rows


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_losses_gradients_and_weights_equal(dtype: torch.dtype, decay: float) -> None:
    problem = transformer()
    original = problem.make(dtype).eval()
    with torch.random.fork_rng():
        rows = published(original, lambda: problem.loss(original, problem.batch), decay)

    module = problem.make(dtype).eval()
    space = build_space("full", {}, module)
    engine = Engine(mode="in-place", noise="legacy", legacy_seeds=SEEDS)
    method = Mezo(Mezo.Config(lr=LR, epsilon=EPS, weight_decay=decay), space, seed=0, engine=engine)
    objective = Objective(module, problem.loss)
    objective.set_batch(problem.batch, sequences=4, tokens=24)
    state = torch.get_rng_state()
    for row in rows:
        record = method.step(objective)
        assert (*record.losses, record.coefficients[0]) == row
    assert torch.equal(state, torch.get_rng_state())
    for (name, p), q in zip(module.named_parameters(), original.parameters(), strict=True):
        assert torch.equal(p, q), name


def test_seeds_come_from_numpys_legacy_stream() -> None:
    import numpy as np

    problem = transformer()
    module = problem.make(torch.float32)
    engine = Engine(mode="in-place", noise="legacy")
    method = Mezo(Mezo.Config(), build_space("full", {}, module), seed=5, engine=engine)
    objective = Objective(module, problem.loss)
    objective.set_batch(problem.batch, sequences=4, tokens=24)
    got = [method.step(objective).seeds[0] for _ in range(3)]
    assert got == np.random.RandomState(5).randint(10**9, size=3).tolist()


def test_out_of_order_access_draws_the_same() -> None:
    space = build_space("full", {}, transformer().make(torch.float32))
    bound = Engine(noise="legacy").bind(space, 0)
    direction = bound.gaussian()
    forward = {name: direction.tensor(name, 3) for name in space}
    for name in reversed(list(space)):
        assert torch.equal(direction.tensor(name, 3), forward[name])


def test_legacy_refuses_what_it_never_had() -> None:
    space = build_space("full", {}, transformer().make(torch.float32))
    bound = Engine(noise="legacy").bind(space, 0)
    with pytest.raises(ValueError, match="Gaussian directions only"):
        bound.rademacher().tensor(next(iter(space)), 1)
    with pytest.raises(ValueError, match="legacy_seeds need"):
        Engine(legacy_seeds=(1,))
