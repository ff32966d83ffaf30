"""The information-bottleneck penalties by hand, and as the objective of a run."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch

from zobench.models.blocks import block_number, blocks_of
from zobench.models.loading import load
from zobench.runner import bottleneck
from zobench.spec import Budget, Component, ModelRef, RunSpec
from zobench.tasks.base import Batch
from zobench.tasks.half_memorized import HalfMemorized, HalfMemorizedConfig
from zobench.trained_on import BottleneckRef
from zobench.zo import Objective, build_space
from zobench.zo.engine import Engine

MODEL = ModelRef(name="builtin:nano-facts")
TASK = HalfMemorized(HalfMemorizedConfig(people=1))


def test_the_gaussian_penalty_by_hand() -> None:
    """One real token of two entries, 2 and 4, beside padding: prior 2, noise 1/2."""
    states = torch.tensor([[[9.0, 9.0], [2.0, 4.0]]])
    real = torch.tensor([[False, True]])
    kl = [0.5 * (mean**2 + 0.25 - 1 - math.log(0.25)) for mean in (1.0, 2.0)]
    assert float(bottleneck.gaussian_penalty(states, real, 2.0, 0.5)) == pytest.approx(sum(kl) / 2)
    own = torch.distributions.Normal(torch.tensor([2.0, 4.0]), 1.0)
    other = torch.distributions.Normal(torch.zeros(2), 2.0)
    assert sum(kl) / 2 == pytest.approx(float(torch.distributions.kl_divergence(own, other).mean()))


def test_hsic_by_hand() -> None:
    """Three points on a line at 0, 1, 3: squared distances 1, 9, 4, their mean 14/3."""
    k = bottleneck.kernel(torch.tensor([[0.0], [1.0], [3.0]]))
    a, b, c = (math.exp(-d * 3 / 14) for d in (1.0, 9.0, 4.0))
    assert torch.allclose(k, torch.tensor([[1.0, a, b], [a, 1.0, c], [b, c, 1.0]]))
    other = bottleneck.kernel(torch.tensor([[0.0, 1.0], [2.0, 0.0], [0.0, 5.0]]))
    centre = torch.eye(3) - 1 / 3
    wanted = torch.trace(k @ centre @ other @ centre) / 4
    assert float(bottleneck.hsic(bottleneck.centred(k), other)) == pytest.approx(float(wanted), rel=1e-5)
    same = bottleneck.kernel(torch.ones(3, 2))
    assert torch.equal(same, torch.ones(3, 3)), "equal points"
    assert float(bottleneck.hsic(bottleneck.centred(k), same)) == pytest.approx(0.0, abs=1e-7)


def test_shares_of_tokens_by_hand() -> None:
    ids = torch.tensor([[7, 5, 5, 9], [3, 3, 7, 9]])
    chosen = torch.tensor([[False, True, True, True], [True, True, True, False]])
    shares = bottleneck.token_shares(ids, chosen)  # tokens 3, 5, 7, 9
    root = math.sqrt(5)
    assert torch.allclose(shares, torch.tensor([[0, 2, 0, 1], [2, 0, 1, 0]]) / root)


def spec(ref: BottleneckRef) -> RunSpec:
    return RunSpec(
        model=MODEL,
        task=Component(name="half-memorized"),
        method=Component(name="mezo"),
        seed=1,
        budget=Budget(forwards=4, batch_size=4),
        train_on=ref,
    )


Made = tuple[bottleneck.BottleneckLoss, torch.nn.Module, Batch]


def made(index: int = 0, **settings: object) -> Made:
    lm = load(MODEL)
    batch = bottleneck.bottleneck_batch(lm, TASK, TASK.splits(1).train[:4], (1, "", index))
    return bottleneck.BottleneckLoss(spec(BottleneckRef(**settings)), lm, TASK), lm.module, batch


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def test_hsic_of_weight_zero_is_the_plain_loss_and_a_weight_adds_the_penalty() -> None:
    plain, module, batch = made(bottleneck="hsic", weight=0.0)
    loss = plain(module, batch)
    assert float(loss) == float(TASK.loss(load(MODEL), module, batch))
    weighted, module, batch = made(bottleneck="hsic", weight=3.0, keep=0.5)
    states = module(**batch.inputs["padded"], output_hidden_states=True).hidden_states[2]
    penalty = bottleneck.hsic_penalty(states, batch, 0.5)
    assert float(weighted(module, batch)) == pytest.approx(float(loss + 3.0 * penalty), rel=1e-6)
    assert float(penalty) != 0.0


def test_the_answer_does_not_change_the_states_that_hsic_reads() -> None:
    _, module, batch = made(bottleneck="hsic")
    padded, prompts = dict(batch.inputs["padded"]), batch.inputs["prompts"]
    other = {**padded, "input_ids": torch.where(prompts, padded["input_ids"], 5)}
    states = [module(**p, output_hidden_states=True).hidden_states[2] for p in (padded, other)]
    assert bool((padded["input_ids"] != other["input_ids"]).any())
    found = [float(bottleneck.hsic_penalty(s, batch, 1.0)) for s in states]
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_noise_is_the_same_in_every_query_of_a_minibatch_and_only_there() -> None:
    loss, module, batch = made(bottleneck="variational", weight=0.0, prior=33.0, noise=0.5)
    first = float(loss(module, batch))
    assert first == float(loss(module, batch))
    assert first != float(TASK.loss(load(MODEL), module, batch))
    assert first != float(loss(module, made(1, bottleneck="hsic")[2])), "another minibatch"
    assert not module.get_submodule("model.layers.1")._forward_hooks


@pytest.mark.parametrize("form", ["variational", "hsic"])
def test_losses_at_displaced_weights_agree_between_modes(form: str) -> None:
    found = {}
    for mode in ("snapshot", "streamed", "in-place", "batched"):
        loss, module, batch = made(bottleneck=form, weight=1.0)
        objective = Objective(module, loss)
        objective.set_batch(batch, sequences=4, tokens=1)
        bound = Engine(mode=mode).bind(build_space("full", {}, module), 0)
        points = [bound.along(bound.gaussian(), seed, 1e-2) for seed in (1, 2)]
        found[mode] = bound.losses(objective, points)
    assert found["snapshot"] == found["streamed"]
    assert found["snapshot"][0] != found["snapshot"][1]
    assert found["in-place"] == pytest.approx(found["snapshot"], rel=1e-4)
    assert found["batched"] == pytest.approx(found["snapshot"], rel=1e-4)


def test_the_gradient_is_the_slope_of_the_loss() -> None:
    for form in ("variational", "hsic"):
        loss, module, batch = made(bottleneck=form, weight=1.0)
        name = "model.layers.0.mlp.down_proj.weight"
        weight = module.get_parameter(name)
        objective = Objective(module, loss)
        objective.set_batch(batch, sequences=4, tokens=1)
        gradient = objective.gradient({name: weight})[1][name]
        unit, size = gradient / gradient.norm(), 2e-3
        start = weight.clone()
        ends = []
        for sign in (1, -1):
            weight.copy_(start + sign * size * unit)
            ends.append(objective.loss())
        weight.copy_(start)
        assert (ends[0] - ends[1]) / (2 * size) == pytest.approx(float(gradient.norm()), rel=0.02)


def test_blocks_and_their_numbers() -> None:
    assert len(blocks_of(load(MODEL).module)) == 3
    assert [block_number(None, n) for n in (1, 3, 4)] == [1, 2, 2]
    with pytest.raises(ValueError, match="layer 4 does not exist: the model has 3 blocks"):
        made(bottleneck="hsic", layer=4)
    with pytest.raises(ValueError, match="one list of blocks is needed; this one has 0"):
        blocks_of(torch.nn.Linear(2, 2))


def test_a_minibatch_of_one_is_refused() -> None:
    with pytest.raises(ValueError, match="needs at least 2"):
        bottleneck.bottleneck_batch(load(MODEL), TASK, TASK.splits(1).train[:1], (1, "", 0))
