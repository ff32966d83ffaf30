"""Every backend computes the same bits: any shape, dtype, offset, split, stride and number of threads."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zobench.zo import noise

KINDS: tuple[noise.Kind, ...] = ("gaussian", "rademacher", "uniform")
DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
OFFSETS = (0, 1, 2, 3, 31, 127, 128, 2**32 - 5, 2**34 - 7, 2**59 + 11)
SIZES = (0, 1, 3, 4, 33, 129, 4095, (1 << 14) - 1, (1 << 14) + 1, 70001)
SCALE = 1.2345678e-3
SEED, KEY = 2**64 - 3, 12345678901234567890

pytest.importorskip("numba")


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    integer = {2: torch.int16, 4: torch.int32, 8: torch.int64}[a.element_size()]
    return a.dtype == b.dtype and torch.equal(a.contiguous().view(integer), b.contiguous().view(integer))


def filled(backend: noise.Backend, n: int, dtype: torch.dtype, kind: noise.Kind, offset: int) -> torch.Tensor:
    with noise.use_backend(backend):
        return noise.fill(torch.empty(n, dtype=dtype), seed=SEED, key=KEY, kind=kind, offset=offset)


def weights(n: int, dtype: torch.dtype) -> torch.Tensor:
    generator = torch.Generator().manual_seed(n)
    return (torch.randn(n, generator=generator) * 0.02).to(dtype)


def defined_axpy(tensor: torch.Tensor, scale: float, u: torch.Tensor) -> torch.Tensor:
    """Multiply, then add, as two operations in the definition's precision."""
    if tensor.dtype == torch.float64:
        product = u.double() * scale
        return tensor + product
    product = u * torch.tensor(scale, dtype=torch.float32)
    return (tensor.float() + product).to(tensor.dtype)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_fill_is_equal_on_reference_and_numba(kind: noise.Kind, dtype: torch.dtype) -> None:
    for offset in OFFSETS:
        for n in SIZES:
            assert same_bits(
                filled("reference", n, dtype, kind, offset), filled("numba", n, dtype, kind, offset)
            )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", ["reference", "numba"])
def test_axpy_is_multiply_then_add(kind: noise.Kind, dtype: torch.dtype, backend: noise.Backend) -> None:
    for offset, n in [(0, 4096), (5, (1 << 14) + 1), (2**34 - 7, 70001), (127, 1)]:
        theta = weights(n, dtype)
        u = filled("reference", n, torch.float32, kind, offset)
        expected = defined_axpy(theta, SCALE, u)
        with noise.use_backend(backend):
            noise.axpy_(theta, SCALE, seed=SEED, key=KEY, kind=kind, offset=offset)
        assert same_bits(theta, expected)


def test_the_axpy_test_could_tell_a_fused_multiply_add() -> None:
    """A fused multiply-add, emulated in float64, differs from multiply-then-add on these values."""
    n = 70001
    theta, u = weights(n, torch.float32), filled("reference", n, torch.float32, "gaussian", 0)
    scale = float(torch.tensor(SCALE, dtype=torch.float32))
    fused = (theta.double() + scale * u.double()).float()
    assert int((fused != defined_axpy(theta, SCALE, u)).sum()) > 1000


def test_interpolation_is_not_fused_on_two_million_values() -> None:
    n = 1 << 21
    assert same_bits(
        filled("reference", n, torch.float32, "gaussian", 0), filled("numba", n, torch.float32, "gaussian", 0)
    )


