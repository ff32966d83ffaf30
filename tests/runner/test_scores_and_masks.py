"""Through the commands, on the built-in model: a run trained on accuracy, and one replayed with its mask."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from zobench.cli import app
from zobench.store.reader import read_run

SUITE = """\
suite: scores-and-masks
models: {nano: {name: "builtin:nano"}, half: {name: "builtin:nano", dtype: bfloat16}}
tasks: {nano-sentiment: {}}
methods:
  mezo-accuracy: {method: mezo, models: [nano], train_on: accuracy, params: {lr: 3e-3, epsilon: 3e-2}}
  fzoo-f1: {method: fzoo, models: [nano], train_on: f1, params: {lr: 1e-3, epsilon: 3e-2, n: 4}}
  meerkat: {models: [nano], params: {lr: 1e-3, calibration_batches: 2}}
  eggroll: {models: [nano], perturbation: factored, params: {population: 4}}
  mezo-arithmetic: {method: mezo, models: [nano], perturbation: in-place}
  mezo-master: {method: mezo, models: [half], precision: master, params: {lr: 1e-6}}
  mezo-published: {method: mezo, models: [half], noise: legacy, perturbation: in-place, loss_dtype: logits}
  mezo-nearest: {method: mezo, models: [half], precision: nearest, params: {lr: 1e-6}}
seeds: [1]
budget: {forwards: 20, batch_size: 8}
evaluation: {test_items: 8}
executor: {kind: inline}
"""

ROWS = (
    "mezo-accuracy",
    "fzoo-f1",
    "meerkat",
    "eggroll",
    "mezo-arithmetic",
    "mezo-master",
    "mezo-published",
    "mezo-nearest",
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Run folders by row."""
    folder = tmp_path_factory.mktemp("suite")
    (folder / "suite.yaml").write_text(SUITE, encoding="utf-8")
    done = CliRunner().invoke(app, ["run", str(folder / "suite.yaml"), "--output", str(folder / "out")])
    assert done.exit_code == 0, done.output
    found = [p for p in (folder / "out" / "runs").iterdir() if len(p.name) == 20]
    return {table(p, "runs")[0]["row"]: p for p in found}


def table(run: Path, name: str) -> list[dict]:
    return read_run(run.parent, run.name)[name].to_pylist()


def extras(run: Path) -> list[dict]:
    return [json.loads(step["extras"]) for step in table(run, "steps")]


def test_losses_are_shares_of_errors(runs: dict[str, Path]) -> None:
    run, steps = table(runs["mezo-accuracy"], "runs")[0], table(runs["mezo-accuracy"], "steps")
    assert (run["status"], run["forwards"], run["note"]) == (
        "done",
        20,
        "trained on accuracy, without a gradient",
    )
    losses = [loss for step in steps for loss in step["losses"]]
    assert {round(8 * loss, 5) for loss in losses} <= set(range(9)), "of 8 rows"
    assert len(set(losses)) > 1
    ties = [step for step in steps if len(set(step["losses"])) == 1]
    assert ties
    assert (run["refused_steps"], run["tied_steps"]) == (0, len(ties))
    assert all(step["moved"] and json.loads(step["extras"])["ties"] == 1.0 for step in ties)
    assert all(0 <= loss <= 1 for step in table(runs["fzoo-f1"], "steps") for loss in step["losses"])


def test_published_losses_are_halves(runs: dict[str, Path]) -> None:
    steps = table(runs["mezo-published"], "steps")
    losses = torch.tensor([loss for step in steps for loss in step["losses"]], dtype=torch.float64)
    assert torch.equal(losses.bfloat16().double(), losses)
    assert all(told["loss_bits"] == 16 for told in extras(runs["mezo-published"]))


@pytest.mark.parametrize("row", ROWS)
def test_the_command_rebuilds_the_weights(runs: dict[str, Path], row: str) -> None:
    found = CliRunner().invoke(app, ["replay", str(runs[row])])
    assert found.exit_code == 0, found.output
    assert "\nequal\n" in found.output


def test_a_mask_is_kept_by_its_digest_and_asked_for(runs: dict[str, Path]) -> None:
    """Without the file the command says what is missing, and rebuilds nothing."""
    run = table(runs["meerkat"], "runs")[0]
    assert run["replay"] == "scalars+artifacts"
    assert all(e["calibrated"] == 1.0 for e in extras(runs["meerkat"]))
    (kept,) = [p for p in runs["meerkat"].parent.rglob("*") if run["artifacts_digest"] in p.name]
    away = kept.rename(kept.with_name("elsewhere"))
    try:
        found = CliRunner().invoke(app, ["replay", str(runs["meerkat"])])
    finally:
        away.rename(kept)
    assert found.exit_code == 2
    assert run["artifacts_digest"] in found.stderr


def test_arithmetic_restore_records_its_drift(runs: dict[str, Path]) -> None:
    assert all(0 < e["drift"] < 1e-5 for e in extras(runs["mezo-arithmetic"])), "float32 rounding"
    assert not any("drift" in e for e in extras(runs["meerkat"]))
    assert table(runs["mezo-arithmetic"], "runs")[0]["perturbation"] == "in-place"
    assert table(runs["eggroll"], "runs")[0]["perturbation"] == "factored"


def test_half_precision_records_the_share_that_moved(runs: dict[str, Path]) -> None:
    """Updates of 1e-6 are below the spacing of most bfloat16 weights: rounding to nearest loses them and the
    run is warned about; a float32 master keeps them until they show."""
    shares = {row: [e["moved_share"] for e in extras(runs[row])] for row in ("mezo-master", "mezo-nearest")}
    assert all(0 <= share < 0.5 for values in shares.values() for share in values)
    warned = {row: table(runs[row], "runs")[0]["warnings"] or "" for row in shares}
    assert "update-underflow" in warned["mezo-nearest"]
    assert "update-underflow" not in warned["mezo-master"]


@pytest.mark.slow
def test_accuracy_alone_teaches_the_task(tmp_path: Path) -> None:
    """No loss is ever seen: 300 forwards of 32 rows lift the test accuracy by a quarter and more."""
    text = """\
suite: accuracy
models: {nano: {name: "builtin:nano"}}
tasks: {nano-sentiment: {}}
methods: {mezo: {train_on: accuracy, params: {lr: 3e-4, epsilon: 1e-2}}}
seeds: [1]
budget: {forwards: 300, batch_size: 32}
evaluation: {at: [0], test_items: 100}
executor: {kind: inline}
"""
    (tmp_path / "suite.yaml").write_text(text, encoding="utf-8")
    arguments = ["run", str(tmp_path / "suite.yaml"), "--output", str(tmp_path / "out")]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    (run,) = [p for p in (tmp_path / "out" / "runs").iterdir() if len(p.name) == 20]
    found = {m["forwards"]: m["value"] for m in table(run, "metrics") if m["metric"] == "accuracy"}
    assert found[300] >= found[0] + 0.25
