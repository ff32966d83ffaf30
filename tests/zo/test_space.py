"""Parameter spaces: what is tuned, ties once, snapshots to the bit, adapters that start as the identity,
errors."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from zobench.zo import Engine, Objective, SpaceConfig, build_space, noise
from zobench.zo.conformance.problems import transformer
from zobench.zo.methods.mezo import Mezo
from zobench.zo.methods.zosa import Zosa
from zobench.zo.space.lora import merged

IDS = torch.arange(24).reshape(2, 12) % 50


def llama(attention: str = "eager"):
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=50,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        attn_implementation=attention,
        eos_token_id=None,
        bos_token_id=None,
        pad_token_id=49,
    )
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return LlamaForCausalLM(config).eval()


def objective_of(module: nn.Module) -> Objective:
    objective = Objective(module, lambda m, ids: m(input_ids=ids, labels=ids).loss)
    objective.set_batch(IDS, sequences=2, tokens=24)
    return objective


def test_full_counts_tied_tensors_once_under_their_first_name() -> None:
    module = transformer().make(torch.float32)
    space = build_space("full", {}, module)
    assert "embedding.weight" in space.tensors
    assert "head.weight" not in space.tensors
    assert space.numel == sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("kind", "params", "expected"),
    [
        ("full", {"exclude": ["layers.*"]}, {"embedding.weight"}),
        ("names", {"include": ["*.up.*"], "exclude": ["*bias", "layers.0.*"]}, {"layers.1.up.weight"}),
    ],
)
def test_names(kind: str, params: dict, expected: set[str]) -> None:
    assert set(build_space(kind, params, transformer().make(torch.float32)).tensors) == expected


def test_bias_and_last_layer() -> None:
    module = transformer().make(torch.float32)
    assert all(n.endswith("bias") for n in build_space("bias", {}, module))
    assert all(n.startswith("layers.1.") for n in build_space("last-layer", {}, module))
    assert len(build_space("last-layer", {"layers": 2}, module)) == 2 * len(
        build_space("last-layer", {}, module)
    )


def test_random_mask_has_exactly_the_share_asked_for() -> None:
    """A quantile of uniform draws, not a Gaussian threshold: the share is the one that was asked for."""
    module = nn.Linear(100, 50)
    for share in (0.1, 0.5, 0.9):
        space = build_space("masked", {"share": share, "include": ["weight"]}, module)
        assert space.numel == round(share * 5000)
    other = build_space("masked", {"share": 0.5, "include": ["weight"], "seed": 1}, module)
    first = build_space("masked", {"share": 0.5, "include": ["weight"]}, module)
    assert not torch.equal(first.indices("weight"), other.indices("weight"))


def test_snapshot_restore_digest_state() -> None:
    module = transformer().make(torch.bfloat16)
    space = build_space("masked", {"share": 0.2}, module)
    before, digest = space.snapshot(), space.digest()
    for name in space:
        space.put_(name, space.entries(name) + 1)
    assert space.digest() != digest
    space.restore(before)
    assert space.digest() == digest
    with pytest.raises(ValueError, match="another space"):
        space.load_state_dict({"x": torch.zeros(1)})
    with pytest.raises(ValueError, match="has shape"):
        space.load_state_dict({name: torch.zeros(1, 1) for name in space})


def test_digest_sees_dtype_and_name() -> None:
    one, two = nn.Linear(2, 1, bias=False), nn.Linear(2, 1, bias=False)
    one.weight.data.zero_()
    two.weight.data.zero_()
    two.double()
    assert build_space("full", {}, one).digest() != build_space("full", {}, two).digest()


def test_lora_starts_as_the_identity_and_learns_like_its_definition() -> None:
    module = llama()
    with torch.no_grad():
        before = module(input_ids=IDS).logits
    state = torch.get_rng_state()
    space = build_space("lora", {"r": 4, "alpha": 8}, module)
    assert torch.equal(state, torch.get_rng_state())
    assert space.numel == 2 * (4 * (16 + 16) + 4 * (16 + 8))
    with torch.no_grad():
        assert torch.equal(module(input_ids=IDS).logits, before)
        for name in space:
            space.put_(
                name, noise.sample(space.shape(name), seed=1, key=noise.tensor_key(name), kind="gaussian")
            )
        adapted = module(input_ids=IDS).logits
        weights = merged(space, 8 / 4)
    space.remove()
    assert set(weights) <= set(module.state_dict())
    module.load_state_dict({**module.state_dict(), **weights})
    with torch.no_grad():
        assert torch.allclose(module(input_ids=IDS).logits, adapted, atol=1e-4)


def test_lora_b_only_and_removal() -> None:
    module = llama()
    names = [n for n, _ in module.named_parameters()]
    space = build_space("lora", {"freeze_a": True}, module)
    assert all(n.endswith("lora_B") for n in space)
    space.remove()
    assert [n for n, _ in module.named_parameters()] == names
    build_space("lora", {}, module)


def test_prefix_starts_from_real_activations() -> None:
    """With the very tokens it starts from put in front, the base model gives the same logits."""
    from zobench.zo.space.prefix import random_tokens

    module = llama()
    tokens = random_tokens(3, 50, 0, torch.device("cpu"))
    with torch.no_grad():
        expected = module(input_ids=torch.cat([tokens.expand(2, -1), IDS], dim=1)).logits[:, 3:]
        space = build_space("prefix", {"tokens": 3}, module)
        got = module(input_ids=IDS).logits
    assert torch.allclose(got, expected, atol=1e-5)
    assert space.numel == 2 * 2 * 2 * 3 * 4


def test_prompt_starts_from_real_tokens_and_keeps_the_positions_asked_for() -> None:
    from zobench.zo.space.prefix import random_tokens

    module = llama()
    tokens = random_tokens(3, 50, 0, torch.device("cpu"))
    with torch.no_grad():
        expected = module(input_ids=torch.cat([tokens.expand(2, -1), IDS], dim=1)).logits[:, 3:]
        space = build_space("prompt", {"tokens": 3}, module)
        out = module(input_ids=IDS, attention_mask=torch.ones_like(IDS), labels=IDS)
    assert torch.allclose(out.logits, expected, atol=1e-5)
    assert space.numel == 3 * 16
    plain = nn.functional.cross_entropy(out.logits[:, :-1].flatten(0, 1), IDS[:, 1:].flatten())
    assert abs(float(out.loss) - float(plain)) < 0.5


@pytest.mark.parametrize("kind", ["prefix", "prompt"])
def test_generation_with_prefixes_follows_step_by_step_scoring(kind: str) -> None:
    module = llama()
    build_space(kind, {"tokens": 3}, module)
    ids = IDS[:1, :4]
    with torch.no_grad():
        got = module.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=5, do_sample=False)
        grown = ids
        for _ in range(5):
            grown = torch.cat([grown, module(input_ids=grown).logits[:, -1:].argmax(-1)], dim=1)
    assert got.tolist() == grown.tolist()


@pytest.mark.parametrize("kind", ["full", "lora", "prefix", "prompt", "masked", "last-layer"])
def test_mezo_runs_on_a_hugging_face_model_in_every_space(kind: str) -> None:
    digests = set()
    for mode in ("snapshot", "streamed"):
        module = llama()
        space = build_space(kind, {}, module)
        method = Mezo(Mezo.Config(lr=1e-3), space, seed=0, engine=Engine(mode=mode))
        objective = objective_of(module)
        before = space.digest()
        records = [method.step(objective) for _ in range(2)]
        assert space.digest() != before
        assert all(r.moved for r in records)
        digests.add(space.digest())
    assert len(digests) == 1


def test_zosa_learns_a_soft_prompt() -> None:
    """Sharpness-aware steps on 3 virtual tokens; the model's own weights stay as they are."""
    module = llama()
    space = build_space("prompt", {"tokens": 3}, module)
    own = {n: p.detach().clone() for n, p in module.named_parameters() if n not in space.tensors}
    config = Zosa.Config(lr=2e-4, epsilon=0.01, rho=1e-4, n=4)
    method, objective = Zosa(config, space, seed=0), objective_of(module)
    before = objective.loss()
    records = [method.step(objective) for _ in range(30)]
    assert all(r.moved and r.forwards == 10 for r in records)
    assert objective.loss() < before - 0.01, "an untrained model: its prompt can do little"
    assert all(torch.equal(p, own[n]) for n, p in module.named_parameters() if n in own)


