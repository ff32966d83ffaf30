"""Unlearning runs that are interrupted, refused or fail in part, or read reasoning: a resumed run is
bit-identical, and a failed run does not stop the others."""

from __future__ import annotations

import json

import pytest
from unlearning_runs import clean, people, resolved_data, write_files

from zobench.runner import probing, run_plan
from zobench.runner.execute import Control
from zobench.runner.training import Training
from zobench.spec import SpaceRef
from zobench.store.reader import read
from zobench.suite.plan import Follower, Plan
from zobench.suite.schema import ExecutorSettings
from zobench.unlearning.probes.inputs import ForcedPrefix, PrefixConfig

TIMED = ("seconds", "train_seconds", "evaluation_seconds", "peak_memory_bytes", "resumed", "environment")


def test_a_run_that_fails_is_recorded_and_takes_its_control_alone(make, tmp_path):
    broken = make("rmu", "rmu", params={"layer": 9})
    good = make()
    template = make("noise as far as rmu", "rmu", role="noise", params={"layer": 9})
    plan = Plan(
        suite="tiny",
        runs=(broken, good),
        followers=(Follower(row="rmu", template=template),),
        executor=ExecutorSettings(kind="inline"),
    )
    summary = run_plan(plan, tmp_path, workers=0, progress=False, parts="unlearning_runs:PARTS")
    assert summary.done == 1
    assert ["layer 9" in m for _, m in summary.failed] == [True, False]
    assert "needs the distance" in summary.failed[1][1]
    rows = read(tmp_path / "runs", ["runs"]).runs.set_index("row")
    assert rows["status"].to_dict() == {"rmu": "failed", "adamw": "done", "noise as far as rmu": "failed"}


def bits(tables):
    """Everything a run recorded but its times."""
    for rows in tables.values():
        for row in rows:
            for key in (*TIMED, "started_utc", "finished_utc"):
                row.pop(key, None)
    return json.dumps(tables, sort_keys=True)


@pytest.mark.parametrize(
    ("objective", "method", "stop_at"),
    [("npo", ("adamw", {"lr": 1e-3}), 13), ("pdu", ("r-adazo", {"lr": 1e-4}), 5)],
    ids=["npo-adamw-in-probing", "pdu-r-adazo-in-training"],
)
def test_interrupted_in_training_or_probing_it_goes_on_to_the_same_bits(
    make, do, tmp_path, objective, method, stop_at
):
    planned = make(objective=objective, method=method, section={"check_every": 3})
    expected = do(planned, tmp_path / "whole", every=3)
    asked = iter(range(10**6))
    control = Control(should_stop=lambda: next(asked) >= stop_at)
    first, _ = do(planned, tmp_path / "parts", every=3, control=control)
    assert first.status == "interrupted"
    again, tables = do(planned, tmp_path / "parts", every=3)
    assert again.status == "done"
    assert bits(tables) == bits(expected[1])


def test_sift_gets_two_gradients_in_a_run_and_goes_on_to_the_same_bits(make, do, bench, tmp_path):
    down = SpaceRef(kind="names", params={"include": ["*down_proj*"]})
    given = {"method": ("sift", {"lr": 1e-2}), "section": {"check_every": 0, "probes": ()}, "space": down}
    _, tables = do(make("sift", objective="rmu", params={"layer": 0}, **given))
    assert tables["runs"][0]["steps"] == 6, "two gradients and the reference are 7 of 48 forwards"
    assert clean(tables, "backwards") == 12
    assert clean(tables, "distance") > 0
    outcome, tables = do(make("sift", **given))
    folder, stop = tmp_path / "halves", iter([False, False, False, True])
    first, _ = do(make("sift", **given), folder, control=Control(should_stop=lambda: next(stop, False)))
    assert first.status == "interrupted"
    _, again = do(make("sift", **given), folder)
    assert again["runs"][0]["weights_digest"] == tables["runs"][0]["weights_digest"]
    assert again["runs"][0]["resumed"] == 1
    assert outcome.status == "done"


