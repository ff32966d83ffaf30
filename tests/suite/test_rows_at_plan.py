"""Examples of a task that cannot be used are reported at planning: minibatches larger than the data, a single
class. A device that this machine lacks is reported, but the plan is not refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from zobench.cli.app import app
from zobench.suite import SuiteError, expand, load
from zobench.suite.notes import notes

NANO = """\
suite: small
models:
  nano: {name: "builtin:nano"}
tasks:
  nano-sentiment: {params: {k: 16, test_rows: 20}}
methods:
  mezo: {}
  zero-shot: {method: none, group: control}
seeds: [0]
budget: {forwards: 20, batch_size: 32}
"""
OWN = """\
suite: own
models:
  nano: {name: "builtin:nano"}
tasks:
  mine:
    task: classification
    params: {data: train.csv, test: test.csv, validation: val.csv, template: "{text} It was"}
methods:
  mezo: {}
seeds: [0]
budget: {forwards: 20, batch_size: 4}
evaluation: {test_items: 4}
"""
BOTH, ONE = "bad good ", "good "


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("train", "test", "val"):
        write(tmp_path, name, BOTH * 6)
    return tmp_path


def write(folder: Path, name: str, labels: str) -> None:
    rows = "".join(f"{name} film {i},{label}\n" for i, label in enumerate(labels.split()))
    (folder / f"{name}.csv").write_text("text,label\n" + rows)


def suite(folder: Path, text: str) -> Path:
    path = folder / "s.yaml"
    path.write_text(text)
    return path


def problems(path: Path) -> str:
    with pytest.raises(SuiteError) as caught:
        load(path)
    return str(caught.value)


def test_a_minibatch_larger_than_the_training_rows_is_refused_with_their_number(folder: Path) -> None:
    assert load(suite(folder, NANO)).budget.batch_size == 32, "as many as there are"
    found = problems(suite(folder, NANO.replace("batch_size: 32", "batch_size: 100000")))
    assert "s.yaml:10: budget.batch_size" in found
    assert "a minibatch of 100000 is larger than the 32 training rows of task 'nano-sentiment'" in found
    own = NANO.replace("mezo: {}", "mezo: {budget: {batch_size: 33}}")
    assert "s.yaml:7: methods.mezo.budget.batch_size" in problems(suite(folder, own))


def test_a_minibatch_that_nothing_reads_is_no_problem(folder: Path) -> None:
    load(suite(folder, NANO.replace("  mezo: {}\n", "").replace("batch_size: 32", "batch_size: 100000")))


def test_test_rows_of_one_class_are_refused_with_its_name(folder: Path) -> None:
    write(folder, "test", ONE * 8)
    assert "all 8 test rows have the class 'good'" in problems(suite(folder, OWN))


def test_validation_rows_of_one_class_are_refused_where_a_row_is_tuned(folder: Path) -> None:
    write(folder, "val", ONE * 8)
    load(suite(folder, OWN))
    tuned = OWN.replace("mezo: {}", "mezo: {tune: {seeds: [7]}}")
    assert "all 8 validation rows have the class 'good'" in problems(suite(folder, tuned))


def test_first_test_rows_of_one_class_are_a_note(folder: Path) -> None:
    write(folder, "test", ONE * 4 + "bad")
    told = notes(expand(load(suite(folder, OWN))))
    assert "classification, seed 0: all of the first 4 test rows have the class 'good'" in told


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_device_that_is_not_here_is_a_note_at_plan_and_a_warning_at_run(
    folder: Path, tmp_path: Path
) -> None:
    text = NANO.replace('{name: "builtin:nano"}', '{name: "builtin:nano", device: "cuda:1"}')
    path = suite(folder, text.replace("forwards: 20", "forwards: 2"))
    line = "device 'cuda:1': this machine has no usable CUDA device; 2 of the 2 runs would fail here"
    planned = CliRunner().invoke(app, ["plan", str(path)])
    assert planned.exit_code == 0
    assert f"note: {line}" in planned.output
    ran = CliRunner().invoke(app, ["run", str(path), "--output", str(tmp_path / "out"), "--workers", "0"])
    assert ran.exit_code == 1
    assert ran.stderr.splitlines()[1] == f"warning: {line}"  # after the line that planning begins
    assert ran.stderr.count("ValueError: device 'cuda:1': this machine has no usable CUDA device") == 2


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "meta"])
def test_a_device_that_does_not_exist_is_refused(folder: Path, device: str) -> None:
    text = NANO.replace('{name: "builtin:nano"}', f'{{name: "builtin:nano", device: "{device}"}}')
    found = problems(suite(folder, text))
    assert "s.yaml:3: models.nano.device" in found
    assert f"device '{device}'" in found
