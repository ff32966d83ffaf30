"""Directions: E[u u^T] = I, functions of the seed alone, and their interfaces."""

from __future__ import annotations

import math

import pytest
import torch

from zobench.zo import Engine, build_space
from zobench.zo.conformance.problems import quadratic, transformer
from zobench.zo.directions import Blocks, Coordinate, Direction, Gaussian, SparseMask, Sphere, groups_by_layer

SAMPLES = 3000


def bound(problem=None, **space):
    module = (problem or quadratic()).make(torch.float64)
    return Engine().bind(build_space(space.pop("kind", "full"), space, module), 0)


def matrix(direction: Direction, seeds: int = SAMPLES) -> torch.Tensor:
    """Draws as rows."""
    rows = [
        torch.cat([direction.tensor(name, seed).reshape(-1) for name in direction.space])
        for seed in range(seeds)
    ]
    return torch.stack(rows)


def make(kind: str) -> Direction:
    source = bound().source
    if kind == "blocks":
        return Blocks(Gaussian(source), [["matrix"], ["vector"]], active=1)
    if kind == "rademacher":
        return bound().rademacher()
    return {"gaussian": Gaussian, "sphere": Sphere, "coordinate": Coordinate}[kind](source)


@pytest.mark.parametrize("kind", ["gaussian", "rademacher", "sphere", "coordinate", "blocks"])
def test_second_moment_is_the_identity(kind: str) -> None:
    draws = matrix(make(kind))
    second = draws.T @ draws / SAMPLES
    spread = ((draws[:, :, None] * draws[:, None, :]).std(dim=0) / math.sqrt(SAMPLES)).clamp_min(1e-12)
    score = (second - torch.eye(17, dtype=torch.float64)) / spread
    assert float(score.abs().max()) < 5.0 or kind in ("rademacher", "coordinate")
    assert float((second - torch.eye(17)).abs().max()) < 0.35
    assert float(draws.mean(dim=0).abs().max()) < 5 / math.sqrt(SAMPLES) * 1.01 or kind == "coordinate"


def test_sphere_and_rademacher_have_constant_length() -> None:
    for kind in ("sphere", "rademacher"):
        assert torch.allclose(matrix(make(kind), 20).norm(dim=1), torch.tensor(17.0).double().sqrt())


@pytest.mark.parametrize("kind", ["gaussian", "rademacher", "sphere", "coordinate", "blocks"])
def test_add_is_the_same_direction_in_any_order_and_twice(kind: str) -> None:
    direction = make(kind)
    first = {name: direction.tensor(name, 9) for name in direction.space}
    direction.tensor("matrix", 10)
    for name in reversed(list(direction.space)):
        assert torch.equal(direction.tensor(name, 9), first[name])
        twice = direction.tensor(name, 9)
        direction.add_(twice, name, 9, -1.0)
        assert float(twice.abs().max()) == 0.0
        if not direction.touches(name, 9):
            assert float(first[name].abs().max()) == 0.0


def test_masked_space_draws_the_entries_of_the_unmasked_one() -> None:
    """Element indices are those of the unmasked tensor, so that trajectories survive masks."""
    whole = Gaussian(bound().source)
    index = {"matrix": [1, 5, 11], "vector": [0, 4]}
    masked = Gaussian(bound(kind="masked", indices=index).source)
    for name, positions in index.items():
        assert torch.equal(masked.tensor(name, 3), whole.tensor(name, 3).reshape(-1)[positions])


def test_directions_do_not_depend_on_what_else_is_tuned() -> None:
    full = Gaussian(bound(transformer()).source)
    some = Gaussian(bound(transformer(), kind="names", include=["layers.1.*"]).source)
    for name in some.space:
        assert torch.equal(some.tensor(name, 8), full.tensor(name, 8))


def test_sparse_mask_keeps_the_direction_inside_and_bits_outside() -> None:
    source = bound().source
    masks = {"matrix": torch.tensor([[True, False] * 2] * 3)}
    direction = SparseMask(Gaussian(source), masks)
    u = direction.tensor("matrix", 2)
    assert torch.equal(u, torch.where(masks["matrix"], Gaussian(source).tensor("matrix", 2), torch.zeros(())))
    assert not direction.touches("vector", 2)
    negative_zero = torch.full((3, 4), -0.0, dtype=torch.float64)
    direction.add_(negative_zero, "matrix", 2, 1.0)
    assert bool(torch.signbit(negative_zero[~masks["matrix"]]).all()), "entries outside keep their bits"
    with pytest.raises(ValueError, match="must be bool"):
        direction.set_masks({"matrix": torch.ones(3, 4)})


def test_blocks_validate_their_groups() -> None:
    inner = Gaussian(bound().source)
    with pytest.raises(ValueError, match="exactly once"):
        Blocks(inner, [["matrix"]], active=1)
    with pytest.raises(ValueError, match="active must be"):
        Blocks(inner, [["matrix"], ["vector"]], active=3)


def test_groups_by_layer() -> None:
    names = [
        "embedding.weight",
        "layers.0.up.weight",
        "layers.0.up.bias",
        "layers.1.up.weight",
        "norm.weight",
    ]
    assert groups_by_layer(names) == [[names[0]], names[1:3], [names[3]], [names[4]]]