def test_a_probe_that_makes_questions_longer_than_the_model_is_refused_by_name(make, bench):
    spec = make().spec
    facts = bench.facts(spec)
    parts = {"forget": facts.forget_rows(tuning=False)}
    long = ForcedPrefix(PrefixConfig(text="here is the answer: " * 60))
    refused = r"probe 'prefix': fact '.*' has \d+ tokens .*model 'full' takes at most 256"
    with pytest.raises(ValueError, match=refused):
        list(facts.asked(long, parts, 0))
    assert list(facts.asked(ForcedPrefix(PrefixConfig()), parts, 0))


@pytest.mark.parametrize("part", ["traces", "general"])
def test_reasoning_longer_than_the_model_is_refused_before_anything_trains(make, do, tmp_path, part):
    files = write_files(tmp_path)
    for name in ("traces", "general"):
        times = 60 if name == part else 1
        rows = [{"question": "Who?", "answer": "I do not know. " * times}]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
        files[name] = str(tmp_path / f"{name}.jsonl")
    section = {"data": resolved_data(files)}
    outcome, tables = do(make("r2mu", objective="r2mu", params={"layer": 0}, section=section))
    assert outcome.status == "failed"
    assert f"{part}: fact " in outcome.error
    assert "model 'full' takes at most 256" in outcome.error
    assert "steps" not in tables
    unread, _ = do(make(section=section))
    assert unread.status == "done", "an objective that reads no reasoning is not stopped by it"


@pytest.mark.parametrize("method", [("adamw", {"lr": 1e-3}), ("mezo", {"lr": 1e-3})], ids=["adamw", "mezo"])
def test_a_probe_that_fails_once_leaves_the_run_done_and_is_measured_by_the_next_call(
    make, do, tmp_path, monkeypatch, method
):
    planned = make(method=method)
    _, expected = do(planned, tmp_path / "whole")
    plain, asked, steps, mended = probing._probe, [], [], []

    def breaking(run, subject, component):
        asked.append(f"{component.label} on {subject.split}")
        if component.label == "quantize" and not mended:
            raise RuntimeError("no such kernel")
        return plain(run, subject, component)

    monkeypatch.setattr(probing, "_probe", breaking)
    step = Training._step
    monkeypatch.setattr(Training, "_step", lambda self: steps.append(1) or step(self))
    outcome, tables = do(planned)
    assert outcome.status == "done", outcome.error
    failed = {r["measurement"]: r["reason"] for r in tables["failures"]}
    assert failed["probe quantize on test"] == "RuntimeError: no such kernel"
    assert clean(tables, "distance") > 0
    assert {r["condition"] for r in tables["metrics"] if r["condition_kind"] == "probe"} >= {"relearn"}
    asked.clear()
    mended.append(1)
    taken = len(steps)
    outcome, tables = do(planned)
    assert (outcome.status, outcome.unmeasured, len(steps)) == ("done", (), taken)
    assert {name.split(" ")[0] for name in asked} == {"quantize"}, "only what is missing"
    assert len(tables["metrics"]) == len(expected["metrics"])
    assert bits(tables) == bits(expected)


def test_reasoning_traces_are_minibatches_of_their_own(make, do, bench, tmp_path):
    from zobench.unlearning.data import with_traces

    files = write_files(tmp_path)
    for name, part in (("traces", "forget"), ("general", "retain")):
        rows = [{"question": r.question, "answer": f"I recall: {r.answer}"} for r in people()[part]]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
        files[name] = str(tmp_path / f"{name}.jsonl")
    planned = make("r2mu", objective="r2mu", params={"layer": 0}, section={"data": resolved_data(files)})
    outcome, tables = do(planned)
    assert outcome.status == "done", outcome.error
    assert clean(tables, "distance") > 0
    facts, plain = bench.facts(planned.spec), bench.facts(make().spec)
    traces = facts.minibatch(planned.spec, 0, ("traces", "general"), 0.0)
    assert traces.part("traces").target.any()
    assert facts.digest != plain.digest, "rows that were read are data"
    templated = with_traces(plain.splits)
    assert len(templated.traces) == len(people()["forget"])
    assert all(t.answer.endswith(r.answer) for t, r in zip(templated.traces, people()["forget"], strict=True))
