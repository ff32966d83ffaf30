"""The recipe of the built-in model: deterministic, based on its data only, with errors for invalid input."""

import copy
import itertools
import json
import random

import pytest
import torch
from transformers import LlamaForCausalLM

from zobench.data.synthetic.corpus import PROMPT_WEIGHT, documents
from zobench.models.nano import architecture
from zobench.models.nano.build import _fact_batches, build, make_tokenizer, round_parameters
from zobench.models.nano.packing import encoded, masked_batches, packed
from zobench.models.nano.recipe import RECIPES


@pytest.fixture(scope="module")
def tokens():
    return make_tokenizer()


@pytest.mark.slow
def test_two_builds_of_few_steps_give_the_same_file_and_the_same_tokenizer(tmp_path):
    torch.manual_seed(1)
    first = build("nano", tmp_path / "a", steps=3)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    second = build("nano", tmp_path / "b", steps=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert first["digest"] == second["digest"]
    assert first["tokenizer_digest"] == second["tokenizer_digest"]
    assert first["tokens"] == second["tokens"]
    assert json.loads((tmp_path / "a" / "PROVENANCE.json").read_text())["digest"] == first["digest"]


def test_another_seed_gives_other_weights(tmp_path):
    one = build("nano-facts", tmp_path / "a", steps=1, seed=0)
    two = build("nano-facts", tmp_path / "b", steps=1, seed=1)
    assert one["digest"] != two["digest"]


def test_progress_ends_at_the_last_step_and_the_masked_model_builds(tmp_path):
    rows: list[dict[str, float]] = []
    build("nano-mlm", tmp_path, steps=2, progress=rows.append)
    assert [r["step"] for r in rows] == [1, 2] * len(RECIPES["nano-mlm"].phases)


def test_unknown_names_and_no_steps_are_refused(tmp_path):
    with pytest.raises(ValueError, match="did you mean 'nano-mlm'"):
        build("nano-ml", tmp_path)
    with pytest.raises(ValueError, match="at least 1"):
        build("nano", tmp_path, steps=0)


def test_packed_rows_hold_whole_documents_in_the_stream_and_little_padding(tokens):
    pad, end = tokens.pad_token_id, tokens.eos_token_id
    texts = {d.text for d in itertools.islice(documents(5), 4096)}
    padding = total = 0
    for row in itertools.islice(packed(encoded(documents(5), tokens), 128, pad), 60):
        assert len(row.ids) == len(row.weights) == 128
        body = row.ids[: len(row.ids) - row.ids.count(pad)]
        assert body[-1] == end
        found = tokens.decode(body[:-1]).split(tokens.eos_token)
        assert set(found) <= texts
        assert all(w == 0 for i, w in zip(row.ids, row.weights, strict=True) if i == pad)
        padding += row.ids.count(pad)
        total += 128
    assert padding / total < 0.08


def test_answers_weigh_one_and_prompts_less(tokens):
    row = next(r for r in encoded(documents(5), tokens) if "A:" in tokens.decode(r.ids))
    place = next(i for i, w in enumerate(row.weights) if w == 1.0)
    assert tokens.decode(row.ids[:place]).endswith("A:")
    assert set(row.weights[:place]) == {PROMPT_WEIGHT}
    assert set(row.weights[place:]) == {1.0}


def test_the_oracle_sees_the_same_rows_with_no_weight_on_the_forget_set(tokens):
    full = _fact_batches(RECIPES["nano-facts"], 1, tokens)
    oracle = _fact_batches(RECIPES["nano-facts-oracle"], 1, tokens)
    left_out = 0
    for (ids, weights), (same, fewer) in itertools.islice(zip(full, oracle, strict=False), 20):
        assert torch.equal(ids, same)
        seen = fewer.sum(1) > 0
        assert torch.equal(weights[seen], fewer[seen])
        left_out += int((~seen).sum())
    assert left_out > 0


def test_masking_hides_about_15_percent_and_asks_for_exactly_these(tokens):
    rows = packed(encoded(documents(6), tokens), 96, tokens.pad_token_id)
    ids, attention, targets = next(masked_batches(rows, 64, tokens.mask_token_id, random.Random(0)))
    hidden = ids == tokens.mask_token_id
    assert torch.equal(hidden, targets != -100)
    assert 0.13 < float(hidden.sum() / attention.sum()) < 0.17


def test_a_phase_after_another_computes_what_it_would_from_the_saved_file(tmp_path):
    built = architecture.initialise(
        architecture.causal(make_tokenizer(), width=32, layers=1, heads=2, mlp=32), seed=0
    )
    saved = copy.deepcopy(built).bfloat16()
    saved.save_pretrained(tmp_path)
    loaded = LlamaForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    round_parameters(built)
    rows = torch.arange(24).view(2, 12)
    with torch.no_grad():
        assert torch.equal(built(rows).logits, loaded(rows).logits)
