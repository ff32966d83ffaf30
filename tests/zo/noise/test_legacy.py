"""Legacy noise equals the seeded global generator of torch and does not change that generator."""

from __future__ import annotations

import pytest
import torch

from zobench.zo.noise.legacy import LegacyStream


def parameters() -> dict[str, torch.Tensor]:
    """Shapes below and above the 16 values where torch's CPU sampler changes its method, in all dtypes."""
    generator = torch.Generator().manual_seed(5)
    shapes = {"a": (3,), "b.weight": (7, 5), "c": (), "d": (64, 33), "e": (15,), "f": (17,)}
    dtypes = [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.float32, torch.bfloat16]
    return {
        name: torch.randn(shape, generator=generator).to(dtype)
        for (name, shape), dtype in zip(shapes.items(), dtypes, strict=True)
    }


def sweep(parameters: dict[str, torch.Tensor], *, seed: int) -> dict[str, torch.Tensor]:
    """z of every parameter, in the order of the mapping."""
    stream = LegacyStream(seed)
    return {name: stream.draw(parameter) for name, parameter in parameters.items()}


@pytest.mark.parametrize("seed", [0, 1, 999_999_999])
def test_equal_to_the_seeded_global_generator(seed: int) -> None:
    state = torch.get_rng_state()
    drawn = sweep(parameters(), seed=seed)
    assert torch.equal(torch.get_rng_state(), state)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for name, p in parameters().items():
            z = torch.normal(mean=0, std=1, size=p.size(), device=p.device, dtype=p.dtype)
            assert drawn[name].dtype == p.dtype
            assert torch.equal(drawn[name], z), name


def test_noise_of_a_parameter_depends_on_those_before_it() -> None:
    theta = parameters()
    reordered = {name: theta[name] for name in reversed(theta)}
    assert not torch.equal(sweep(theta, seed=1)["d"], sweep(reordered, seed=1)["d"])


def test_seed_out_of_range() -> None:
    with pytest.raises(ValueError, match="unsigned"):
        LegacyStream(-1)
