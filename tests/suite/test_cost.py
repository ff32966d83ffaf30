"""Estimated cost: checked by hand on small numbers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from zobench.suite import cost as cost_module
from zobench.suite import expand, load
from zobench.suite.cost import estimate

pytestmark = pytest.mark.usefixtures("fake_catalogues")

TEXT = """\
suite: small
models:
  nano: {name: "builtin:nano"}
tasks:
  nano-topic: {}
  nano-sentiment: {}
methods:
  mezo: {}
  fzoo: {tasks: [nano-topic]}
  zero-shot: {group: control, attacks: false}
  tuned: {method: mezo, tune: {space: {lr: [1e-3, 1e-2, 1e-1]}, seeds: [101, 102]}}
attacks:
  char-typos: {}
  irrelevant-sentence: {}
seeds: [1, 2, 3]
budget: {forwards: 100}
evaluation: {at: [50, 100], test_items: 40, attack_items: 10}
"""


def test_costs_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(TEXT)
    cost = estimate(expand(load(path)))
    rows = {row.row: row for row in cost.rows}
    mezo, fzoo, zero, tuned = (rows[name] for name in ("mezo", "fzoo", "zero-shot", "tuned"))
    assert (mezo.runs, mezo.steps, mezo.forwards) == (6, 50, 600)
    assert mezo.test_rows == 6 * 2 * 40
    assert mezo.attacked_rows == 6 * 2 * 2 * 10
    # nine forwards a step: eleven steps fit into 100, one forward is left over
    assert (fzoo.runs, fzoo.steps, fzoo.forwards) == (3, 11, 297)
    assert (zero.runs, zero.steps, zero.forwards, zero.test_rows, zero.attacked_rows) == (6, 0, 0, 240, 0)
    assert (tuned.runs, tuned.tuning_runs, tuned.tuning_forwards) == (6, 12, 1200)
    assert cost.total("forwards") == 600 + 297 + 600
    assert cost.total("test_rows") == 480 + 3 * 80 + 240 + 480


def test_no_more_examples_are_counted_than_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(TEXT)
    monkeypatch.setattr(cost_module, "drawn", lambda task, seed: SimpleNamespace(test=("a",) * 3))
    mezo = estimate(expand(load(path))).rows[0]
    assert mezo.test_rows == 6 * 2 * 3
    assert mezo.attacked_rows == 6 * 2 * 2 * 3


def test_all_rows_of_a_task_are_an_unknown_number(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(TEXT.replace("test_items: 40, attack_items: 10", "validation_items: 5"))
    cost = estimate(expand(load(path)))
    assert cost.rows[0].test_rows is None
    assert cost.rows[0].attacked_rows is None
    assert cost.total("test_rows") is None
