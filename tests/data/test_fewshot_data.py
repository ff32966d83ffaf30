"""Real examples from local files under both protocols, and the messages if the files are missing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from zobench.data.example import Example
from zobench.data.fewshot import pools
from zobench.data.files import json_lines, labelled_lines
from zobench.data.math_problems import problems
from zobench.data.sampling import DATA_SEEDS, mezo_opt, mezo_roberta
from zobench.data.superglue import examples

POOL = [Example(id=f"r{i}", text={"sentence": str(i)}, label=i % 3) for i in range(200)]
HELD = [Example(id=f"h{i}", text={"sentence": str(i)}, label=i % 3) for i in range(50)]


def test_mezo_opt_draws_one_permutation_and_selects_on_its_last_rows() -> None:
    splits = mezo_opt(POOL, HELD, 7, train=60, dev=20, test=30)
    np.random.seed(7)
    state = np.random.get_state()
    order = np.random.permutation(200)[:80]
    assert [e.id for e in [*splits.train, *splits.validation]] == [f"r{i}" for i in order]
    assert len(splits.validation) == 20
    np.random.seed(7)
    assert [e.id for e in splits.test] == [f"h{i}" for i in np.random.permutation(50)[:30]]
    np.random.set_state(state)
    mezo_opt(POOL, HELD, 3, train=5, dev=5, test=5)
    assert np.array_equal(np.random.get_state()[1], state[1])
    with pytest.raises(ValueError, match="lower dev"):
        mezo_opt(POOL, HELD, 0, train=1, dev=300, test=5)


def test_mezo_roberta_draws_k_per_class_under_the_published_seeds() -> None:
    for run_seed, data_seed in enumerate(DATA_SEEDS):
        splits = mezo_roberta(POOL, HELD, run_seed, k=8, test=10)
        assert splits == mezo_roberta(POOL, HELD, data_seed, k=8, test=10)
        for rows in (splits.train, splits.validation):
            assert Counter(e.label for e in rows) == {0: 8, 1: 8, 2: 8}
        assert not {e.id for e in splits.train} & {e.id for e in splits.validation}
    digests = {mezo_roberta(POOL, HELD, s, k=8, test=10).digest() for s in range(5)}
    assert len(digests) == 5
    with pytest.raises(ValueError, match="too few"):
        mezo_roberta(POOL, HELD, 0, k=40, test=10)


ROWS = {
    "sst2": (6920, 872, 2),
    "sst5": (8544, 2210, 5),
    "trec": (5452, 500, 6),
    "mr": (8662, 2000, 2),
    "mpqa": (8606, 2000, 2),
    "rte-pascal": (1767, 2400, 2),
}


@pytest.mark.parametrize("task", ROWS)
def test_local_sets_have_their_published_sizes(
    task: str, real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOBENCH_DATA", str(real_data))
    found = pools(task, "local")
    train, held_out, classes = ROWS[task]
    assert (len(found.train), len(found.held_out)) == (train, held_out)
    assert {e.label for e in found.train} == set(range(classes))
    ids = [e.id for e in [*found.train, *found.held_out]]
    assert len(set(ids)) == len(ids)
    assert all(text.strip() for e in found.held_out for text in e.text.values())


def test_trec_classes_follow_the_fine_file(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOBENCH_DATA", str(real_data))
    coarse = ["DESC", "ENTY", "ABBR", "HUM", "LOC", "NUM"]
    fine = (real_data / "sentence_classification/TREC.fine.test.txt").read_text(encoding="latin-1")
    named = [line.split(":")[0] for line in fine.split("\n") if line]
    assert [coarse[e.label or 0] for e in pools("trec", "local").held_out] == named


@pytest.mark.parametrize("task", ["rte", "cb", "boolq", "wsc", "wic", "multirc", "copa", "record"])
def test_fewglue_files_hold_training_rows_only(
    task: str, real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOBENCH_DATA", str(real_data))
    found = pools(task, "local")
    assert found.held_out == []
    assert len(found.train) >= 32
    assert all(e.label is not None for e in found.train)


def test_hub_rows_and_fewglue_rows_give_the_same_examples() -> None:
    flat = {"premise": "p", "hypothesis": "h", "label": 1}
    named = {**flat, "label": "not_entailment"}
    assert next(examples("rte", "0", flat)) == next(examples("rte", "0", named))
    nested = {
        "passage": {
            "text": "Ann met Bob.",
            "entities": [{"start": 0, "end": 2}, {"start": 8, "end": 10}, {"start": 0, "end": 2}],
        },
        "qas": [{"query": "@placeholder left", "idx": 1, "answers": [{"text": "Bob"}]}],
    }
    got = next(examples("record", "0", nested))
    assert (got.candidates, got.label, got.meta["right"]) == (("Ann", "Bob"), 1, (1,))
    with pytest.raises(ValueError, match="does not have the expected form"):
        next(examples("cb", "0", {"premise": "p"}))


def test_math_sets(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOBENCH_DATA", str(real_data))
    gsm = problems("gsm8k", "test", "local")
    assert len(gsm) == 1319
    assert all((e.answer or "").lstrip("-").isdecimal() for e in gsm)
    assert str(gsm[0].meta["solution"]).endswith(f"#### {gsm[0].answer}")
    assert not any("<<" in str(e.meta["solution"]) for e in gsm)
    assert len(problems("math500", "test", "local")) == 500
    plus = problems("gsm-plus", "test", "local")
    assert sum(e.answer == "None" for e in plus) == 300
    assert len(problems("gsm-ic", "test", "local")) == 1000
    assert problems("math500", "train", "local") == []


def test_a_missing_file_is_named_with_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZOBENCH_DATA", raising=False)
    with pytest.raises(ValueError, match=r"stsa\.binary\.train\.txt: set ZOBENCH_DATA"):
        pools("sst2", "local")
    monkeypatch.setenv("ZOBENCH_DATA", str(tmp_path))
    with pytest.raises(ValueError, match=r"has no gsm8k/test\.jsonl"):
        problems("gsm8k", "test", "local")
    with pytest.raises(ValueError, match="not on the hub under a known name"):
        pools("mpqa", "hub")


def test_malformed_files_are_named_with_their_line(tmp_path: Path) -> None:
    lines = tmp_path / "rows.txt"
    lines.write_text("1 fine\nbroken line\n")
    with pytest.raises(ValueError, match=r"rows\.txt:2: expected 'LABEL text'"):
        list(labelled_lines(lines))
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"a": 1}\n[1]\n')
    with pytest.raises(ValueError, match=r"rows\.jsonl:2: expected an object"):
        list(json_lines(rows))
    rows.write_text('{"a": \n')
    with pytest.raises(ValueError, match=r"rows\.jsonl:1: not JSON"):
        list(json_lines(rows))
    odd = tmp_path / "latin.txt"
    odd.write_bytes("0 a\x85b\n1 caf\xe9\n".encode("latin-1"))
    assert [t for _, _, t in labelled_lines(odd, encoding="latin-1")] == ["a\x85b", "café"]
