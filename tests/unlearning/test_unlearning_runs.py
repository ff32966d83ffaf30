"""Unlearning in the runner: records, charged cost, stops and scores."""

from __future__ import annotations

import json
import math

import pytest
from unlearning_runs import FORGET, clean, people

from zobench.runner import run_plan
from zobench.spec import Budget, Evaluation, ForgetSet, ModelRef, SpaceRef
from zobench.store.reader import read
from zobench.suite.components import resolved
from zobench.suite.plan import Follower, Plan
from zobench.suite.schema import ExecutorSettings


def test_a_run_records_scores_cost_probes_and_matched_points(make, do):
    outcome, tables = do(make(section={"check_every": 0}))
    assert outcome.status == "done", outcome.error
    row = tables["runs"][0]
    assert (row["task_kind"], row["primary_metric"], row["group"]) == ("unlearning", FORGET, "method")
    assert row["steps"] == 12, "48 forwards hold twelve steps of a gradient and the reference"
    assert row["forwards"] == 48
    assert clean(tables, "backwards") == 12
    assert clean(tables, "reference_forwards") == 12
    assert clean(tables, "distance") > 0
    assert row["peak_memory_bytes"] > 0
    probes = [m for m in tables["metrics"] if m["condition_kind"] == "probe" and m["split"] == "test"]
    assert {m["condition"] for m in probes} == {"none", "relearn", "quantize", "rephrase"}
    relearn = {
        (m["strength"], m["params"]): m["value"]
        for m in probes
        if (m["condition"], m["metric"]) == ("relearn", FORGET)
    }
    assert len(relearn) == 4, "two step counts, two rates"
    assert relearn[0.0, '{"lr": 0.001}'] == relearn[0.0, '{"lr": 0.003}'] == clean(tables, FORGET)
    for name in ("retained", "retain_value_accuracy", "retain_probability"):
        assert any(m["metric"] == name for m in probes), "utility after the probe"
    steps = {m["metric"]: m["value"] for m in probes if m["condition"] == "quantize"}
    assert steps["moved_steps"] > 0 <= steps["moved_above_half"], "|dW| in steps of 4 bits"
    assert {"codes_flipped", "change_kept"} <= set(steps)
    matched = {m["metric"]: m["value"] for m in tables["metrics"] if m["split"] == "matched-retain"}
    assert 0 < matched["position"] <= 1
    assert {m["forwards"] for m in tables["metrics"]} == {48}


def test_the_oracle_scores_what_theory_says(make, do):
    _, tables = do(make("oracle", role="oracle", section={"truth": True}))
    assert clean(tables, "privleak") == 0
    assert clean(tables, "forget_quality_d") == clean(tables, "forget_quality_log10_p") == 0
    assert clean(tables, "distance") > 0
    assert 0 <= clean(tables, "forget_choice_accuracy") <= 1
    assert clean(tables, "forget_lens_1") == clean(tables, "forget_value_accuracy"), (
        "one-token values, last block"
    )
    assert tables["runs"][0]["forwards"] == tables["runs"][0]["steps"] == 0
    assert {m["split"] for m in tables["metrics"]} == {"test"}, "references are not matched to anything"
    _, full = do(make("full model", role="full"))
    assert clean(full, "distance") == 0
    assert clean(full, FORGET) > 5 * clean(tables, FORGET)
    assert full["runs"][0]["weights_digest"] != tables["runs"][0]["weights_digest"]


def test_models_come_back_as_they_were(make, do, bench):
    before = bench.model(ModelRef(name="full")).identity.digest
    for role in ("oracle", "noise", "unlearn"):
        section = {"distance": 1.0} if role == "noise" else {}
        assert do(make(role=role, section=section))[0].status == "done"
    from zobench.models.digest import weights_digest

    assert weights_digest(bench.model(ModelRef(name="full")).module) == before


