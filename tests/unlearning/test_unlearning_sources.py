"""Data sources of unlearning suites, and the stated properties of the shipped suites."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from zobench.pair import Pair
from zobench.parameters import configure
from zobench.suite import expand, load
from zobench.unlearning.forget_sets import halves
from zobench.unlearning.sources import SOURCES

ROOT = Path(__file__).resolve().parents[2]


def source(name, **params):
    return configure(SOURCES[name], params)


def lines(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))


def test_muse_questions_are_read_from_a_folder(tmp_path):
    asked = [{"question": f"Who wrote {i}?", "answer": f"Nobody wrote {i}."} for i in range(4)]
    lines(tmp_path / "knowmem" / "forget_qa.json", asked)
    (tmp_path / "knowmem" / "retain_qa.json").write_text(json.dumps(asked[:2]))
    splits = source("muse", folder=str(tmp_path)).load()
    assert [r.answer for r in splits.forget] == [f"Nobody wrote {i}." for i in range(4)]
    assert len(splits.retain) == 2
    assert len(halves(splits.forget, 0).scored) == 2, "rows without authors can be halved"
    with pytest.raises(ValueError, match="no file knowmem/forget_qa"):
        source("muse", folder=str(tmp_path / "knowmem")).load()


def test_wmdp_choices_become_one_right_and_three_wrong_answers(tmp_path):
    rows = [{"question": "Which?", "choices": ["a", "b", "c", "d"], "answer": 2}] * 3
    folder = tmp_path / "wmdp-bio"
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(rows), folder / "test-0.parquet")
    lines(tmp_path / "all" / "test.jsonl", rows)
    splits = source("wmdp", folder=str(tmp_path), retain=str(tmp_path), limit=2).load()
    assert len(splits.forget) == len(splits.retain) == 2
    assert (splits.forget[0].answer, splits.forget[0].perturbed_answers) == ("c", ("a", "b", "d"))


def test_tofu_is_found_under_the_data_folder(real_data):
    splits = source("tofu", authors=20, holdout=2).load()
    assert [len(x) for x in (splits.forget, splits.retain, splits.holdout)] == [40, 320, 40]
    few = source("tofu", authors=5, forgotten=1).load()
    assert few.forget == splits.forget[20:]
    assert len(few.retain) == 80
    with pytest.raises(ValueError, match="of 5 authors 5 to forget"):
        source("tofu", authors=5, forgotten=5)


def test_a_folder_that_is_not_there_is_named():
    with pytest.raises(ValueError, match=r"no folder './nowhere'"):
        source("muse", folder="./nowhere").load()


def test_the_quick_suite_is_what_the_docs_say():
    plan = expand(load(ROOT / "suites" / "unlearning.yaml"))
    methods = [r for r in plan.runs if r.group == "method"]
    assert len(methods) == 2 * 3 * 2, "objectives, optimizers, seeds"
    assert {r.spec.task.name for r in methods} == {"npo", "grad-diff"}
    section = methods[0].spec.unlearning
    assert len(section.probes) == 4
    relearn = next(p for p in section.probes if p.name == "relearn").params
    assert max(relearn["steps"]) == 100
    assert len(relearn["rates"]) == 2
    assert len(plan.followers) == len(methods), "a noise control for every run"
    assert {r.row for r in plan.runs if r.group == "control"} == {"full model", "oracle"}


def test_the_whole_grid_is_large_enough_and_evenly_tuned():
    plan = expand(load(ROOT / "suites" / "unlearning-full.yaml"))
    assert len({s.task for s in plan.studies}) >= 4
    assert len({s.row for s in plan.studies}) >= 5
    assert {len(s.final_templates) for s in plan.studies} == {3}
    assert {s.size for s in plan.studies} == {3}
    assert len(plan.studies[0].final_templates[0].spec.unlearning.probes) >= 8
    seeds = {t.spec.seed for s in plan.studies for t in s.final_templates}
    assert seeds.isdisjoint({seed for s in plan.studies for seed in s.seeds})


def test_a_pair_starts_equal_sees_the_same_rows_and_differs_by_the_forget_set(tmp_path):
    from unlearning_runs import write_files

    from zobench.runner.pairs import train_pair

    splits = source("files", **write_files(tmp_path)).load()
    pair = Pair(width=16, layers=1, heads=2, mlp=24, vocabulary=400, steps=3, batch=24)
    record = train_pair(pair, splits, tmp_path / "pair")
    assert record["rows"] == len(splits.forget) + len(splits.retain)
    weights = [(tmp_path / "pair" / n / "model.safetensors").read_bytes() for n in ("full", "oracle")]
    assert weights[0] != weights[1]
    train_pair(pair, splits, tmp_path / "again")
    assert (tmp_path / "again" / "full" / "model.safetensors").read_bytes() == weights[0]


def test_a_pair_can_start_from_a_given_model(tmp_path):
    from safetensors.torch import load_file
    from unlearning_runs import write_files

    from zobench.models.loading import load
    from zobench.runner.pairs import train_pair
    from zobench.spec import ModelRef

    splits = source("files", **write_files(tmp_path)).load()
    pair = Pair(base="builtin:nano-facts", steps=2, batch=24, lr=1e-4)
    train_pair(pair, splits, tmp_path / "pair")
    base = load(ModelRef(name=pair.base))
    for name in ("full", "oracle"):
        tuned = load_file(tmp_path / "pair" / name / "model.safetensors")
        moved = [(tuned[k] - v).abs().max().item() for k, v in base.module.state_dict().items() if k in tuned]
        assert len(moved) > 10
        assert 0 < max(moved) < 1e-2
    ours = load(ModelRef(name=str(tmp_path / "pair" / "full"))).tokenizer
    assert ours("Who is she?").input_ids == base.tokenizer("Who is she?").input_ids


def test_a_pair_computed_in_bfloat16_keeps_its_weights_in_float32(tmp_path):
    from safetensors.torch import load_file
    from unlearning_runs import write_files

    from zobench.runner.pairs import train_pair

    splits = source("files", **write_files(tmp_path)).load()
    splits = dataclasses.replace(splits, other={"world": splits.retain[:3]})
    taught = {}
    for compute in (None, "bfloat16"):
        pair = Pair(base="builtin:nano-facts", steps=2, batch=24, lr=1e-4, compute=compute, further=False)
        record = train_pair(pair, splits, tmp_path / str(compute))
        assert record["rows"] == len(splits.forget) + len(splits.retain), "further domains are not taught"
        taught[compute] = load_file(tmp_path / str(compute) / "full" / "model.safetensors")
    for name, precise in taught[None].items():
        quick = taught["bfloat16"][name]
        assert quick.dtype == torch.float32
        assert (quick - precise).abs().max() < 3e-4, "two steps of 1e-4, in either direction"
    assert any(not torch.equal(v, v.bfloat16().float()) for v in taught["bfloat16"].values())
    assert any(not torch.equal(v, taught[None][n]) for n, v in taught["bfloat16"].items())


def test_rows_that_are_left_out_move_no_other(tmp_path):
    from unlearning_runs import people, tokenizer

    from zobench.unlearning.minibatches import passes_over

    rows = [*people()["forget"], *people()["retain"]]
    gone = {r.id for r in people()["forget"]}
    whole = passes_over(tokenizer(), rows, size=6, count=4, seed=0)
    part = passes_over(tokenizer(), rows, size=6, count=4, seed=0, left_out=gone)
    assert len(whole) == len(part) == 4
    for a, b in zip(whole, part, strict=True):
        long, short = ({tuple(i[m].tolist()) for i, m in zip(t.ids, t.real, strict=True)} for t in (a, b))
        assert short <= long
