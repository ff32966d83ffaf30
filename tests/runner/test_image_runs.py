"""Runs on images: resume, replay, statistics of batch normalization, every method, records and page."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from test_every_method import METHODS, space_of
from test_resume import Crash, CrashingOs, bits

from zobench.report.build import build
from zobench.runner.execute import Control, run_one
from zobench.runner.factory import CATALOGUE
from zobench.runner.frozen import statistics
from zobench.runner.jobs import Job
from zobench.runner.process_cache import ProcessCache
from zobench.runner.replaying import replay
from zobench.runner.rows import MOST_PICTURES
from zobench.spec import Budget, Component, Evaluation, ModelRef, PlannedRun, RunSpec
from zobench.store import files
from zobench.store.reader import finished, read_run
from zobench.suite import SuiteError, expand, load

CNN = ModelRef(name="builtin:nano-cnn", head=5)
TASK = {"classes": [5, 6, 7, 8, 9], "k": 20, "validation_k": 5, "test_rows": 50}
OF_THE_SUITE = (
    "mezo",
    "zo-muon",
    "subspace-mezo",
    "lozo",
    "subzero",
    "hizoo",
    "sparse-mezo",
    "fzoo",
    "adamw",
)
Images = Callable[..., PlannedRun]


@pytest.fixture(scope="module")
def shelf() -> ProcessCache:
    """The catalogues' parts, loaded once for all tests of this file."""
    return ProcessCache(CATALOGUE)


def images(row: str = "mezo", params: dict[str, Any] | None = None, **changes: Any) -> PlannedRun:
    values: dict[str, Any] = {
        "model": CNN,
        "task": Component(name="mnist-5k", params=TASK),
        "method": Component(name=row, params={"lr": 1e-3} if params is None else params),
        "seed": 0,
        "budget": Budget(forwards=24, batch_size=8),
        "evaluation": Evaluation(at=(0, 12)),
    }
    return PlannedRun(row=row, spec=RunSpec(**{**values, **changes}))


def rows_of(runs: Path, run_id: str) -> dict[str, list[dict[str, Any]]]:
    return {name: table.to_pylist() for name, table in read_run(runs, run_id).items()}


@pytest.mark.parametrize("row", ["mezo", "zo-adam", "adamw"])
def test_a_stopped_run_resumes_with_the_same_bits(row: str, shelf: ProcessCache, tmp_path: Path) -> None:
    job = Job(images(row), "images", checkpoint_every=2)
    run_id = run_one(job, tmp_path / "whole", shelf).run_id
    seen: list[Any] = []
    control = Control(seen.append, lambda: sum("loss" in e for e in seen) >= 5)
    assert run_one(job, tmp_path / "stopped", shelf, control).status == "interrupted"
    assert run_one(job, tmp_path / "stopped", shelf).status == "done"
    assert bits(tmp_path / "stopped", run_id) == bits(tmp_path / "whole", run_id)


