"""Mode grouped: the losses of each point alone, from one forward pass; what it cannot run is refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from zobench.plugins import lookup
from zobench.zo import Engine, Objective, build_space
from zobench.zo.conformance.problems import transformer

TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-5, torch.bfloat16: 2e-2}
GROUPED = Engine(mode="grouped")


def start(name: str, mode: str, dtype: torch.dtype = torch.float64, kind: str = "full", **params: object):
    problem, cls = transformer(), lookup("methods", name)
    module = problem.make(dtype).eval()
    space = build_space(kind, {"targets": ["*_proj"]} if kind == "lora" else {}, module)
    config = cls.Config(**{"lr": 1e-3, **cls.small_problem, **params})
    method = cls(config, space, seed=3, engine=Engine(mode=mode))
    objective = Objective(module, problem.loss, inference=True)
    objective.set_batch(problem.batch, sequences=4, tokens=24)
    return method, objective


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("kind", ["full", "lora", "masked", "bias", "last-layer"])
@pytest.mark.parametrize("name", ["mezo", "fzoo", "lozo", "eggroll", "lezo"])
def test_losses_are_those_of_each_point_alone(name: str, kind: str, dtype: torch.dtype) -> None:
    (alone, objective), (grouped, other) = (
        start(name, mode, dtype, kind) for mode in ("snapshot", "grouped")
    )
    for _ in range(3):
        digest = grouped.space.digest()
        expected = alone.step(objective)
        points = len(expected.losses)
        got = grouped.step(other)
        assert got.seeds == expected.seeds
        assert got.losses == pytest.approx(expected.losses, rel=TOLERANCE[dtype])
        assert grouped.space.digest() != digest or not got.moved or dtype == torch.bfloat16
        grouped.space.restore(alone.space.snapshot())
        grouped.load_state_dict(alone.state_dict())
    assert objective.meter.forwards == other.meter.forwards >= 3 * points


def test_the_weights_are_not_written_and_the_run_repeats_itself() -> None:
    runs = []
    for _ in range(2):
        method, objective = start("fzoo", "grouped", torch.float32)
        versions = {n: (p._version, p.data_ptr()) for n, p in method.space.tensors.items()}
        losses = method.engine.losses(
            objective, [method.engine.along(method.direction, seed, 0.1) for seed in (1, 2, 3)]
        )
        assert versions == {n: (p._version, p.data_ptr()) for n, p in method.space.tensors.items()}
        assert all("forward" not in module.__dict__ for module in method.space.module.modules())
        runs.append((losses, [method.step(objective) for _ in range(2)], method.space.digest()))
    assert runs[0] == runs[1]


@pytest.mark.parametrize("branches", [2, 3])
def test_chunks_of_a_fixed_size(branches: int) -> None:
    problem = transformer()
    losses = []
    for engine in (Engine(mode="snapshot"), Engine(mode="grouped", branches=branches)):
        module = problem.make(torch.float64).eval()
        bound = engine.bind(build_space("full", {}, module), 0)
        calls: list[int] = []
        module.register_forward_hook(lambda m, args, out, seen=calls: seen.append(len(out)))
        objective = Objective(module, problem.loss)
        objective.set_batch(problem.batch, sequences=4, tokens=24)
        points = [(), *(bound.along(bound.gaussian(), seed, 0.1) for seed in range(4))]
        losses.append(bound.losses(objective, points))
    assert losses[1] == pytest.approx(losses[0], rel=1e-12)
    assert calls == {2: [8, 8, 4], 3: [12, 8]}[branches]


def test_an_error_in_the_model_leaves_everything_in_place() -> None:
    method, objective = start("fzoo", "grouped", torch.float32)
    before = method.space.digest()

    def breaks(module: nn.Module, batch: object) -> torch.Tensor:
        module(batch)
        raise RuntimeError("out of memory")

    objective._loss = breaks
    with pytest.raises(RuntimeError, match="out of memory"):
        method.step(objective)
    assert method.space.digest() == before
    assert all("forward" not in module.__dict__ for module in method.space.module.modules())


class Odd(nn.Module):
    """A linear layer that gets other rows than the module, as ``how`` says."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.layer, self.how = nn.Linear(3, 3), how

    def forward(self, x: torch.Tensor, extra: object = None) -> torch.Tensor:
        if self.how == "outside":
            return self.layer(x) @ self.layer.weight
        return self.layer(x.reshape(-1, 3)[1:] if self.how == "rows" else x)


@pytest.mark.parametrize(
    ("how", "extra", "message"),
    [
        ("rows", None, "gets 7 rows instead of 2 x 2"),
        ("outside", None, "'layer.weight' is used outside"),
        ("plain", torch.ones(2), "could be rows or positions"),
        ("plain", object(), "is called with a object"),
    ],
)
def test_what_cannot_be_grouped_is_refused(how: str, extra: object, message: str) -> None:
    module = Odd(how)
    bound = GROUPED.bind(build_space("full", {}, module), 0)
    objective = Objective(module, lambda m, x: m(x, extra).square().mean())
    objective.set_batch(torch.ones(2, 2, 3), sequences=2, tokens=4)
    points = [bound.along(bound.gaussian(), seed, 0.1) for seed in (1, 2)]
    with pytest.raises(ValueError, match=message):
        bound.losses(objective, points)
    assert "forward" not in module.layer.__dict__


def test_a_loss_that_calls_the_module_differently_each_time_is_refused() -> None:
    module, counter = nn.Linear(3, 3), iter(range(10))
    bound = GROUPED.bind(build_space("full", {}, module), 0)
    objective = Objective(module, lambda m, x: m(x + next(counter)).square().mean())
    objective.set_batch(torch.ones(2, 3), sequences=2, tokens=4)
    points = [bound.along(bound.gaussian(), seed, 0.1) for seed in (1, 2)]
    with pytest.raises(ValueError, match="differently in each branch"):
        bound.losses(objective, points)


def test_a_prefix_for_each_point() -> None:
    """Space prefix on a small Llama: keys and values of each point before its own rows."""
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        vocab_size=50, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2,
    )  # fmt: skip
    torch.manual_seed(0)
    module = transformers.AutoModelForCausalLM.from_config(config).double().eval()
    ids = torch.arange(12).reshape(3, 4)
    space = build_space("prefix", {"tokens": 3}, module)

    def loss(module: nn.Module, ids: torch.Tensor) -> torch.Tensor:
        logits = module(input_ids=ids, logits_to_keep=1).logits[:, -1]
        return nn.functional.cross_entropy(logits, ids[:, 0])

    objective = Objective(module, loss, inference=True)
    objective.set_batch(ids, sequences=3, tokens=12)
    losses = []
    for mode in ("snapshot", "grouped"):
        bound = Engine(mode=mode).bind(space, 0)
        points = [(), *(bound.along(bound.gaussian(), seed, 0.5) for seed in range(3))]
        losses.append(bound.losses(objective, points))
    assert losses[1] == pytest.approx(losses[0], rel=1e-10)
    assert len(set(losses[0])) == 4
