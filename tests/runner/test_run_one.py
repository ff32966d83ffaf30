"""A single run: budget, evaluation points, data order, baselines, attacks, failures."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
import torch
from runner_fakes import PROBED

from zobench.runner.execute import Control
from zobench.spec import Budget, Component, Evaluation, ModelRef

POINTS = (0, 20, 40, 60)


def points(rows):
    return {json.loads(r["params"])["at"]: r["forwards"] for r in rows if r["metric"] == "accuracy"}


def clean(tables):
    return [r for r in tables["metrics"] if r["condition_kind"] == "clean"]


def test_two_forwards_a_step(do, make_run):
    outcome, tables = do(make_run())
    assert outcome.status == "done"
    assert outcome.fresh
    (row,) = tables["runs"]
    assert (row["forwards"], row["steps"], row["sequences"]) == (60, 30, 480)
    assert points(clean(tables)) == {0: 0, 20: 20, 40: 40, 60: 60}
    assert [s["forwards"] for s in tables["steps"]] == list(range(2, 62, 2))
    assert len(tables["predictions"]) == 40
    assert row["evaluation_forwards"] == 4 * 5


def test_nine_forwards_a_step_never_overspend(do, make_run):
    _, tables = do(make_run("nine"))
    assert tables["runs"][0]["forwards"] == 54
    assert points(clean(tables)) == {0: 0, 20: 18, 40: 36, 60: 54}
    assert [r["forwards"] for r in clean(tables) if r["final"]] == [54, 54]


def test_points_of_a_method_whose_steps_differ(do, make_run):
    method = Component(name="nine", params={"rest": 3})
    _, tables = do(make_run("nine", method=method))
    forwards = [0] + [s["forwards"] for s in tables["steps"]]
    expected = {b: max(f for f in forwards if f <= b) for b in POINTS}
    assert points(clean(tables)) == expected
    assert max(forwards) <= 60


def test_a_method_that_asks_too_much_is_stopped_by_the_meter(do, make_run):
    method = Component(name="nine", params={"greedy": True})
    outcome, tables = do(make_run("nine", method=method, budget=Budget(forwards=27, batch_size=8)))
    assert outcome.status == "failed"
    assert "BudgetExhausted" in tables["runs"][0]["error"]


def test_several_points_on_one_state_and_none_asked(do, make_run):
    _, tables = do(make_run("nine", evaluation=Evaluation(at=(10, 11, 17, 58))))
    assert points(clean(tables)) == {10: 9, 11: 9, 17: 9, 58: 54, 60: 54}
    assert sum(r["final"] for r in clean(tables)) == 2
    _, tables = do(make_run(evaluation=Evaluation()))
    assert points(clean(tables)) == {60: 60}


def test_budget_too_small_for_one_step(do, make_run):
    outcome, tables = do(make_run("nine", budget=Budget(forwards=8, batch_size=8)))
    assert outcome.status == "budget"
    assert tables["runs"][0]["forwards"] == 0
    assert len(clean(tables)) > 0


def test_the_largest_seed_runs_to_its_end(do, make_run):
    outcome, tables = do(make_run(seed=2**63 - 1, attacks=(Component(name="swap"),)))
    assert (outcome.status, tables["runs"][0]["seed"]) == ("done", 2**63 - 1)


def test_zero_shot_is_done_without_a_step(do, make_run):
    outcome, tables = do(make_run(budget=Budget(forwards=0, batch_size=8)))
    assert outcome.status == "done"
    assert points(clean(tables)) == {0: 0}
    assert "steps" not in tables


def test_the_environment_holds_what_the_probe_of_the_model_saw(do, make_run):
    _, tables = do(make_run(budget=Budget(forwards=0, batch_size=8)))
    record = json.loads(tables["runs"][0]["environment"])
    assert record["model_probe"] == PROBED.as_record()


def test_demonstrations_beyond_those_of_the_task(do, make_run):
    outcome, tables = do(make_run(shots=5))
    assert outcome.status == "failed"
    assert "5 shots requested, but it has only 4" in tables["runs"][0]["error"]


def test_tuning_reads_validation_only(do, make_run):
    _, tables = do(make_run(purpose="tuning"))
    assert {r["split"] for r in tables["metrics"]} == {"validation"}
    assert {r["n"] for r in tables["metrics"]} == {20}


def test_same_run_twice_is_the_same_to_the_bit(do, make_run, tmp_path):
    a, first = do(make_run(), tmp_path / "a")
    b, second = do(make_run(), tmp_path / "b")
    assert a.run_id == b.run_id
    assert first["runs"][0]["weights_digest"] == second["runs"][0]["weights_digest"]
    assert [s["losses"] for s in first["steps"]] == [s["losses"] for s in second["steps"]]
    assert first["predictions"] == second["predictions"]


def test_finished_run_is_kept(do, make_run):
    first, _ = do(make_run())
    again, _ = do(make_run())
    assert not again.fresh
    assert (again.status, again.primary, again.metrics) == (first.status, first.primary, first.metrics)


def test_model_is_put_back_between_runs(do, make_run, bench):
    spec = make_run().spec
    before = {n: t.clone() for n, t in bench.model(spec.model).module.state_dict().items()}
    do(make_run())
    after = bench.model(spec.model).module.state_dict()
    assert all(torch.equal(before[n], after[n]) for n in before)
    do(make_run(task=Component(name="count", params={"loss_factor": 1e30})))
    assert all(torch.equal(before[n], t) for n, t in bench.model(spec.model).module.state_dict().items())


def test_shuffled_labels_change_training_and_nothing_else(do, make_run):
    _, true = do(make_run())
    _, shuffled = do(make_run(labels="shuffled"))
    assert true["steps"][0]["losses"] != shuffled["steps"][0]["losses"]
    assert [p["gold"] for p in true["predictions"]] == [p["gold"] for p in shuffled["predictions"]]
    assert true["runs"][0]["data_digest"] == shuffled["runs"][0]["data_digest"]


def test_methods_share_minibatches_and_their_tokenization(do, make_run, bench):
    do(make_run())
    data = bench.data(make_run().spec)
    tokenized = data.task.batched
    assert tokenized == 30
    do(make_run("nine"))
    assert data.task.batched == tokenized


def test_attack_and_null(do, make_run):
    attacks = (Component(name="swap", params={"budget": 6}),)
    method = Component(name="mezo", params={"lr": 0.3, "epsilon": 1e-2})
    _, tables = do(make_run(method=method, attacks=attacks, attack_items=30))
    assert len(tables["attacks"]) == 60
    value = {
        (r["condition_kind"], r["metric"]): r["value"] for r in tables["metrics"] if r["condition"] == "swap"
    }
    assert value["attack", "accuracy_before"] == value["null", "accuracy_before"]
    assert value["attack", "success_rate"] > 0
    assert value["null", "success_rate"] == 0
    assert value["attack", "net_success_rate"] == pytest.approx(value["attack", "success_rate"])
    right = [r for r in tables["attacks"] if r["clean_correct"] and r["condition_kind"] == "attack"]
    fooled = sum(r["outcome"] == "success" for r in right)
    assert value["attack", "success_rate"] == fooled / len(right)
    after = [r["final_correct"] for r in tables["attacks"] if r["condition_kind"] == "attack"]
    assert value["attack", "accuracy"] == sum(after) / 30
    assert max(r["queries"] for r in tables["attacks"]) <= 6
    assert all(r["final"] for r in tables["metrics"] if r["condition"] == "swap")


def test_diverged_run_is_measured_and_counts(do, make_run):
    method = Component(name="nine", params={"lr": 1e6})
    outcome, tables = do(make_run("nine", method=method, budget=Budget(forwards=900, batch_size=8)))
    assert outcome.status == "diverged"
    (row,) = tables["runs"]
    assert row["forwards"] < 900
    assert "loss" in row["error"]
    assert set(points(clean(tables))) == {0, 20, 40, 60, 900}
    assert points(clean(tables))[900] == row["forwards"]


def test_losses_that_are_no_numbers(do, make_run):
    task = Component(name="count", params={"loss_factor": 1e39})
    outcome, tables = do(make_run(task=task, budget=Budget(forwards=400, batch_size=8)))
    assert outcome.status == "diverged"
    assert tables["runs"][0]["steps"] == 20
    assert tables["runs"][0]["refused_steps"] == 20


@pytest.mark.parametrize(("key", "status"), [("fail_at", "failed"), ("memory_at", "out_of_memory")])
def test_failure_is_recorded_with_its_traceback_and_tried_again(do, make_run, key, status):
    broken = make_run("nine", method=Component(name="nine", params={key: 2}))
    outcome, tables = do(broken)
    assert outcome.status == status
    assert "Traceback" in tables["runs"][0]["error"]
    assert len(tables["steps"]) == 2
    again, _ = do(broken)
    assert again.fresh
    assert again.status == status


def test_unknown_model_is_a_recorded_failure(do, make_run):
    outcome, tables = do(make_run(model=ModelRef(name="big")))
    assert outcome.status == "failed"
    assert "no model 'big'" in outcome.error
    assert tables["runs"][0]["model"] == "big"


def test_global_random_state_is_not_touched(do, make_run):
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    before = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
    do(make_run(attacks=(Component(name="swap"),)))
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before


def test_identity_depends_on_data_and_not_on_the_row(do, make_run):
    a, _ = do(make_run())
    b, _ = do(make_run().model_copy(update={"row": "another", "note": "x"}))
    c, _ = do(make_run(task=Component(name="count", params={"train": 47})))
    assert a.run_id == b.run_id
    assert not b.fresh
    assert c.run_id != a.run_id


def test_untouched_model_is_measured_once_for_all_methods(do, make_run, monkeypatch):
    from zobench.runner import evaluating

    measured = []
    plain = evaluating.measure
    monkeypatch.setattr(evaluating, "measure", lambda *a: measured.append(a) or plain(*a))
    _, first = do(make_run())
    assert len(measured) == 4
    _, second = do(make_run("nine"))
    assert len(measured) == 7
    one, two = ({r["metric"]: r["value"] for r in clean(t) if r["forwards"] == 0} for t in (first, second))
    assert one == two
    assert second["runs"][0]["evaluation_forwards"] == first["runs"][0]["evaluation_forwards"] == 20
    do(make_run(model=ModelRef(name="tiny", revision="x")))
    assert len(measured) == 11


def test_lm_eval_tasks_are_measured_at_the_end(do, make_run, monkeypatch):
    from zobench.tasks import lm_eval_adapter
    from zobench.tasks.base import MetricValue

    asked = []

    def evaluate(lm, name, *, include, limit):
        asked.append((name, include, limit))
        return {"acc": MetricValue(0.25, 12, 0.1)}

    monkeypatch.setattr(lm_eval_adapter, "evaluate", evaluate)
    evaluation = Evaluation(lm_eval=("a", "b"), lm_eval_include="folder", lm_eval_limit=3)
    _, tables = do(make_run(evaluation=evaluation))
    assert asked == [("a", "folder", 3), ("b", "folder", 3)]
    rows = [r for r in tables["metrics"] if r["task"] in ("a", "b")]
    assert [(r["task"], r["metric"], r["value"], r["n"], r["final"]) for r in rows] == [
        ("a", "acc", 0.25, 12, True),
        ("b", "acc", 0.25, 12, True),
    ]


def test_test_rows_of_one_class_give_no_accuracy(do, make_run):
    outcome, tables = do(make_run(task=Component(name="count", params={"only": "test"})))
    assert outcome.status == "failed"
    assert "all 40 test rows have the class '1'" in outcome.error
    assert "metrics" not in tables


def test_training_rows_of_one_class_are_a_warning_of_the_run(do, make_run):
    outcome, tables = do(make_run(task=Component(name="count", params={"only": "train"})))
    assert outcome.status == "done"
    traps = {t["trap"]: t["detail"] for t in json.loads(tables["runs"][0]["warnings"])}
    assert traps["one-class"] == "all 48 training rows have the class '1'"


def test_a_learning_rate_that_moves_nothing_is_a_warning_of_the_run(do, make_run):
    method = Component(name="mezo", params={"lr": 1e-60, "epsilon": 1e-2})
    outcome, tables = do(make_run(method=method))
    assert outcome.status == "done"
    traps = {t["trap"]: t for t in json.loads(tables["runs"][0]["warnings"])}
    assert "30 steps left every weight as it was" in traps["weights-unmoved"]["detail"]


def test_predictions_of_the_untouched_model_are_a_warning_of_the_run(do, make_run):
    method = Component(name="mezo", params={"lr": 1e-6, "epsilon": 1e-2})
    _, tables = do(make_run(method=method))
    traps = {t["trap"]: t for t in json.loads(tables["runs"][0]["warnings"])}
    assert traps["predictions-unmoved"]["detail"] == "all 40 predictions are those before training"
    _, tables = do(make_run())
    assert "unmoved" not in (tables["runs"][0]["warnings"] or "")


def test_the_display_hears_what_is_done(do, make_run) -> None:
    heard: list[str] = []
    control = Control(lambda event: heard.append(event["doing"]) if "doing" in event else None)
    do(make_run(attacks=(Component(name="swap"),)), control=control)
    assert heard == ["loading model, data", "baseline, compiling", "evaluation, attacks"]