def test_the_stop_rule_ends_a_run_at_a_check(make, do, bench):
    planned = make(budget=Budget(forwards=4000, batch_size=4), method=("adamw", {"lr": 3e-3}))
    _, tables = do(planned)
    row = tables["runs"][0]
    assert clean(tables, "reached") == 1
    assert row["steps"] % 4 == 0
    assert row["forwards"] < 4000
    facts = bench.facts(planned.spec)
    ids = {r.id for r in facts.split.relearn}
    assert ids.isdisjoint(r.id for r in facts.split.scored), "nothing that is reported decides"
    _, longer = do(
        make(budget=Budget(forwards=row["forwards"] - 4, batch_size=4), method=("adamw", {"lr": 3e-3}))
    )
    assert clean(longer, "reached") == 0, "one step earlier there was no reason to stop"


def test_the_matched_point_is_measured_at_the_level(make, do, bench):
    planned = make(method=("adamw", {"lr": 3e-3}), budget=Budget(forwards=400, batch_size=4))
    _, tables = do(planned)
    found = [
        m["value"]
        for m in tables["metrics"]
        if (m["split"], m["condition"], m["metric"]) == ("matched-forget", "none", FORGET)
    ]
    assert len(found) == 1
    level = bench.facts(planned.spec).forget_level(0.5)
    assert level <= found[0] < level + 0.1
    probed = {m["condition"] for m in tables["metrics"] if m["split"] == "matched-forget"}
    assert probed == {"none", "relearn", "quantize", "rephrase"}


def test_a_noise_control_moves_as_far_as_its_run(make, tmp_path):
    run = make()
    template = make("noise as far as adamw", role="noise", section={"like": "adamw"})
    plan = Plan(
        suite="tiny",
        runs=(run,),
        followers=(Follower(row="adamw", template=template),),
        executor=ExecutorSettings(kind="inline"),
    )
    summary = run_plan(plan, tmp_path, workers=0, progress=False, parts="unlearning_runs:PARTS")
    assert (summary.done, summary.failed) == (2, [])
    tables = read(tmp_path / "runs", ["runs", "metrics"])
    about = tables.runs.set_index("run_id")["row"]
    moved = tables.metrics[tables.metrics["metric"] == "distance"].set_index("run_id")["value"]
    own, control = (moved[about[about == r].index[0]] for r in ("adamw", "noise as far as adamw"))
    assert control == pytest.approx(own, rel=1e-5)
    again = run_plan(plan, tmp_path, workers=0, progress=False, parts="unlearning_runs:PARTS")
    assert (again.done, again.kept) == (2, 2)


def test_two_gradients_cost_two_and_run_with_first_order_methods(make, do):
    outcome, tables = do(make(objective="blur", params={"layer": 0}, method=("sgd", {"lr": 1e-4})))
    assert outcome.status == "done", outcome.error
    assert tables["runs"][0]["steps"] == 6, "48 forwards, 7 a step"
    assert clean(tables, "backwards") == 12


def test_a_task_vector_moves_away_from_what_reinforces(make, do):
    long = Budget(forwards=120, batch_size=4)
    outcome, tables = do(make(objective="task-vector", params={"alpha": 1.0}, budget=long))
    assert outcome.status == "done", outcome.error
    _, full = do(make("full model", role="full"))
    assert clean(tables, FORGET) < clean(full, FORGET)


def test_adapters_are_merged_before_probing(make, do):
    outcome, tables = do(make(space=SpaceRef(kind="lora", params={"r": 2}), method=("adamw", {"lr": 1e-2})))
    assert outcome.status == "done", outcome.error
    assert clean(tables, "distance") > 0
    probes = {m["condition"] for m in tables["metrics"] if m["condition_kind"] == "probe"}
    assert probes == {"none", "relearn", "quantize", "rephrase"}


def test_tuning_sees_the_half_that_is_not_reported(make, do, bench):
    planned = make(purpose="tuning")
    _, tables = do(planned)
    assert {m["split"] for m in tables["metrics"] if m["metric"] == FORGET} == {"validation"}
    assert 0 < clean(tables, "selection_score") < 2
    assert not [m for m in tables["metrics"] if m["condition_kind"] == "probe"]


