"""The spaces of few numbers: factors of layers, offsets of singular values."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from zobench.zo import build_space, noise
from zobench.zo.conformance.problems import transformer


class Layers(nn.Module):
    """Two layers; the first may hold the factors of an adapter, under the names of the package peft."""

    def __init__(self, adapted: bool = False) -> None:
        super().__init__()
        self.adapted = adapted
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.v_proj = nn.Module() if adapted else nn.Linear(5, 4)
            if adapted:
                self.v_proj.base_layer = nn.Linear(5, 4)
                self.v_proj.lora_A = nn.ModuleDict({"adapter": nn.Linear(5, 2, bias=False)})
                self.v_proj.lora_B = nn.ModuleDict({"adapter": nn.Linear(2, 4, bias=False)})
            self.out = nn.Linear(4, 3)
        self.double().requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.adapted:
            return self.out(self.v_proj(x))
        v = self.v_proj
        return self.out(v.base_layer(x) + v.lora_B["adapter"](v.lora_A["adapter"](x)))


X = noise.sample((7, 5), seed=1, key=noise.tensor_key("x"), kind="gaussian").double()


def test_a_layer_scale_multiplies_the_layers_output() -> None:
    module = Layers()
    before = module(X)
    space = build_space("layer-scales", {"targets": ["v_proj"]}, module)
    assert torch.equal(module(X), before)
    space.put_("v_proj.layer_scale", torch.tensor([1.5]).double())
    plain = Layers()
    torch.testing.assert_close(module(X), plain.out(1.5 * plain.v_proj(X)))
    space.remove()
    assert torch.equal(module(X), before)
    assert "layer_scale" not in module.v_proj._parameters


def test_singular_values_move_by_the_offsets_and_their_vectors_stay() -> None:
    module = Layers()
    before, weight = module(X), module.v_proj.weight.clone()
    space = build_space("singular-values", {"values": 2}, module)
    assert list(space) == ["v_proj.singular_offsets"]
    assert torch.equal(module(X), before)
    space.put_("v_proj.singular_offsets", torch.tensor([0.5, -0.25]).double())
    u, s, v = torch.linalg.svd(weight, full_matrices=False)
    moved = u @ torch.diag(s + torch.tensor([0.5, -0.25, 0, 0])) @ v
    expected = module.out(X @ moved.T + module.v_proj.bias)
    torch.testing.assert_close(module(X), expected, rtol=0, atol=1e-5)
    space.remove()
    assert torch.equal(module(X), before)


def test_in_an_adapted_layer_the_factors_singular_values_are_tuned() -> None:
    module = Layers(adapted=True)
    space = build_space("singular-values", {}, module)
    assert list(space) == [
        "v_proj.lora_A.adapter.singular_offsets",
        "v_proj.lora_B.adapter.singular_offsets",
    ]
    offsets = torch.tensor([0.3, 0.1]).double()
    space.put_("v_proj.lora_B.adapter.singular_offsets", offsets)
    b = module.v_proj.lora_B["adapter"].weight
    u, s, v = torch.linalg.svd(b, full_matrices=False)
    low = X @ module.v_proj.lora_A["adapter"].weight.T @ (u @ torch.diag(s + offsets) @ v).T
    torch.testing.assert_close(module(X), module.out(module.v_proj.base_layer(X) + low), rtol=0, atol=1e-5)


def test_singular_vectors_do_not_depend_on_the_signs_of_a_decomposition(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = build_space("singular-values", {}, module := Layers())
    first.put_("v_proj.singular_offsets", torch.ones(4).double())
    expected = module(X)
    honest = torch.linalg.svd

    def flipped(matrix: torch.Tensor, full_matrices: bool) -> tuple[torch.Tensor, ...]:
        u, s, v = honest(matrix, full_matrices=full_matrices)
        return -u, s, -v

    monkeypatch.setattr(torch.linalg, "svd", flipped)
    second = build_space("singular-values", {}, other := Layers())
    second.put_("v_proj.singular_offsets", torch.ones(4).double())
    assert torch.equal(other(X), expected)


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"share": 0.2}, "share 0.2 of 4 singular values of 'v_proj' is less than one"),
        ({"targets": ["c_attn"]}, "match no linear layer; there are out, v_proj"),
    ],
)
def test_what_has_no_singular_values_to_tune_is_refused(params: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        build_space("singular-values", params, Layers())


def test_an_adapter_that_was_not_trained_is_refused() -> None:
    module = Layers(adapted=True)
    module.v_proj.lora_B["adapter"].weight.zero_()
    with pytest.raises(ValueError, match=r"lora_B\.adapter' is zero.* train it first"):
        build_space("singular-values", {}, module)


def test_both_spaces_are_checked_without_weights() -> None:
    from zobench.zo.space import SPACES, refusal

    module = transformer().make(torch.float32).to("meta")
    for kind in ("layer-scales", "singular-values"):
        assert refusal(SPACES[kind](), module) == ""
    assert "match no linear layer" in refusal(SPACES["singular-values"](targets=["none"]), module)
