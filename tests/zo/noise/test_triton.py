"""The CUDA kernels: run by the interpreter, compiled for two architectures, and run on a GPU if one is
present."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from zobench.zo import noise

triton = pytest.importorskip("triton", reason="triton is not installed")

INTERPRETED = """
import torch
from zobench.zo import noise

def same_bits(a, b):
    integer = torch.int32 if a.dtype == torch.float32 else torch.int16
    return torch.equal(a.view(integer), b.view(integer))

stream = dict(seed=2**64 - 3, key=12345678901234567890)
for kind in ("gaussian", "rademacher", "uniform"):
    for offset, n in ((0, 1), (1, 2049), (2**34 - 7, 1300), (2**59 + 11, 40)):
        for dtype in (torch.float32, torch.float16, torch.bfloat16):
            drawn, added = [], []
            for backend in ("reference", "triton"):
                with noise.use_backend(backend):
                    u = torch.empty(n, dtype=dtype)
                    drawn.append(noise.fill(u, **stream, kind=kind, offset=offset))
                    theta = (torch.arange(n) * 0.37).cos().to(dtype)
                    added.append(noise.axpy_(theta, 1.2345678e-3, **stream, kind=kind, offset=offset))
            assert same_bits(*drawn), (kind, offset, n, dtype, "fill")
            assert same_bits(*added), (kind, offset, n, dtype, "axpy")
    at = torch.randint(0, 2**60, (1500,), generator=torch.Generator().manual_seed(1))
    got = []
    for backend in ("reference", "triton"):
        with noise.use_backend(backend):
            got.append(noise.gather(at, **stream, kind=kind))
    assert same_bits(*got), (kind, "gather")
print("equal")
"""

COMPILED = """
import re, triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from zobench.zo.noise import cuda

halves = dict.fromkeys(("seed0", "seed1", "key0", "key1", "first0", "first1"), "i32")
for capability, code, size, pointer in (
    (80, 1, 256, "*fp32"), (90, 1, 256, "*fp32"), (90, 1, 256, "*fp16"), (90, 2, 16, "*bf16")
):
    signature = dict(target=pointer, knots="*fp32", steps="*fp32", count="i64", skip="i32", scale="fp32")
    signature |= halves | dict.fromkeys(("CODE", "TAG", "AXPY", "SIZE"), "constexpr")
    constants = dict(CODE=code, TAG=code << 28, AXPY=True, SIZE=size)
    source = ASTSource(fn=cuda._apply, signature=signature, constexprs=constants)
    target = GPUTarget("cuda", capability, 32)
    kernel = triton.compile(source, target=target, options={"enable_fp_fusion": False})
    ptx = kernel.asm["ptx"]
    floats = set(re.findall(r"(?:add|mul|sub)[.a-z]*[.]f32", ptx))
    assert floats and all(".rn." in op for op in floats), floats
    assert not re.search(r"fma[.]|[.]ftz", ptx), (capability, code, pointer)
    assert "cubin" in kernel.asm
print("not fused")
"""


def run(code: str, **env: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **env}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_interpreted_kernels_equal_the_reference() -> None:
    # The interpreter must be chosen before the kernels are imported, hence another process.
    assert "equal" in run(INTERPRETED, TRITON_INTERPRET="1")


def test_compiled_kernels_have_no_fused_multiply_add() -> None:
    if "nvidia" not in triton.backends.backends:
        pytest.skip("this triton has no NVIDIA backend")
    assert "not fused" in run(COMPILED, TRITON_INTERPRET="0")


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["gaussian", "rademacher", "uniform"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_gpu_equals_the_cpu_reference(kind: noise.Kind, dtype: torch.dtype) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    for offset, n in ((0, 1 << 20), (2**34 - 7, 70001), (127, 1)):
        theta = (torch.arange(n) * 0.37).cos().to(dtype)
        on_gpu = theta.cuda()
        at = (torch.arange(n).flip(0) * 7919) + offset
        assert noise.backend_for(on_gpu) == "triton"
        noise.axpy_(on_gpu, 1.2345678e-3, seed=3, key=2**64 - 5, kind=kind, offset=offset)
        picked = noise.gather(at.cuda(), seed=3, key=2**64 - 5, kind=kind)
        u = noise.sample((n,), seed=3, key=2**64 - 5, kind=kind, device="cuda", dtype=dtype)
        with noise.use_backend("reference"):
            noise.axpy_(theta, 1.2345678e-3, seed=3, key=2**64 - 5, kind=kind, offset=offset)
            assert torch.equal(on_gpu.cpu(), theta)
            assert torch.equal(picked.cpu(), noise.gather(at, seed=3, key=2**64 - 5, kind=kind))
            assert torch.equal(u.cpu(), noise.sample((n,), seed=3, key=2**64 - 5, kind=kind, dtype=dtype))
