"""Mode offload: the bits of the resident modes, one visit of each block per step, weights in a copy."""

from __future__ import annotations

import json
import shutil
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from zobench.plugins import entries, lookup
from zobench.zo import Engine, Objective, build_space
from zobench.zo.conformance.problems import transformer
from zobench.zo.distributed import Grid, distribute
from zobench.zo.objective import BudgetExhausted
from zobench.zo.offload import Offload
from zobench.zo.scratch import Host, Mapped

STEPS = 3
FEW = ["mezo", "fzoo", "es", "lozo", "lezo"]


def accepted(name: str) -> bool:
    """Whether a plan lets this method run in mode offload on all weights."""
    cls = lookup("methods", name)
    card = cls.card
    if card.order != "zeroth" or card.replay != "scalars" or not (card.in_span or card.by_seeds):
        return False
    return "*" in card.spaces or "full" in card.spaces


def start(name: str, mode: str, dtype: torch.dtype = torch.float32, kind: str = "full", **engine: object):
    problem, cls = transformer(), lookup("methods", name)
    given = {"lr": 1e-3, **cls.small_problem}
    if "weight_decay" in cls.Config.__dataclass_fields__:
        given["weight_decay"] = 0.1
    space = build_space(kind, {}, problem.make(dtype).eval())
    method = cls(cls.Config(**given), space, seed=3, engine=Engine(mode=mode, **engine))
    objective = Objective(space.module, problem.loss, inference=True)
    objective.set_batch(problem.batch, sequences=4, tokens=24)
    return method, objective


def same_path(name: str, resident: str = "snapshot", steps: int = STEPS, **options: object) -> Offload:
    """Take steps in both modes; losses, coefficients and weights must be equal to the bit."""
    (kept, objective), (away, other) = (start(name, mode, **options) for mode in (resident, "offload"))
    seen = []
    for _ in range(steps):
        expected, got = kept.step(objective), away.step(other)
        assert got.losses == expected.losses
        assert got.coefficients == expected.coefficients
        seen += got.losses
    assert len(set(seen)) > 1
    assert away.space.digest() == kept.space.digest()
    assert away.engine.offload is not None
    return away.engine.offload


@pytest.mark.parametrize("name", [n for n in sorted(entries("methods")) if accepted(n)])
def test_every_method_of_seeds_and_scalars_has_the_bits_of_the_snapshot(name: str) -> None:
    same_path(name, steps=2)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", FEW)
def test_other_formats(name: str, dtype: torch.dtype) -> None:
    same_path(name, dtype=dtype)


