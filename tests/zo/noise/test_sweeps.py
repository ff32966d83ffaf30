"""Fused sweeps: bit-identical to separate operations, in both dtypes, with every rounding rule."""

from __future__ import annotations

import pytest
import torch

from zobench.zo import noise

pytest.importorskip("numba")

from zobench.zo.noise import sweeps

SIZES = (1, 31, 4096, 4097, (1 << 20) + 33)
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
    base, keys, scale = tensors(dtype), [5, 6, 7, 8, 9], noise.to_float32(1e-2)
    expected = [t.clone() for t in base]
    for t, key in zip(expected, keys, strict=True):
        chunked(t, scale, seed=3, key=key, kind=kind)
    kept = [torch.empty(n) for n in SIZES]
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        for how in (sweeps.ANEW, sweeps.KEEPING, sweeps.KEPT):
            out = [torch.empty_like(t) for t in base]
            ways = [how] * len(SIZES)
            sweeps.displace(out, base, scale, seed=3, keys=keys, kind=kind, kept=kept, how=ways)
            assert all(torch.equal(bits(a), bits(b)) for a, b in zip(out, expected, strict=True))
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