def test_evaluation_points_make_a_curve_over_forwards(make, do):
    _, tables = do(make(evaluation=Evaluation(at=(0, 16, 32)), section={"check_every": 0, "probes": ()}))
    curve = [
        (json.loads(m["params"])["at"], m["forwards"], m["value"])
        for m in tables["metrics"]
        if m["metric"] == FORGET and m["condition_kind"] == "clean"
    ]
    assert [(at, spent) for at, spent, _ in curve] == [(0, 0), (16, 16), (32, 32), (48, 48)]
    assert all(math.isfinite(v) for *_, v in curve)


def test_requests_are_served_one_after_the_other(make, bench):
    planned = make(section={"forget_set": ForgetSet(requests=2)})
    facts = bench.facts(planned.spec)
    first, second = facts.requests
    assert {r.author for r in first}.isdisjoint(r.author for r in second)
    early = facts.minibatch(planned.spec, 0, ("forget",), 0.0)
    late = facts.minibatch(planned.spec, 0, ("forget",), 0.9)
    assert early.part("forget").ids.tolist() != late.part("forget").ids.tolist()
    coreset = bench.facts(make(section={"forget_set": ForgetSet(share=0.5)}).spec)
    assert len(coreset.requests[0]) == len(people()["forget"]) // 2


def test_generated_answers_and_further_requests_are_metrics_of_a_run(make, do):
    section = {
        "generate": 6,
        "probes": (),
        "forget_set": ForgetSet(requests=2, nested=True),
        "check_every": 0,
    }
    _, tables = do(make(section=section, evaluation=Evaluation(at=(0, 24))))
    names = {m["metric"] for m in tables["metrics"] if m["condition_kind"] == "clean"}
    muse = {"forget_verbmem", "forget_knowmem", "retain_knowmem", "privleak", "requests_served"}
    assert muse < names
    assert {"forget_rouge_l_recall", "forget_open_accuracy", "forget_last_2_words"} < names
    assert {"forget_value_exact_memorization", "forget_value_extraction_strength"} < names
    curve = {
        json.loads(m["params"] or "{}").get("at"): m["value"]
        for m in tables["metrics"]
        if m["metric"] == "requests_served" and m["condition_kind"] == "clean"
    }
    assert curve == {0: 0.0, 24: 1.0, 48: 2.0}, "scores over it are MUSE's axes of size and of repetition"
    untouched = json.loads(make(section={"probes": ()}).spec.canonical())["unlearning"]
    assert {"generate", "scored_other", "depth"}.isdisjoint(untouched), "runs from before keep their identity"


def test_the_depth_score_of_the_references_is_zero_and_one(make, do):
    section = {"probes": (), "depth": True, "match_forget": None, "match_retain": None}
    for role, expected in (("full", 0.0), ("oracle", 1.0)):
        outcome, tables = do(make(role, role=role, section=section))
        assert outcome.status == "done", outcome.error
        assert clean(tables, "forget_uds") == expected


@pytest.mark.wordnet
def test_options_and_edits_are_probes_of_a_run(make, do):
    chosen = (
        resolved("probes", "option-order", {"places": [0, 5]}),
        resolved("probes", "mscr", {"draws": 2, "sources": ["wordnet"]}),
        resolved("probes", "prefix", {}),
    )
    _, tables = do(make(section={"probes": chosen, "match_forget": None, "match_retain": None}))
    found = {
        (m["condition"], m["params"])
        for m in tables["metrics"]
        if m["condition_kind"] == "probe" and m["metric"] == FORGET and m["split"] == "test"
    }
    assert found >= {
        ("option-order", '{"place": 0.0}'),
        ("option-order", '{"place": 5.0}'),
        ("mscr", '{"draw": 0.0}'),
        ("mscr", '{"draw": 1.0}'),
    }
    right = [m["value"] for m in tables["metrics"] if m["metric"] == "forget_choice_accuracy"]
    assert len([m for m in tables["metrics"] if m["condition"] == "option-order"]) > 2
    assert 0 <= min(right) <= max(right) <= 1
