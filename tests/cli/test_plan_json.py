"""``zobench plan --json`` is one JSON object, written a run at a time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from zobench.cli.plan_view import json_parts
from zobench.suite import expand, load
from zobench.suite.cost import estimate

SUITE = """\
suite: told
description: 'a text with "runs": [] in it'
models: {nano: {name: "builtin:nano"}}
tasks: {nano-sentiment: {}}
methods: {mezo: {TUNED}, zero-shot: {method: none, group: control}}
seeds: [0, 1]
budget: {forwards: 20}
"""
TUNED = "tune: {seeds: [5], trials: 2, space: {lr: [0.001, 0.01]}}"


@pytest.mark.parametrize(
    "text",
    [
        SUITE.replace("TUNED", ""),
        SUITE.replace("TUNED", TUNED),
        SUITE.replace("TUNED", TUNED).replace(", zero-shot: {method: none, group: control}", ""),
    ],
)
def test_the_parts_are_the_whole_object(text: str, tmp_path: Path) -> None:
    (tmp_path / "told.yaml").write_text(text)
    plan = expand(load(tmp_path / "told.yaml"))
    whole = {"plan": plan.model_dump(mode="json"), "cost": estimate(plan).as_dict()}
    assert "\n".join(json_parts(plan, estimate(plan))) == json.dumps(whole, indent=1)
