"""Runs that train on a reward: random numbers, costs, ties, gradient, resume, replay, verification."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from runner_fakes import counted_collectives

from zobench.distribution import Split
from zobench.rewards.own import digest_of
from zobench.runner.execute import Control, run_one
from zobench.runner.factory import CATALOGUE
from zobench.runner.jobs import Job
from zobench.runner.losses import objective_of
from zobench.runner.process_cache import ProcessCache
from zobench.runner.replaying import replay
from zobench.runner.rewarded import advantages
from zobench.spec import Budget, Component, Evaluation, ModelRef, PlannedRun, RunSpec, SpaceRef
from zobench.store.reader import read_run
from zobench.trained_on import RewardRef
from zobench.verification import Demands, verify_submission, write_submission

LENGTH = "def score(prompt, answer, example):\n    return len(answer) / 40\n"
TIMED = ("seconds", "train_seconds", "evaluation_seconds", "peak_memory_bytes", "resumed", "environment")
CLOCK = ("started_utc", "finished_utc")


@pytest.fixture(scope="module")
def bench() -> ProcessCache:
    return ProcessCache(CATALOGUE, own_code=True)


@pytest.fixture
def length(tmp_path: Path) -> RewardRef:
    file = tmp_path / "length.py"
    file.write_text(LENGTH)
    return RewardRef(reward="length.py:score", file=str(file), sha256=digest_of(file), temperature=1.5)


def planned(reward: RewardRef, method: str = "mezo", **changes: Any) -> PlannedRun:
    params = {
        "mezo": {"lr": 1e-3, "epsilon": 1e-2},
        "adamw": {"lr": 1e-3},
        "es": {"population": 3, "sigma": 1e-2},
        "members": {"population": 4, "sigma": 1e-2},
    }.get(method, {})
    values: dict[str, Any] = {
        "model": ModelRef(name="builtin:nano-countdown", attention="sdpa"),
        "task": Component(name="countdown", params={"test_rows": 8}),
        "method": Component(name="es" if method == "members" else method, params=params),
        "seed": 1,
        "budget": Budget(forwards=12, batch_size=3),
        "evaluation": Evaluation(at=(0, 6)),
        "train_on": reward,
    }
    return PlannedRun(row=method, spec=RunSpec(**{**values, **changes}))


def done(run: PlannedRun, runs: Path, bench: ProcessCache, control: Control | None = None) -> Any:
    outcome = run_one(Job(run, "tiny", checkpoint_every=2), runs, bench, control)
    tables = {name: t.to_pylist() for name, t in read_run(runs, outcome.run_id).items()}
    assert not outcome.error, outcome.error
    return outcome, tables


def bits(tables: Any) -> str:
    kept = {
        n: [{k: v for k, v in r.items() if k not in (*TIMED, *CLOCK)} for r in t] for n, t in tables.items()
    }
    return json.dumps(kept, sort_keys=True)


def test_costs_are_counted_beside_the_forward_passes(length, bench, tmp_path):
    _, tables = done(planned(length), tmp_path / "runs", bench)
    (run,), steps = tables["runs"], tables["steps"]
    assert run["forwards"] == 12
    assert [s["forwards"] for s in steps] == [2, 4, 6, 8, 10, 12]
    totals = [s["generated_tokens"] for s in steps]
    assert totals == sorted(totals)
    assert totals[0] > 0
    assert totals[-1] == run["generated_tokens"] <= 12 * 3 * 20
    assert (run["judge_tokens"], run["failed_scores"]) == (0, 0)
    curve = {m["forwards"]: m["generated_tokens"] for m in tables["metrics"] if m["metric"] == "accuracy"}
    assert curve == {0: 0, 6: totals[2], 12: totals[5]}


def test_queries_of_a_step_use_common_random_numbers_and_steps_do_not(length, bench):
    spec = planned(length).spec
    objective = objective_of(spec, bench)
    texts = []
    for index in (0, 1):
        batch = bench.minibatch(spec, index)
        objective.set_batch(batch, sequences=batch.sequences, tokens=batch.tokens)
        assert objective.loss() == objective.loss()
        texts.append(batch.inputs["seeds"])
    assert not {*texts[0]} & {*texts[1]}
    assert objective.meter.forwards == 4


def test_failed_scores_are_counted_and_equal_scores_are_a_tie(bench, tmp_path):
    file = tmp_path / "broken.py"
    file.write_text("def score(prompt, answer, example):\n    raise ValueError('no')\n")
    broken = RewardRef(reward="broken.py:score", file=str(file), sha256=digest_of(file))
    _, tables = done(planned(broken), tmp_path / "runs", bench)
    (run,) = tables["runs"]
    assert run["failed_scores"] == 12 * 3
    assert run["tied_steps"] == run["steps"] == 6
    assert {x for s in tables["steps"] for x in s["losses"]} == {1.0}
    traps = {t["trap"] for t in json.loads(run["warnings"])}
    assert {"no-difference", "failed-scores"} <= traps


def test_advantages_are_normalized_within_groups():
    found = advantages([1.0, 3.0, 5.0, 5.0], 2)
    assert found.tolist() == pytest.approx([-1.0, 1.0, 0.0, 0.0], abs=1e-5)


def test_the_gradient_is_that_of_the_score_function(length, bench):
    """Against log-probabilities of the same tokens, computed answer by answer without padding."""
    ref = length.model_copy(update={"samples": 3})
    spec = planned(ref, "adamw").spec
    objective, lm = objective_of(spec, bench), bench.model(spec.model)
    batch = bench.minibatch(spec, 0)
    objective.set_batch(batch, sequences=batch.sequences, tokens=batch.tokens)
    name = "model.layers.0.mlp.up_proj.weight"
    weight = lm.module.get_parameter(name)
    loss, grads = objective.gradient({name: weight})
    assert objective.meter.forwards == 3

    found = objective._loss.scored(lm.module, batch)
    scores = [s.value for s in found.scores]
    assert len(set(scores)) > 2
    assert loss == pytest.approx(1 - sum(scores) / 9, rel=1e-6)
    total = torch.zeros(())
    weight.requires_grad_(True)
    for a, advantage in zip(found.answers, advantages(scores, 3), strict=True):
        logits = lm.module(torch.tensor([[*a.prompt, *a.ids]])).logits[0, len(a.prompt) - 1 : -1]
        logs = logits.log_softmax(-1)[torch.arange(len(a.ids)), torch.tensor(a.ids)]
        total = total - advantage * logs.mean() / 9
    (expected,) = torch.autograd.grad(total, [weight])
    weight.requires_grad_(False)
    assert torch.allclose(grads[name], expected.float(), rtol=1e-3, atol=1e-6)
    assert float(expected.abs().max()) > 1e-4


@pytest.mark.parametrize(("method", "samples"), [("mezo", 1), ("es", 1), ("adamw", 2)])
def test_a_stopped_run_resumes_to_the_same_bits(method, samples, length, bench, tmp_path):
    run = planned(length.model_copy(update={"samples": samples}), method)
    _, whole = done(run, tmp_path / "whole", bench)
    calls = iter(range(100))
    outcome = run_one(
        Job(run, "tiny", checkpoint_every=2),
        tmp_path / "torn",
        bench,
        Control(should_stop=lambda: next(calls) >= 2),
    )
    assert outcome.status == "interrupted"
    _, torn = done(run, tmp_path / "torn", bench)
    assert torn["runs"][0]["resumed"] == 1
    assert bits(torn) == bits(whole)


def test_replay_needs_neither_answers_nor_the_reward(length, bench, tmp_path):
    outcome, _ = done(planned(length), tmp_path / "runs", bench)
    Path(length.file).unlink()
    assert replay(tmp_path / "runs" / outcome.run_id).matches


def test_verify_executes_the_file_only_if_trusted(length, bench, tmp_path):
    outcome, tables = done(planned(length), tmp_path / "runs", bench)
    file = write_submission(tmp_path, outcome.run_id, tmp_path / "run.zip")
    with pytest.raises(ValueError, match="--trust-code"):
        verify_submission(file, Demands(steps=None))
    report = verify_submission(file, Demands(steps=None, trust_code=True))
    assert report.passed, str(report)
    assert report.exact == len(tables["steps"])


def test_the_best_of_several_answers(length, bench, tmp_path):
    run = planned(length, "none", best_of=4, budget=Budget(forwards=0, batch_size=3), evaluation=Evaluation())
    _, tables = done(run, tmp_path / "runs", bench)
    one = planned(length, "none", best_of=2, budget=Budget(forwards=0, batch_size=3), evaluation=Evaluation())
    _, fewer = done(one, tmp_path / "runs", bench)
    # The first two answers are the same, so more answers cannot shorten the chosen one.
    pairs = list(zip(tables["predictions"], fewer["predictions"], strict=True))
    assert all(len(four["raw"]) >= len(two["raw"]) for four, two in pairs)
    assert any(len(four["raw"]) > len(two["raw"]) for four, two in pairs)
    assert all(four["tokens"] > two["tokens"] for four, two in pairs)


@pytest.mark.parametrize("temperature", [0.0, 1.5])
@pytest.mark.parametrize("kind", ["lora", "prefix"])
def test_branches_decoded_in_one_batch_have_the_losses_of_single_ones(kind, temperature, length, bench):
    ref = length.model_copy(update={"temperature": temperature})
    method = Component(name="es", params={"population": 3, "sigma": {"lora": 0.3, "prefix": 3.0}[kind]})
    base = planned(ref).spec.model_copy(update={"space": SpaceRef(kind=kind), "method": method})
    found = {}
    for mode in ("snapshot", "grouped"):
        spec = base.model_copy(update={"perturbation": mode})
        lm = bench.model(spec.model)
        space = bench.parts.space(spec.space, lm.module)
        try:
            optimizer = bench.parts.optimizer(spec, space)
            objective = objective_of(spec, bench, inference=True)
            batch = bench.minibatch(spec, 0)
            objective.set_batch(batch, sequences=batch.sequences, tokens=batch.tokens)
            found[mode] = optimizer.step(objective).losses, objective.meter
        finally:
            space.remove()
            bench.put_back(spec.model)
    losses, meter = found["grouped"]
    assert len(set(losses)) > 1
    assert losses == pytest.approx(found["snapshot"][0], abs=1e-12)
    assert meter == found["snapshot"][1]


def in_shards(length: RewardRef) -> PlannedRun:
    """ES with four members on four shards: three steps of four losses."""
    return planned(length, "members", split=Split(shards=4))


def test_shards_on_one_process_have_the_bits_of_a_run_without(length, bench, tmp_path):
    _, plain = done(planned(length, "members"), tmp_path / "plain", bench)
    _, split = done(in_shards(length), tmp_path / "split", bench)
    for key in ("losses", "coefficients", "generated_tokens"):
        assert [s[key] for s in split["steps"]] == [s[key] for s in plain["steps"]], key
    assert split["runs"][0]["weights_digest"] == plain["runs"][0]["weights_digest"]


@pytest.mark.slow
def test_two_and_four_processes_have_the_bits_of_one(length, bench, tmp_path, monkeypatch):
    """One thread each. Tables are equal, also the generated tokens, which each process counts for its own
    branches; every rank sends at most 64 bytes per loss."""
    run, threads = in_shards(length), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        _, one = done(run, tmp_path / "one", bench)
        assert one["runs"][0]["generated_tokens"] > 0
        for processes in (2, 4):
            sent = counted_collectives(monkeypatch)
            job = Job(run, "tiny", checkpoint_every=2, processes=processes)
            outcome = run_one(job, tmp_path / str(processes), bench)
            assert outcome.status == "done", outcome.error
            found = read_run(tmp_path / str(processes), outcome.run_id)
            more = {n: t.to_pylist() for n, t in found.items()}
            assert bits(more) == bits(one)
            losses = sum(len(step["losses"]) for step in more["steps"])
            assert losses == 12
            assert 0 < sum(sent) <= 64 * losses
    finally:
        torch.set_num_threads(threads)


KILLING = """\
import os
import signal
import sys
from pathlib import Path

