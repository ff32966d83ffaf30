"""Fused sweeps: bit-identical to separate operations, in both dtypes, with every rounding rule."""

from __future__ import annotations

import pytest
import torch

from zobench.zo import noise

pytest.importorskip("numba")

from zobench.zo.noise import sweeps

SIZES = (1, 31, 1 << 14, (1 << 14) + 1, (1 << 20) + 33)
KINDS = ("gaussian", "rademacher", "uniform")
DTYPES = (torch.float32, torch.bfloat16)


def tensors(dtype: torch.dtype, scale: float = 1.0) -> list[torch.Tensor]:
    """Values of both signs and of many sizes, zeros of both signs and infinities among them."""
    drawn = [noise.sample((n,), seed=n, key=1, kind="gaussian") * scale for n in SIZES]
    drawn[1][:6] = torch.tensor([0.0, -0.0, torch.inf, -torch.inf, 3e38, 1e-40])
    return [t.to(dtype) for t in drawn]


def bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.view(torch.int16 if tensor.dtype == torch.bfloat16 else torch.int32)


def chunked(target: torch.Tensor, scale: float, **stream: object) -> None:
    """``target += scale u`` by torch's operations."""
    u = noise.sample(tuple(target.shape), **stream)
    target.copy_((u * scale).add_(target.float()))


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_displacing_is_copying_and_adding(dtype: torch.dtype, kind: noise.NoiseKind, threads: int) -> None:
    base, keys = tensors(dtype), [5, 6, 7, 8, 9]
    scales = [noise.to_float32(scale) for scale in (1e-2, -0.3)]
    expected = [[t.clone() for t in base] for _ in scales]
    for scale, moved in zip(scales, expected, strict=True):
        for t, key in zip(moved, keys, strict=True):
            chunked(t, scale, seed=3, key=key, kind=kind)
    kept = [torch.empty(n) for n in SIZES]
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        for how in (sweeps.ANEW, sweeps.KEEPING, sweeps.KEPT):
            outs = [[torch.empty_like(t) for t in base] for _ in scales]
            branches = sweeps.Branches(outs, scales, 3, kept, [how] * len(SIZES))
            sweeps.displace(base, branches, keys=keys, kind=kind)
            for out, moved in zip(outs, expected, strict=True):
                assert all(torch.equal(bits(a), bits(b)) for a, b in zip(out, moved, strict=True))
    finally:
        torch.set_num_threads(before)
    for t, n, key in zip(kept, SIZES, keys, strict=True):
        assert torch.equal(bits(t), bits(noise.sample((n,), seed=3, key=key, kind=kind)))


@pytest.mark.parametrize("factor", [1.0, 0.999])
@pytest.mark.parametrize("rule", [sweeps.NEAREST, sweeps.COMPENSATED, sweeps.MASTER])
def test_descending_in_bfloat16_is_editing_in_float32(rule: int, factor: float) -> None:
    theta, keys = tensors(torch.bfloat16), [5, 6, 7, 8, 9]
    rest, master = tensors(torch.bfloat16, 1e-3), tensors(torch.float32)
    moving = [(seed, noise.to_float32(scale)) for seed, scale in ((1, 1e-3), (2, -0.3))]
    expected, sides, changed = [], [], 0
    for n, t in enumerate(theta):
        work = t.float() + rest[n].float() if rule == sweeps.COMPENSATED else t.float()
        work = master[n].clone() if rule == sweeps.MASTER else work
        work.mul_(factor)
        for seed, scale in moving:
            chunked(work, scale, seed=seed, key=keys[n], kind="gaussian")
        expected.append(work.to(torch.bfloat16))
        changed += int((expected[-1] != t).sum())
        sides.append(work if rule == sweeps.MASTER else (work - expected[-1].float()).to(torch.bfloat16))
    side = {sweeps.NEAREST: [None] * 5, sweeps.COMPENSATED: rest, sweeps.MASTER: master}[rule]
    nothing, anew = [[None] * 5] * 2, [[sweeps.ANEW] * 5] * 2
    factors = [noise.to_float32(factor)] * 5
    given = {"keys": keys, "kind": "gaussian", "kept": nothing, "how": anew}
    assert sweeps.descend(theta, side, rule, factors, moving, **given) == changed
    assert all(torch.equal(bits(a), bits(b)) for a, b in zip(theta, expected, strict=True))
    for got, wanted in zip(side, sides, strict=True):
        if got is not None:
            same = (bits(got) == bits(wanted)) | (torch.isnan(got) & torch.isnan(wanted))
            assert bool(same.all())


