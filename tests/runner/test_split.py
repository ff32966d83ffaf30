"""Runs in shards: the same bits on any number of processes, few bytes, and refusals at planning."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from runner_fakes import FakeParts, counted_collectives

from zobench.distribution import Split
from zobench.runner.execute import Control, run_one
from zobench.runner.jobs import Job
from zobench.runner.process_cache import ProcessCache
from zobench.runner.replaying import replay
from zobench.spec import Budget, Component
from zobench.store.reader import read_run
from zobench.suite import SuiteError, expand, load
from zobench.zo.distributed import Grid

PARTS = "runner_fakes:PARTS"
MEZO = {"lr": 0.05, "epsilon": 1e-2, "n": 3}
SUITE = """
suite: shards
models: {{nano: {{name: "builtin:nano"}}}}
tasks: {{nano-sentiment: {{}}}}
methods: {{row: {{{row}}}}}
seeds: [1]
budget: {{forwards: 60, batch_size: 6{budget}}}
{more}
"""


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def made(planned, folder: Path, processes: int = 1, stop_after: int | None = None):
    """The record, steps and weights of a run; ``stop_after``: it is interrupted after so many steps first."""
    job = Job(planned, "tiny", checkpoint_every=2, processes=processes, parts=PARTS)
    if stop_after is not None:
        steps = []
        stopping = Control(
            lambda event: steps.append(event) if "loss" in event else None, lambda: len(steps) >= stop_after
        )
        first = run_one(replace(job, processes=1), folder, ProcessCache(FakeParts()), stopping)
        assert first.status == "interrupted"
    outcome = run_one(job, folder, ProcessCache(FakeParts()))
    assert outcome.status == "done", outcome.error
    tables = {name: table.to_pylist() for name, table in read_run(folder, outcome.run_id).items()}
    steps = [(r["losses"], r["coefficients"], r["forwards"], r["tokens"]) for r in tables["steps"]]
    return outcome.run_id, tables["runs"][0], steps


def same(one, other) -> None:
    assert one[0] == other[0]
    assert repr(one[2]) == repr(other[2])
    for key in ("weights_digest", "forwards", "sequences", "tokens"):
        assert one[1][key] == other[1][key], key


def planned_in_shards(make_run, split: Split | None, **changes):
    method = Component(name="mezo", params=MEZO)
    return make_run(
        **{"method": method, "split": split, "budget": Budget(forwards=40, batch_size=7), **changes}
    )


def test_two_processes_have_the_bits_of_one(make_run, tmp_path, monkeypatch) -> None:
    """Two groups of branches, two parts of 3 and 4 examples; one process is interrupted, two go on."""
    planned = planned_in_shards(make_run, Split(shards=4, by="both"))
    sent = counted_collectives(monkeypatch)
    two = made(planned, tmp_path / "two", processes=2, stop_after=2)
    same(made(planned, tmp_path / "one"), two)
    losses = sum(len(step[0]) for step in two[2][2:])
    assert losses == 24
    assert sum(sent) <= 64 * losses
    assert max(sent) == 8 * (1 + 2 * (3 + 1)), "one word, and for each of two shards 3 losses and a count"


@pytest.mark.parametrize("by", ["branches", "data", "both"])
def test_one_process_computes_the_shards(make_run, tmp_path, by) -> None:
    """By branches alone with the bits of a run without shards; parts of a minibatch agree up to rounding."""
    plain = made(planned_in_shards(make_run, None), tmp_path)
    run_id, row, steps = made(planned_in_shards(make_run, Split(shards=4, by=by)), tmp_path)
    assert run_id != plain[0], "shards are part of the identity"
    if by == "branches":
        assert repr(steps) == repr(plain[2])
    for (losses, *_), (expected, *_) in zip(steps[:1], plain[2][:1], strict=True):
        assert losses == pytest.approx(expected, rel=1e-5)
    assert [row[k] for k in ("forwards", "sequences", "tokens")] == [36, 36 * 7, 36 * 35]
    assert replay(tmp_path / run_id, parts=PARTS).matches


def test_a_process_that_cannot_start_is_named(make_run, tmp_path, monkeypatch) -> None:
    job = Job(planned_in_shards(make_run, Split(shards=2)), "tiny", processes=2, parts="runner_fakes:MISSING")
    outcome = run_one(job, tmp_path, ProcessCache(FakeParts()))
    assert outcome.status == "failed"
    assert outcome.error.startswith("AttributeError"), "the last line of what the process wrote"
    error = read_run(tmp_path, outcome.run_id)["runs"].to_pylist()[0]["error"]
    assert "process 1 of this run did not start" in error


def test_the_shards_of_ranks_cover_a_grid() -> None:
    grid = Grid.of(6, "both")
    assert (grid.branches, grid.parts, grid.shards) == (2, 3, 6)
    assert [list(grid.own(rank, 4)) for rank in range(4)] == [[0], [1, 2], [3], [4, 5]]


def plan_of(tmp_path, row: str, budget: str = "", more: str = ""):
    (tmp_path / "shards.yaml").write_text(SUITE.format(row=row, budget=budget, more=more))
    return expand(load(tmp_path / "shards.yaml"))


def test_shards_are_in_the_plan_and_processes_are_not_in_the_identity(tmp_path) -> None:
    row = "method: mezo, split: {shards: 4, by: both}"
    one, two = plan_of(tmp_path, row), plan_of(tmp_path, row, more="executor: {processes: 2}")
    assert one.runs[0].spec == two.runs[0].spec
    assert json.loads(one.runs[0].spec.canonical())["split"] == {"shards": 4, "by": "both"}
    assert two.executor.processes == 2


@pytest.mark.parametrize(
    ("row", "budget", "more", "message"),
    [
        ("method: adamw, split: {shards: 2}", "", "", "adamw uses more than losses (first order)"),
        ("method: grzo, split: {shards: 2}", "", "", "grzo uses the losses of single examples"),
        ("method: agzo, split: {shards: 2}", "", "", "agzo reads activations of the whole minibatch"),
        ("method: none, split: {shards: 2}", "", "", "method 'none' takes no steps"),
        ("method: mezo, split: {shards: 3, by: both}", "", "", "by: both needs an even number of shards"),
        ("method: mezo, split: {shards: 2}, perturbation: in-place", "", "", "'in-place' cannot be divided"),
        ("method: mezo, split: {shards: 2}, noise: legacy", "", "", "'legacy' cannot be divided"),
        ("method: mezo, split: {shards: 8, by: data}", "", "", "a minibatch of 6 examples has no 8 parts"),
        ("method: mezo, split: {shards: 2, by: data}, train_on: f1", "", "", "train_on: f1 is not a mean"),
        ("method: mezo, split: {shards: 2, by: data}", ", micro_batch: 2", "", "with budget.micro_batch"),
        (
            "method: mezo, split: {shards: 8, by: both}",
            "",
            "executor: {processes: 2}",
            "2 processes would have more than 3 shards each; use 1 process, or 3 or more",
        ),
    ],
)  # fmt: skip
def test_rows_that_cannot_be_divided_are_refused_by_name(tmp_path, row, budget, more, message) -> None:
    with pytest.raises(SuiteError) as refused:
        plan_of(tmp_path, row, budget, more)
    assert message in str(refused.value)


@pytest.mark.slow
@pytest.mark.parametrize("split", [Split(shards=4, by="data"), Split(shards=4, by="both")])
def test_four_processes_have_the_bits_of_one(make_run, tmp_path, monkeypatch, split) -> None:
    planned = planned_in_shards(make_run, split)
    one = made(planned, tmp_path / "one")
    sent = counted_collectives(monkeypatch)
    four = made(planned, tmp_path / "four", processes=4)
    same(one, four)
    assert sum(sent) <= 64 * sum(len(step[0]) for step in four[2])


@pytest.mark.slow
def test_a_killed_process_fails_the_run_which_then_goes_on(make_run, tmp_path) -> None:
    """The kill comes after the second step; the next call resumes from the checkpoint, with equal bits."""
    from zobench.runner.ranks import Ranks

    planned = planned_in_shards(make_run, Split(shards=2))
    expected = made(planned, tmp_path / "one")
    seen: list[Ranks] = []
    honest = Ranks.join

    def join(self):
        seen.append(self)
        return honest(self)

    def listener(event) -> None:
        if event.get("forwards") == 12:
            os.kill(seen[0]._processes[0].pid, signal.SIGKILL)

    job = Job(planned, "tiny", checkpoint_every=2, processes=2, parts=PARTS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ranks, "join", join)
        outcome = run_one(job, tmp_path / "two", ProcessCache(FakeParts()), Control(listener))
    assert outcome.status == "failed"
    assert "process 1 of this run ended" in outcome.error
    again = made(planned, tmp_path / "two", processes=2)
    same(expected, again)
    assert again[1]["resumed"] == 1


def test_what_the_other_processes_print_is_not_lost(make_run, tmp_path, capfd) -> None:
    task = Component(name="count", params={"prints": True})
    planned = make_run(
        task=task, method=Component(name="mezo", params=MEZO), split=Split(shards=2, by="data")
    )
    made(planned, tmp_path, processes=2)
    told = capfd.readouterr().err
    assert "process 1 of this run: on standard output\non standard error\n" in told