@pytest.mark.parametrize("kind", ["full", "lora", "prefix", "prompt"])
def test_jvp_on_a_hugging_face_model_is_the_gradient_along_the_direction(kind: str) -> None:
    module = llama()
    space = build_space(kind, {}, module)
    if kind == "lora":
        for name in space:
            space.put_(
                name, noise.sample(space.shape(name), seed=1, key=noise.tensor_key(name), kind="gaussian")
            )
    objective = objective_of(module)
    direction = Engine().bind(space, 0).gaussian()
    loss, slope = objective.jvp({name: direction.tensor(name, 4) for name in space})
    again, grads = objective.gradient(space.tensors)
    assert loss == pytest.approx(again, rel=1e-5)
    along = sum(float((direction.tensor(n, 4).double() * grads[n].double()).sum()) for n in grads)
    assert slope == pytest.approx(along, rel=1e-3)
    assert objective.meter.forwards == 2 + 3


@pytest.mark.parametrize(
    ("kind", "params", "message"),
    [
        ("ful", {}, "did you mean 'full'"),
        ("nothing-like-it", {}, "valid: bias, codes, conv-scales, fake-quant, full"),
        ("lora", {"rank": 8}, "has no parameter 'rank'"),
        ("lora", {"r": 0}, "space 'lora': r must be a whole number of at least 1, not 0"),
        ("lora", {"targets": "q_proj"}, "targets must be a non-empty list"),
        ("lora", {"targets": ["nope"]}, "match no linear layer; there are down"),
        ("names", {}, "include"),
        ("names", {"include": ["nope*"]}, "match none of"),
        ("masked", {"share": 0}, r"share must be a number in \(0, 1\]"),
        ("masked", {"indices": {"embedding.weight": [3, 1]}}, "sorted, unique"),
        ("masked", {"indices": {"embedding.weight": [999]}}, "below 88"),
        ("masked", {"indices": {"nope": [1]}}, "no parameter named 'nope'"),
        ("prefix", {"tokens": 0}, "tokens must be"),
        ("prompt", {"tokens": -1}, "tokens must be"),
        ("last-layer", {"layers": 0}, "layers must be"),
        ("full", {"exclude": ["*"]}, "no parameter is tuned"),
    ],
)
def test_errors_name_what_is_wrong(kind: str, params: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_space(kind, params, transformer().make(torch.float32))


def test_planning_needs_no_module() -> None:
    SpaceConfig("lora", {"r": 4}).parsed()
    with pytest.raises(ValueError, match="r must be"):
        SpaceConfig("lora", {"r": -1}).parsed()


def test_locate_walks_the_tuned_entries_in_order() -> None:
    module = transformer().make(torch.float32)
    space = build_space("masked", {"share": 0.1}, module)
    there = [(name, i) for name in space for i in range(space.size(name))]
    assert [space.locate(position) for position in range(space.numel)] == there
    for outside in (-1, space.numel):
        with pytest.raises(ValueError, match="not among"):
            space.locate(outside)