@pytest.mark.parametrize("precision", ["nearest", "stochastic", "compensated", "master"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_rounding_rules(precision: str, dtype: torch.dtype) -> None:
    offload = same_path("mezo", dtype=dtype, precision=precision)
    assert isinstance(offload._store, Mapped)
    # What a rule keeps lies in the scratch copy too, and not beside it.
    inside = {t.data_ptr() for t in offload._store.tensors.values()}
    assert {t.data_ptr() for t in offload._writer.kept.values()} <= inside


@pytest.mark.parametrize("kind", ["masked", "bias"])
@pytest.mark.parametrize("name", ["mezo", "fzoo"])
def test_parts_of_the_weights(name: str, kind: str) -> None:
    same_path(name, kind=kind)


@pytest.mark.parametrize("name", FEW)
def test_large_layers_have_the_bits_of_mode_streamed_sliced(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zobench.zo.sliced.LARGE", 1)
    monkeypatch.setattr("zobench.zo.sliced.SLICE", 300)
    same_path(name, "streamed-sliced")


def watch_visits(offload: Offload, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], list[str]]:
    """The blocks that are loaded and those that are read ahead, by their first tensors."""
    offload.open()
    loaded, ahead = [], []
    monkeypatch.setattr(offload._store, "load", lambda names: loaded.append(next(iter(names))))
    monkeypatch.setattr(offload._store, "ahead", lambda names: ahead.extend(list(names)[:1]))
    return loaded, ahead


@pytest.mark.parametrize(("name", "points"), [("mezo", 2), ("fzoo", 9), ("es", 8)])
def test_a_step_visits_every_block_once_for_all_points(
    name: str, points: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, objective = start(name, "offload")
    loaded, ahead = watch_visits(method.engine.offload, monkeypatch)
    for _ in range(2):
        record = method.step(objective)
        assert len(record.losses) >= points - 1
    assert len(loaded) == 2 * len(method.engine.offload.blocks)
    assert max(Counter(loaded).values()) <= 4, "the tied embedding is two blocks"
    # From the second step on the order is known: layer 0 is read while the embedding is visited.
    assert [name.split(".")[1] for name in ahead if name.startswith("layers")] == ["0", "1"]


class Rows:
    """A minibatch divided by its rows."""

    def __init__(self, parts: int) -> None:
        self._parts = parts

    def parts(self, batch: torch.Tensor):
        return [(rows, len(rows), rows.numel()) for rows in batch.chunk(self._parts)]

    def items(self, part: torch.Tensor) -> int:
        return len(part)

    def mean(self, losses, items) -> float:
        return sum(loss * n for loss, n in zip(losses, items, strict=True)) / sum(items)


class Rank:
    """One of several ranks that are threads of this process."""

    def __init__(self, rank: int, said: list[list[float]], meeting: threading.Barrier) -> None:
        self.rank, self.size, self._said, self._meeting = rank, len(said), said, meeting

    def gather(self, values) -> list[list[float]]:
        self._said[self.rank] = list(values)
        self._meeting.wait(timeout=60)
        said = [list(line) for line in self._said]
        self._meeting.wait(timeout=60)
        return said


def in_shards(mode: str, grid: Grid, size: int):
    """Losses and weights of every rank, and (block visits, updates that wait) of rank 0 and of the last."""
    said, meeting = [[] for _ in range(size)], threading.Barrier(size)

    def follow(rank: int):
        method, objective = start("mezo", mode)
        visits, waiting = [], [0]
        if (offload := method.engine.offload) is not None:
            offload.open()
            load = offload._store.load
            offload._store.load = lambda names: (visits.append(names), load(names))
        division = Rows(grid.parts) if grid.parts > 1 else None
        distribute(method, Rank(rank, said, meeting), grid, division)
        losses = []
        for _ in range(2):
            losses.append(method.step(objective).losses)
            if offload is not None:
                waiting += map(len, offload._put_off.values())
        return losses, method.space.digest(), len(visits), max(waiting)

    with ThreadPoolExecutor(size) as threads:
        return list(threads.map(follow, range(size)))


@pytest.mark.parametrize("by", ["branches", pytest.param("data", marks=pytest.mark.slow), "both"])
def test_in_shards_it_has_the_bits_of_the_snapshot_on_any_number_of_ranks(
    by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two losses in four shards: by branches, two of four ranks have none; their updates do not pile up."""
    monkeypatch.setattr("zobench.zo.offload.MOST_WAITING", 2)
    grid = Grid.of(4, by)
    ((*expected, _, _),) = in_shards("snapshot", grid, 1)
    blocks = len(start("mezo", "offload")[0].engine.offload.blocks)
    for size in (1, 2, 4):
        found = in_shards("offload", grid, size)
        assert all([*bits] == expected for *bits, _, _ in found), size
        sweeps = [visits / blocks / 2 for _, _, visits, _ in found]
        if by == "branches":
            assert sweeps == {1: [1.0], 2: [1.0, 0.0], 4: [1.0, 1.0, 0.0, 0.0]}[size]
        assert max(sweeps) == min(grid.parts, 4 // size), "one sweep for each part of a rank"
        assert max(waiting for *_, waiting in found) < 2


def test_an_update_waits_for_the_next_visit_and_no_reader_sees_it_missing() -> None:
    method, objective = start("mezo", "offload")
    method.step(objective)
    name = "layers.0.up.weight"
    stale = method.space.tensors[name].detach().clone()
    assert not torch.equal(method.space.entries(name), stale)
    assert torch.equal(method.space.entries(name), method.space.tensors[name])
    kept, other = start("mezo", "snapshot")
    kept.step(other)
    # A forward pass of somebody else, at the weights themselves.
    problem = transformer()
    with torch.no_grad():
        assert torch.equal(
            problem.loss(method.space.module, problem.batch), problem.loss(kept.space.module, problem.batch)
        )


def test_a_replay_is_applied_at_the_first_visit() -> None:
    from zobench.zo.trajectory import Replayer

    method, objective = start("mezo", "offload", torch.bfloat16)
    records = [method.step(objective) for _ in range(4)]
    again, other = start("mezo", "offload", torch.bfloat16)
    replayer = Replayer(again)
    for record in records:
        replayer.follow(record)
    assert again.step(other).losses == method.step(objective).losses
    assert again.space.digest() == method.space.digest()


def test_state_goes_into_another_run() -> None:
    method, objective = start("mezo", "offload", torch.bfloat16)
    for _ in range(3):
        method.step(objective)
    state, weights = method.state_dict(), method.space.state_dict()
    again, other = start("mezo", "offload", torch.bfloat16)
    again.step(other)
    again.space.load_state_dict(weights)
    again.load_state_dict(state)
    assert again.step(other).losses == method.step(objective).losses
    assert again.space.digest() == method.space.digest()


def test_the_weights_that_were_there_are_never_written_and_come_back(tmp_path: Path) -> None:
    method, objective = start("mezo", "offload", scratch=str(tmp_path))
    own = {n: (p.data_ptr(), p.detach().clone()) for n, p in method.space.tensors.items()}
    method.step(objective)
    method.step(objective)
    assert all(p.data_ptr() != own[n][0] for n, p in method.space.tensors.items())
    method.engine.offload.close()
    for name, p in method.space.tensors.items():
        assert p.data_ptr() == own[name][0]
        assert torch.equal(p, own[name][1])
    assert not list(tmp_path.iterdir())
    module = method.space.module
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())


def test_weights_that_somebody_changed_meanwhile_are_named_at_the_end() -> None:
    method, objective = start("mezo", "offload")
    base = method.space.tensors["layers.1.up.weight"].data
    method.step(objective)
    base.view(-1)[3] += 1.0
    with pytest.raises(ValueError, match=r"'layers.1.up.weight' is not what the scratch copy was made from"):
        method.engine.offload.close()


def test_the_scratch_copy_has_the_layout_of_safetensors(tmp_path: Path) -> None:
    from safetensors.torch import load

    tensors = {
        "b": torch.arange(3, dtype=torch.bfloat16),
        "a": torch.arange(6.0).view(2, 3).T,
        "empty": torch.empty(0, 4),
    }
    store = Mapped(tensors, tmp_path)
    found = load(bytes(store._map))
    assert all(torch.equal(found[n], t) and torch.equal(store.tensors[n], t) for n, t in tensors.items())
    assert json.loads(bytes(store._map)[8 : 8 + int.from_bytes(store._map[:8], "little")])
    assert not list(tmp_path.iterdir()), "the file has no name"


def test_too_little_space_and_a_missing_folder_are_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, objective = start("mezo", "offload", scratch=str(tmp_path / "none"))
    with pytest.raises(ValueError, match="none does not exist"):
        method.step(objective)
    method, objective = start("mezo", "offload", scratch=str(tmp_path))
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    with pytest.raises(ValueError, match=r"needs [\d,]+ bytes, and .* has 1,000 free.*--scratch DIR"):
        method.step(objective)
    assert method.t == 0
    assert not list(tmp_path.iterdir())


class Layers(nn.Module):
    """Layers in a list, and what a test adds to them."""

    def __init__(self, forward=None, layers: type = nn.ModuleList, own: bool = False) -> None:
        super().__init__()
        self.layers = layers([nn.Linear(4, 4), nn.Linear(4, 4)])
        if own:
            self.scale = nn.Parameter(torch.ones(4))
        self._forward = forward

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return x if self._forward is None else self._forward(self, x)


def step_of(module: nn.Module):
    space = build_space("full", {}, module)
    engine = Engine(mode="offload").bind(space, 0)
    objective = Objective(module, lambda m, x: m(x).square().mean(), inference=True)
    objective.set_batch(torch.ones(2, 4), sequences=2, tokens=0)
    u = engine.gaussian()
    return engine.losses(objective, [engine.along(u, 7, 0.5), engine.along(u, 7, -0.5)])


def test_models_of_another_structure_are_refused_by_name() -> None:
    assert len(set(step_of(Layers()))) == 2
    with pytest.raises(ValueError, match="Layers has no list of layers"):
        step_of(Layers(layers=lambda made: nn.Sequential(*made)))
    with pytest.raises(
        ValueError, match="'scale' belongs to a module that contains the list of layers 'layers'"
    ):
        step_of(Layers(own=True))
    with pytest.raises(ValueError, match=r"'layers\.1\.weight' is used outside the forward of its module"):
        step_of(Layers(lambda m, x: x @ m.layers[1].weight))


def test_other_numbers_and_autocast_are_refused() -> None:
    with pytest.raises(ValueError, match="needs noise 'counter'"):
        Engine(mode="offload", noise="legacy")
    with (
        torch.autocast("cpu", torch.bfloat16),
        pytest.raises(ValueError, match="does not run under autocast"),
    ):
        step_of(Layers())


def test_an_error_in_one_point_leaves_everything_as_before() -> None:
    method, objective = start("fzoo", "offload")
    kept, other = start("fzoo", "snapshot")
    objective.meter.budget = 13
    method.step(objective)
    with pytest.raises(BudgetExhausted):
        method.step(objective)
    objective.meter.budget = None
    kept.step(other)
    assert method.step(objective).losses == kept.step(other).losses
    assert method.space.digest() == kept.space.digest()


def test_host_memory_and_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """The way of an accelerator, with the CPU in its place."""
    monkeypatch.setattr(
        Offload,
        "_copy",
        lambda self, names, device: Host({n: self.space.tensors[n] for n in names}, torch.device("cpu")),
    )
    for name in FEW:
        offload = same_path(name)
        homes = offload._store.tensors
        assert all(p.data_ptr() == homes[n].data_ptr() for n, p in offload.space.tensors.items())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", FEW)
def test_on_a_gpu(name: str) -> None:
    paths = []
    for mode in ("snapshot", "offload"):
        problem, cls = transformer(), lookup("methods", name)
        space = build_space("full", {}, problem.make(torch.float32).eval().cuda())
        method = cls(cls.Config(**{"lr": 1e-3, **cls.small_problem}), space, seed=3, engine=Engine(mode=mode))
        objective = Objective(space.module, problem.loss, inference=True)
        objective.set_batch(problem.batch.cuda(), sequences=4, tokens=24)
        paths.append(([method.step(objective).losses for _ in range(STEPS)], space.digest()))
    assert paths[0] == paths[1]
