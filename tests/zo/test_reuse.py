"""Feature reuse: bit-identical to complete forward passes at less work, wherever a tensor is read."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from zobench.plugins import lookup
from zobench.zo import Engine, Objective, build_space
from zobench.zo.conformance.problems import transformer
from zobench.zo.engine import BoundEngine
from zobench.zo.perturb import Along
from zobench.zo.reuse import Reusing, units_of
from zobench.zo.sparse import Entry


class Counted(nn.Linear):
    """Counts its forwards."""

    count = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.count += 1
        return super().forward(x)


class Stack(nn.Module):
    """Layers of width 4 over a batch; what else happens between them is the test's choice."""

    def __init__(self, depth: int = 4) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layers = nn.ModuleList([Counted(4, 4) for _ in range(depth)])

    def between(self, x: torch.Tensor) -> torch.Tensor:
        return x.tanh()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = self.between(layer(x))
        return x.square().sum()


class ChangesInPlace(Stack):
    def between(self, x: torch.Tensor) -> torch.Tensor:
        return x.tanh_()


class ReadsElsewhere(Stack):
    """The last layer's weight is read before the first layer runs."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x @ self.layers[-1].weight)


class RunsTwice(Stack):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + super().forward(-x)


def both(module: nn.Module, mode: str = "snapshot") -> tuple[list[float], list[float], Reusing, list[int]]:
    """Losses along one coordinate of every tensor, whole and with reuse, and the forwards per layer with
    reuse."""
    space = build_space("full", {}, module)
    engine: BoundEngine = Engine(mode=mode).bind(space, 0)
    objective = Objective(module, lambda m, batch: m(batch))
    batch = torch.linspace(-1, 1, 12).reshape(3, 4)
    objective.set_batch(batch, sequences=3, tokens=0)
    direction, points, position = Entry(engine.source), [()], 0
    for name in space:
        points.append((Along(direction, position, 0.1),))
        position += space.size(name)
    whole = engine.losses(objective, points)
    for layer in module.layers:
        layer.count = 0
    before = space.digest()
    reusing = Reusing(engine.perturbation)
    losses = reusing.losses(objective, points)
    assert space.digest() == before
    assert all("forward" not in unit.__dict__ for unit in reusing.units)
    assert objective.meter.forwards == 2 * len(points)
    return whole, losses, reusing, [layer.count for layer in module.layers]


@pytest.mark.parametrize("mode", ["snapshot", "streamed"])
def test_only_what_follows_the_coordinate_runs(mode: str) -> None:
    """4 layers with weight and bias: 1 whole forward; layer k runs for the coordinates of layers 1 .. k."""
    whole, losses, reusing, counts = both(Stack(), mode)
    assert losses == whole
    assert len(set(losses)) == 9
    assert counts == [1 + 2 * k for k in (1, 2, 3, 4)]
    assert (reusing.calls, reusing.reused) == (9 * 4, 2 * (0 + 1 + 2 + 3))


def test_outputs_changed_in_place_are_computed_again() -> None:
    whole, losses, reusing, counts = both(ChangesInPlace())
    assert losses == whole
    assert reusing.reused == 0
    assert counts == [9] * 4


def test_a_weight_read_before_its_module_runs_stops_the_reuse() -> None:
    """Coordinates of the last weight need whole forwards, those of its bias do not."""
    whole, losses, _, counts = both(ReadsElsewhere())
    assert losses == whole
    assert counts == [1 + 2 + 1, 1 + 4 + 1, 1 + 6 + 1, 9]


def test_a_module_that_runs_twice_is_reused_up_to_the_first_read() -> None:
    """A coordinate of layer k: the first pass runs from layer k on, the second whole."""
    whole, losses, _, counts = both(RunsTwice())
    assert losses == whole
    assert counts == [2 + 2 * k + 8 for k in (1, 2, 3, 4)]


class InInferenceMode(Stack):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return super().forward(x)


def test_outputs_without_a_version_are_computed_again() -> None:
    whole, losses, reusing, _ = both(InInferenceMode())
    assert losses == whole
    assert reusing.reused == 0


def test_units_of_a_transformer_are_its_blocks() -> None:
    kinds = [type(unit).__name__ for unit in units_of(transformer().make(torch.float32))]
    assert kinds == ["Embedding", "Block", "Block", "Linear"]


def test_other_modes_are_refused() -> None:
    module = Stack()
    space = build_space("full", {}, module)
    with pytest.raises(ValueError, match="needs mode 'snapshot' or 'streamed'"):
        Reusing(Engine(mode="in-place").bind(space, 0).perturbation)


@pytest.mark.parametrize("mode", ["snapshot", "streamed"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_deepzero_is_the_same_run_with_and_without_reuse(mode: str, dtype: torch.dtype) -> None:
    """On the tiny transformer, tied embedding included: records and weights to the bit."""
    problem, method, runs = transformer(), lookup("methods", "deepzero"), []
    for reuse in (False, True):
        module = problem.make(dtype)
        space = build_space("full", {}, module)
        objective = Objective(module, problem.loss)
        objective.set_batch(problem.batch, sequences=4, tokens=24)
        config = method.Config(n=24, pruning_queries=3, lr=0.05, reuse=reuse)
        optimizer = method(config, space, seed=3, engine=Engine(mode=mode))
        runs.append((repr([optimizer.step(objective) for _ in range(3)]), space.digest()))
    assert runs[0] == runs[1]
    assert optimizer.engine.perturbation.reused > 0


def test_a_hugging_face_model_reuses_its_layers() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForCausalLM(LlamaConfig(vocab_size=20, **sizes)).eval()
    ids = torch.arange(12).reshape(2, 6)
    space = build_space("full", {}, model)
    engine = Engine().bind(space, 0)
    objective = Objective(model, lambda m, batch: m(input_ids=batch, labels=batch).loss)
    objective.set_batch(ids, sequences=2, tokens=12)
    direction, points, position = Entry(engine.source), [()], 0
    for name in space:
        points.append((Along(direction, position, 0.1),))
        position += space.size(name)
    reusing = Reusing(engine.perturbation)
    assert reusing.losses(objective, points) == engine.losses(objective, points)
    assert reusing.reused > len(space)