calls = 0

def score(prompt, answer, example):
    global calls
    calls += 1
    if calls == 20 and not Path("killed").exists():
        Path("killed").touch()
        os.kill(os.getppid(), signal.SIGKILL)
    return len(answer) / 40
"""
SUITE = """\
suite: killed
models: {nano: {name: "builtin:nano-countdown"}}
tasks: {countdown: {params: {test_rows: 4}}}
seeds: [1]
budget: {forwards: 12, batch_size: 3}
checkpoint: {every_steps: 2}
executor: {kind: inline}
methods:
  mezo: {train_on: {reward: "own.py:score", temperature: 1.5}, params: {lr: 1.0e-3, epsilon: 1.0e-2}}
"""


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_bits(tmp_path):
    """The reward kills the process that asks for its 20th score; the second call resumes."""
    found = []
    for name in ("torn", "whole"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "own.py").write_text(KILLING)
        (folder / "suite.yaml").write_text(SUITE)
        if name == "whole":
            (folder / "killed").touch()
        command = [sys.executable, "-m", "zobench.cli", "run", "suite.yaml", "--output", "out"]
        codes = [subprocess.run(command, cwd=folder, env=os.environ, capture_output=True).returncode]
        if name == "torn":
            assert codes == [-9]
            codes = [subprocess.run(command, cwd=folder, env=os.environ, capture_output=True).returncode]
        assert codes == [0]
        (run,) = (p for p in (folder / "out" / "runs").iterdir() if p.is_dir())
        tables = {n: t.to_pylist() for n, t in read_run(run.parent, run.name).items()}
        assert tables["runs"][0]["resumed"] == (name == "torn")
        found.append(bits(tables))
    assert found[0] == found[1]