def test_a_killed_run_resumes_with_the_same_bits(
    shelf: ProcessCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Job(images(), "images", checkpoint_every=2)
    run_id = run_one(job, tmp_path / "whole", shelf).run_id
    expected, unfinished = bits(tmp_path / "whole", run_id), 0
    for n in (30, 60, 90):
        runs = tmp_path / f"killed-{n}"
        with monkeypatch.context() as m:
            crashing = CrashingOs(n)
            m.setattr(files, "os", crashing)
            m.setattr("zobench.store.step_log.os", crashing)
            with pytest.raises(Crash):
                run_one(job, runs, shelf)
        unfinished += finished(runs, run_id) is None
        shelf.put_back(job.planned.spec.model)
        assert run_one(job, runs, shelf).status == "done"
        assert bits(runs, run_id) == expected
    assert unfinished == 3


@pytest.mark.parametrize(("row", "model"), [("mezo", "nano-cnn"), ("lozo", "nano-vit"), ("fzoo", "nano-cnn")])
def test_weights_are_rebuilt_from_the_scalars(
    row: str, model: str, shelf: ProcessCache, tmp_path: Path
) -> None:
    planned = images(row, model=ModelRef(name=f"builtin:{model}", head=5))
    outcome = run_one(Job(planned), tmp_path, shelf)
    assert replay(tmp_path / outcome.run_id).matches


@pytest.mark.parametrize("row", ["mezo", "fzoo", "adamw", "deepzero"])
def test_running_statistics_do_not_move(row: str, shelf: ProcessCache, tmp_path: Path) -> None:
    """At no event of a run do the statistics of batch normalization differ from those of the file."""
    module = shelf.model(CNN).module
    names = statistics(module)
    assert len(names) == 3 * 9
    before = {name: module.state_dict()[name].clone() for name in names}
    moved: list[str] = []

    def look(event: dict[str, Any]) -> None:
        now = module.state_dict()
        moved.extend(n for n in names if not torch.equal(now[n], before[n]))
        moved.extend("training mode" for part in module.modules() if part.training)

    small = dict(METHODS[row].load().small_problem) if row == "deepzero" else {"lr": 1e-3}
    cost = METHODS[row].load().cost(METHODS[row].load().Config(**small))
    forwards = cost.preparation_forwards + max(24, 2 * cost.max_forwards_in_step)
    planned = images(row, small, budget=Budget(forwards=forwards, batch_size=8))
    assert run_one(Job(planned), tmp_path, shelf, Control(look)).status == "done"
    assert not moved


def test_what_a_run_records(shelf: ProcessCache, tmp_path: Path) -> None:
    outcome = run_one(Job(images()), tmp_path, shelf)
    tables = rows_of(tmp_path, outcome.run_id)
    (run,) = tables["runs"]
    assert (run["task_kind"], run["chance"], run["primary_metric"]) == (
        "image-classification",
        0.2,
        "accuracy",
    )
    assert (run["forwards"], run["sequences"], run["tokens"]) == (24, 24 * 8, 0)
    assert {p["gold"] for p in tables["predictions"]} == {"5", "6", "7", "8", "9"}
    wrong = [p for p in tables["predictions"] if not p["correct"]]
    pictured = [p for p in tables["predictions"] if p["picture"] is not None]
    assert pictured == wrong[:MOST_PICTURES]
    assert all(p["picture"].startswith("data:image/png;base64,iVBORw0KGgo") for p in pictured)
    at = {json.loads(m["params"])["at"] for m in tables["metrics"] if m["metric"] == "accuracy"}
    assert at == {0, 12, 24}


def test_a_model_that_does_not_fit_fails_its_run_alone(shelf: ProcessCache, tmp_path: Path) -> None:
    outcome = run_one(Job(images(model=ModelRef(name="builtin:nano-cnn", head=3))), tmp_path, shelf)
    assert outcome.status == "failed"
    assert "has 3 outputs, the task has 5 classes" in outcome.error


SUITE = """
suite: images
models: {cnn: {name: "builtin:nano-cnn", head: 5}, nano: {name: "builtin:nano"}}
tasks:
  mnist-5k: {params: {classes: [5, 6, 7, 8, 9], k: 20, validation_k: 5, test_rows: 50}}
  nano-topic: {}
methods:
  mezo: {params: {lr: 1e-3}, tasks: [mnist-5k], models: [cnn]}
  fzoo: {tasks: [nano-topic], models: [nano]}
seeds: [0, 1]
budget: {forwards: 20, batch_size: 8}
evaluation: {test_items: 40}
"""


def planned_with(tmp_path: Path, old: str, new: str) -> None:
    assert old in SUITE
    path = tmp_path / "changed.yaml"
    path.write_text(SUITE.replace(old, new))
    load(path)


def test_planning_refuses_pairs_that_cannot_run(tmp_path: Path) -> None:
    planned_with(tmp_path, "seeds: [0, 1]", "seeds: [0]")
    for old, new, told in (
        (", models: [cnn]", "", "task 'mnist-5k' needs a model of images; model 'nano' is causal"),
        (", models: [nano]", "", "task 'nano-topic' needs a model of text; model 'cnn' is image"),
        ("head: 5", "head: 4", "model 'cnn' has 4 outputs, task 'mnist-5k' has 5 classes; write 'head: 5'"),
        ('"builtin:nano"', '"builtin:nano", head: 2', "head is for image classifiers"),
        (
            "seeds:",
            "attacks: {char-typos: {}}\nseeds:",
            "'char-typos' edits texts; task 'mnist-5k' has images",
        ),
        ("seeds:", "attacks: {square: {}}\nseeds:", "'square' edits images; task 'nano-topic' has texts"),
    ):
        with pytest.raises(SuiteError, match=re.escape(told)):
            planned_with(tmp_path, old, new)


def test_the_page_shows_wrong_images(shelf: ProcessCache, tmp_path: Path) -> None:
    for seed in (0, 1):
        run_one(Job(images(seed=seed), "images"), tmp_path / "runs", shelf)
    page = build(tmp_path, tmp_path / "page.html").read_text("utf-8")
    section = page.partition('<section id="pictures">')[2].partition("</section>")[0]
    shown = re.findall(
        r'<img src="(data:image/png;base64,[A-Za-z0-9+/=]+)" alt="mnist-5k-\d+, seed 0"', section
    )
    assert len(shown) == 16
    assert "<h4>mnist-5k</h4>" in section
    assert len(section) < 20_000
    assert re.search(r"<figcaption>[5-9] → [5-9]</figcaption>", section)


ATTACKED = """
suite: attacked
models: {cnn: {name: "builtin:nano-cnn"}}
tasks: {mnist-5k: {params: {classes: [0, 1, 2, 3, 4], k: 20, validation_k: 5, test_rows: 20}}}
attacks:
  square: {params: {epsilon: 0.4, budget: 20}}
  patch: {params: {side: 9, budget: 20}}
  noise: {attack: gaussian-noise, params: {sigma: 0.6}}
methods: {zero-shot: {method: none}, mezo: {params: {lr: 1e-4}}}
seeds: [0]
budget: {forwards: 8, batch_size: 8}
evaluation: {at: [0, 4], attacks_at: [0], test_items: 20, attack_items: 12}
"""


def test_attacks_on_images_are_recorded_along_training_and_shown(shelf: ProcessCache, tmp_path: Path) -> None:
    path = tmp_path / "attacked.yaml"
    path.write_text(ATTACKED)
    found = [run_one(Job(p, "attacked"), tmp_path / "runs", shelf) for p in expand(load(path)).runs]
    assert {o.status for o in found} == {"done"}
    tables = rows_of(tmp_path / "runs", found[1].run_id)
    for name in ("square", "patch", "noise"):
        mine = [m for m in tables["metrics"] if m["condition"] == name and m["metric"] == "accuracy"]
        assert {(m["condition_kind"], m["forwards"], m["n"]) for m in mine} == {
            (kind, at, 12) for kind in ("attack", "null") for at in (0, 8)
        }
    records = [r for r in tables["attacks"] if r["condition_kind"] == "attack"]
    assert {r["field"] for r in records} == {"image"}
    assert all((r["outcome"] == "success") <= (r["edited"] != r["original"]) for r in records)
    assert {r["condition"] for r in records if r["outcome"] == "success"} == {"square", "patch", "noise"}
    page = build(tmp_path, tmp_path / "page.html").read_text("utf-8")
    section = page.partition('<section id="pictures">')[2].partition("</section>")[0]
    pairs = re.findall(
        r'<img src="(data:[^"]+)" alt="([^"]+)"[^>]*><img src="(data:[^"]+)" alt="([^"]+)"', section
    )
    assert pairs
    assert all(a != b and told == f"{about}, after {told.rpartition(' ')[2]}" for a, about, b, told in pairs)
    assert "data:image/png" not in page.replace(section, ""), "only the section of pictures shows pictures"


def of_all(name: str, shelf: ProcessCache, tmp_path: Path) -> None:
    method = METHODS[name].load()
    given = {}
    if method.cost(method.Config()).max_forwards_in_step > 100:
        given = dict(method.small_problem)
    if name == "nevergrad":  # one scale, and the default optimizer needs two or fcmaes
        given["optimizer"] = "DE"
    # The network has one linear layer, and not under a name that language models use.
    adapters = {"params": {"targets": ["1"]}} if space_of(name) in ("lora", "singular-values") else {}
    space = {"kind": space_of(name)} | adapters
    # A new layer starts at zero, which has no singular vectors: there, the layer and classes of pretraining.
    own = space_of(name) == "singular-values"
    head, classes = ("", [0, 1, 2, 3, 4]) if own else (", head: 5", [5, 6, 7, 8, 9])
    cost = method.cost(method.Config(**given))
    forwards = cost.preparation_forwards + max(20, 2 * cost.max_forwards_in_step)
    text = f"""
suite: every
models: {{cnn: {{name: "builtin:nano-cnn"{head}}}}}
tasks: {{mnist-5k: {{params: {{classes: {classes}, k: 20, validation_k: 5, test_rows: 10}}}}}}
methods: {{{name}: {{params: {json.dumps(given)}, space: {json.dumps(space)}}}}}
seeds: [1]
budget: {{forwards: {forwards}, batch_size: 4}}
"""
    path = tmp_path / "every.yaml"
    path.write_text(text)
    (planned,) = expand(load(path)).runs
    outcome = run_one(Job(planned), tmp_path / "runs", shelf)
    assert outcome.status in ("done", "diverged"), outcome.error
    row = rows_of(tmp_path / "runs", outcome.run_id)["runs"][0]
    assert row["forwards"] >= min(forwards, 1) or name == "none"


@pytest.mark.parametrize("name", OF_THE_SUITE)
def test_methods_of_the_suite_train_a_convolutional_network(
    name: str, shelf: ProcessCache, tmp_path: Path
) -> None:
    of_all(name, shelf, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(METHODS) - set(OF_THE_SUITE) - {"flowopt", "zo-ae-ds"}))
def test_every_other_method_trains_a_convolutional_network(
    name: str, shelf: ProcessCache, tmp_path: Path
) -> None:
    of_all(name, shelf, tmp_path)