def test_descending_in_float32() -> None:
    theta, keys = tensors(torch.float32), [5, 6, 7, 8, 9]
    moving = [(seed, noise.to_float32(scale)) for seed, scale in ((1, 1e-3), (2, -0.3), (3, 1e-42))]
    expected = [t.clone().mul_(0.9) for t in theta]
    for t, key in zip(expected, keys, strict=True):
        for seed, scale in moving:
            chunked(t, scale, seed=seed, key=key, kind="rademacher")
    nothing, anew = [[None] * 5] * 3, [[sweeps.ANEW] * 5] * 3
    factors = [noise.to_float32(0.9)] * 5
    given = {"keys": keys, "kind": "rademacher", "kept": nothing, "how": anew}
    sweeps.descend(theta, [None] * 5, sweeps.NEAREST, factors, moving, **given)
    assert all(torch.equal(bits(a), bits(b)) for a, b in zip(theta, expected, strict=True))


@pytest.mark.parametrize("offset", [0, 3, 129])
def test_bfloat16_axpy_by_one_sweep_has_the_reference_bits(offset: int) -> None:
    for kind in KINDS:
        got, wanted = (tensors(torch.bfloat16)[3] for _ in range(2))
        stream = {"seed": 4, "key": 11, "kind": kind, "offset": offset}
        noise.axpy_(got, 1e-2, **stream)
        with noise.use_backend("reference"):
            noise.axpy_(wanted, 1e-2, **stream)
        assert torch.equal(bits(got), bits(wanted))


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_next_points_are_written_from_the_new_weights(dtype: torch.dtype, threads: int) -> None:
    """Also where the next draw takes the memory of the one that the update reads."""
    keys, kind = [5, 6, 7, 8, 9], "gaussian"
    scales = [noise.to_float32(scale) for scale in (1e-2, -1e-2)]
    kept = [noise.sample((n,), seed=3, key=key, kind=kind) for n, key in zip(SIZES, keys, strict=True)]
    reads = {"kept": [kept], "how": [[sweeps.KEPT] * 5], "keys": keys, "kind": kind}
    moving, factors = [(3, noise.to_float32(-0.01))], [1.0, 0.5, 1.0, 0.5, 1.0]

    def fresh() -> tuple[list[torch.Tensor], list[torch.Tensor | None]]:
        half = dtype == torch.bfloat16
        return tensors(dtype), [torch.full_like(t, -0.0) if half else None for t in tensors(dtype)]

    (theta, side), (expected, beside) = fresh(), fresh()
    changed = sweeps.descend(expected, beside, sweeps.COMPENSATED, factors, moving, **reads)
    plain = [[torch.empty_like(t) for t in theta] for _ in scales]
    anew = sweeps.Branches(plain, scales, 4, [None] * 5, [sweeps.ANEW] * 5)
    sweeps.displace(expected, anew, keys=keys, kind=kind)
    outs = [[torch.empty_like(t) for t in theta] for _ in scales]
    ahead = sweeps.Branches(outs, scales, 4, kept, [sweeps.KEEPING] * 5)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        assert changed == sweeps.descend(
            theta, side, sweeps.COMPENSATED, factors, moving, **reads, ahead=ahead
        )
    finally:
        torch.set_num_threads(before)
    for got, wanted in ((theta, expected), (outs[0], plain[0]), (outs[1], plain[1])):
        assert all(torch.equal(bits(a), bits(b)) for a, b in zip(got, wanted, strict=True))
    for t, n, key in zip(kept, SIZES, keys, strict=True):
        assert torch.equal(bits(t), bits(noise.sample((n,), seed=4, key=key, kind=kind)))
