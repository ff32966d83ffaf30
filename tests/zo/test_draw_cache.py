"""Cached draws: bit-identical to new draws, within the stated memory, and only for supported spaces."""

from pathlib import Path

import pytest
import torch
from torch import nn

from zobench.zo import noise
from zobench.zo.directions import Gaussian
from zobench.zo.draw_cache import KEEP_BYTES, SHARE, DrawCache, free_bytes
from zobench.zo.perturb import Along, Snapshot
from zobench.zo.source import CounterSource
from zobench.zo.space import ParameterSpace

SCALES = (1e-3, -1e-3, 0.37, 0.0, 1e-60)


def _space(dtype: torch.dtype = torch.float32) -> ParameterSpace:
    module = nn.Sequential(nn.Linear(7, 33), nn.LayerNorm(33), nn.Linear(33, 5)).to(dtype)
    return ParameterSpace(module, [n for n, _ in module.named_parameters()], kind="full")


def _drawn_anew(
    space: ParameterSpace, source: CounterSource, seed: int, scale: float
) -> dict[str, torch.Tensor]:
    out = space.snapshot()
    for name, tensor in out.items():
        noise.axpy_(tensor, scale, seed=seed, key=source.keys[name], kind="gaussian")
    return out


@pytest.mark.parametrize("scale", SCALES)
def test_every_way_to_add_gives_the_bits_of_a_fresh_draw(scale: float) -> None:
    space = _space()
    source = CounterSource(space)
    for seed in (3, 4, 3):
        expected = _drawn_anew(space, source, seed, scale)
        together, alone = space.snapshot(), space.snapshot()
        source.add_many_(together, seed, scale, "gaussian")
        for name, tensor in alone.items():
            source.add_(tensor, name, seed, scale, "gaussian")
        for name in space:
            assert torch.equal(together[name].view(torch.int32), expected[name].view(torch.int32))
            assert torch.equal(alone[name].view(torch.int32), expected[name].view(torch.int32))


def test_negative_zeros_come_out_as_they_do_without_keeping() -> None:
    space = _space()
    source = CounterSource(space)
    kept = {name: torch.full_like(t, -0.0) for name, t in space.snapshot().items()}
    fresh = {name: t.clone() for name, t in kept.items()}
    source.add_many_(kept, 5, 1e-45, "gaussian")
    for name, tensor in fresh.items():
        noise.axpy_(tensor, 1e-45, seed=5, key=source.keys[name], kind="gaussian")
        assert torch.equal(kept[name].view(torch.int32), tensor.view(torch.int32))


def test_only_room_for_so_many_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    space = _space()
    monkeypatch.setattr("zobench.zo.draw_cache.KEEP_BYTES", 3 * space.numel * 4)
    source = CounterSource(space)
    for seed in range(9):
        expected = _drawn_anew(space, source, seed, 0.1)
        found = space.snapshot()
        source.add_many_(found, seed, 0.1, "gaussian")
        assert all(torch.equal(found[name], expected[name]) for name in space)
    name = next(iter(space))
    held = [seed for seed in range(9) if source._kept.find(name, seed) is not None]
    assert held == [6, 7, 8]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_types_have_the_bits_of_a_fresh_draw(dtype: torch.dtype) -> None:
    space = _space(dtype)
    source = CounterSource(space)
    assert (source._kept.room == 0) == (dtype == torch.float64)
    expected = _drawn_anew(space, source, 2, 0.1)
    for _ in range(2):
        found = space.snapshot()
        source.add_many_(found, 2, 0.1, "gaussian")
        assert all(torch.equal(found[name], expected[name]) for name in space)
    assert source.generated == space.numel * (2 if dtype == torch.float64 else 1)


def test_masked_spaces_keep_nothing_and_large_ones_where_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    module = nn.Linear(8, 8)
    masked = ParameterSpace(module, ["weight"], kind="mask", indices={"weight": torch.arange(0, 64, 3)})
    assert DrawCache(masked, {"weight": 0}).room == 0
    large = nn.Module()
    large.weight = nn.Parameter(torch.empty(KEEP_BYTES // 4 + 1))
    space = ParameterSpace(large, ["weight"], kind="full")
    for free, asked, room in ((1 << 60, False, 0), (1 << 60, True, 1), (SHARE * KEEP_BYTES, True, 0)):
        monkeypatch.setattr("zobench.zo.draw_cache.free_bytes", lambda free=free: free)
        assert DrawCache(space, {"weight": 0}, large=asked).room == room


def test_tensors_are_kept_as_they_are_asked_for() -> None:
    space = _space()
    source = CounterSource(space)
    some = {name: t for name, t in space.snapshot().items() if t.dim() == 2}
    expected = _drawn_anew(space, source, 8, 0.5)
    source.add_many_(some, 8, 0.5, "gaussian")
    assert all(torch.equal(some[name], expected[name]) for name in some)
    assert {name for name in space if source._kept.find(name, 8) is not None} == some.keys()


def test_snapshots_nest_and_their_buffers_are_used_again() -> None:
    space = _space()
    direction = Gaussian(CounterSource(space))
    snapshot = Snapshot(space)
    theta = space.snapshot()
    name = next(iter(space))
    seen: list[int] = []
    for _ in range(3):
        with snapshot.displaced([Along(direction, 1, 0.5)]):
            outer = space.tensors[name].data.clone()
            seen.append(space.tensors[name].data_ptr())
            with snapshot.displaced([Along(direction, 2, 0.25)]):
                inner = space.tensors[name].data.clone()
            assert torch.equal(space.tensors[name].data, outer)
        expected = _plus(theta[name], direction, name, 1, 0.5)
        assert torch.equal(outer, expected)
        assert torch.equal(inner, _plus(expected, direction, name, 2, 0.25))
        assert all(torch.equal(space.tensors[n].data, theta[n]) for n in space)
    assert len(set(seen)) < len(seen), "no buffer was used twice"


def _plus(values: torch.Tensor, direction: Gaussian, name: str, seed: int, scale: float) -> torch.Tensor:
    out = values.clone()
    source = direction.source
    noise.axpy_(out, scale, seed=seed, key=source.keys[name], kind="gaussian")
    return out


def test_a_rademacher_draw_is_not_kept() -> None:
    space = _space()
    source = CounterSource(space)
    source.add_many_(space.snapshot(), 1, 1.0, "rademacher")
    assert all(source._kept.find(name, 1) is None for name in space)


def test_free_memory_counts_file_caches_where_the_system_tells_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(path: Path) -> str:
        if str(path) == "/proc/meminfo":
            return "MemTotal: 900 kB\nMemFree: 10 kB\nMemAvailable:     700 kB\n"
        raise OSError(path)

    monkeypatch.setattr(Path, "read_text", read)
    assert free_bytes() == 700 * 1024


def test_without_that_file_the_free_pages_count(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(path: Path) -> str:
        raise OSError(path)

    monkeypatch.setattr(Path, "read_text", read)
    monkeypatch.setattr("os.sysconf", {"SC_AVPHYS_PAGES": 3, "SC_PAGE_SIZE": 5}.get)
    assert free_bytes() == 15
