"""The probe of a model: its findings on models with other padding, attention or caches, and that the selected
method gives the same results as one example at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from zobench.models import load
from zobench.models.batching import Groups, Rows, batched, pad
from zobench.models.decoding import begin
from zobench.models.language_model import LoadedModel
from zobench.models.probe import kept_probe, probe
from zobench.models.scoring import causal_logits, logits_at, masked_logits, option_log_likelihoods
from zobench.models.way import Way, usual
from zobench.spec import ModelRef
from zobench.studies import model_kinds

Folder = Callable[[str], Path]
ROWS = [[11, 23, 35, 47, 59], [13, 25, 37], [15, 27, 39, 41, 53, 65, 77, 89], [17, 29, 31]]
TOLERANCE = 1e-4
"""Of logits of order 10, between batch shapes and between cached and whole rows."""

CAUSAL = {
    "llama": Way(0),
    "roberta": Way(2),
    "bart": Way(rows="equal", decoded="equal"),
    "marian": Way(rows="equal", decoded="equal"),
    "recurrent_gemma": Way(0, rows="equal", decoded="equal", selects=False),
    "rwkv": Way(rows="equal", cache="state", decoded="single", selects=False),
    "xlstm": Way(rows="equal", decoded="equal", cache=None, keeps=False),
    "mamba": Way(cache="cache", selects=False),
    "mamba2": Way(cache="cache", selects=False),
    "lfm2": Way(0, selects=False),
    "qwen3_next": Way(0, selects=False),
    "jamba": Way(0, selects=False),
    "falcon_h1": Way(0, selects=False),
    "minimax": Way(0, cache=None),
    "openai-gpt": Way(0, cache=None),
    "trocr": Way(rows="equal", decoded="equal", keeps=False),
    "bloom": Way(),
}
MASKED = {
    "bert": "padded",
    "fnet": "equal",
    "nystromformer": "equal",
    "convbert": "equal",
    "funnel": "equal",
    "yoso": "equal",
    "mobilebert": "equal",
}


@pytest.fixture(scope="module")
def kinds() -> ModuleType:
    return model_kinds


def _tiny(kinds: ModuleType, name: str, architecture: str) -> tuple[Any, Way]:
    changes = {k.name: k for k in reversed(list(kinds.kinds())) if k.architecture == architecture}
    module = kinds.tiny(changes[name])
    return module, probe(module, architecture, name, fill=1, special=(0, 1, 2)).way  # type: ignore[arg-type]


def _given(way: Way, rows: list[list[int]], side: str) -> Rows:
    first = way.first_position if side == "left" else None
    device = torch.device("cpu")
    return batched(rows, mixing=way.rows, fill=1, side=side, device=device, first_position=first)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", CAUSAL)
@torch.inference_mode()
def test_a_causal_batch_scores_and_continues_as_its_rows_alone(kinds: ModuleType, name: str) -> None:
    module, way = _tiny(kinds, name, "causal")
    assert way == CAUSAL[name]
    alone = [module(torch.tensor([r]), use_cache=False).logits[0] for r in ROWS]
    given = _given(way, ROWS, "left")
    together = causal_logits(module, given)[:, -1]
    torch.testing.assert_close(together, torch.stack([a[-1] for a in alone]), atol=TOLERANCE, rtol=0)

    tails = [3, 1, 2, 2]
    targets = torch.tensor([[0] * (3 - n) + r[len(r) - n :] for r, n in zip(ROWS, tails, strict=True)])
    mask = torch.tensor([[0.0] * (3 - n) + [1.0] * n for n in tails])
    sums = option_log_likelihoods(module, given, targets, mask)
    for a, row, n, found in zip(alone, ROWS, tails, sums, strict=True):
        logs = a[-n - 1 : -1].log_softmax(-1)
        wanted = logs.gather(1, torch.tensor(row[-n:])[:, None]).sum()
        torch.testing.assert_close(found, wanted, atol=3 * TOLERANCE, rtol=0)


@pytest.mark.parametrize("name", CAUSAL)
@torch.inference_mode()
def test_rows_decode_as_alone_also_when_others_have_ended(kinds: ModuleType, name: str) -> None:
    module, way = _tiny(kinds, name, "causal")
    one = way.decoded == "single" and way.cache is not None
    rows = [ROWS[2]] if one else [ROWS[1], ROWS[3]] if way.decoded == "equal" else ROWS
    last = len(rows) - 1
    decoding = begin(module, way, rows, fill=1)
    grown = [list(r) for r in rows]
    alive = list(range(len(rows)))
    seen = []
    for step in range(4):
        seen += [(list(grown[i]), logits) for i, logits in zip(alive, decoding.logits, strict=True)]
        tokens = decoding.logits.argmax(-1)
        for i, token in zip(alive, tokens.tolist(), strict=True):
            grown[i].append(token)
        if step == 1 and len(alive) > 1:
            decoding.keep([last])
            alive, tokens = [last], tokens[-1:]
        decoding.advance(tokens)
    for ids, logits in seen:  # not in between: some modules keep states in themselves
        wanted = module(torch.tensor([ids]), use_cache=False).logits[0, -1]
        torch.testing.assert_close(logits, wanted, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("name", MASKED)
@torch.inference_mode()
def test_a_masked_batch_scores_as_its_rows_alone(kinds: ModuleType, name: str) -> None:
    module, way = _tiny(kinds, name, "masked")
    assert way.rows == MASKED[name]
    places = torch.tensor([2, 0, 5, 1])
    found = masked_logits(module, _given(way, ROWS, "right"), places)
    alone = [module(torch.tensor([r])).logits[0, p] for r, p in zip(ROWS, places, strict=True)]
    torch.testing.assert_close(found, torch.stack(alone), atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("name", ["bert", "fnet"])
@torch.inference_mode()
def test_an_encoder_reads_padded_rows_as_alone(kinds: ModuleType, name: str) -> None:
    module, way = _tiny(kinds, name, "encoder")
    from zobench.tasks.encoder import encoder_scores

    inputs = {"padded": _given(way, ROWS, "right"), "classes": 3}
    alone = torch.cat([module(torch.tensor([r]))[:, :3] for r in ROWS])
    torch.testing.assert_close(encoder_scores(module, inputs), alone, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize(
    ("name", "changes", "told"),
    [
        ("bert", (("is_decoder", False),), "BertLMHeadModel.*is_decoder: true"),
        ("roberta", (("is_decoder", False),), "RobertaForCausalLM.*not causal"),
        ("llama", (("is_causal", False),), "LlamaForCausalLM.*not causal"),
        ("xlnet", (), "XLNetLMHeadModel.*not causal"),
        ("xlm", (), "XLMWithLMHeadModel.*not causal"),
    ],
)
def test_a_causal_model_that_sees_later_tokens_is_refused(
    kinds: ModuleType, name: str, changes: tuple[tuple[str, Any], ...], told: str
) -> None:
    module = kinds.tiny(kinds.ModelKind(name, "causal", changes))
    with pytest.raises(ValueError, match=told):
        probe(module, "causal", name, fill=1, special=(0, 1, 2))


@pytest.mark.parametrize(
    ("name", "right"), [("prophetnet", False), ("bart", True), ("rwkv", True), ("xlstm", True)]
)
def test_padding_behind_rows_is_tried_where_padding_before_them_fails(
    kinds: ModuleType, name: str, right: bool
) -> None:
    _, way = _tiny(kinds, name, "causal")
    assert way.right == right
    assert ("no unlearning" in str(way)) != right


@torch.inference_mode()
def test_columns_that_were_not_asked_for_are_cut(kinds: ModuleType) -> None:
    module, way = _tiny(kinds, "trocr", "causal")
    rows = torch.tensor([ROWS[2], ROWS[2][::-1]])
    assert not way.keeps
    whole = module(rows, use_cache=False).logits
    assert module(rows, use_cache=False, logits_to_keep=3).logits.shape == whole.shape
    assert torch.equal(causal_logits(module, {"input_ids": rows}, keep=3), whole[:, -3:])
    asked = torch.tensor([1, 4])
    assert torch.equal(logits_at(module, {"input_ids": rows}, asked), whole[:, asked])


def test_a_probe_of_a_usual_model_is_eleven_small_forwards(tiny_folder: Folder) -> None:
    module = load(ModelRef(name=str(tiny_folder("llama")))).module
    sizes: list[int] = []
    hook = module.register_forward_pre_hook(
        lambda m, a, k: sizes.append((a[0] if a else k["input_ids"]).numel()), with_kwargs=True
    )
    state = torch.get_rng_state()
    probed = probe(module, "causal", "tiny", fill=2, special=(0, 1, 2, 3))
    hook.remove()
    assert len(sizes) == 11
    assert max(sizes) <= 24
    assert probed.way == usual(module)
    assert all(f.passed for f in probed.findings)
    assert probed.as_record()["way"] == ["as usual"]
    assert torch.equal(torch.get_rng_state(), state)


def test_a_probe_is_kept_by_the_digest_of_the_weights(tiny_folder: Folder) -> None:
    first = load(ModelRef(name=str(tiny_folder("gpt2"))))
    assert load(ModelRef(name=str(tiny_folder("gpt2")))).probed is first.probed
    other = kept_probe(first.module, "causal", "tiny", digest="another", fill=2, special=(0, 1, 2, 3))
    assert first.probed is not None
    assert other is not first.probed
    assert other.way == first.probed.way


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_probed_in_float32(kinds: ModuleType, dtype: str) -> None:
    """Rounding of bfloat16 would hide positions that are two off."""
    module = kinds.tiny(kinds.ModelKind("roberta", "causal", (("is_decoder", True),))).to(
        getattr(torch, dtype)
    )
    probed = probe(module, "causal", "tiny", fill=1, special=(0, 1, 2))
    assert probed.way == CAUSAL["roberta"]
    assert {p.dtype for p in module.parameters()} == {getattr(torch, dtype)}


@pytest.mark.parametrize(
    ("name", "revision"),
    [("llama", 1), ("bloom", 1), ("jamba", 1), ("roberta", 2), ("bart", 2), ("mamba", 2)],
)
def test_a_way_that_was_wrong_before_has_a_revision_of_its_own(
    kinds: ModuleType, name: str, revision: int
) -> None:
    module, way = _tiny(kinds, name, "causal")
    assert way.revision(module) == revision


def test_weights_that_are_not_finite_are_refused(kinds: ModuleType) -> None:
    module = kinds.tiny(kinds.ModelKind("llama", "causal"))
    with torch.no_grad():
        module.get_input_embeddings().weight.fill_(torch.nan)
    with pytest.raises(ValueError, match="not finite"):
        probe(module, "causal", "tiny", fill=1)


def test_groups_come_back_in_the_order_of_the_rows() -> None:
    rows = [[5, 6, 7], [8], [9, 10, 11], [12, 13], [14]]
    given = batched(rows, mixing="equal", fill=0, side="left", device=torch.device("cpu"))
    assert isinstance(given, Groups)
    assert [p["input_ids"].tolist() for p in given.parts] == [
        [rows[0], rows[2]],
        [rows[1], rows[4]],
        [rows[3]],
    ]
    assert torch.cat(given.rows)[given.back].tolist() == [0, 1, 2, 3, 4]
    same = batched([[1, 2], [3, 4]], mixing="equal", fill=0, side="left", device=torch.device("cpu"))
    assert not isinstance(same, Groups)


def test_a_generated_text_is_the_librarys_for_positions_behind_the_padding_index(
    kinds: ModuleType, tiny_folder: Folder
) -> None:
    """A single prompt too: its first decoded token stands behind the padding index as well."""
    tokenizer = load(ModelRef(name=str(tiny_folder("llama")))).tokenizer
    size = {"vocab_size": len(tokenizer), "pad_token_id": 2, "eos_token_id": 1}
    module = kinds.tiny(kinds.ModelKind("roberta", "causal", tuple({**size, "is_decoder": True}.items())))
    probed = probe(module, "causal", "tiny", fill=2, special=(0, 1, 2, 3))
    identity = load(ModelRef(name=str(tiny_folder("llama")))).identity
    lm = LoadedModel(module, tokenizer, identity, "causal", 60, probed.way, probed)
    prompts = ["the film was", "It", "premise and hypothesis"]
    for asked in (prompts, prompts[:1]):
        for text, prompt in zip(lm.generate(asked, max_new_tokens=6), asked, strict=True):
            ids = tokenizer(prompt)["input_ids"]
            for _ in range(6):
                ids.append(int(module(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
                if ids[-1] == tokenizer.eos_token_id:
                    break
            new = ids[len(tokenizer(prompt)["input_ids"]) :]
            assert text == tokenizer.decode(
                [i for i in new if i != tokenizer.eos_token_id], skip_special_tokens=True
            )


def test_positions_are_given_to_padded_rows_alone() -> None:
    device = torch.device("cpu")
    padded = pad([[7, 8, 9], [5]], fill=1, side="left", device=device, first_position=2)
    assert padded["position_ids"].tolist() == [[2, 3, 4], [2, 2, 2]]
    assert "position_ids" not in pad([[7, 8], [5, 6]], fill=1, side="left", device=device, first_position=2)
