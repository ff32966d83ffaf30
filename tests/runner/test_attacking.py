"""Attacks of a run: one definition of success, names, the curve during training, details of every edit,
identity."""

from __future__ import annotations

import dataclasses
import json

import pyarrow.parquet as pq
import pytest
from runner_fakes import CountTask, FakeParts, Swap, SwapConfig

from zobench.attack_card import AttackCard, Column, Table, from_json
from zobench.attacks.base import AppliedEdit, Measure
from zobench.attacks.metrics import summarize
from zobench.runner.process_cache import ProcessCache
from zobench.spec import Budget, Component, Evaluation, ModelRef, RunSpec
from zobench.store.reader import SchemaVersionError, read, read_parquet
from zobench.store.sql import query
from zobench.store.writer import RunFolder, to_table

LEARNS = Component(name="mezo", params={"lr": 0.3, "epsilon": 1e-2})


class Shy(Swap):
    """Finds nothing to edit in a text that starts with an odd word; tells its edits and its intensity."""

    attacked = 0

    def run(self, victim, examples, context):
        Shy.attacked += self.config.idea
        return super().run(victim, examples, context)

    def intensity(self):
        return "budget", self.config.budget

    def _one(self, victim, example):
        if int(example.text["text"].split()[0]) % 2:
            plain = super()._one(victim, example)
            return dataclasses.replace(
                plain, outcome="skipped", final=plain.clean, edited=plain.original, reason="nothing to edit"
            )
        record = super()._one(victim, example)
        edits = tuple(AppliedEdit("half", i, "NUM", "a", "b") for i in range(record.changed_words))
        return dataclasses.replace(record, edits=edits, size=record.changed_words)

    def null(self):
        return Shy(SwapConfig(self.config.budget, idea=False))


class ShyParts(FakeParts):
    def attack(self, component):
        return Shy(SwapConfig(**component.params))


@pytest.fixture
def bench():
    return ProcessCache(ShyParts())


def values(tables, condition="swap", kind="attack", at=None):
    rows = [r for r in tables["metrics"] if (r["condition"], r["condition_kind"]) == (condition, kind)]
    return {r["metric"]: r["value"] for r in rows if json.loads(r["params"]).get("at") == at}


def test_rows_with_nothing_to_edit_count_neither_as_success_nor_as_failure(do, make_run):
    _, tables = do(make_run(method=LEARNS, attacks=(Component(name="swap"),), attack_items=40))
    rows = [r for r in tables["attacks"] if r["condition_kind"] == "attack"]
    untouched = [r for r in rows if r["clean_correct"] and r["reason"]]
    attacked = [r for r in rows if r["outcome"] != "skipped"]
    assert untouched
    assert attacked
    found = values(tables)
    assert found["success_rate"] == sum(r["outcome"] == "success" for r in attacked) / len(attacked)
    assert found["attacked"] == len(attacked)
    assert found["drop"] == pytest.approx(found["accuracy_before"] - found["accuracy"])
    assert found["pdr"] == pytest.approx(found["drop"] / found["accuracy_before"])
    assert found["net_success_rate"] == found["success_rate"] - values(tables, kind="null")["success_rate"]
    assert found["queries_total"] >= found["queries_unique"] > 0
    assert found["cache_hits"] == found["queries_total"] - found["queries_unique"]


def test_the_metrics_are_those_of_summarize(do, make_run, monkeypatch):
    from zobench.runner import attack_rows

    seen = []
    plain = summarize
    monkeypatch.setattr(attack_rows, "summarize", lambda records: seen.append(plain(records)) or seen[-1])
    _, tables = do(make_run(method=LEARNS, attacks=(Component(name="swap"),)))
    attack, null = values(tables), values(tables, kind="null")
    for summary, found in zip(seen, (attack, null), strict=True):
        assert found["accuracy"] == pytest.approx(summary.accuracy_after)
        assert found["accuracy_before"] == pytest.approx(summary.accuracy_before)
        assert found["success_rate"] == summary.asr
        assert found["queries"] == summary.queries


def test_the_same_attack_twice_under_two_names(do, make_run):
    weak = Component(name="swap", params={"budget": 2}, alias="weak")
    strong = Component(name="swap", params={"budget": 6}, alias="strong")
    _, tables = do(make_run(method=LEARNS, attacks=(weak, strong)))
    assert {r["condition"] for r in tables["attacks"]} == {"weak", "strong"}
    assert {r["attack"] for r in tables["attacks"]} == {"swap"}
    rows = [r for r in tables["metrics"] if r["condition"] == "strong"]
    assert {r["strength"] for r in rows} == {6.0}
    assert {(p["attack"], p["intensity"]) for r in rows if (p := json.loads(r["params"]))} == {
        ("swap", "budget")
    }
    assert values(tables, "strong")["success_rate"] >= values(tables, "weak")["success_rate"]


