"""The shipped files: correct contents, loading without a network, and sufficient accuracy on a small
sample."""

import json
import statistics
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer

from zobench.data.synthetic.corpus import DATA_VERSION
from zobench.data.synthetic.fewshot import SETS
from zobench.data.synthetic.problem_sets import problem_rows
from zobench.models.language_model import LoadedModel
from zobench.models.loading import load
from zobench.models.nano import TEXT, path
from zobench.models.nano.build import WEIGHTS, file_digest
from zobench.models.nano.gates import solve
from zobench.models.nano.recipe import RECIPE_VERSION, RECIPES
from zobench.spec import ModelRef

MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def nano() -> LoadedModel:
    return load(ModelRef(name="builtin:nano"))


def provenance(name: str) -> dict:
    return json.loads((path(name) / "PROVENANCE.json").read_text())


@pytest.mark.parametrize("name", TEXT)
def test_the_files_are_those_of_the_provenance(name):
    record = provenance(name)
    assert record["digest"] == file_digest(path(name) / WEIGHTS)
    assert record["tokenizer_digest"] == file_digest(path(name) / "tokenizer.json")
    assert record["recipe_version"] == RECIPE_VERSION
    assert record["data_version"] == DATA_VERSION


@pytest.mark.parametrize("name", TEXT)
def test_the_provenance_says_where_from_and_how_good(name):
    record = provenance(name)
    assert record["tokens"] > 0
    assert record["seconds"] > 0
    assert [p["steps"] for p in record["phases"]] == [p.schedule.steps for p in RECIPES[name].phases]
    assert all(p["log"][-1]["step"] == p["steps"] for p in record["phases"])
    assert set(record["machine"]) == {"cpu", "threads", "python", "torch", "transformers", "numpy"}
    assert record["gates"]
    failed = [gate["name"] for gate in record["gates"] if not gate["passed"]]
    assert not failed


@pytest.mark.parametrize("name", TEXT)
def test_transformers_alone_loads_it(name):
    kind = AutoModelForMaskedLM if name == "nano-mlm" else AutoModelForCausalLM
    model = kind.from_pretrained(path(name), dtype=torch.float32, local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(path(name), local_files_only=True)
    assert sum(p.numel() for p in model.parameters()) == provenance(name)["parameters"]
    ids = tokenizer("Q: Tom has 12 pens.", return_tensors="pt")["input_ids"]
    assert tokenizer.decode(ids[0]) == "Q: Tom has 12 pens."
    assert torch.isfinite(model(input_ids=ids).logits).all()


def test_package_data_is_at_most_twelve_megabytes():
    files = [f for f in Path(path("nano")).parent.rglob("*") if f.is_file()]
    assert sum(f.stat().st_size for f in files) <= 12 * MEGABYTE


def test_digits_are_single_tokens_and_label_words_too(nano):
    tokens = nano.tokenizer
    assert [tokens.decode([i]) for i in tokens(" 317")["input_ids"]] == [" 3", "1", "7"]
    for chosen in SETS.values():
        assert all(len(tokens(word)["input_ids"]) == 1 for word in chosen.label_words)


def test_few_shot_prompts_are_short(nano):
    from zobench.data.synthetic.fewshot import pool

    for name, chosen in SETS.items():
        prompts = [chosen.prompt.format(**row.text) for row in pool(name, "test")]
        assert max(len(ids) for ids in nano.tokenizer(prompts)["input_ids"]) <= 24


def test_short_held_out_problems_are_solved(nano):
    rows = [row for row in problem_rows("test") if row.problem.steps <= 2][:40]
    texts = solve(nano, rows)
    right = [
        t.rpartition("#### ")[2].strip() == str(r.problem.answer) for r, t in zip(rows, texts, strict=True)
    ]
    assert len(rows) == 40
    assert statistics.mean(right) >= 0.9


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="did you mean 'nano'"):
        path("nanoo")
