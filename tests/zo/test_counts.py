"""Cost of a step in the engine, counted rather than timed: entries drawn, entries processed in passes,
weights copied."""

from __future__ import annotations

import pytest
import torch

from zobench.plugins import lookup
from zobench.zo import Engine, Objective, build_space
from zobench.zo.conformance.problems import transformer


def counted(
    name: str,
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    kind: str = "full",
    large: bool = True,
    dtype: torch.dtype = torch.float32,
    **params: object,
) -> tuple[float, float, float]:
    """Entries drawn, entries written, and entries read to write them in one step, in tuned entries."""
    if large:
        monkeypatch.setattr("zobench.zo.draw_cache.KEEP_BYTES", 0)
    problem, cls = transformer(), lookup("methods", name)
    module = problem.make(dtype).eval()
    space = build_space(kind, {"targets": ["*_proj"]} if kind == "lora" else {}, module)
    method = cls(cls.Config(lr=1e-3, **params), space, seed=3, engine=engine)
    objective = Objective(module, problem.loss, inference=True)
    objective.set_batch(problem.batch, sequences=4, tokens=24)
    method.step(objective)
    source = method.engine.source
    before = source.generated, source.swept, source.passed
    assert method.step(objective).moved
    now = source.generated, source.swept, source.passed
    drawn, swept, passed = ((b - a) / space.numel for a, b in zip(before, now, strict=True))
    return drawn, swept, passed


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("large", [False, True])
def test_mezo_draws_once_and_writes_three_times(
    monkeypatch: pytest.MonkeyPatch, large: bool, dtype: torch.dtype
) -> None:
    """theta + eps u and theta - eps u in one pass, theta - eta c u in another, from one draw of u."""
    assert counted("mezo", Engine(), monkeypatch, large=large, dtype=dtype) == (1, 3, 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("large", [False, True])
def test_ahead_a_step_is_one_pass(monkeypatch: pytest.MonkeyPatch, large: bool, dtype: torch.dtype) -> None:
    """The update and both points of the next step."""
    assert counted("mezo", Engine(ahead=True), monkeypatch, large=large, dtype=dtype) == (1, 3, 1)


def test_without_memory_for_a_second_copy_every_point_has_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zobench.zo.prepared.KEEP_BYTES", 0)
    monkeypatch.setattr("zobench.zo.prepared.free_bytes", lambda: 0)
    assert counted("mezo", Engine(ahead=True), monkeypatch) == (1, 3, 3)


def test_what_keeps_no_draw_draws_for_every_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    fused = Engine(mode="in-place", fused=True)
    assert counted("mezo", fused, monkeypatch) == (3, 3, 3)
    drawn, swept, passed = counted("mezo", Engine(mode="streamed"), monkeypatch)
    assert drawn == swept == passed
    # The tied table is made twice a forward: for the embedding and for the head.
    assert 3 < swept < 3.5


def test_paired_makes_each_module_for_both_points_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One draw and one pass for the points of a two-sided step, one for the update; no draw is kept."""
    drawn, swept, passed = counted("mezo", Engine(mode="streamed-paired"), monkeypatch)
    assert drawn == passed
    # Rows of the tied table are made for each point besides, for the embedding; short vectors too.
    assert 2 < drawn < 2.5
    assert 3 < swept < 3.5


def test_fzoo_draws_each_branch_twice_and_updates_in_one_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    assert counted("fzoo", Engine(), monkeypatch, n=8) == (16, 9, 9)


@pytest.mark.parametrize("mode", ["snapshot", "streamed", "streamed-paired", "grouped"])
def test_adapters_touch_no_weight_but_their_own(monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    """One draw of the adapters, and no copy or write of a base weight."""
    drawn, swept, _ = counted("mezo", Engine(mode=mode), monkeypatch, kind="lora", large=False)
    assert (drawn, swept) == (1, 3)


@pytest.mark.parametrize("ahead", [False, True])
def test_a_snapshot_allocates_in_its_first_step_only(ahead: bool) -> None:
    problem, cls = transformer(), lookup("methods", "mezo")
    module = problem.make(torch.float32).eval()
    space = build_space("full", {}, module)
    method = cls(cls.Config(lr=1e-3), space, seed=3, engine=Engine(ahead=ahead))
    objective = Objective(module, problem.loss, inference=True)
    objective.set_batch(problem.batch, sequences=4, tokens=24)
    seen: list[set[int]] = []
    honest = objective._loss

    def watching(module: torch.nn.Module, batch: object) -> torch.Tensor:
        seen.append({p.data_ptr() for p in module.parameters()})
        return honest(module, batch)

    objective._loss = watching
    for _ in range(4):
        method.step(objective)
    both = seen[0] | seen[1]
    assert all(pointers <= both for pointers in seen), "every forward runs on one of two sets of buffers"