def test_every_edit_has_its_details(do, make_run):
    _, tables = do(make_run(method=LEARNS, attacks=(Component(name="swap"),)))
    rows = [r for r in tables["attacks"] if r["outcome"] != "skipped"]
    assert all(len(r["edits"]) == r["size"] == r["changed_words"] for r in rows)
    assert rows[0]["edits"][0] == {
        "source": "half", "position": 0, "part_of_speech": "NUM", "before": "a", "after": "b",
    }  # fmt: skip
    assert all(r["edits"] == [] for r in tables["attacks"] if r["outcome"] == "skipped")


def test_attacks_along_the_curve_are_metric_rows(do, make_run):
    attacks = (Component(name="swap"), Component(name="swap", params={"budget": 3}, alias="short"))
    evaluation = Evaluation(at=(20,), attacks_at=(0, 40, 59), attacks_along=("swap",))
    _, tables = do(make_run("nine", attacks=attacks, evaluation=evaluation))
    attacked = [r for r in tables["metrics"] if r["condition_kind"] == "attack" and r["metric"] == "accuracy"]
    points = {(r["condition"], json.loads(r["params"]).get("at")): r["forwards"] for r in attacked}
    assert points == {
        ("swap", 0): 0, ("swap", 40): 36, ("swap", 59): 54, ("swap", None): 54, ("short", None): 54,
    }  # fmt: skip
    assert [r["final"] for r in attacked if json.loads(r["params"]).get("at") is None] == [True, True]
    at_end, late = values(tables), values(tables, at=59)
    assert {k: at_end[k] for k in late} == late
    clean = {json.loads(r["params"])["at"] for r in tables["metrics"] if r["condition_kind"] == "clean"}
    assert clean == {0, 20, 40, 59, 60}
    assert {r["forwards"] for r in tables["attacks"]} == {54}


def test_an_interrupted_curve_goes_on_to_the_same_rows(do, make_run, tmp_path):
    from zobench.runner.execute import Control

    evaluation = Evaluation(attacks_at=(0, 20, 40))
    planned = make_run(method=LEARNS, attacks=(Component(name="swap"),), evaluation=evaluation)
    _, whole = do(planned, tmp_path / "whole")
    steps = iter(range(1000))
    stop = Control(should_stop=lambda: next(steps) == 15)
    outcome, _ = do(planned, tmp_path / "torn", control=stop)
    assert outcome.status == "interrupted"
    _, resumed = do(planned, tmp_path / "torn")
    for at in (0, 20, 40, None):
        assert values(resumed, at=at) == values(whole, at=at)


def test_the_untouched_model_is_attacked_once(do, make_run):
    evaluation = Evaluation(attacks_at=(0,))
    attacks = (Component(name="swap"),)
    Shy.attacked = 0
    _, first = do(make_run(attacks=attacks, evaluation=evaluation))
    assert Shy.attacked == 2
    _, second = do(make_run("nine", attacks=attacks, evaluation=evaluation))
    assert Shy.attacked == 3
    assert values(first, at=0) == values(second, at=0)
    do(make_run(attacks=attacks, evaluation=evaluation, attack_items=11))
    assert Shy.attacked == 5


class Counting(Shy):
    """Counts the halves of its texts, tells how many rows a run was trained on, and compares its settings."""

    card = AttackCard(tables=(Table("halves", "Halves", "", (Column("half", "Won"),), key="Side"),))

    def measures(self, records):
        return [Measure("half:left", sum(r.outcome == "success" for r in records), len(records))]

    def measures_of_training(self, trained):
        assert trained.victim.query(trained.members[:1])
        return [Measure("members", len(trained.members), len(trained.others), params={"fresh": True})]

    @classmethod
    def measures_across(cls, ran):
        return [Measure("settings", len({a.config for a, _ in ran.values()}), len(ran))]


