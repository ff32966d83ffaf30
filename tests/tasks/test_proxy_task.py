"""Ranking networks: splits, loss, scores, kept accuracies, resume and replay, the section, errors at plan."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock

from zobench.models import load
from zobench.proxies import kept, nets, ranking, training
from zobench.report.analysis import analyse
from zobench.report.build import build
from zobench.runner.execute import Control, run_one
from zobench.runner.factory import CATALOGUE
from zobench.runner.jobs import Job
from zobench.runner.process_cache import ProcessCache
from zobench.runner.replaying import replay
from zobench.runner.scheduler import run_plan
from zobench.spec import Budget, Component, ModelRef, PlannedRun, RunSpec
from zobench.store.reader import read_run
from zobench.suite.expansion import expand
from zobench.suite.loading import load as load_suite
from zobench.suite.problems import SuiteError
from zobench.tasks.nano import NanoFewShotConfig, NanoSentiment
from zobench.tasks.proxy import ProxyConfig, ProxyRanking

PARZC = ModelRef(name="builtin:nano-parzc")
SIZE: dict[str, Any] = {"nets": 10, "known": 4, "validation": 1, "inits": 2, "steps": 3, "trainings": 2}


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[nets.Design]:
    """An empty cache, and the networks that are trained: their accuracy is a function of their size."""
    trained: list[nets.Design] = []

    def accuracy(kind: str, design: nets.Design, seed: int, steps: int) -> float:
        trained.append(design)
        return (design.depth * design.width + seed / 100) / 300

    monkeypatch.setenv("ZOBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(kept, "trained_accuracy", accuracy)
    return trained


def ranking_of(**params: Any) -> ProxyRanking:
    return ProxyRanking(ProxyConfig(**{**SIZE, **params}))


def test_networks_are_the_same_for_all_seeds_and_their_parts_are_not() -> None:
    task = ranking_of()
    first, second = task.splits(1), task.splits(2)
    assert (len(first.train), len(first.validation), len(first.test)) == (4, 1, 5)
    assert first.digest() == task.splits(1).digest() != second.digest()
    every = [{e.id for e in (*s.train, *s.validation, *s.test)} for s in (first, second)]
    assert every[0] == every[1]
    assert len(every[0]) == 10
    with pytest.raises(ValueError, match="nets: at least 7, for 4 known, 1 validation and two ranked"):
        ranking_of(nets=6)


def test_the_loss_is_that_of_the_formula(calls: list[nets.Design]) -> None:
    task, lm = ranking_of(data="text"), load(PARZC)
    rows = task.splits(1).train
    batch = task.batch(lm, rows)
    assert torch.equal(batch.inputs["noise"], task.batch(lm, rows).inputs["noise"])
    assert not torch.equal(batch.inputs["noise"], task.batch(lm, rows[::-1]).inputs["noise"])
    assert batch.inputs["accuracy"].mean().item() == pytest.approx(0, abs=1e-6)
    assert batch.inputs["accuracy"].std().item() == pytest.approx(1, abs=1e-6)
    with torch.no_grad():
        p, divergence = lm.module(batch.inputs["statistics"], batch.inputs["noise"])
        y, terms = batch.inputs["accuracy"], []
        for i in range(4):
            terms += [torch.tanh((p[i] - p[j]) * (y[i] - y[j])) for j in range(i)]
        expected = -sum(terms) / 6 + 1e-3 * divergence
        assert task.loss(lm, lm.module, batch).item() == pytest.approx(float(expected), abs=1e-6)
    module: Any = lm.module
    q = torch.distributions.Normal(module.mean, module.spread.exp())
    p0 = torch.distributions.Normal(torch.zeros(16), torch.ones(16))
    assert divergence.item() == pytest.approx(torch.distributions.kl_divergence(q, p0).sum().item(), rel=1e-5)


def test_scores_and_metrics_are_those_of_the_networks(calls: list[nets.Design]) -> None:
    task, lm = ranking_of(data="text"), load(PARZC)
    rows = task.splits(1).test
    found = task.predict(lm, rows)
    alone = [task.predict(lm, [row])[0].output for row in rows]
    assert [p.output for p in found] == alone
    designs = nets.designs(10)
    for row, prediction in zip(rows, found, strict=True):
        values, design = json.loads(prediction.raw), designs[int(str(row.meta["net"]))]
        net = training.data("text").network(design, 1)
        assert values["parameters"] == sum(p.numel() for p in net.parameters())
        assert values["w-pca"] == pytest.approx(values["parameters"] * values["pca-alone"])
        assert values["accuracy"] == pytest.approx((design.depth * design.width + 0.015) / 300)
    measured = task.metrics(rows, found)
    assert tuple(measured) == task.measures
    assert measured["kendall_tau_parameters"].value > 0.5
    assert measured["kendall_tau_parameters"].n == 5


def test_every_network_is_trained_once_and_damage_is_repaired(calls: list[nets.Design]) -> None:
    designs = nets.designs(3)
    first = kept.accuracies("text", designs, 1, 3)
    assert len(calls) == 3
    assert kept.accuracies("text", designs, 1, 3) == first
    assert len(calls) == 3
    assert kept.accuracies("text", designs, 2, 3) != first
    assert len(calls) == 6
    for file, body in zip(
        sorted(kept.cache_folder().glob("proxies/*.json")), ("", "{}", "[1]"), strict=False
    ):
        file.write_text(body)
    assert kept.accuracies("text", designs, 1, 3) + kept.accuracies("text", designs, 2, 3)
    assert len(calls) == 9


def test_a_network_that_another_worker_trains_is_left_for_later(calls: list[nets.Design]) -> None:
    """The lock of the first network is freed once the second was trained."""
    designs = nets.designs(2)
    file = kept._file(kept._key("text", designs[0], 1, 3))
    file.parent.mkdir(parents=True)
    lock = FileLock(file.with_suffix(".lock"), thread_local=False)
    lock.acquire()
    found: list[list[float]] = []
    worker = threading.Thread(target=lambda: found.append(kept.accuracies("text", designs, 1, 3)))
    worker.start()
    while designs[1] not in calls:
        worker.join(0.01)
    lock.release()
    worker.join(30)
    assert calls == [designs[1], designs[0]]
    assert len(found[0]) == 2


def planned(row: str, **params: Any) -> PlannedRun:
    spec = RunSpec(
        model=PARZC,
        task=Component(name="proxy", params={**SIZE, "data": "text"}),
        method=Component(name=row, params=params),
        seed=1,
        budget=Budget(forwards=30, batch_size=4),
    )
    return PlannedRun(row=row, spec=spec)


@pytest.mark.parametrize(
    ("row", "params"), [("adamw", {"lr": 1e-2}), ("mezo", {"lr": 1e-2, "epsilon": 1e-2})]
)
def test_a_stopped_run_resumes_and_replays_with_the_same_bits(
    row: str, params: dict[str, Any], calls: list[nets.Design], tmp_path: Path
) -> None:
    bench = ProcessCache(CATALOGUE)
    job = Job(planned(row, **params), "proxies", checkpoint_every=1)
    run_id = run_one(job, tmp_path / "whole", bench).run_id
    seen: list[Any] = []
    control = Control(seen.append, lambda: sum("loss" in e for e in seen) >= 2)
    assert run_one(job, tmp_path / "stopped", bench, control).status == "interrupted"
    assert run_one(job, tmp_path / "stopped", bench).status == "done"
    tables = [read_run(tmp_path / name, run_id) for name in ("whole", "stopped")]
    assert tables[0]["predictions"]["raw"].to_pylist() == tables[1]["predictions"]["raw"].to_pylist()
    (run,) = tables[0]["runs"].to_pylist()
    assert run["task_kind"] == "proxy"
    assert run["primary_metric"] == "kendall_tau"
    if row == "mezo":
        assert replay(tmp_path / "whole" / run_id).matches


TASK = "task: proxy, params: {data: text, nets: 10, known: 4, inits: 1, steps: 3, trainings: 1}"
SUITE = """\
suite: proxies
ruleset: open
models: {parzc: {name: "builtin:nano-parzc"}}
tasks:
  text: {task: proxy, params: {data: text, nets: 10, known: 4, inits: 1, steps: 3, trainings: 1}}
