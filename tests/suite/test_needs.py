"""Requirements of methods are met or refused when the suite is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from zobench.suite import SuiteError, expand, load
from zobench.suite.cost import estimate

SUITE = """\
suite: needs
models: {nano: {name: "builtin:nano"}}
tasks: {nano-topic: {}}
methods:
  meerkat: {params: {calibration_batches: 5}}
seeds: [1]
budget: {forwards: 21, batch_size: 4}
evaluation: {test_items: 4}
"""
FORGET = """\
suite: forget
models: {facts: {name: "builtin:nano-facts"}}
unlearning:
  oracle: {name: "builtin:nano-facts-oracle"}
  objectives: {npo: {}}
methods:
  meerkat: {}
seeds: [0]
budget: {forwards: 120, batch_size: 8}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "suite.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_calibration_is_in_the_estimate_of_a_plan(tmp_path: Path) -> None:
    (row,) = estimate(expand(load(written(tmp_path, SUITE)))).rows
    assert (row.steps, row.forwards) == (3, 15 + 3 * 2)


def test_a_budget_that_calibration_uses_up_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        SuiteError,
        match="16 forward passes is too small for one step of 'meerkat', which costs 17",
    ):
        load(written(tmp_path, SUITE.replace("21", "16")))


def test_an_unlearning_suite_has_no_rows_to_calibrate_on(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="which an unlearning run does not supply") as caught:
        load(written(tmp_path, FORGET))
    assert "scores: magnitude" in str(caught.value)
    load(written(tmp_path, FORGET.replace("meerkat: {}", "meerkat: {params: {scores: magnitude}}")))