def test_an_attack_brings_numbers_of_its_own_and_its_card_into_the_tables(do, make_run, monkeypatch):
    monkeypatch.setattr(ShyParts, "attack", lambda self, c: Counting(SwapConfig(**c.params)))
    run = make_run(
        method=LEARNS,
        attacks=(
            Component(name="swap", alias="few", params={"budget": 2}),
            Component(name="swap", alias="many", params={"budget": 6}),
        ),
    )
    _, tables = do(run)
    for name in ("few", "many"):
        won = [r["outcome"] == "success" for r in tables["attacks"] if r["condition"] == name]
        both = values(tables, name)["half:left"] + values(tables, name, "null")["half:left"]
        assert both == sum(won) > 0
        assert values(tables, name)["members"] > 0
    (fresh,) = [r for r in tables["metrics"] if (r["metric"], r["condition"]) == ("members", "few")]
    assert json.loads(fresh["params"]) == {
        "attack": "swap", "budget": 2, "intensity": "budget", "fresh": True
    }  # fmt: skip
    assert values(tables, "swap") == {"settings": 2}
    (row,) = tables["runs"]
    assert from_json(row["attack_cards"]) == dict.fromkeys(("few", "many", "swap"), Counting.card)


def test_runs_from_before_keep_their_identity():
    spec = RunSpec(
        model=ModelRef(name="builtin:nano"),
        task=Component(name="nano-topic", params={"k": 16}),
        method=Component(name="mezo", params={"lr": 0.5}),
        seed=3,
        budget=Budget(forwards=60),
        evaluation=Evaluation(at=(0, 20)),
        attacks=(Component(name="char-typos", params={"tries": 3}),),
        attack_items=5,
    )
    assert spec.run_id({"model": "m", "data": "d"}) == "670aeb169298d6117921"
    named = spec.model_copy(update={"attacks": (spec.attacks[0].model_copy(update={"alias": "x"}),)})
    along = spec.model_copy(update={"evaluation": Evaluation(at=(0, 20), attacks_at=(20,))})
    assert len({s.run_id({"model": "m", "data": "d"}) for s in (spec, named, along)}) == 3


def test_an_attacks_table_from_before_is_read_with_nulls(tmp_path):
    folder = RunFolder(tmp_path / "runs" / "a")
    folder.path.mkdir(parents=True)
    row = {"run_id": "a", "condition": "swap", "outcome": "success", "queries": 3}
    folder.finish("done", {"runs": [{"run_id": "a", "status": "done"}], "attacks": [row]})
    path = folder.path / "attacks.parquet"
    old = to_table("attacks", [row]).drop_columns(["attack", "size", "edits", "clean_strict", "final_strict"])
    pq.write_table(old, path)
    (folder.path / "status.json").write_text(
        json.dumps({"schema_version": 1, "status": "done", "tables": {"attacks": path.stat().st_size}})
    )
    assert read(tmp_path).tables["attacks"].select(["queries", "attack", "edits"]).to_pylist() == [
        {"queries": 3, "attack": None, "edits": None}
    ]
    assert query("select count(*) as n from attacks where edits is null", tmp_path)["n"].item() == 1
    pq.write_table(old.replace_schema_metadata(None), path)
    with pytest.raises(SchemaVersionError):
        read_parquet(path, "attacks")


def test_lm_eval_rows_are_attacked_in_a_split_of_their_own(do, make_run, monkeypatch):
    from zobench.tasks import lm_eval_adapter, lm_eval_rows

    task = CountTask(CountTask.Config())

    class Rows:
        """Stands for the harness: its own rows, answered by the model under attack."""

        def __init__(self, lm, name, *, field, include):
            assert (field, include) == ("text", None)
            self.lm = lm
            self.examples = [dataclasses.replace(e, id=f"{name}/{e.id}") for e in task.splits(7).test]

        def predict(self, examples):
            return task.predict(self.lm, examples)

    monkeypatch.setattr(lm_eval_rows, "HarnessRows", Rows)
    monkeypatch.setattr(lm_eval_adapter, "evaluate", lambda *_, **__: {})
    evaluation = Evaluation(lm_eval=("a",), lm_eval_attack={"a": "text"})
    attacks = (Component(name="swap"),)
    _, tables = do(make_run(method=LEARNS, attacks=attacks, attack_items=10, evaluation=evaluation))
    foreign = [r for r in tables["metrics"] if r["task"] == "a"]
    assert {(r["split"], r["final"]) for r in foreign} == {("lm-eval", True)}
    assert {r["condition_kind"] for r in foreign} == {"attack", "null"}
    details = [r for r in tables["attacks"] if r["task"] == "a"]
    assert len(details) == 20
    assert all(r["example_id"].startswith("a/") for r in details)
    own = [r for r in tables["metrics"] if r["task"] != "a" and r["condition_kind"] == "attack"]
    assert {r["split"] for r in own} == {"test"}