methods:
  learned: {method: adamw, params: {lr: 1e-2}}
  untrained: {method: none, group: control, budget: {forwards: 0}}
seeds: [1, 2, 3]
budget: {forwards: 12, batch_size: 4}
"""


def test_the_page_has_the_table_and_the_charts(calls: list[nets.Design], tmp_path: Path) -> None:
    suite = tmp_path / "proxies.yaml"
    suite.write_text(SUITE)
    assert run_plan(expand(load_suite(suite)), tmp_path / "out", workers=0, progress=False).failed == []
    found = analyse(tmp_path / "out")
    assert found.board.name == "proxy"
    assert {s.row for s in found.ranking.ranked} == {"learned"}
    build(tmp_path / "out", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    section = page[page.index('<section id="proxies">') :].split("</section>")[0]
    assert all(f"<td>{name}</td>" in section for name in ("learned", "untrained", *ranking.FIXED))
    assert section.count("<svg") == 6
    assert section.count("<circle") == 6 * 3
    assert "[" in section
    assert "over 3 seeds" in section


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("builtin:nano-parzc", "builtin:nano"), "needs a model of statistics of networks"),
        ((TASK, "task: nano-topic"), "needs a model of text"),
        (("nets: 10", "nets: 5"), "at least 9, for 4 known"),
        (("data: text", "data: texts"), "text"),
        (("batch_size: 4", "batch_size: 5"), "larger than the 4 training rows"),
        (("batch_size: 4", "batch_size: 4, micro_batch: 2"), "micro_batch"),
        (('name: "builtin:nano-parzc"', 'name: "builtin:nano-parzc", head: 3'), "image classifiers"),
        (("methods:", "attacks: {char-typos: {}}\nmethods:"), "task 'text' has networks"),
    ],
)  # fmt: skip
def test_plan_refuses_what_cannot_be_run(change: tuple[str, str], told: str, tmp_path: Path) -> None:
    suite = tmp_path / "proxies.yaml"
    suite.write_text(SUITE.replace(*change))
    with pytest.raises(SuiteError) as error:
        expand(load_suite(suite))
    assert told in str(error.value)
    assert "proxies.yaml:" in str(error.value)


def test_a_text_task_refuses_the_learned_proxy() -> None:
    with pytest.raises(ValueError, match="ranks networks; a task of kind classification needs text"):
        NanoSentiment(NanoFewShotConfig()).refuse_model(load(PARZC))
    with pytest.raises(ValueError, match="needs a learned proxy of networks, such as builtin:nano-parzc"):
        ranking_of().refuse_model(load(ModelRef(name="builtin:nano-cnn")))


@pytest.mark.slow
def test_a_smoke_size_of_the_suite_trains_and_ranks_networks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``suites/proxies.yaml`` with fewer networks and steps, without fakes; a second call trains nothing."""
    monkeypatch.setenv("ZOBENCH_CACHE", str(tmp_path / "cache"))
    shipped = Path(__file__).parents[2] / "suites" / "proxies.yaml"
    text = shipped.read_text(encoding="utf-8").replace("nets: 12, known: 4", "nets: 8, known: 3, steps: 5")
    text = text.replace("forwards: 600, batch_size: 4", "forwards: 12, batch_size: 3")
    suite = tmp_path / "proxies.yaml"
    suite.write_text(text)
    assert run_plan(expand(load_suite(suite)), tmp_path / "out", workers=0, progress=False).failed == []
    files = sorted((tmp_path / "cache" / "proxies").glob("*.json"))
    assert len(files) == 2 * 7, "three known and four ranked networks of each kind"
    runs = analyse(tmp_path / "out").runs
    assert len(runs) == 6
    assert bool(runs["value"].between(-1, 1).all())
