"""Federated runs: who has which examples, rounds, resume, replay, GradIP, and the suite key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from runner_fakes import FakeParts
from typer.testing import CliRunner

from zobench.cli import app
from zobench.distribution import Clients, Limit
from zobench.runner.clients import shares
from zobench.runner.execute import Control, run_one
from zobench.runner.jobs import Job
from zobench.runner.method_data import RunMethodData
from zobench.runner.process_cache import ProcessCache
from zobench.runner.replaying import replay
from zobench.spec import Budget, Component, RunSpec
from zobench.store.reader import read_run
from zobench.suite import SuiteError, expand, load

MEERKAT = Component(name="meerkat", params={"lr": 0.05, "epsilon": 1e-2, "density": 0.5})
LABELS = [i % 2 for i in range(60)]
SUITE = """
suite: federated
models: {{nano: {{name: "builtin:nano"{model}}}}}
tasks: {{{task}: {{}}}}
methods: {{row: {{{row}}}}}
seeds: [1]
budget: {{forwards: {forwards}, batch_size: 4}}
evaluation: {{test_items: 20}}
{more}
"""


def made(planned, folder: Path, stop_after: int | None = None):
    """The tables of a run; ``stop_after``: it is interrupted after so many rounds first."""
    job = Job(planned, "tiny", checkpoint_every=1)
    if stop_after is not None:
        rounds: list = []
        stopping = Control(
            lambda event: rounds.append(event) if "loss" in event else None, lambda: len(rounds) >= stop_after
        )
        assert run_one(job, folder, ProcessCache(FakeParts()), stopping).status == "interrupted"
    outcome = run_one(job, folder, ProcessCache(FakeParts()))
    assert outcome.status == "done", outcome.error
    tables = read_run(folder, outcome.run_id)
    return outcome.run_id, {name: table.to_pylist() for name, table in tables.items()}


def federated(make_run, clients: Clients, forwards: int = 80, method: Component = MEERKAT):
    return make_run("row", method=method, clients=clients, budget=Budget(forwards=forwards, batch_size=4))


def test_every_example_has_one_owner() -> None:
    for skew in (None, 0.1, 100.0):
        held = shares(LABELS, Clients(number=7, skew=skew), 3, "task")
        assert sorted(i for client in held for i in client) == list(range(60))
        assert all(held)
        assert held == shares(LABELS, Clients(number=7, skew=skew), 3, "task")
    assert shares(LABELS, Clients(number=7), 4, "task") != shares(LABELS, Clients(number=7), 3, "task")


def test_a_small_concentration_gives_a_class_to_few_clients() -> None:
    def largest_share(skew: float) -> float:
        """Mean over classes of the share that the client with the most examples of the class has."""
        held = shares([i % 4 for i in range(400)], Clients(number=8, skew=skew), 0, "task")
        return sum(max(sum(i % 4 == c for i in client) for client in held) / 100 for c in range(4)) / 4

    assert largest_share(0.05) > 0.5
    assert largest_share(1000.0) < 0.2, "an equal share is 1/8"


@pytest.mark.parametrize(("labels", "message"), [([0, 1], "cannot share 2"), ([None] * 9, "has none")])
def test_shares_that_cannot_be_made_are_refused(labels, message) -> None:
    with pytest.raises(ValueError, match=message):
        shares(labels, Clients(number=3, skew=0.5), 0, "task")


def test_clients_read_their_own_examples_only(make_run) -> None:
    spec: RunSpec = federated(make_run, Clients(number=5, skew=0.3)).spec
    bench = ProcessCache(FakeParts())
    data, drawn = RunMethodData(spec, bench), bench.data(spec)
    held = shares([row.label for row in drawn.splits.train], spec.clients, spec.seed, drawn.key)
    for number, own in enumerate(held):
        texts = {drawn.splits.train[i].text["text"] for i in own}
        for index in range(4):
            batch, sequences, _ = data.client(number, index)
            rows = [" ".join(map(str, ids)) for ids in batch.inputs["ids"].tolist()]
            assert set(rows) <= texts
            assert sequences == len(rows) == min(4, len(own))


def test_a_run_resumes_replays_and_counts_its_scalars(make_run, tmp_path) -> None:
    """Three clients, two local steps of 2 forward passes: 12 a round, after 12 for Meerkat's mask and 12 for
    the gradient of GradIP."""
    planned = federated(make_run, Clients(number=3, local_steps=2, skew=1.0, limit=Limit(window=2)))
    run_id, tables = made(planned, tmp_path / "one")
    row = tables["runs"][0]
    again = made(planned, tmp_path / "two", stop_after=2)
    assert again[0] == run_id
    assert again[1]["runs"][0]["weights_digest"] == row["weights_digest"]
    assert again[1]["runs"][0]["resumed"] == 1
    for one, two in zip(tables["steps"], again[1]["steps"], strict=True):
        assert (one["losses"], one["seeds"], one["extras"]) == (two["losses"], two["seeds"], two["extras"])
    first, *_ = tables["steps"]
    assert first["forwards"] == 24 + 12
    assert len(set(first["seeds"])) == 6, "every client draws its own directions"
    extras = json.loads(first["extras"])
    assert (extras["clients"], extras["bytes"]) == (3, 3 * 2 * (8 + 16))
    assert replay(tmp_path / "one" / run_id, parts="runner_fakes:PARTS").matches


def test_gradip_of_every_client_is_a_metric(make_run, tmp_path) -> None:
    planned = federated(make_run, Clients(number=3, gradip=True, drop_out=0.4))
    _, tables = made(planned, tmp_path)
    found = [m for m in tables["metrics"] if m["condition_kind"] == "diagnostic"]
    present = [m["value"] for m in found if m["metric"] == "clients"]
    assert 1 <= min(present) < 3, "somebody missed a round"
    assert sum(m["metric"] == "gradip" for m in found) == sum(present)
    assert {m["condition"] for m in found if m["metric"] == "gradip"} == {f"client {k}" for k in range(3)}
    assert sum(m["value"] for m in found if m["metric"] == "bytes") == 24 * sum(present)


def written(folder: Path, row: str, *, task="nano-topic", model="", forwards=60, more="") -> Path:
    path = folder / "federated.yaml"
    path.write_text(SUITE.format(row=row, task=task, model=model, forwards=forwards, more=more))
    return path


def test_a_suite_with_clients_runs_and_shows_gradip(tmp_path) -> None:
    row = "method: meerkat, params: {density: 0.01}, clients: {number: 3, skew: 0.5, gradip: true}"
    path, folder = written(tmp_path, row), tmp_path / "results"
    done = CliRunner().invoke(app, ["run", str(path), "--workers", "0", "--output", str(folder)])
    assert done.exit_code == 0, done.output
    page = (folder / "index.html").read_text("utf-8")
    assert "3 clients, 1 local steps per round, skew 0.5" in page
    assert "client 2" in page
    assert "gradip" in page


def test_clients_are_part_of_the_identity(tmp_path) -> None:
    plain = expand(load(written(tmp_path, "method: mezo"))).runs[0].spec
    one = expand(load(written(tmp_path, "method: mezo, clients: {number: 3}"))).runs[0].spec
    assert "clients" not in plain.canonical()
    assert json.loads(one.canonical())["clients"]["number"] == 3


@pytest.mark.parametrize(
    ("row", "changes", "message"),
    [
        ("method: zo-adam, clients: {number: 3}", {}, "method 'zo-adam' has no clients: zo-adam cannot be"),
        ("method: adamw, clients: {number: 3}", {}, "method 'adamw' has no clients"),
        ("method: mezo, params: {weight_decay: 0.1}, clients: {number: 3}", {}, "mezo with weight decay"),
        ("method: mezo, clients: {number: 3}, split: {shards: 2}", {}, "cannot be combined with clients"),
        ("method: mezo, clients: {number: 3}, noise: legacy", {}, "'legacy' cannot be combined"),
        ("method: mezo, clients: {number: 3}", {"model": ", dtype: bfloat16"}, "clients need float32"),
        ("method: mezo, clients: {number: 3, skew: 1.0}", {"task": "nano-problems"}, "no classes to skew"),
        ("method: mezo, clients: {number: 9}", {"forwards": 16}, "too small for one round, which costs 18"),
        ("method: mezo, clients: {number: 1}", {}, "clients.number"),
    ],
)
def test_clients_that_cannot_work_are_refused_by_name(tmp_path, row, changes, message) -> None:
    with pytest.raises(SuiteError) as refused:
        load(written(tmp_path, row, **changes))
    assert message in str(refused.value)