@given(
    seed=st.integers(0, 2**64 - 1),
    key=st.integers(0, 2**64 - 1),
    offset=st.integers(0, 2**60 - 2000),
    n=st.integers(1, 1500),
    cut=st.integers(0, 1500),
    kind=st.sampled_from(KINDS),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_offset_split_and_gather(
    seed: int, key: int, offset: int, n: int, cut: int, kind: noise.Kind
) -> None:
    cut = min(cut, n)
    results = []
    for backend in ("reference", "numba"):
        with noise.use_backend(backend):
            whole = noise.fill(torch.empty(n), seed=seed, key=key, kind=kind, offset=offset)
            parts = torch.empty(n)
            noise.fill(parts[:cut], seed=seed, key=key, kind=kind, offset=offset)
            noise.fill(parts[cut:], seed=seed, key=key, kind=kind, offset=offset + cut)
            assert same_bits(whole, parts)
            at = offset + torch.arange(n).flip(0)
            assert same_bits(noise.gather(at, seed=seed, key=key, kind=kind), whole.flip(0))
        results.append(whole)
    assert same_bits(*results)


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("kind", KINDS)
def test_any_number_of_threads_gives_the_same_bits(kind: noise.Kind) -> None:
    n, offset = (1 << 19) + 77, 13
    at = torch.arange(n).flip(0) * 3
    runs = []
    for count in (1, 2, 3, 7):
        torch.set_num_threads(count)
        u = filled("numba", n, torch.float32, kind, offset)
        theta = noise.axpy_(weights(n, torch.float32), SCALE, seed=SEED, key=KEY, kind=kind, offset=offset)
        runs.append((u, theta, noise.gather(at, seed=SEED, key=KEY, kind=kind)))
    for run in runs[1:]:
        assert all(same_bits(a, b) for a, b in zip(run, runs[0], strict=True))


@pytest.mark.parametrize("backend", ["reference", "numba"])
def test_strided_tensors_are_in_c_order(backend: noise.Backend) -> None:
    with noise.use_backend(backend):
        flat = noise.sample((6, 35), seed=SEED, key=KEY, kind="gaussian")
        strided = torch.empty(35, 6).t()
        noise.fill(strided, seed=SEED, key=KEY, kind="gaussian")
        assert same_bits(strided, flat)
        theta = weights(210, torch.float32).view(35, 6).t()
        expected = defined_axpy(theta, SCALE, flat)
        noise.axpy_(theta, SCALE, seed=SEED, key=KEY, kind="gaussian")
        assert same_bits(theta, expected)


def test_a_slice_of_a_larger_tensor_leaves_its_neighbours_alone() -> None:
    theta = weights(1000, torch.float32)
    before = theta.clone()
    noise.axpy_(theta[101:503], 1.0, seed=1, key=2, kind="rademacher")
    assert same_bits(theta[:101], before[:101])
    assert same_bits(theta[503:], before[503:])
    assert not torch.equal(theta[101:503], before[101:503])


def test_parameters_that_require_gradients_are_written_in_place() -> None:
    parameter = torch.nn.Parameter(weights(300, torch.float32))
    expected = defined_axpy(parameter.detach(), SCALE, filled("reference", 300, torch.float32, "gaussian", 0))
    assert noise.axpy_(parameter, SCALE, seed=SEED, key=KEY, kind="gaussian") is parameter
    assert parameter.grad_fn is None
    assert same_bits(parameter.detach(), expected)


def test_scale_zero_changes_no_bit() -> None:
    for dtype in DTYPES:
        theta = weights(17000, dtype)
        theta[::7] = -0.0
        assert same_bits(noise.axpy_(theta.clone(), 0.0, seed=1, key=2, kind="gaussian"), theta)


def test_global_random_state_is_untouched() -> None:
    before = torch.get_rng_state()
    for kind in KINDS:
        noise.axpy_(noise.sample((300,), seed=1, key=2, kind=kind), 0.5, seed=3, key=4, kind=kind)
        noise.gather(torch.tensor([1, 5]), seed=1, key=2, kind=kind)
    assert torch.equal(torch.get_rng_state(), before)


def test_backend_names_and_forcing() -> None:
    cpu = torch.empty(1)
    assert noise.backend_for(cpu) == "numba"
    with noise.use_backend("reference"):
        assert noise.backend_for(cpu) == "reference"
    assert noise.backend_for(cpu) == "numba"
    assert noise.backend_for(torch.empty(1, device="meta")) == "reference"
    with noise.use_backend("numba"), pytest.raises(ValueError, match="CPU tensors"):
        noise.backend_for(torch.empty(1, device="meta"))
    unknown: noise.Backend = "cuda"  # type: ignore[assignment]
    with pytest.raises(ValueError, match="known: reference, numba, triton"), noise.use_backend(unknown):
        pass


def test_without_numba_and_triton_the_reference_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zobench.zo.noise.backend._installed", lambda package: False)
    assert noise.backend_for(torch.empty(1)) == "reference"
    assert noise.sample((3,), seed=1, key=2, kind="rademacher").abs().tolist() == [1.0, 1.0, 1.0]
    with pytest.raises(ValueError, match="not installed"), noise.use_backend("numba"):
        pass


def test_user_mistakes_are_value_errors() -> None:
    good = {"seed": 1, "key": 2, "kind": "gaussian"}
    for bad in ({"seed": -1}, {"seed": 2**64}, {"key": 2**64}, {"kind": "normal"}, {"offset": -1}):
        with pytest.raises(ValueError):
            noise.fill(torch.empty(3), **{**good, **bad})
    with pytest.raises(ValueError, match="2\\^60"):
        noise.fill(torch.empty(3), seed=1, key=2, kind="uniform", offset=2**60 - 2)
    with pytest.raises(ValueError, match="int32"):
        noise.fill(torch.empty(3, dtype=torch.int32), seed=1, key=2, kind="uniform")
    with pytest.raises(ValueError, match="int64"):
        noise.gather(torch.tensor([0.5]), seed=1, key=2, kind="uniform")
    with pytest.raises(ValueError):
        noise.gather(torch.tensor([-1]), seed=1, key=2, kind="uniform")


def test_neither_numba_nor_triton_nor_torch_is_imported_early() -> None:
    code = (
        "import sys, zobench.zo.noise; assert 'torch' not in sys.modules;"
        "import zobench.zo.noise.api; zobench.zo.noise.tensor_key('a');"
        "assert not {'numba', 'triton'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("kind", ["gaussian", "rademacher", "uniform"])
def test_many_tensors_in_one_call_equal_one_call_each(kind: str) -> None:
    """One kernel call over many tensors: the bits of a loop, other dtypes and strided tensors among them."""
    shapes = [(1,), (7, 5), (4099,), (3, 128), (0,), (64, 65)]
    makers = [torch.float32, torch.float32, torch.float32, torch.bfloat16, torch.float32, torch.float64]
    tensors = [torch.full(s, 0.25, dtype=d) for s, d in zip(shapes, makers, strict=True)]
    tensors.append(torch.full((6, 4), 0.25).t())
    keys = [noise.tensor_key(f"t{i}") for i in range(len(tensors))]
    alone = [t.clone(memory_format=torch.preserve_format) for t in tensors]
    for tensor, key in zip(alone, keys, strict=True):
        noise.axpy_(tensor, -0.37, seed=11, key=key, kind=kind)
    noise.axpy_many_(tensors, -0.37, seed=11, keys=keys, kind=kind)
    for got, want in zip(tensors, alone, strict=True):
        assert torch.equal(got, want)
        assert not torch.equal(want, torch.full_like(want, 0.25)) or want.numel() == 0
